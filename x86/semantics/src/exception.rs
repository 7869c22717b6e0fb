//! What ends an instruction before its end.

/// An exception (SDM vol. 3, 6.15), raised by an instruction whose registers are as before it, or, when it
/// repeats itself, after the last step that it completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// `#DE`.
    Divide,
    /// `#BP`, after its instruction.
    Breakpoint,
    /// `#OF`, after its instruction.
    Overflow,
    /// `#BR`.
    Bound,
    /// `#UD`.
    InvalidOpcode,
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
}

impl Exception {
    /// Its error code, where it has one.
    #[must_use]
    pub const fn error_code(self) -> Option<u32> {
        match self {
            Self::NotPresent(code) | Self::Stack(code) | Self::Protection(code) => Some(code),
            Self::Page { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Its vector.
    #[must_use]
    pub const fn vector(self) -> u8 {
        match self {
            Self::Divide => 0,
            Self::Breakpoint => 3,
            Self::Overflow => 4,
            Self::Bound => 5,
            Self::InvalidOpcode => 6,
            Self::NotPresent(_) => 11,
            Self::Stack(_) => 12,
            Self::Protection(_) => 13,
            Self::Page { .. } => 14,
        }
    }
}
