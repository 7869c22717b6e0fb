//! The kinds of numbers that must not be mixed up.

use guest_abi::layout;

/// An address in guest-physical memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestAddress(pub u64);

/// An address as code sees it, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinearAddress(pub u64);

/// A time or a duration in nanoseconds; which clock is said where one is passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl GuestAddress {
    /// The address `bytes` further on, if there is one.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl LinearAddress {
    /// The address `bytes` further on, if there is one.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Whether `length` bytes from here lie wholly in the program's part.
    #[must_use]
    pub const fn is_user_range(self, length: u64) -> bool {
        match self.0.checked_add(length) {
            Some(end) => end <= layout::APP_END,
            None => false,
        }
    }
}

impl Nanos {
    /// The later time; saturates.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The time from `earlier` to this one; zero if it is not earlier.
    #[must_use]
    pub const fn saturating_sub(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}
