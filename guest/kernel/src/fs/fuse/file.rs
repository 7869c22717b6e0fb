//! Open files of a directory of the host.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use guest_abi::fuse::{
    FSYNC_FDATASYNC, FallocateIn, FlushIn, FsyncIn, LseekIn, LseekOut, Opcode, OpenIn, OpenOut,
    ReadIn, ReleaseIn, SetattrIn, WriteIn, WriteOut, init, setattr,
};
use guest_hal::host_file::HostFile;
use guest_hal::memory::Extent;
use guest_hal::virtio::{Source, Target};
use linux_raw_sys::general as raw;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::node::FuseInode;
use super::stream::Stream;
use super::{Request, Session, Use, bounce};
use crate::fs::buffer::{Destination, Origin};
use crate::fs::file::{File, Io, Lockable, Positioning, Regular};
use crate::fs::inode::Inode;
use crate::fs::pages::{Backing, PageStore};
use crate::{Errno, Result};

/// Flags of open(2) that have done their work when the server opens what there is.
const NOT_AT_OPEN: u32 = raw::O_CREAT | raw::O_EXCL | raw::O_NOCTTY;

/// A file that is open at the server; closed when dropped.
#[derive(Debug)]
pub(super) struct Handle {
    fs: Arc<super::FuseFs>,
    node: u64,
    pub(super) fh: u64,
    flags: u32,
}

impl Handle {
    pub(super) fn open(inode: &FuseInode, flags: u32) -> Result<Arc<Self>> {
        let session = &inode.fs.session;
        let truncates = flags & raw::O_TRUNC != 0;
        let truncates_apart = truncates && !session.can(init::ATOMIC_O_TRUNC);
        let ask = OpenIn {
            flags: flags & !(NOT_AT_OPEN | if truncates_apart { raw::O_TRUNC } else { 0 }),
            open_flags: 0,
        };
        let reply: OpenOut = inode
            .fs
            .ask_to_keep(inode.request(Opcode::Open), &ask, &[])?;
        let handle = Self::of(inode, &reply, flags);
        if truncates_apart {
            inode.set(&SetattrIn {
                valid: setattr::SIZE | setattr::FH,
                fh: handle.fh,
                ..SetattrIn::default()
            })?;
        }
        Ok(handle)
    }

    pub(super) fn of(inode: &FuseInode, reply: &OpenOut, flags: u32) -> Arc<Self> {
        Arc::new(Self {
            fs: inode.fs.clone(),
            node: inode.node,
            fh: reply.fh,
            flags,
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let ask = ReleaseIn {
            fh: self.fh,
            flags: self.flags,
            ..ReleaseIn::default()
        };
        let request = Request::new(Opcode::Release, self.node);
        // A server that cannot close has nothing to tell the program.
        let _: Result<()> = self.fs.session.ask(request, &ask, &[]);
    }
}

/// The server as the source of a file's pages.
#[derive(Debug)]
pub(super) struct ServerBacking<'a> {
    pub(super) inode: &'a FuseInode,
    pub(super) handle: Arc<Handle>,
    pub(super) end: u64,
}

/// An open file.
#[derive(Debug)]
pub struct FuseFile {
    pub(super) inode: Arc<FuseInode>,
    pub(super) handle: Arc<Handle>,
    stream: Stream,
}

/// Reads, in several requests if need be, up to the end of the file.
fn read_all(
    inode: &FuseInode,
    fh: u64,
    offset: u64,
    (extent, at): (&Extent, u64),
    length: u64,
) -> Result<u64> {
    let mut done = 0;
    while done < length {
        let size = (length - done).min(inode.fs.session.transfer_max());
        let ask = ReadIn {
            fh,
            offset: offset + done,
            size: size as u32,
            ..ReadIn::default()
        };
        let send = [Source::Bytes(ask.as_bytes())];
        let into = &mut [Target::Extent(extent, at + done, size)];
        let got = match inode
            .fs
            .session
            .call(inode.request(Opcode::Read), &send, into)
        {
            Err(_) if done > 0 => break,
            result => (result? as u64).min(size),
        };
        done += got;
        if got < size {
            break;
        }
    }
    Ok(done)
}

/// Sends a WRITE; returns how many bytes the server took.
pub(in crate::fs) fn send_write(
    session: &Session,
    request: Request,
    ask: &WriteIn,
    from: Source<'_>,
) -> Result<u64> {
    let mut reply = WriteOut::new_zeroed();
    let send = [Source::Bytes(ask.as_bytes()), from];
    let into = &mut [Target::Bytes(reply.as_mut_bytes())];
    let length = session.call(request, &send, into)?;
    if length < size_of::<WriteOut>() || reply.size > ask.size {
        return Err(Errno::EIO);
    }
    Ok(u64::from(reply.size))
}

impl Backing for ServerBacking<'_> {
    fn end(&self) -> u64 {
        self.end
    }

