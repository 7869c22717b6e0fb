//! Reading requests and writing replies.
//!
//! What: [`answer`] frames one request (header in, header out), [`Call`] is that request while
//! it is served, [`Names`] are the names it carries, and [`attributes`] turns the host's `stat`
//! into the protocol's. Every byte of a request is written by an enemy: what does not parse is
//! an errno.
//!
//! Neighbours: both services are written on top of this; `guest_abi::fuse` has the structures.
//!
//! What it does not do: no operation is carried out here.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;

use guest_abi::fuse::{Attr, AttrOut, InHeader, InitIn, InitOut, Opcode, OutHeader, init};
use guest_abi::fuse::{MAJOR, MINOR};
use rustix::fs::Stat;
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::service::{Reply, Request};

/// The outcome of an operation: an errno is the guest's business, never the monitor's.
pub type Result<T> = core::result::Result<T, Errno>;

/// Length of a reply's header.
pub const HEADER_LEN: usize = size_of::<OutHeader>();
/// How long names and attributes may be cached, in seconds.
pub const VALID_SECONDS: u64 = 1;
/// The longest READ and WRITE that the services announce, in bytes.
pub const MAX_TRANSFER: u32 = 1 << 20;
/// The longest name of a directory entry (`NAME_MAX`).
const NAME_MAX: usize = 255;
/// The longest text of a symbolic link (`PATH_MAX`, NUL included).
const PATH_MAX: usize = 4096;
/// Room for the longest pair of strings, a name and a link's text, each with its NUL.
const NAMES_MAX: usize = NAME_MAX + 1 + PATH_MAX;

/// One request being served.
pub struct Call<'a> {
    /// The request's header.
    pub header: InHeader,
    /// What is asked.
    pub opcode: Opcode,
    request: &'a mut dyn Request,
    reply: &'a mut dyn Reply,
}

impl Call<'_> {
    /// Takes the operation's structure off the request.
    ///
    /// # Errors
    /// `EINVAL` when the request ends before it.
    pub fn take<T: FromBytes + IntoBytes>(&mut self) -> Result<T> {
        take(self.request)
    }

    /// Fills `into` from the request.
    ///
    /// # Errors
    /// `EINVAL` when the request ends before it is full.
    pub fn take_bytes(&mut self, into: &mut [u8]) -> Result<()> {
        if self.request.read(into) == into.len() {
            Ok(())
        } else {
            Err(Errno::INVAL)
        }
    }

    /// Takes the names that end the request.
    #[must_use]
    pub fn names(&mut self) -> Names {
        Names::read(self.request)
    }

    /// Bytes of the request that are left.
    #[must_use]
    pub fn data_len(&self) -> usize {
        self.request.remaining()
    }

    /// Bytes of payload that still fit into the reply.
    #[must_use]
    pub fn room(&self) -> usize {
        self.reply.remaining()
    }

    /// Appends a structure to the reply.
    ///
    /// # Errors
    /// `EINVAL` when it does not fit.
    pub fn put<T: IntoBytes + Immutable>(&mut self, value: &T) -> Result<()> {
        self.put_bytes(value.as_bytes())
    }

    /// Appends bytes to the reply, all or none.
    ///
    /// # Errors
    /// `EINVAL` when they do not fit.
    pub fn put_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > self.reply.remaining() || self.reply.write(bytes) != bytes.len() {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    /// Moves the next bytes of the request into `file`; see [`Request::copy_to_file`].
    ///
    /// # Errors
    /// The host's errno.
    pub fn write_to(&mut self, file: BorrowedFd<'_>, at: Option<u64>, len: usize) -> Result<usize> {
        self.request
            .copy_to_file(file, at, len)
            .map_err(|error| errno(&error))
    }

    /// Moves bytes of `file` into the reply; see [`Reply::copy_from_file`].
    ///
    /// # Errors
    /// The host's errno.
    pub fn read_from(
        &mut self,
        file: BorrowedFd<'_>,
        at: Option<u64>,
        len: usize,
    ) -> Result<usize> {
        self.reply
            .copy_from_file(file, at, len)
            .map_err(|error| errno(&error))
    }

    /// Answers INIT: the protocol's version and those of `wanted` flags that the client can.
    ///
    /// # Errors
    /// `EPROTO` for a client of an older major version, `EINVAL` for a malformed request.
    pub fn negotiate(&mut self, wanted: u32) -> Result<()> {
        let asked: InitIn = take_padded(self.request)?;
        if asked.major < MAJOR {
            return Err(Errno::PROTO);
        }
        self.put(&InitOut {
            major: MAJOR,
            minor: MINOR,
            max_readahead: asked.max_readahead.min(MAX_TRANSFER),
            flags: asked.flags & (wanted | init::BIG_WRITES | init::MAX_PAGES),
            max_background: 64,
            congestion_threshold: 48,
            max_write: MAX_TRANSFER,
            time_gran: 1,
            max_pages: (MAX_TRANSFER / 4096) as u16,
            ..InitOut::default()
        })
    }
}

