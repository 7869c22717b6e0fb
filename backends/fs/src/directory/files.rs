//! Operations on open files.
//!
//! What: OPEN, CREATE, READ, WRITE, RELEASE, FSYNC, FLUSH, LSEEK, FALLOCATE, COPY_FILE_RANGE,
//! SETUPMAPPING.
//!
//! Neighbours: [`crate::confine`] opens, [`crate::handles`] keeps.
//!
//! What it does not do: no I/O on anything but regular files.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use guest_abi::fuse::{
    CopyFileRangeIn, CreateIn, EntryOut, FallocateIn, FlushIn, FsyncIn, LseekIn, LseekOut, OpenIn,
    OpenOut, ReadIn, ReleaseIn, SetupmappingIn, WriteIn, WriteOut,
};
use guest_abi::fuse::{FSYNC_FDATASYNC, OPEN_KILL_SUIDGID, WRITE_KILL_SUIDGID};
use rustix::fs::{FallocateFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::names::private;
use super::{Access, DirectoryService, enter};
use crate::confine;
use crate::handles::{Handle, Kind};
use crate::wire::{Call, Result};

/// How often CREATE tries again when the name appears and disappears under its hands.
const CREATE_TRIES: usize = 8;
/// The most that one COPY_FILE_RANGE copies, so that other requests get their turn.
const COPY_MAX: u64 = 64 << 20;

impl DirectoryService {
    pub(super) fn open(&mut self, call: &mut Call<'_>) -> Result<()> {
        let open: OpenIn = call.take()?;
        let flags = self.open_flags(open.flags)?;
        self.handles.room()?;
        let fd = self.open_node(call.header.nodeid, flags)?;
        if flags.contains(OFlags::TRUNC) && open.open_flags & OPEN_KILL_SUIDGID != 0 {
            drop_privilege_bits(fd.as_fd())?;
        }
        let out = self.handle(call.header.nodeid, fd, flags)?;
        call.put(&out)
    }

    /// Opens a node for I/O, if it is a regular file.
    fn open_node(&self, node: u64, flags: OFlags) -> Result<OwnedFd> {
        let node = self.nodes.get(node)?;
        match node.kind {
            FileType::RegularFile => self.reopener.open(node.fd(), flags),
            FileType::Directory => Err(Errno::ISDIR),
            FileType::Symlink => Err(Errno::LOOP),
            _ => Err(Errno::ACCESS),
        }
    }

    /// Hands a file over, opened anew for reading alone: what the guest keeps open of it holds none
    /// of its locks. Only what has blocks on a store: what the host's kernel makes up when it is
    /// read (`/proc`, `/sys`) may show more to who maps it, such as a device.
    pub(super) fn set_up_mapping(&mut self, call: &mut Call<'_>) -> Result<()> {
        let hand_over = self.hand_over.as_ref().ok_or(Errno::NOSYS)?;
        let setup: SetupmappingIn = call.take()?;
        let node = call.header.nodeid;
        self.handles.get(setup.fh, node, Kind::File)?;
        let file = self.open_node(node, OFlags::RDONLY)?;
        if rustix::fs::fstat(&file)?.st_blocks == 0 {
            return Err(Errno::NODEV);
        }
        let handed = hand_over(setup.moffset, file.as_fd());
        handed.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    fn handle(&mut self, node: u64, fd: OwnedFd, flags: OFlags) -> Result<OpenOut> {
        let flags = flags - OFlags::TRUNC;
        let fh = self.handles.insert(Handle {
            fd,
            node,
            kind: Kind::File,
            flags,
        })?;
        Ok(OpenOut {
            fh,
            ..OpenOut::default()
        })
    }

    /// Which of the guest's open flags reach the host. `O_DIRECT` does not: it is about the guest's
    /// cache, and the host would want its buffers aligned.
    fn open_flags(&self, raw: u32) -> Result<OFlags> {
        let asked = OFlags::from_bits_retain(raw);
        if raw & 3 == 3 {
            return Err(Errno::INVAL);
        }
        if asked.contains(OFlags::DIRECTORY) {
            return Err(Errno::NOTDIR);
        }
        let changes = asked.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC);
        if changes && self.access == Access::ReadOnly {
            return Err(Errno::ROFS);
        }
        let kept = OFlags::WRONLY | OFlags::RDWR | OFlags::APPEND | OFlags::TRUNC | OFlags::SYNC;
        Ok(asked & (kept | OFlags::DSYNC))
    }

    pub(super) fn create(&mut self, call: &mut Call<'_>) -> Result<()> {
        let create: CreateIn = call.take()?;
        let names = call.names();
        let flags = self.open_flags(create.flags)?;
        self.handles.room()?;
        self.nodes.room()?;
        let (entry, fd) = self.create_or_open(call, names.one()?, flags, &create)?;
        let out = self.handle(entry.nodeid, fd, flags)?;
        call.put(&entry)?;
        call.put(&out)
    }

    fn create_or_open(
        &mut self,
        call: &Call<'_>,
        name: &CStr,
        flags: OFlags,
        create: &CreateIn,
    ) -> Result<(EntryOut, OwnedFd)> {
        let exclusive = create.flags & OFlags::EXCL.bits() != 0;
        for _ in 0..CREATE_TRIES {
            match self.create_new(call, name, flags, create.mode) {
                Err(Errno::EXIST) if !exclusive => {}
                outcome => return outcome,
            }
            match self.open_existing(call, name, flags) {
                Err(Errno::NOENT) => {}
                outcome => return outcome,
            }
        }
        Err(Errno::AGAIN)
    }

    fn create_new(
        &mut self,
        call: &Call<'_>,
        name: &CStr,
        flags: OFlags,
        mode: u32,
    ) -> Result<(EntryOut, OwnedFd)> {
        let wish = self.wish(call, FileType::RegularFile, Some(mode))?;
        let parent = self.nodes.directory(call.header.nodeid)?;
        let fd = confine::create_child(parent.fd(), name, flags - OFlags::TRUNC, private(mode))?;
        self.grant(fd.as_fd(), &wish)?;
        Ok((self.enter_open(&fd)?, fd))
    }

    fn open_existing(
        &mut self,
        call: &Call<'_>,
        name: &CStr,
        flags: OFlags,
    ) -> Result<(EntryOut, OwnedFd)> {
        let parent = self.nodes.directory(call.header.nodeid)?;
        let reference = confine::open_child(parent.fd(), name)?;
        let entry = enter(&mut self.nodes, reference)?;
        match self.open_node(entry.nodeid, flags) {
            Ok(fd) => Ok((entry, fd)),
            Err(errno) => {
                self.nodes.forget(entry.nodeid, 1);
                Err(errno)
            }
        }
    }

    pub(super) fn read(&mut self, call: &mut Call<'_>) -> Result<()> {
        let read: ReadIn = call.take()?;
        let file = self.handles.get(read.fh, call.header.nodeid, Kind::File)?;
        let (offset, len) = range(read.offset, read.size)?;
        if len > call.room() {
            return Err(Errno::INVAL); // a shorter answer would look like the end of the file
        }
        transfer(offset, len, |at, left| {
            call.read_from(file.fd(), Some(at), left)
        })
        .map(drop)
    }

    pub(super) fn write(&mut self, call: &mut Call<'_>) -> Result<()> {
        let write: WriteIn = call.take()?;
        let file = self.handles.file_mut(write.fh, call.header.nodeid)?;
        let (offset, len) = range(write.offset, write.size)?;
        if len > call.data_len() {
            return Err(Errno::INVAL);
        }
        follow_append(file, write.flags)?;
        if write.write_flags & WRITE_KILL_SUIDGID != 0 {
            drop_privilege_bits(file.fd())?;
        }
        let written = transfer(offset, len, |at, left| {
            call.write_to(file.fd(), Some(at), left)
        })?;
        call.put(&WriteOut {
            size: written as u32,
            padding: 0,
        })
    }

    pub(super) fn release(&mut self, call: &mut Call<'_>, kind: Kind) -> Result<()> {
        let release: ReleaseIn = call.take()?;
        let node = call.header.nodeid;
        self.handles.close(release.fh, node, kind)?;
        if self.locks.any_on(node) && !self.handles.any_of(node) {
            self.locks.end_node(node);
        }
        Ok(())
    }

    pub(super) fn fsync(&mut self, call: &mut Call<'_>, kind: Kind) -> Result<()> {
        let fsync: FsyncIn = call.take()?;
        let file = self.handles.get(fsync.fh, call.header.nodeid, kind)?;
        if fsync.fsync_flags & FSYNC_FDATASYNC != 0 {
            return rustix::fs::fdatasync(file.fd());
        }
        rustix::fs::fsync(file.fd())
    }

    /// A close(2): POSIX has it end all of the process's record locks on the file.
    pub(super) fn flush(&mut self, call: &mut Call<'_>) -> Result<()> {
        let flush: FlushIn = call.take()?;
        self.handles.get(flush.fh, call.header.nodeid, Kind::File)?;
        self.locks.end_owner((call.header.nodeid, flush.lock_owner));
        Ok(())
    }

    pub(super) fn lseek(&mut self, call: &mut Call<'_>) -> Result<()> {
        let lseek: LseekIn = call.take()?;
        let file = self.handles.get(lseek.fh, call.header.nodeid, Kind::File)?;
        let to = match lseek.whence {
            0 => SeekFrom::Start(position(lseek.offset)?),
            2 => SeekFrom::End(lseek.offset.cast_signed()),
            3 => SeekFrom::Data(position(lseek.offset).map_err(|_| Errno::NXIO)?),
            4 => SeekFrom::Hole(position(lseek.offset).map_err(|_| Errno::NXIO)?),
            _ => return Err(Errno::INVAL),
        };
        // The description's own position is used by nobody.
        let offset = rustix::fs::seek(file.fd(), to)?;
        call.put(&LseekOut { offset })
    }

    pub(super) fn fallocate(&mut self, call: &mut Call<'_>) -> Result<()> {
        let fallocate: FallocateIn = call.take()?;
        let file = self
            .handles
            .get(fallocate.fh, call.header.nodeid, Kind::File)?;
        let mode = allocation_mode(fallocate.mode)?;
        let (offset, length) = (position(fallocate.offset)?, position(fallocate.length)?);
        rustix::fs::fallocate(file.fd(), mode, offset, length)
    }

    pub(super) fn copy_file_range(&mut self, call: &mut Call<'_>) -> Result<()> {
        let copy: CopyFileRangeIn = call.take()?;
        let from = self
            .handles
            .get(copy.fh_in, call.header.nodeid, Kind::File)?;
        let to = self.handles.get(copy.fh_out, copy.nodeid_out, Kind::File)?;
        if copy.flags != 0 {
            return Err(Errno::INVAL);
        }
        let (mut at, mut onto) = (position(copy.off_in)?, position(copy.off_out)?);
        let len = copy.len.min(COPY_MAX) as usize;
        let copied =
            rustix::fs::copy_file_range(from.fd(), Some(&mut at), to.fd(), Some(&mut onto), len)?;
        call.put(&WriteOut {
            size: copied as u32,
            padding: 0,
        })
    }
}

/// Follows fcntl(`F_SETFL`) of the guest: a file may begin or cease to append while it is
/// open. Flags without an access mode are those of a client that does not say.
fn follow_append(file: &mut Handle, raw: u32) -> Result<()> {
    let wanted = OFlags::from_bits_retain(raw) & OFlags::APPEND;
    if raw & 3 == 0 || wanted == file.flags & OFlags::APPEND {
        return Ok(());
    }
    rustix::fs::fcntl_setfl(file.fd(), wanted)?;
    file.flags = (file.flags - OFlags::APPEND) | wanted;
    Ok(())
}

/// Clears set-user-id, and set-group-id where it grants something, as a write by an ordinary
/// user does; the host does not do it by itself when the monitor is root.
pub(super) fn drop_privilege_bits(file: BorrowedFd<'_>) -> Result<()> {
    let mode = rustix::fs::fstat(file)?.st_mode & 0o7777;
    let granted = if mode & 0o010 != 0 { 0o6000 } else { 0o4000 };
    if mode & granted == 0 {
        return Ok(());
    }
    rustix::fs::fchmod(file, Mode::from_bits_truncate(mode & !granted))
}

/// Moves all of a range, in as many steps as the host takes; a failure after the first bytes
/// is reported by the next request.
fn transfer(
    offset: u64,
    len: usize,
    mut step: impl FnMut(u64, usize) -> Result<usize>,
) -> Result<usize> {
    let mut done = 0;
    while done < len {
        match step(offset.saturating_add(done as u64), len - done) {
            Ok(0) => break,
            Ok(moved) => done += moved.min(len - done),
            Err(Errno::INTR) => {}
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// An offset that the host can have.
pub(super) fn position(offset: u64) -> Result<u64> {
    if i64::try_from(offset).is_ok() {
        Ok(offset)
    } else {
        Err(Errno::INVAL)
    }
}

/// A range whose end the host can have.
fn range(offset: u64, size: u32) -> Result<(u64, usize)> {
    position(offset.saturating_add(u64::from(size)))?;
    Ok((offset, size as usize))
}

/// The kinds of allocation that leave the rest of the file where it is.
fn allocation_mode(raw: u32) -> Result<FallocateFlags> {
    let mode = FallocateFlags::from_bits_retain(raw);
    let (keep, punch) = (FallocateFlags::KEEP_SIZE, FallocateFlags::PUNCH_HOLE);
    let served = [
        FallocateFlags::empty(),
        keep,
        keep | punch,
        FallocateFlags::ZERO_RANGE,
        FallocateFlags::ZERO_RANGE | keep,
    ];
    if served.contains(&mode) {
        Ok(mode)
    } else {
        Err(Errno::OPNOTSUPP)
    }
}