    fn fetch(&self, offset: u64, extent: &Extent, at: u64, length: u64) -> Result<u64> {
        read_all(self.inode, self.handle.fh, offset, (extent, at), length)
    }
}

impl Backing for FuseFile {
    fn end(&self) -> u64 {
        self.inode.known_size()
    }

    fn fetch(&self, offset: u64, extent: &Extent, at: u64, length: u64) -> Result<u64> {
        read_all(&self.inode, self.handle.fh, offset, (extent, at), length)
    }

    fn store(&self, offset: u64, extent: &Extent, at: u64, length: u64) -> Result<()> {
        let mut done = 0;
        while done < length {
            let size = (length - done).min(self.inode.fs.session.transfer_max());
            let ask = self.write_request(offset + done, size, 0);
            let wrote = self.send(&ask, Source::Extent(extent, at + done, size))?;
            if wrote == 0 {
                return Err(Errno::EIO);
            }
            done += wrote;
        }
        self.inode.wrote(0);
        Ok(())
    }
}

impl FuseFile {
    pub(super) const fn new(inode: Arc<FuseInode>, handle: Arc<Handle>) -> Self {
        Self {
            inode,
            handle,
            stream: Stream::new(),
        }
    }

    fn send(&self, ask: &WriteIn, from: Source<'_>) -> Result<u64> {
        send_write(
            &self.inode.fs.session,
            self.inode.request(Opcode::Write),
            ask,
            from,
        )
    }

    fn write_request(&self, offset: u64, size: u64, flags: u32) -> WriteIn {
        let flags = flags & !raw::O_ACCMODE | (self.handle.flags & raw::O_ACCMODE);
        WriteIn {
            fh: self.handle.fh,
            offset,
            size: size as u32,
            flags,
            ..WriteIn::default()
        }
    }

    /// Moves the program's bytes to the server by way of a bounce buffer, and to the pages
    /// that are cached; whether all that was to be moved was.
    fn write_piece(&self, io: Io, at: u64, from: &mut Origin<'_>, bounce: &Extent) -> Result<bool> {
        let before = from.done();
        let size = from
            .remaining()
            .min(bounce::SIZE)
            .min(self.inode.fs.session.transfer_max());
        let taken = from.take_extent(bounce, 0, size);
        let size = from.done() - before;
        if size == 0 {
            return taken.map(|()| false);
        }
        let ask = self.write_request(at, size, io.flags);
        let result = self.send(&ask, Source::Extent(bounce, 0, size));
        let wrote = *result.as_ref().unwrap_or(&0);
        from.rewind(before + wrote);
        if wrote > 0 {
            self.inode.pages().update(at, bounce, 0, wrote);
            self.inode.wrote(at + wrote);
        }
        result?;
        taken.map(|()| wrote == size)
    }
}

impl Drop for FuseFile {
    fn drop(&mut self) {
        if self.inode.fs.usage == Use::Lower {
            self.inode.fs.keep(self.handle.clone());
        }
    }
}

