//! What programs ask of a terminal (`ioctl_tty(2)`).

use guest_kernel::{Errno, Result};

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCOUTQ: u32 = 0x5411;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const FIONREAD: u32 = 0x541b;

/// Bytes of `struct termios` and of `struct winsize`.
const TERMIOS: usize = 36;
const WINDOW: usize = 8;
/// Rows and columns that no device tells.
const USUAL: (u16, u16) = (25, 80);
/// `c_cflag`: 38400 baud, 8 bits, a receiver, hang up at the end, no modem.
const CONTROL: u32 = 0o17 | 0o60 | 0o200 | 0o2000 | 0o4000;
/// `c_cc`, as terminals have them at first.
const CODES: [u8; 17] = [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0];

/// The bytes that a command gives back.
#[derive(Debug)]
pub(super) struct Output {
    bytes: [u8; TERMIOS],
    length: usize,
}

impl Output {
    fn of(bytes: &[u8]) -> Self {
        let mut output = Self {
            bytes: [0; TERMIOS],
            length: bytes.len().min(TERMIOS),
        };
        let places = output.bytes.iter_mut();
        places.zip(bytes).for_each(|(place, byte)| *place = *byte);
        output
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A terminal's modes, as far as programs can see them.
#[derive(Debug)]
pub(super) struct Terminal {
    termios: [u8; TERMIOS],
    window: [u8; WINDOW],
}

impl Terminal {
    /// A line that changes nothing, and its window.
    pub(super) fn new(window: Option<(u16, u16)>) -> Self {
        let known = window.filter(|&(rows, columns)| rows > 0 && columns > 0);
        let (rows, columns) = known.unwrap_or(USUAL);
        let mut terminal = Self {
            termios: [0; TERMIOS],
            window: [0; WINDOW],
        };
        let [r0, r1] = rows.to_le_bytes();
        let [c0, c1] = columns.to_le_bytes();
        fill(&mut terminal.window, 0, &[r0, r1, c0, c1]);
        fill(&mut terminal.termios, 8, &CONTROL.to_le_bytes());
        fill(&mut terminal.termios, 17, &CODES);
        terminal
    }

    /// Carries a command out; `waiting` bytes of input have come.
    ///
    /// # Errors
    /// `ENOTTY` for commands that are not served; `EINVAL` when their argument is too short.
    pub(super) fn control(&mut self, command: u32, input: &[u8], waiting: u32) -> Result<Output> {
        match command {
            TCGETS => return Ok(Output::of(&self.termios)),
            TIOCGWINSZ => return Ok(Output::of(&self.window)),
            FIONREAD => return Ok(Output::of(&waiting.to_le_bytes())),
            TIOCOUTQ => return Ok(Output::of(&[0; 4])),
            TCSETS | TCSETSW | TCSETSF => self.termios = argument(input)?,
            TIOCSWINSZ => self.window = argument(input)?,
            TCSBRK | TCXONC | TCFLSH => {}
            _ => return Err(Errno::ENOTTY),
        }
        Ok(Output::of(&[]))
    }

    /// Whether a command drops what has come and was not read: `TCSETSF`, and `TCFLSH` for
    /// input (0) or for both directions (2).
    pub(super) const fn drops_input(command: u32, argument: u64) -> bool {
        matches!((command, argument), (TCSETSF, _) | (TCFLSH, 0 | 2))
    }
}

fn argument<const N: usize>(input: &[u8]) -> Result<[u8; N]> {
    input.first_chunk().copied().ok_or(Errno::EINVAL)
}

fn fill(into: &mut [u8], at: usize, from: &[u8]) {
    let places = into.iter_mut().skip(at);
    places.zip(from).for_each(|(place, byte)| *place = *byte);
}
