//! Operations on the tree: finding, making, renaming and removing names.
//!
//! What: LOOKUP, FORGET, READLINK, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME and LINK.
//!
//! Neighbours: [`super::files`] has CREATE, which also opens.
//!
//! What it does not do: no paths; every name is one step below a node's descriptor.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use guest_abi::fuse::{
    BatchForgetIn, EntryOut, ForgetIn, ForgetOne, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn,
};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid};
use rustix::io::Errno;

use super::{DirectoryService, Owner, enter};
use crate::confine;
use crate::wire::{Call, Result, VALID_SECONDS};

/// The set-group-id bit: on a directory, new entries inherit the directory's group.
const SET_GROUP_ID: u32 = 0o2000;

/// What a new file is to be.
pub(super) struct Wish {
    uid: u32,
    /// Nothing when the host's kernel has already given it the directory's group.
    gid: Option<u32>,
    mode: Option<u32>,
    kind: FileType,
}

impl DirectoryService {
    pub(super) fn lookup(&mut self, call: &mut Call<'_>) -> Result<()> {
        let names = call.names();
        let parent = self.nodes.directory(call.header.nodeid)?;
        let entry = match confine::open_child(parent.fd(), names.one()?) {
            Ok(fd) => enter(&mut self.nodes, fd)?,
            // Node id 0: the absence itself may be cached.
            Err(Errno::NOENT) => EntryOut {
                entry_valid: VALID_SECONDS,
                ..EntryOut::default()
            },
            Err(errno) => return Err(errno),
        };
        call.put(&entry)
    }

    pub(super) fn forget(&mut self, call: &mut Call<'_>) -> Result<()> {
        let forget: ForgetIn = call.take()?;
        self.forget_one(ForgetOne {
            nodeid: call.header.nodeid,
            nlookup: forget.nlookup,
        });
        Ok(())
    }

    pub(super) fn batch_forget(&mut self, call: &mut Call<'_>) -> Result<()> {
        let batch: BatchForgetIn = call.take()?;
        for _ in 0..batch.count {
            let one = call.take()?; // ends with the request, whatever the count says
            self.forget_one(one);
        }
        Ok(())
    }

    fn forget_one(&mut self, forget: ForgetOne) {
        if self.nodes.forget(forget.nodeid, forget.nlookup) && self.locks.any_on(forget.nodeid) {
            self.locks.end_node(forget.nodeid);
        }
    }

    pub(super) fn readlink(&mut self, call: &mut Call<'_>) -> Result<()> {
        let node = self.nodes.get(call.header.nodeid)?;
        if node.kind != FileType::Symlink {
            return Err(Errno::INVAL);
        }
        let mut text = [const { MaybeUninit::uninit() }; 4096];
        let (text, _) = rustix::fs::readlinkat_raw(node.fd(), c"", &mut text[..])?;
        call.put_bytes(text)
    }

    pub(super) fn symlink(&mut self, call: &mut Call<'_>) -> Result<()> {
        let names = call.names();
        let (name, text) = names.name_and_text()?;
        self.nodes.room()?;
        let parent = self.nodes.directory(call.header.nodeid)?;
        rustix::fs::symlinkat(text, parent.fd(), name)?;
        self.settle(call, name, FileType::Symlink, None)
    }

    pub(super) fn mkdir(&mut self, call: &mut Call<'_>) -> Result<()> {
        let mkdir: MkdirIn = call.take()?;
        let names = call.names();
        let name = names.one()?;
        self.nodes.room()?;
        let parent = self.nodes.directory(call.header.nodeid)?;
        rustix::fs::mkdirat(parent.fd(), name, private(mkdir.mode))?;
        self.settle(call, name, FileType::Directory, Some(mkdir.mode))
    }

    pub(super) fn mknod(&mut self, call: &mut Call<'_>) -> Result<()> {
        let mknod: MknodIn = call.take()?;
        let names = call.names();
        let name = names.one()?;
        self.nodes.room()?;
        let kind = node_kind(mknod.mode)?;
        let parent = self.nodes.directory(call.header.nodeid)?;
        rustix::fs::mknodat(parent.fd(), name, kind, private(mknod.mode), 0)?;
        self.settle(call, name, kind, Some(mknod.mode))
    }

    /// Gives what was just created under `name` its owner and mode, and enters it.
    fn settle(
        &mut self,
        call: &mut Call<'_>,
        name: &CStr,
        kind: FileType,
        mode: Option<u32>,
    ) -> Result<()> {
        let wish = self.wish(call, kind, mode)?;
        let fd = confine::open_child(self.nodes.directory(call.header.nodeid)?.fd(), name)?;
        if is_fresh(&rustix::fs::fstat(&fd)?, kind) {
            self.grant(fd.as_fd(), &wish)?;
        }
        let entry = enter(&mut self.nodes, fd)?;
        call.put(&entry)
    }

    /// What a file made below the call's node is to be.
    pub(super) fn wish(&self, call: &Call<'_>, kind: FileType, mode: Option<u32>) -> Result<Wish> {
        let parent = self.nodes.directory(call.header.nodeid)?;
        let inherits = rustix::fs::fstat(parent.fd())?.st_mode & SET_GROUP_ID != 0;
        let gid = (!inherits).then_some(call.header.gid);
        Ok(Wish {
            uid: call.header.uid,
            gid,
            mode,
            kind,
        })
    }