impl File for FuseFile {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        let offset = io.offset();
        let mut size = self.inode.known_size();
        if offset.saturating_add(into.remaining()) > size {
            size = self.inode.metadata()?.size;
        }
        if self.stream.suits(size, offset) && !self.inode.pages().is_present(offset) {
            let version = self.inode.version();
            return self.stream.read(self, version, size, offset, into);
        }
        self.inode.pages().read(self, size, offset, into)
    }

    fn write(&self, io: Io, from: &mut Origin<'_>) -> Result<()> {
        bounce::with(|bounce| {
            let append = io.is_append();
            let mut at = if append {
                self.inode.refresh()?.size
            } else {
                io.offset()
            };
            while from.remaining() > 0 {
                let before = from.done();
                if !self.write_piece(io, at, from, bounce)? {
                    break;
                }
                at += from.done() - before;
            }
            Ok(())
        })
    }

    fn positioning(&self) -> Positioning {
        Positioning::Description
    }

    fn seek(&self, offset: i64, whence: u32) -> Result<u64> {
        let offset = offset.cast_unsigned();
        let ask = LseekIn {
            fh: self.handle.fh,
            offset,
            whence,
            padding: 0,
        };
        let request = self.inode.request(Opcode::Lseek);
        match self.inode.fs.session.ask::<_, LseekOut>(request, &ask, &[]) {
            // One that knows no holes has data everywhere.
            Err(Errno::ENOSYS) if whence == raw::SEEK_DATA => Ok(offset),
            Err(Errno::ENOSYS) if whence == raw::SEEK_HOLE => Ok(self.inode.known_size()),
            reply => Ok(reply?.offset),
        }
    }

    fn flush(&self, owner: u64) -> Result<()> {
        if !self.inode.locked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let ask = FlushIn {
            fh: self.handle.fh,
            lock_owner: owner,
            ..FlushIn::default()
        };
        let request = self.inode.request(Opcode::Flush);
        or_not_served(self.inode.fs.session.ask(request, &ask, &[]), Ok(()))
    }

    fn as_regular(&self) -> Option<&dyn Regular> {
        Some(self)
    }

    fn as_lockable(&self) -> Option<&dyn Lockable> {
        let kept = self
            .inode
            .fs
            .session
            .can(init::POSIX_LOCKS | init::FLOCK_LOCKS);
        (self.inode.fs.usage == Use::Volume && kept).then_some(self as _)
    }
}

impl Regular for FuseFile {
    fn size(&self) -> Result<u64> {
        self.inode.metadata().map(|metadata| metadata.size)
    }

    fn truncate(&self, size: u64) -> Result<()> {
        let valid = setattr::SIZE | setattr::FH;
        self.inode.set(&SetattrIn {
            valid,
            fh: self.handle.fh,
            size,
            ..SetattrIn::default()
        })
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        if self.inode.fs.usage == Use::Lower {
            return Ok(());
        }
        let fsync_flags = if data_only { FSYNC_FDATASYNC } else { 0 };
        let ask = FsyncIn {
            fh: self.handle.fh,
            fsync_flags,
            padding: 0,
        };
        let request = self.inode.request(Opcode::Fsync);
        or_not_served(self.inode.fs.session.ask(request, &ask, &[]), Ok(()))
    }

    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<()> {
        let ask = FallocateIn {
            fh: self.handle.fh,
            offset,
            length,
            mode,
            padding: 0,
        };
        let request = self.inode.request(Opcode::Fallocate);
        let result = self.inode.fs.session.ask(request, &ask, &[]);
        or_not_served(result, Err(Errno::EOPNOTSUPP))?;
        if mode & (raw::FALLOC_FL_PUNCH_HOLE | raw::FALLOC_FL_ZERO_RANGE) != 0 {
            self.inode.drop_pages();
        }
        self.inode.wrote(0);
        self.inode.refresh().map(drop)
    }

    fn read_into_extent(&self, offset: u64, extent: &Extent, at: u64, length: u64) -> Result<u64> {
        let length = length.min(self.inode.known_size().saturating_sub(offset));
        self.inode
            .pages()
            .copy_out(self, offset, (extent, at), length)
    }

    fn host_file(&self, ask: bool) -> Option<Arc<HostFile>> {
        // A volume's file may have pages here that the host has yet to see.
        if self.inode.fs.usage != Use::Lower {
            return None;
        }
        self.inode.host_file(self.handle.fh, ask)
    }

    fn pages(&self) -> Result<Arc<PageStore>> {
        let backing = Self::new(self.inode.clone(), self.handle.clone());
        Ok(PageStore::new(
            self.inode.pages().clone(),
            Arc::new(backing),
        ))
    }
}

/// What a request means that this server does not serve.
fn or_not_served(result: Result<()>, otherwise: Result<()>) -> Result<()> {
    match result {
        Err(Errno::ENOSYS) => otherwise,
        result => result,
    }
}

/// Reads a wire structure from the front of `bytes`.
pub(super) fn front<T: FromBytes>(bytes: &[u8]) -> Option<(T, &[u8])> {
    T::read_from_prefix(bytes).ok()
}