/// Serves one framed request by `body`, and returns the length of the reply (0: none).
pub fn answer(
    request: &mut dyn Request,
    reply: &mut dyn Reply,
    body: impl FnOnce(&mut Call<'_>) -> Result<()>,
) -> u32 {
    let Ok(header) = take::<InHeader>(request) else {
        return finish(reply, 0, 0, Err(Errno::INVAL));
    };
    let Ok(opcode) = Opcode::try_from(header.opcode) else {
        return finish(reply, header.unique, 0, Err(Errno::NOSYS));
    };
    let room = reply.remaining();
    let mut call = Call {
        header,
        opcode,
        request,
        reply,
    };
    let outcome = if room < fixed_reply(opcode) {
        Err(Errno::INVAL)
    } else {
        body(&mut call)
    };
    if matches!(
        opcode,
        Opcode::Forget | Opcode::BatchForget | Opcode::Interrupt
    ) {
        return 0;
    }
    let payload = room.saturating_sub(call.room());
    finish(call.reply, header.unique, payload, outcome)
}

/// Writes the header of the reply; an error has no payload.
fn finish(reply: &mut dyn Reply, unique: u64, payload: usize, outcome: Result<()>) -> u32 {
    let (error, payload) = match outcome {
        Ok(()) => (0, payload),
        Err(errno) => (-errno.raw_os_error(), 0),
    };
    let len = u32::try_from(HEADER_LEN.saturating_add(payload)).unwrap_or(u32::MAX);
    reply.set_header(OutHeader { len, error, unique });
    len
}

/// What a reply must have room for before an operation with effects may begin, so that no
/// lookup, handle or byte is lost to a reply that cannot say so.
fn fixed_reply(opcode: Opcode) -> usize {
    use guest_abi::fuse::{EntryOut, OpenOut, WriteOut};
    match opcode {
        Opcode::Lookup | Opcode::Symlink | Opcode::Mknod | Opcode::Mkdir | Opcode::Link => {
            size_of::<EntryOut>()
        }
        Opcode::Create => size_of::<EntryOut>() + size_of::<OpenOut>(),
        Opcode::Open | Opcode::Opendir => size_of::<OpenOut>(),
        Opcode::Write | Opcode::CopyFileRange => size_of::<WriteOut>(),
        Opcode::Setattr => size_of::<AttrOut>(),
        _ => 0,
    }
}

/// Takes a whole structure off a request.
fn take<T: FromBytes + IntoBytes>(request: &mut dyn Request) -> Result<T> {
    let mut value = T::new_zeroed();
    let read = request.read(value.as_mut_bytes());
    if read == size_of::<T>() {
        Ok(value)
    } else {
        Err(Errno::INVAL)
    }
}

/// Takes INIT's structure, of which older clients send only the first 16 bytes.
fn take_padded(request: &mut dyn Request) -> Result<InitIn> {
    let mut value = InitIn::default();
    let read = request.read(value.as_mut_bytes());
    if read >= 16 {
        Ok(value)
    } else {
        Err(Errno::INVAL)
    }
}

/// The errno of a host's error.
#[must_use]
pub fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The strings that end a request, copied out once.
pub struct Names {
    bytes: [u8; NAMES_MAX],
    len: usize,
}

impl Names {
    fn read(request: &mut dyn Request) -> Self {
        let mut bytes = [0; NAMES_MAX];
        let len = request.read(&mut bytes);
        Self { bytes, len }
    }

    /// The only name.
    ///
    /// # Errors
    /// `EINVAL` or `ENAMETOOLONG` when it is not a plain name of a directory entry.
    pub fn one(&self) -> Result<&CStr> {
        component(self.string(0)?)
    }

    /// The two names of a rename.
    ///
    /// # Errors
    /// As [`Names::one`].
    pub fn two(&self) -> Result<(&CStr, &CStr)> {
        let first = self.one()?;
        Ok((first, component(self.string(first.count_bytes() + 1)?)?))
    }

    /// A name and the text of a symbolic link.
    ///
    /// # Errors
    /// As [`Names::one`]; `ENOENT` for an empty text, as symlink(2).
    pub fn name_and_text(&self) -> Result<(&CStr, &CStr)> {
        let name = self.one()?;
        let text = self.string(name.count_bytes() + 1)?;
        match text.count_bytes() {
            0 => Err(Errno::NOENT),
            PATH_MAX.. => Err(Errno::NAMETOOLONG),
            _ => Ok((name, text)),
        }
    }

    fn string(&self, from: usize) -> Result<&CStr> {
        let rest = self.bytes.get(from..self.len).ok_or(Errno::INVAL)?;
        let unended = if self.len == NAMES_MAX {
            Errno::NAMETOOLONG
        } else {
            Errno::INVAL
        };
        CStr::from_bytes_until_nul(rest).map_err(|_| unended)
    }
}

/// Accepts only a plain name: one step down, never up, never sideways.
fn component(name: &CStr) -> Result<&CStr> {
    let bytes = name.to_bytes();
    if bytes.len() > NAME_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(Errno::INVAL);
    }
    Ok(name)
}

