//! From paths to locations.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use linux_raw_sys::general as raw;

use super::access;
use super::caller::Caller;
use super::entry::Location;
use super::metadata::FileKind;
use crate::{Errno, Result};

/// Longest name.
pub const NAME_MAX: usize = 255;
/// Most symbolic links on the way.
const LINKS_MAX: u32 = 40;

/// Whether a symbolic link at the end is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Yes.
    Yes,
    /// No: the link itself is meant.
    No,
}

/// What a path ends in, when its directory is what was asked for.
#[derive(Debug)]
pub enum Last {
    /// A name, and whether slashes follow it.
    Name(Vec<u8>, bool),
    /// ".", ".." or nothing: the place that was reached.
    Place,
}

/// A walk along a path.
#[derive(Debug)]
pub struct Walk<'a> {
    caller: &'a Caller,
    /// How far it has got.
    pub at: Location,
    rest: Cow<'a, [u8]>,
    index: usize,
    links: u32,
    /// `RESOLVE_*` of `openat2`.
    resolve: u64,
    start: Location,
}

impl<'a> Walk<'a> {
    /// A walk from `start`, or from the root if the path is absolute.
    ///
    /// # Errors
    /// `ENOENT` for an empty path; `EXDEV` for one that `resolve` forbids.
    pub fn new(caller: &'a Caller, start: &Location, path: &'a [u8], resolve: u64) -> Result<Self> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let mut walk = Self {
            caller,
            at: start.clone(),
            rest: Cow::Borrowed(path),
            index: 0,
            links: 0,
            resolve,
            start: start.clone(),
        };
        if path.first() == Some(&b'/') {
            walk.restart_at_root()?;
        }
        Ok(walk)
    }

    fn has(&self, flag: u32) -> bool {
        self.resolve & u64::from(flag) != 0
    }

    fn restart_at_root(&mut self) -> Result<()> {
        if self.has(raw::RESOLVE_BENEATH) {
            return Err(Errno::EXDEV);
        }
        let root = self.root().clone();
        self.move_to(root)
    }

    fn root(&self) -> &Location {
        if self.has(raw::RESOLVE_IN_ROOT) {
            &self.start
        } else {
            &self.caller.root
        }
    }

    fn move_to(&mut self, place: Location) -> Result<()> {
        let crossed = !alloc::sync::Arc::ptr_eq(&place.mount, &self.at.mount);
        if crossed && self.has(raw::RESOLVE_NO_XDEV) {
            return Err(Errno::EXDEV);
        }
        self.at = place;
        Ok(())
    }

    /// The next component and whether slashes follow it, and whether it is the last.
    fn next(&mut self) -> Option<(Vec<u8>, bool, bool)> {
        let rest = self.rest.get(self.index..).unwrap_or_default();
        let skipped = rest.iter().take_while(|&&byte| byte == b'/').count();
        let rest = rest.get(skipped..).unwrap_or_default();
        if rest.is_empty() {
            return None;
        }
        let length = rest
            .iter()
            .position(|&byte| byte == b'/')
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(length);
        let slashes = after.iter().take_while(|&&byte| byte == b'/').count();
        self.index += skipped + length + slashes;
        Some((name.into(), slashes > 0, slashes == after.len()))
    }

    /// Walks to the directory of the last component.
    ///
    /// # Errors
    /// As Linux' path resolution.
    pub fn reach_parent(&mut self) -> Result<Last> {
        while let Some((name, slashes, last)) = self.next() {
            self.check_directory()?;
            match name.as_slice() {
                b"." => {}
                b".." => self.up()?,
                _ if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
                _ if last => return Ok(Last::Name(name, slashes)),
                _ => self.down(&name, slashes)?,
            }
        }
        Ok(Last::Place)
    }

    /// Walks to the end.
    ///
    /// # Errors
    /// As Linux' path resolution.
    pub fn reach_end(&mut self, follow: Follow) -> Result<()> {
        loop {
            let Last::Name(name, slashes) = self.reach_parent()? else {
                return Ok(());
            };
            let child = self.at.child(&name)?.ok_or(Errno::ENOENT)?;
            if child.inode().kind() == FileKind::Link && (slashes || follow == Follow::Yes) {
                self.follow(&child, slashes)?;
                continue;
            }
            if slashes && !child.is_directory() {
                return Err(Errno::ENOTDIR);
            }
            return self.move_to(child);
        }
    }

    /// Goes on through a link that is the last component.
    ///
    /// # Errors
    /// `ELOOP`; the file system's.
    pub fn follow(&mut self, link: &Location, slashes: bool) -> Result<()> {
        self.links += 1;
        if self.links > LINKS_MAX || self.has(raw::RESOLVE_NO_SYMLINKS) {
            return Err(Errno::ELOOP);
        }
        let ability = link.inode().as_link().ok_or(Errno::EINVAL)?;
        if let Some(place) = ability.jump() {
            if self.has(raw::RESOLVE_NO_MAGICLINKS | raw::RESOLVE_BENEATH | raw::RESOLVE_IN_ROOT) {
                return Err(Errno::ELOOP);
            }
            let place = place?;
            if slashes && !place.is_directory() {
                return Err(Errno::ENOTDIR);
            }
            return self.move_to(place);
        }
        let mut path = ability.target()?;
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.first() == Some(&b'/') {
            self.restart_at_root()?;
        }
        if slashes {
            path.push(b'/');
        }
        path.extend_from_slice(self.rest.get(self.index..).unwrap_or_default());
        self.rest = Cow::Owned(path);
        self.index = 0;
        Ok(())
    }

    fn down(&mut self, name: &[u8], slashes: bool) -> Result<()> {
        let child = self.at.child(name)?.ok_or(Errno::ENOENT)?;
        match child.inode().kind() {
            FileKind::Link => self.follow(&child, slashes),
            FileKind::Directory => self.move_to(child),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn up(&mut self) -> Result<()> {
        if self.at == self.start && self.has(raw::RESOLVE_BENEATH) {
            return Err(Errno::EXDEV);
        }
        let parent = self.at.parent(self.root());
        self.move_to(parent)
    }

    /// The place reached must be a directory that the caller may search.
    fn check_directory(&self) -> Result<()> {
        if !self.at.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if self.caller.credentials.is_root() {
            return Ok(());
        }
        access::check(
            &self.at.metadata()?,
            access::EXECUTE,
            &self.caller.credentials,
        )
    }
}
