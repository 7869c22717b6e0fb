//! The command line of a kernel that no Husk monitor started.

use crate::sync::Once;

/// Longest command line, in bytes.
const MAX: usize = 4096;

/// A command line, copied before its memory is used for something else.
#[derive(Clone, Debug)]
pub(crate) struct CommandLine {
    bytes: [u8; MAX],
    length: usize,
}

impl CommandLine {
    /// Reads up to the zero at its end; `physical` zero: there is none. What is longer than
    /// there is room for is cut.
    pub(super) fn read(physical: u64, read: impl Fn(u64, &mut [u8]) -> bool) -> Self {
        let mut line = Self {
            bytes: [0; MAX],
            length: 0,
        };
        if physical == 0 {
            return line;
        }
        for (place, at) in line.bytes.iter_mut().zip(physical..) {
            let mut byte = [0];
            if !read(at, &mut byte) || byte[0] == 0 {
                break;
            }
            *place = byte[0];
            line.length += 1;
        }
        line
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The machine's; only where no Husk monitor started it.
pub(crate) static COMMAND_LINE: Once<CommandLine> = Once::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_at_the_zero_at_the_end_of_memory_or_when_it_is_too_long() {
        let memory = |at: u64, into: &mut [u8]| {
            let text = b"one two\0three";
            let byte = text.get(at as usize - 0x1000).copied();
            byte.is_some_and(|byte| {
                into[0] = byte;
                true
            })
        };
        assert_eq!(CommandLine::read(0x1000, memory).bytes(), b"one two");
        assert_eq!(CommandLine::read(0x1008, memory).bytes(), b"three");
        assert_eq!(CommandLine::read(0, memory).bytes(), b"");
        let endless = |_: u64, into: &mut [u8]| {
            into[0] = b'x';
            true
        };
        assert_eq!(CommandLine::read(1, endless).bytes().len(), MAX);
    }
}
