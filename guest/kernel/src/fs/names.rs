//! What a process does with names and metadata, with permissions checked as Linux does.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as raw;

use super::access;
use super::caller::Caller;
use super::entry::Location;
use super::inode::NewInode;
use super::inotify;
use super::metadata::{Change, FileKind, Metadata, NewTime};
use super::walk::{Follow, Last, Walk};
use crate::{Errno, Result};

/// The place of a name that need not exist.
#[derive(Debug)]
pub struct Target {
    /// The directory.
    pub parent: Location,
    /// The name.
    pub name: Vec<u8>,
    /// Whether slashes follow it.
    pub slashes: bool,
}

impl Target {
    fn child(&self) -> Result<Option<Location>> {
        self.parent.child(&self.name)
    }
}

impl Caller {
    /// Resolves a path to the place of its last name; `place` is the error for paths that
    /// end in ".", ".." or nothing.
    fn target(&self, start: &Location, path: &[u8], place: Errno) -> Result<Target> {
        let mut walk = Walk::new(self, start, path, 0)?;
        match walk.reach_parent()? {
            Last::Name(name, slashes) => Ok(Target {
                parent: walk.at,
                name,
                slashes,
            }),
            Last::Place => Err(place),
        }
    }

    /// As [`Self::target`], for a name that must be free.
    fn free_target(&self, start: &Location, path: &[u8], directory: bool) -> Result<Target> {
        let target = self.target(start, path, Errno::EEXIST)?;
        if target.child()?.is_some() {
            return Err(Errno::EEXIST);
        }
        if target.slashes && !directory {
            return Err(Errno::ENOENT);
        }
        Ok(target)
    }

    fn make(&self, target: &Target, new: NewInode<'_>) -> Result<()> {
        self.create(&target.parent, &target.name, new).map(drop)
    }

    /// `mkdirat`.
    ///
    /// # Errors
    /// Linux'.
    pub fn make_directory(&self, start: &Location, path: &[u8], mode: u32) -> Result<()> {
        let target = self.free_target(start, path, true)?;
        self.make(
            &target,
            self.new_inode(raw::S_IFDIR | (mode & 0o1777 & !self.umask)),
        )
    }

    /// `mknodat`.
    ///
    /// # Errors
    /// Linux'; `EPERM` for device nodes, as in any sandbox.
    pub fn make_node(&self, start: &Location, path: &[u8], mode: u32) -> Result<()> {
        let kind = match mode & raw::S_IFMT {
            0 | raw::S_IFREG => raw::S_IFREG,
            kind @ (raw::S_IFIFO | raw::S_IFSOCK) => kind,
            raw::S_IFCHR | raw::S_IFBLK | raw::S_IFDIR => return Err(Errno::EPERM),
            _ => return Err(Errno::EINVAL),
        };
        let target = self.free_target(start, path, false)?;
        self.make(
            &target,
            self.new_inode(kind | (mode & 0o7777 & !self.umask)),
        )
    }

    /// `symlinkat`.
    ///
    /// # Errors
    /// Linux'.
    pub fn make_link(&self, text: &[u8], start: &Location, path: &[u8]) -> Result<()> {
        if text.is_empty() {
            return Err(Errno::ENOENT);
        }
        let target = self.free_target(start, path, false)?;
        self.make(
            &target,
            NewInode {
                target: text,
                ..self.new_inode(raw::S_IFLNK | 0o777)
            },
        )
    }

    /// `linkat`, the existing file being resolved already.
    ///
    /// # Errors
    /// Linux'.
    pub fn link(&self, existing: &Location, start: &Location, path: &[u8]) -> Result<()> {
        let target = self.free_target(start, path, false)?;
        if !Arc::ptr_eq(&existing.mount, &target.parent.mount) {
            return Err(Errno::EXDEV);
        }
        if existing.is_directory() {
            return Err(Errno::EPERM);
        }
        let found = self
            .changeable(&target.parent)?
            .link(&target.name, existing.inode())?;
        target.parent.entry.install(&target.name, found);
        inotify::links_changed(existing.inode());
        inotify::created(&target.parent, &target.name, existing.inode());
        Ok(())
    }

    /// Checks that a name may be removed from its directory.
    fn check_removable(&self, parent: &Location, victim: &Location) -> Result<()> {
        if victim.mount.root.inode().kind() == FileKind::Directory
            && Arc::ptr_eq(&victim.entry, &victim.mount.root)
        {
            return Err(Errno::EBUSY);
        }
        if self.credentials.is_root() {
            return Ok(());
        }
        access::check_sticky(&parent.metadata()?, &victim.metadata()?, &self.credentials)
    }

