//! Terminal controls.
//!
//! What: the ioctl(2) commands of the guest that make sense on the host's terminal, and the
//! conversion between the kernel's `struct termios` (36 bytes, as the guest sends it) or
//! `struct termios2` (44 bytes) and rustix' typed one.
//!
//! Neighbours: [`crate::service`] frames the commands.
//!
//! What it does not do: sessions and process groups are the guest's own, so those commands are
//! refused with `ENOTTY`, as is everything unknown; line speeds are the host's.

use std::os::fd::BorrowedFd;

use backend_fs::wire::Result;
use rustix::io::Errno;
use rustix::termios::{
    Action, ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, QueueSelector,
    SpecialCodeIndex, Termios, Winsize, tcgetattr, tcsetattr,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
pub(crate) const FIONREAD: u32 = 0x541b;
const TCGETS2: u32 = 0x802c_542a;
const TCSETS2: u32 = 0x402c_542b;
const TCSETSW2: u32 = 0x402c_542c;
const TCSETSF2: u32 = 0x402c_542d;

/// The part of `c_cflag` that holds the line speed (`CBAUD | CBAUDEX`).
const SPEED_BITS: u32 = 0o010_017;

/// The longest result of a command.
pub(crate) const RESULT_MAX: usize = size_of::<KernelTermios2>();

/// `struct termios` of `asm-generic/termbits.h`.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct KernelTermios {
    input: u32,
    output: u32,
    control: u32,
    local: u32,
    line: u8,
    codes: [u8; 19],
}

/// `struct termios2` of the same.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct KernelTermios2 {
    plain: KernelTermios,
    input_speed: u32,
    output_speed: u32,
}

/// `struct winsize`.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct KernelWinsize {
    rows: u16,
    columns: u16,
    width: u16,
    height: u16,
}

/// Which special code lies where in `c_cc` (`asm-generic/termbits.h`).
const CODES: [SpecialCodeIndex; 17] = [
    SpecialCodeIndex::VINTR,
    SpecialCodeIndex::VQUIT,
    SpecialCodeIndex::VERASE,
    SpecialCodeIndex::VKILL,
    SpecialCodeIndex::VEOF,
    SpecialCodeIndex::VTIME,
    SpecialCodeIndex::VMIN,
    SpecialCodeIndex::VSWTC,
    SpecialCodeIndex::VSTART,
    SpecialCodeIndex::VSTOP,
    SpecialCodeIndex::VSUSP,
    SpecialCodeIndex::VEOL,
    SpecialCodeIndex::VREPRINT,
    SpecialCodeIndex::VDISCARD,
    SpecialCodeIndex::VWERASE,
    SpecialCodeIndex::VLNEXT,
    SpecialCodeIndex::VEOL2,
];

/// The bytes that a command gives back.
pub(crate) struct Output {
    bytes: [u8; RESULT_MAX],
    len: usize,
}

impl Output {
    fn nothing() -> Self {
        Self {
            bytes: [0; RESULT_MAX],
            len: 0,
        }
    }