/// The protocol's form of a host file's attributes.
#[must_use]
pub fn attributes(stat: &Stat) -> Attr {
    Attr {
        ino: stat.st_ino,
        size: stat.st_size.cast_unsigned(),
        blocks: stat.st_blocks.cast_unsigned(),
        atime: stat.st_atime.cast_unsigned(),
        mtime: stat.st_mtime.cast_unsigned(),
        ctime: stat.st_ctime.cast_unsigned(),
        atimensec: stat.st_atime_nsec as u32,
        mtimensec: stat.st_mtime_nsec as u32,
        ctimensec: stat.st_ctime_nsec as u32,
        mode: stat.st_mode,
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: device_number(stat.st_rdev),
        blksize: u32::try_from(stat.st_blksize).unwrap_or(4096),
        flags: 0,
    }
}

/// The same as the reply of GETATTR and SETATTR.
#[must_use]
pub fn attributes_out(stat: &Stat) -> AttrOut {
    AttrOut {
        attr_valid: VALID_SECONDS,
        attr: attributes(stat),
        ..AttrOut::default()
    }
}

/// The kernel's 32-bit encoding of a device number (`new_encode_dev`).
fn device_number(device: u64) -> u32 {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryReply, MemoryRequest};

    fn names(bytes: &[u8]) -> Names {
        Names::read(&mut MemoryRequest::new(bytes.to_vec()))
    }

    #[test]
    fn only_plain_names_pass() {
        assert_eq!(names(b"a\0").one(), Ok(c"a"));
        for bad in [&b""[..], b"a", b"\0", b".\0", b"..\0", b"a/b\0", b"/\0"] {
            assert_eq!(names(bad).one(), Err(Errno::INVAL), "{bad:?}");
        }
        let long = [b'x'; 256];
        assert_eq!(
            names(&[&long[..], b"\0"].concat()).one(),
            Err(Errno::NAMETOOLONG)
        );
        assert!(names(&[&long[1..], b"\0"].concat()).one().is_ok());
        assert_eq!(names(&[b'x'; 9000]).one(), Err(Errno::NAMETOOLONG));
    }

    #[test]
    fn pairs_need_both_names() {
        assert_eq!(names(b"a\0b\0").two(), Ok((c"a", c"b")));
        assert_eq!(names(b"a\0").two(), Err(Errno::INVAL));
        assert_eq!(names(b"a\0../b\0").name_and_text(), Ok((c"a", c"../b")));
        assert_eq!(names(b"a\0\0").name_and_text(), Err(Errno::NOENT));
    }

    #[test]
    fn a_truncated_header_is_answered() {
        let mut reply = MemoryReply::new(64);
        let len = answer(&mut MemoryRequest::new(vec![1; 39]), &mut reply, |_| Ok(()));
        assert_eq!(len, 16);
        assert_eq!(reply.header().map(|header| header.error), Some(-22));
    }
}