    /// `unlinkat`.
    ///
    /// # Errors
    /// Linux'.
    pub fn remove(&self, start: &Location, path: &[u8], directory: bool) -> Result<()> {
        let place = if directory {
            last_place_errno(path)
        } else {
            Errno::EISDIR
        };
        let target = self.target(start, path, place)?;
        let victim = target.child()?.ok_or(Errno::ENOENT)?;
        let is_directory = victim.is_directory();
        if target.slashes && !is_directory {
            return Err(Errno::ENOTDIR);
        }
        let ability = self.changeable(&target.parent)?;
        self.check_removable(&target.parent, &victim)?;
        match (directory, is_directory) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            _ => {}
        }
        ability.remove(&target.name, directory)?;
        target.parent.entry.removed(&target.name);
        victim.inode().lost_name();
        inotify::removed(&target.parent, &target.name, &victim);
        Ok(())
    }

    /// `renameat2`.
    ///
    /// # Errors
    /// Linux'.
    pub fn rename(
        &self,
        (from_start, from): (&Location, &[u8]),
        (to_start, to): (&Location, &[u8]),
        flags: u32,
    ) -> Result<()> {
        let old = self.target(from_start, from, Errno::EBUSY)?;
        let new = self.target(to_start, to, Errno::EBUSY)?;
        if !Arc::ptr_eq(&old.parent.mount, &new.parent.mount) {
            return Err(Errno::EXDEV);
        }
        let source = old.child()?.ok_or(Errno::ENOENT)?;
        let victim = new.child()?;
        self.check_rename(&old, &source, &new, victim.as_ref(), flags)?;
        let ability = self.changeable(&old.parent)?;
        self.changeable(&new.parent)?;
        ability.rename(&old.name, new.parent.inode(), &new.name, flags)?;
        if let Some(victim) = &victim {
            victim.inode().lost_name();
        }
        let is_same = |victim: &Location| Arc::ptr_eq(victim.inode(), source.inode());
        let same = victim.as_ref().is_some_and(is_same);
        let exchanges = flags & raw::RENAME_EXCHANGE != 0;
        match exchanges {
            true => old
                .parent
                .entry
                .exchanged(&old.name, &new.parent.entry, &new.name),
            false if same => {}
            false => old
                .parent
                .entry
                .moved(&old.name, &new.parent.entry, &new.name),
        }
        let (from, to) = ((&old.parent, &*old.name), (&new.parent, &*new.name));
        match victim {
            Some(_) if same => {}
            Some(victim) if exchanges => {
                inotify::renamed(from, to, &source, None);
                inotify::renamed(to, from, &victim, None);
            }
            victim => inotify::renamed(from, to, &source, victim.as_ref()),
        }
        Ok(())
    }

    fn check_rename(
        &self,
        old: &Target,
        source: &Location,
        new: &Target,
        victim: Option<&Location>,
        flags: u32,
    ) -> Result<()> {
        let exchange = flags & raw::RENAME_EXCHANGE != 0;
        match victim {
            None if exchange => return Err(Errno::ENOENT),
            Some(_) if flags & raw::RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
            _ => {}
        }
        let slashes = old.slashes || (new.slashes && !exchange);
        if slashes && !source.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if source.entry.contains(&new.parent.entry) {
            return Err(Errno::EINVAL);
        }
        if let Some(victim) = victim {
            if victim.entry.contains(&old.parent.entry) {
                return Err(if exchange {
                    Errno::EINVAL
                } else {
                    Errno::ENOTEMPTY
                });
            }
            self.check_removable(&new.parent, victim)?;
            match (source.is_directory(), victim.is_directory()) {
                _ if exchange => {}
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                _ => {}
            }
        }
        self.check_removable(&old.parent, source)
    }

    /// `chmod`.
    ///
    /// # Errors
    /// Linux'.
    pub fn set_permissions(&self, at: &Location, mode: u32) -> Result<()> {
        at.mount.check_writable()?;
        let metadata = at.metadata()?;
        if !access::owns(&metadata, &self.credentials) {
            return Err(Errno::EPERM);
        }
        if metadata.kind() == FileKind::Link {
            return Err(Errno::EOPNOTSUPP);
        }
        let member =
            self.credentials.is_root() || access::is_member(&self.credentials, metadata.gid);
        let mode = if member { mode } else { mode & !raw::S_ISGID };
        at.inode().change(&Change {
            permissions: Some(mode & 0o7777),
            ..Change::default()
        })?;
        inotify::tell(at, raw::IN_ATTRIB);
        Ok(())
    }

    /// `chown`; `None`: as it was.
    ///
    /// # Errors
    /// Linux'.
    pub fn set_owner(&self, at: &Location, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        at.mount.check_writable()?;
        let metadata = at.metadata()?;
        let who = &self.credentials;
        if !who.is_root() {
            let keeps = uid.is_none_or(|uid| uid == metadata.uid) && who.euid() == metadata.uid;
            let group = gid.is_none_or(|gid| gid == metadata.gid || access::is_member(who, gid));
            if !keeps || !group {
                return Err(Errno::EPERM);
            }
        }
        let permissions = cleared_permissions(&metadata, who.is_root());
        at.inode().change(&Change {
            uid,
            gid,
            permissions,
            ..Change::default()
        })?;
        inotify::tell(at, raw::IN_ATTRIB);
        Ok(())
    }

    /// `utimensat`; `None`: as it was.
    ///
    /// # Errors
    /// Linux'.
    pub fn set_times(
        &self,
        at: &Location,
        accessed: Option<NewTime>,
        modified: Option<NewTime>,
    ) -> Result<()> {
        if accessed.is_none() && modified.is_none() {
            return Ok(());
        }
        at.mount.check_writable()?;
        let metadata = at.metadata()?;
        if !access::owns(&metadata, &self.credentials) {
            let now = [accessed, modified] == [Some(NewTime::Now); 2];
            if !now {
                return Err(Errno::EPERM);
            }
            access::check(&metadata, access::WRITE, &self.credentials)?;
        }
        at.inode().change(&Change {
            accessed,
            modified,
            ..Change::default()
        })?;
        let said = match (accessed, modified) {
            (Some(_), Some(_)) => raw::IN_ATTRIB,
            (Some(_), None) => raw::IN_ACCESS,
            (None, _) => raw::IN_MODIFY,
        };
        inotify::tell(at, said);
        Ok(())
    }

    /// `truncate`.
    ///
    /// # Errors
    /// Linux'.
    pub fn truncate(&self, path: &[u8], size: u64) -> Result<()> {
        let at = self.find(path, Follow::Yes)?;
        match at.inode().kind() {
            FileKind::Directory => return Err(Errno::EISDIR),
            FileKind::Regular => {}
            _ => return Err(Errno::EINVAL),
        }
        at.mount.check_writable()?;
        access::check(&at.metadata()?, access::WRITE, &self.credentials)?;
        at.inode().change(&Change {
            size: Some(size),
            ..Change::default()
        })?;
        inotify::tell(&at, raw::IN_MODIFY);
        Ok(())
    }

    /// `faccessat`, for the effective user of these credentials.
    ///
    /// # Errors
    /// Linux'.
    pub fn check_access(&self, at: &Location, wanted: u32) -> Result<()> {
        let metadata = at.metadata()?;
        let kind = metadata.kind();
        let changes = matches!(
            kind,
            FileKind::Regular | FileKind::Directory | FileKind::Link
        );
        if wanted & access::WRITE != 0 && changes {
            at.mount.check_writable()?;
        }
        if wanted & access::EXECUTE != 0 && kind == FileKind::Regular && at.mount.flags.no_exec {
            return Err(Errno::EACCES);
        }
        access::check(&metadata, wanted, &self.credentials)
    }

    /// `readlinkat`, the link being resolved already.
    ///
    /// # Errors
    /// `EINVAL` for what is no link; the file system's.
    pub fn link_text(&self, at: &Location) -> Result<Vec<u8>> {
        at.inode().as_link().ok_or(Errno::EINVAL)?.target()
    }
}