    fn of<T: IntoBytes + Immutable>(value: &T) -> Self {
        let mut output = Self::nothing();
        let value = value.as_bytes();
        if let Some(room) = output.bytes.get_mut(..value.len()) {
            room.copy_from_slice(value);
            output.len = value.len();
        }
        output
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Carries one command out on the host's descriptor; `argument` is the guest's integer,
/// `input` the bytes that it points to.
pub(crate) fn control(
    fd: BorrowedFd<'_>,
    command: u32,
    argument: u64,
    input: &[u8],
) -> Result<Output> {
    match command {
        TCGETS => Ok(Output::of(&to_kernel(&tcgetattr(fd)?).plain)),
        TCGETS2 => Ok(Output::of(&to_kernel(&tcgetattr(fd)?))),
        TCSETS | TCSETS2 => set(fd, OptionalActions::Now, input),
        TCSETSW | TCSETSW2 => set(fd, OptionalActions::Drain, input),
        TCSETSF | TCSETSF2 => set(fd, OptionalActions::Flush, input),
        TIOCGWINSZ => window(fd),
        TIOCSWINSZ => set_window(fd, input),
        FIONREAD => pending(fd),
        TCSBRK if argument != 0 => done(rustix::termios::tcdrain(fd)),
        TCFLSH => done(rustix::termios::tcflush(fd, queue(argument)?)),
        TCXONC => done(rustix::termios::tcflow(fd, action(argument)?)),
        _ => Err(Errno::NOTTY),
    }
}

fn done(outcome: rustix::io::Result<()>) -> Result<Output> {
    outcome.map(|()| Output::nothing())
}

fn window(fd: BorrowedFd<'_>) -> Result<Output> {
    let size = rustix::termios::tcgetwinsize(fd)?;
    Ok(Output::of(&KernelWinsize {
        rows: size.ws_row,
        columns: size.ws_col,
        width: size.ws_xpixel,
        height: size.ws_ypixel,
    }))
}

fn set_window(fd: BorrowedFd<'_>, input: &[u8]) -> Result<Output> {
    let (wanted, _) = KernelWinsize::read_from_prefix(input).map_err(|_| Errno::INVAL)?;
    let size = Winsize {
        ws_row: wanted.rows,
        ws_col: wanted.columns,
        ws_xpixel: wanted.width,
        ws_ypixel: wanted.height,
    };
    done(rustix::termios::tcsetwinsize(fd, size))
}

fn pending(fd: BorrowedFd<'_>) -> Result<Output> {
    let bytes = rustix::io::ioctl_fionread(fd)?;
    Ok(Output::of(&i32::try_from(bytes).unwrap_or(i32::MAX)))
}

/// Sets the modes; whichever structure the guest sent, the longer one begins with the shorter.
fn set(fd: BorrowedFd<'_>, when: OptionalActions, input: &[u8]) -> Result<Output> {
    let (wanted, _) = KernelTermios::read_from_prefix(input).map_err(|_| Errno::INVAL)?;
    let mut termios = tcgetattr(fd)?;
    from_kernel(&wanted, &mut termios);
    done(tcsetattr(fd, when, &termios))
}

fn queue(argument: u64) -> Result<QueueSelector> {
    match argument {
        0 => Ok(QueueSelector::IFlush),
        1 => Ok(QueueSelector::OFlush),
        2 => Ok(QueueSelector::IOFlush),
        _ => Err(Errno::INVAL),
    }
}

fn action(argument: u64) -> Result<Action> {
    match argument {
        0 => Ok(Action::OOff),
        1 => Ok(Action::OOn),
        2 => Ok(Action::IOff),
        3 => Ok(Action::IOn),
        _ => Err(Errno::INVAL),
    }
}

fn to_kernel(termios: &Termios) -> KernelTermios2 {
    let mut codes = [0; 19];
    for (code, &index) in codes.iter_mut().zip(&CODES) {
        *code = termios.special_codes[index];
    }
    KernelTermios2 {
        plain: KernelTermios {
            input: termios.input_modes.bits(),
            output: termios.output_modes.bits(),
            control: termios.control_modes.bits(),
            local: termios.local_modes.bits(),
            line: termios.line_discipline,
            codes,
        },
        input_speed: termios.input_speed(),
        output_speed: termios.output_speed(),
    }
}

/// Takes the guest's modes over into the host's; speed and line discipline stay.
fn from_kernel(wanted: &KernelTermios, termios: &mut Termios) {
    let speed = termios.control_modes.bits() & SPEED_BITS;
    termios.input_modes = InputModes::from_bits_retain(wanted.input);
    termios.output_modes = OutputModes::from_bits_retain(wanted.output);
    termios.control_modes = ControlModes::from_bits_retain(wanted.control & !SPEED_BITS | speed);
    termios.local_modes = LocalModes::from_bits_retain(wanted.local);
    for (&code, &index) in wanted.codes.iter().zip(&CODES) {
        termios.special_codes[index] = code;
    }
}
