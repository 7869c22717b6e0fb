//! Error numbers.

use core::fmt;

use linux_raw_sys::errno as raw;

/// A Linux error number, positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub u16);

/// What most of the kernel returns.
pub type Result<T> = core::result::Result<T, Errno>;

macro_rules! errnos {
    ($($name:ident),* $(,)?) => {
        #[expect(missing_docs, reason = "Linux' own names")]
        impl Errno {
            $(pub const $name: Self = Self(raw::$name as u16);)*

            /// The symbolic name, as strace prints it.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match u32::from(self.0) {
                    $(raw::$name => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos!(
    EPERM,
    ENOENT,
    ESRCH,
    EINTR,
    EIO,
    ENXIO,
    E2BIG,
    ENOEXEC,
    EBADF,
    ECHILD,
    EAGAIN,
    ENOMEM,
    EACCES,
    EFAULT,
    ENOTBLK,
    EBUSY,
    EEXIST,
    EXDEV,
    ENODEV,
    ENOTDIR,
    EISDIR,
    EINVAL,
    ENFILE,
    EMFILE,
    ENOTTY,
    ETXTBSY,
    EFBIG,
    ENOSPC,
    ESPIPE,
    EROFS,
    EMLINK,
    EPIPE,
    EDOM,
    ERANGE,
    EDEADLK,
    ENAMETOOLONG,
    ENOLCK,
    ENOSYS,
    ENOTEMPTY,
    ELOOP,
    ENODATA,
    ETIME,
    EOVERFLOW,
    ELIBBAD,
    ENOTSOCK,
    EDESTADDRREQ,
    EMSGSIZE,
    EPROTOTYPE,
    ENOPROTOOPT,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
    EOPNOTSUPP,
    EPFNOSUPPORT,
    EAFNOSUPPORT,
    EADDRINUSE,
    EADDRNOTAVAIL,
    ENETDOWN,
    ENETUNREACH,
    ECONNABORTED,
    ECONNRESET,
    ENOBUFS,
    EISCONN,
    ENOTCONN,
    ETIMEDOUT,
    ECONNREFUSED,
    EHOSTUNREACH,
    EALREADY,
    EINPROGRESS,
    ESTALE,
    EDQUOT,
    ECANCELED,
    EPROTO,
    EILSEQ,
);

impl Errno {
    /// Internal: the call was interrupted; it starts again after the handler if that was
    /// installed with `SA_RESTART`, else the program sees `EINTR`. Linux' `ERESTARTSYS`.
    pub const RESTART: Self = Self(512);
    /// Internal: as `RESTART`, but started again whatever the handler's flags (`ERESTARTNOINTR`).
    pub const RESTART_ALWAYS: Self = Self(513);
    /// Internal: as `RESTART`, but never started again when a handler ran (`ERESTARTNOHAND`).
    pub const RESTART_NO_HANDLER: Self = Self(514);

    /// As a system call returns it.
    #[must_use]
    pub const fn to_register(self) -> u64 {
        (self.0 as i64).wrapping_neg() as u64
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