    /// Hands a new file over: first the owner, which clears privilege bits, then the mode,
    /// which the monitor's umask must not touch.
    pub(super) fn grant(&self, fd: BorrowedFd<'_>, wish: &Wish) -> Result<()> {
        if self.owner == Owner::Requester {
            chown(fd, Some(wish.uid), wish.gid).or_else(tolerate)?;
        }
        match wish.mode {
            Some(mode) => self
                .reopener
                .set_mode(fd, final_mode(mode, wish))
                .or_else(tolerate),
            None => Ok(()),
        }
    }

    pub(super) fn unlink(&mut self, call: &mut Call<'_>) -> Result<()> {
        self.remove(call, AtFlags::empty())
    }

    pub(super) fn rmdir(&mut self, call: &mut Call<'_>) -> Result<()> {
        self.remove(call, AtFlags::REMOVEDIR)
    }

    fn remove(&mut self, call: &mut Call<'_>, flags: AtFlags) -> Result<()> {
        let names = call.names();
        let parent = self.nodes.directory(call.header.nodeid)?;
        rustix::fs::unlinkat(parent.fd(), names.one()?, flags)
    }

    pub(super) fn rename(&mut self, call: &mut Call<'_>) -> Result<()> {
        let rename: RenameIn = call.take()?;
        self.move_name(call, rename.newdir, RenameFlags::empty())
    }

    pub(super) fn rename2(&mut self, call: &mut Call<'_>) -> Result<()> {
        let rename: Rename2In = call.take()?;
        let flags = RenameFlags::from_bits_retain(rename.flags);
        if !(RenameFlags::NOREPLACE | RenameFlags::EXCHANGE).contains(flags) {
            return Err(Errno::INVAL);
        }
        self.move_name(call, rename.newdir, flags)
    }

    fn move_name(&mut self, call: &mut Call<'_>, newdir: u64, flags: RenameFlags) -> Result<()> {
        let names = call.names();
        let (from, to) = names.two()?;
        let old = self.nodes.directory(call.header.nodeid)?.fd();
        let new = self.nodes.directory(newdir)?.fd();
        if flags.is_empty() {
            return rustix::fs::renameat(old, from, new, to);
        }
        rustix::fs::renameat_with(old, from, new, to, flags)
    }

    pub(super) fn link(&mut self, call: &mut Call<'_>) -> Result<()> {
        let link: LinkIn = call.take()?;
        let names = call.names();
        let name = names.one()?;
        self.nodes.room()?;
        let file = self.nodes.get(link.oldnodeid)?;
        if file.kind == FileType::Directory {
            return Err(Errno::PERM);
        }
        let parent = self.nodes.directory(call.header.nodeid)?;
        self.reopener.link(file.fd(), parent.fd(), name)?;
        // The same file again, whatever the name leads to by now.
        let fd = rustix::io::fcntl_dupfd_cloexec(file.fd(), 0)?;
        let entry = enter(&mut self.nodes, fd)?;
        call.put(&entry)
    }

    /// Makes a file that is already open known to the guest.
    pub(super) fn enter_open(&mut self, file: &OwnedFd) -> Result<EntryOut> {
        let fd = self.reopener.open(file.as_fd(), OFlags::PATH)?;
        enter(&mut self.nodes, fd)
    }
}

/// The kind that MKNOD asks for, of those that are no device.
fn node_kind(mode: u32) -> Result<FileType> {
    match FileType::from_raw_mode(mode) {
        // mknod(2): no kind is a regular file.
        FileType::Unknown if mode & 0o170_000 == 0 => Ok(FileType::RegularFile),
        kind @ (FileType::RegularFile | FileType::Fifo | FileType::Socket) => Ok(kind),
        _ => Err(Errno::PERM),
    }
}

/// The final mode: a directory that inherited its group passes that on.
fn final_mode(mode: u32, wish: &Wish) -> u32 {
    let inherits = wish.gid.is_none() && wish.kind == FileType::Directory;
    if inherits { mode | SET_GROUP_ID } else { mode }
}

/// The mode between creation and [`DirectoryService::grant`]: the owner's bits at most.
pub(super) fn private(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode & 0o700)
}

/// Whether a file is what this service has just created, rather than something that a host
/// program put in its place to have it given away.
fn is_fresh(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && (stat.st_nlink == 1 || kind == FileType::Directory)
}

/// Changes the owner of the inode behind any descriptor. As for `chown`, the number of all
/// ones leaves it; the guest may send it, and no owner can have it.
pub(super) fn chown(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let given = |id: &u32| *id != u32::MAX;
    let uid = uid.filter(given).map(Uid::from_raw);
    let gid = gid.filter(given).map(Gid::from_raw);
    rustix::fs::chownat(
        fd,
        c"",
        uid,
        gid,
        AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW,
    )
}

/// Ignores that the host's file system has no such owners or modes, or not for us (a FAT disk,
/// a squashed NFS, a user namespace without that number): the file stays the monitor's.
fn tolerate(errno: Errno) -> Result<()> {
    match errno {
        Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS => Ok(()),
        other => Err(other),
    }
}
