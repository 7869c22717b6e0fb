//! How a register becomes an argument, and how a trace shows it.

use core::fmt;

use guest_hal::LinearAddress;

/// A type of argument of a system call.
pub trait Argument: Sized {
    /// From the register; upper bits that the C type does not have are dropped.
    fn from_register(value: u64) -> Self;
    /// As a trace shows it.
    ///
    /// # Errors
    /// The formatter's.
    fn show(&self, f: &mut dyn fmt::Write) -> fmt::Result;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Argument for $type {
            fn from_register(value: u64) -> Self {
                value as $type
            }

            fn show(&self, f: &mut dyn fmt::Write) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}

integers!(i32, u32, i64, u64, usize);

impl Argument for LinearAddress {
    fn from_register(value: u64) -> Self {
        Self(value)
    }

    fn show(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        if self.0 == 0 {
            f.write_str("NULL")
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

/// Flags, shown in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Argument for Flags {
    fn from_register(value: u64) -> Self {
        Self(value as u32)
    }

    fn show(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        if self.0 == 0 {
            f.write_str("0")
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

/// A file mode, shown in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Argument for Mode {
    fn from_register(value: u64) -> Self {
        Self(value as u32)
    }

    fn show(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        f.write_str(&crate::trace::mode(u64::from(self.0)))
    }
}

/// The descriptor argument of the `*at` calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirFd(pub i32);

impl DirFd {
    /// `AT_FDCWD`: the working directory.
    pub const CWD: Self = Self(-100);
}

impl Argument for DirFd {
    fn from_register(value: u64) -> Self {
        Self(value as i32)
    }

    fn show(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        if *self == Self::CWD {
            f.write_str("AT_FDCWD")
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// The address of a path in the program; shown as the string it points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathAddress(pub LinearAddress);

impl Argument for PathAddress {
    fn from_register(value: u64) -> Self {
        Self(LinearAddress(value))
    }

    fn show(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        match guest_kernel::uaccess::read_path(self.0) {
            Ok(path) => write!(f, "\"{}\"", path.escape_ascii()),
            Err(_) => self.0.show(f),
        }
    }
}