/// What `rmdir` says about a path that ends in no name.
fn last_place_errno(path: &[u8]) -> Errno {
    let trimmed = path.trim_suffix_slashes();
    match trimmed.rsplit(|&byte| byte == b'/').next() {
        Some(b".") => Errno::EINVAL,
        Some(b"..") => Errno::ENOTEMPTY,
        _ => Errno::EBUSY,
    }
}

/// Slices without slashes at the end.
trait TrimSlashes {
    fn trim_suffix_slashes(&self) -> &[u8];
}

impl TrimSlashes for [u8] {
    fn trim_suffix_slashes(&self) -> &[u8] {
        let end = self
            .iter()
            .rposition(|&byte| byte != b'/')
            .map_or(0, |last| last + 1);
        self.get(..end).unwrap_or_default()
    }
}

/// The permissions that are left when a regular file changes its owner.
fn cleared_permissions(metadata: &Metadata, by_root: bool) -> Option<u32> {
    let special = metadata.mode & (raw::S_ISUID | raw::S_ISGID);
    if metadata.kind() != FileKind::Regular || special == 0 || by_root {
        return None;
    }
    let runs = metadata.mode & 0o010 != 0;
    let cleared = if runs {
        raw::S_ISUID | raw::S_ISGID
    } else {
        raw::S_ISUID
    };
    Some(metadata.mode & 0o7777 & !cleared)
}
