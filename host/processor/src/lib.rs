//! Single user-mode instructions on the host's own processor.
//!
//! [`Bench::run`] loads [`Registers`], executes some bytes of code, and stores the registers again;
//! what the processor raises on the way comes back as an [`End`]. That makes the host's processor the
//! oracle of whoever says what an instruction does. Code is 64-bit or 32-bit ([`Mode`]) and has two
//! pages of memory at [`MEMORY`].
//!
//! The code is trusted: it must come to its end, make no system call, and write nowhere but
//! to [`MEMORY`]. Nothing that came from a guest runs here unless a decoder said so first.
//!
//! Apart from that, [`stub`] runs instructions on vector and x87 registers inside of a program: an
//! interpreter's, for its guest; [`half`] writes lower halves of vector registers as that wants them.

mod area;
mod bench;
mod extended;
pub mod half;
mod local;
pub mod stub;
mod trap;

pub use area::{CODE, MEMORY, MEMORY_SIZE};
pub use bench::Bench;
pub use extended::{EXTENDED_SIZE, Extended};
pub use local::{LocalKind, LocalSegment};

/// Width of addresses and operands of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// 32-bit code of a 64-bit system (compatibility mode).
    Protected,
    /// 64-bit code.
    Long,
}

/// The registers that most instructions work with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// `rax rcx rdx rbx rsp rbp rsi rdi r8..r15`, in the order of their encoding.
    pub general: [u64; 16],
    /// `RFLAGS`: the arithmetic flags, the direction flag, `AC` and `ID`. Others are the host's.
    pub flags: u64,
}

/// How the code ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At its last byte.
    Done,
    /// In an exception; the registers are those before the instruction that raised it.
    Raised {
        /// Its vector.
        vector: u8,
        /// Its error code, or zero.
        error: u32,
        /// The address of a page fault.
        address: u64,
    },
}
