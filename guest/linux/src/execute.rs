//! `execve`: another program in the same process.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use guest_hal::fpu::FpuState;
use guest_hal::report::{self, End};
use guest_hal::{LinearAddress, UserContext, platform};
use guest_kernel::exec::{self, ExecError, Program};
use guest_kernel::fs::Caller;
use guest_kernel::process::current;
use guest_kernel::signal::AlternateStack;
use guest_kernel::{Errno, Result, thread, uaccess};

use crate::argument::DirFd;
use crate::{patch, process, threads};

/// Most bytes of arguments and environment together.
const STRINGS_MAX: usize = 2 << 20;
/// Longest single string (Linux' `MAX_ARG_STRLEN`).
const STRING_MAX: usize = 128 << 10;
const AT_EMPTY_PATH: u64 = 0x1000;
const AT_SYMLINK_NOFOLLOW: u64 = 0x100;

/// Serves `execve` and `execveat`: on success `context` is the new program's.
///
/// # Errors
/// The call's, as long as the old program is still there.
pub(crate) fn execute(context: &mut UserContext) -> Result<u64> {
    let at = if context.call == 322 {
        Source {
            directory: DirFd(context.rdi as i32),
            path: context.rsi,
            arguments: context.rdx,
            environment: context.r10,
            flags: context.r8,
        }
    } else {
        Source {
            directory: DirFd::CWD,
            path: context.rdi,
            arguments: context.rsi,
            environment: context.rdx,
            flags: 0,
        }
    };
    if at.flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = path(&at)?;
    let mut budget = STRINGS_MAX;
    let mut arguments = strings(at.arguments, &mut budget)?;
    let environment = strings(at.environment, &mut budget)?;
    if arguments.is_empty() {
        arguments.push(Vec::new());
    }
    let caller = Caller::current();
    let program = exec::resolve(&caller, path, arguments).map_err(|error| error.errno)?;
    exec::check(&caller, &program).map_err(|error| error.errno)?;
    *context = replace(&caller, &program, &environment);
    Ok(0)
}

/// Where the arguments of the call are.
struct Source {
    directory: DirFd,
    path: u64,
    arguments: u64,
    environment: u64,
    flags: u64,
}

fn path(at: &Source) -> Result<Vec<u8>> {
    let path = uaccess::read_path(LinearAddress(at.path))?;
    if path.starts_with(b"/") || at.directory == DirFd::CWD {
        return Ok(path);
    }
    let number = alloc::format!("/proc/self/fd/{}", at.directory.0).into_bytes();
    match path.as_slice() {
        [] if at.flags & AT_EMPTY_PATH != 0 => Ok(number),
        [] => Err(Errno::ENOENT),
        rest => Ok([number.as_slice(), b"/", rest].concat()),
    }
}

/// A null-terminated list of strings.
fn strings(list: u64, budget: &mut usize) -> Result<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    if list == 0 {
        return Ok(strings);
    }
    let mut at = list;
    loop {
        let pointer = uaccess::read_u64(LinearAddress(at))?;
        if pointer == 0 {
            return Ok(strings);
        }
        let string = uaccess::read_c_string(LinearAddress(pointer), STRING_MAX, Errno::E2BIG)?;
        *budget = budget.checked_sub(string.len() + 9).ok_or(Errno::E2BIG)?;
        strings.push(string);
        at += 8;
    }
}

/// The point of no return: what fails from here on ends the program.
fn replace(caller: &Caller, program: &Program, environment: &[Vec<u8>]) -> UserContext {
    let process = current();
    threads::end_others();
    process.memory.lock().write_back_all();
    patch::forget_all();
    process.signals.lock().reset_handlers();
    process.close_for_exec();
    let thread = thread::current();
    thread.signals.lock().alternate = AlternateStack::default();
    *thread.clear_tid.lock() = LinearAddress(0);
    *thread.robust_list.lock() = LinearAddress(0);
    *thread.rseq.lock() = None;
    process.barriers.store(0, Ordering::Relaxed);
    match exec::load(process, caller, program, environment) {
        Ok(loaded) => {
            platform().set_tls_base(0);
            FpuState::initial().restore();
            *thread.name.lock() = process.program.lock().name.clone();
            loaded.context
        }
        Err(ExecError { reason, .. }) => {
            process::wind_up();
            let name = program.path.escape_ascii();
            report::end(End::Signaled(9), format_args!("{name}: {reason}"))
        }
    }
}
