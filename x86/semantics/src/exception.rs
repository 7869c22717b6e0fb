//! What ends an instruction before its end.

/// An exception (SDM vol. 3, 6.15), raised by an instruction whose registers are as before it, or, when it
/// repeats itself, after the last step that it completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// `#DE`.
    Divide,
    /// `#DB`, whose reasons are in `DR6` already; before its instruction.
    Debug,
    /// `INT1`: `#DB` without a reason, after its instruction.
    Trap,
    /// `#BP`, reported after its instruction.
    Breakpoint,
    /// `#OF`, reported after its instruction.
    Overflow,
    /// `INT n`, reported after its instruction.
    Interrupt(u8),
    /// `#BR`.
    Bound,
    /// `#UD`.
    InvalidOpcode,
    /// `#NM`.
    DeviceNotAvailable,
    /// `#DF`: another one while one was delivered.
    DoubleFault,
    /// `#TS` with its error code.
    InvalidTask(u32),
    /// `#NP` with its error code.
    NotPresent(u32),
    /// `#SS` with its error code.
    Stack(u32),
    /// `#GP` with its error code.
    Protection(u32),
    /// `#PF` with its error code and address.
    Page {
        /// Error code (SDM vol. 3, 4.7).
        code: u32,
        /// Linear address, for `CR2`.
        address: u64,
    },
    /// `#MF`.
    Numeric,
    /// `#AC`, whose error code is zero.
    Alignment,
    /// `#XM`.
    Simd,
}

impl Exception {
    /// Its error code, where it has one.
    #[must_use]
    pub const fn error_code(self) -> Option<u32> {
        match self {
            Self::DoubleFault | Self::Alignment => Some(0),
            Self::InvalidTask(code)
            | Self::NotPresent(code)
            | Self::Stack(code)
            | Self::Protection(code) => Some(code),
            Self::Page { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Its vector.
    #[must_use]
    pub const fn vector(self) -> u8 {
        match self {
            Self::Divide => 0,
            Self::Debug | Self::Trap => 1,
            Self::Breakpoint => 3,
            Self::Overflow => 4,
            Self::Interrupt(vector) => vector,
            Self::Bound => 5,
            Self::InvalidOpcode => 6,
            Self::DeviceNotAvailable => 7,
            Self::DoubleFault => 8,
            Self::InvalidTask(_) => 10,
            Self::NotPresent(_) => 11,
            Self::Stack(_) => 12,
            Self::Protection(_) => 13,
            Self::Page { .. } => 14,
            Self::Numeric => 16,
            Self::Alignment => 17,
            Self::Simd => 19,
        }
    }
}
