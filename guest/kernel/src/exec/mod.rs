//! Starting a program: from a path to an address space and the first registers.
//!
//! * `elf`: reading the headers of a file that anybody may have written.
//! * `load`: mapping its segments and its interpreter's.
//! * `vdso`: the kernel's own library in the program.
//! * `stack`: arguments, environment and auxiliary vector.
//!
//! Scripts start their interpreter. Every refusal says what the file is.

mod elf;
mod load;
mod stack;
mod vdso;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_hal::UserContext;

use crate::Errno;
use crate::fs::{Caller, OpenFile};

pub use elf::{Header, Kind, Segment, parse, segments};
pub use load::{check, load};

/// Most interpreters of interpreters (Linux: 5 levels).
const SCRIPTS_MAX: usize = 5;
/// How much of a file tells what it is (Linux' `BINPRM_BUF_SIZE`).
const HEAD: usize = 256;

/// Why a program does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecError {
    /// What `execve` returns.
    pub errno: Errno,
    /// For people: what is the matter with which file.
    pub reason: String,
}

impl ExecError {
    fn new(errno: Errno, reason: impl Into<String>) -> Self {
        Self {
            errno,
            reason: reason.into(),
        }
    }
}

impl From<Errno> for ExecError {
    fn from(errno: Errno) -> Self {
        Self::new(errno, "")
    }
}

/// What to start, after scripts have been replaced by their interpreters.
#[derive(Debug)]
pub struct Program {
    /// The executable.
    pub file: Arc<OpenFile>,
    /// The path it was called by (`AT_EXECFN`).
    pub path: Vec<u8>,
    /// Arguments, the zeroth included.
    pub arguments: Vec<Vec<u8>>,
}

/// A program in memory, ready to go.
#[derive(Debug)]
pub struct Loaded {
    /// The first registers.
    pub context: UserContext,
    /// The executable's file.
    pub file: Arc<OpenFile>,
}

/// Finds the executable for a path: the file itself, or the interpreter a script names.
///
/// # Errors
/// With the errno of `execve`.
pub fn resolve(
    caller: &Caller,
    path: Vec<u8>,
    mut arguments: Vec<Vec<u8>>,
) -> Result<Program, ExecError> {
    let mut name = path;
    for level in 0..SCRIPTS_MAX {
        let file = caller
            .open_program(&caller.cwd, &name)
            .map_err(|errno| match level {
                0 => ExecError::from(errno),
                _ => ExecError::new(
                    errno,
                    alloc::format!("its interpreter is {}", name.escape_ascii()),
                ),
            })?;
        let mut head = [0; HEAD];
        let length = read_fully(&file, 0, &mut head)?;
        let head = head.get(..length).unwrap_or_default();
        let Some(line) = head.strip_prefix(b"#!") else {
            return Ok(Program {
                file,
                path: name,
                arguments,
            });
        };
        let (interpreter, option) = script_line(line)?;
        let mut before = alloc::vec![interpreter.clone()];
        before.extend(option);
        before.push(name);
        before.extend(arguments.into_iter().skip(1));
        arguments = before;
        name = interpreter;
    }
    Err(ExecError::new(
        Errno::ELOOP,
        "scripts whose interpreters are scripts, too deep",
    ))
}

/// Interpreter and optional argument of a `#!` line.
fn script_line(line: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), ExecError> {
    let end = line
        .iter()
        .position(|&byte| byte == b'\n' || byte == 0)
        .unwrap_or(line.len());
    let line = line.get(..end).unwrap_or_default().trim_ascii();
    let split = line
        .iter()
        .position(|byte| matches!(byte, b' ' | b'\t'))
        .unwrap_or(line.len());
    let (interpreter, rest) = line.split_at(split);
    if interpreter.is_empty() {
        return Err(ExecError::new(
            Errno::ENOEXEC,
            "a script whose first line names no interpreter",
        ));
    }
    let option = rest.trim_ascii();
    Ok((
        interpreter.to_vec(),
        (!option.is_empty()).then(|| option.to_vec()),
    ))
}

/// Reads until the buffer is full or the file ends.
fn read_fully(file: &OpenFile, offset: u64, into: &mut [u8]) -> Result<usize, ExecError> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let mut destination = crate::fs::Destination::kernel(rest);
        let count = file.read_at(offset + done as u64, &mut destination)?;
        if count == 0 {
            break;
        }
        done += count as usize;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_line_is_an_interpreter_and_one_argument() {
        let line = script_line(b" /bin/sh  -e -x \nmore").unwrap();
        assert_eq!(line, (b"/bin/sh".to_vec(), Some(b"-e -x".to_vec())));
        assert_eq!(
            script_line(b"/bin/sh").unwrap(),
            (b"/bin/sh".to_vec(), None)
        );
        assert!(script_line(b"  \n").is_err());
    }
}
