//! Who may do what to an inode, as Linux decides without access control lists.

use linux_raw_sys::general as raw;

use super::metadata::{FileKind, Metadata};
use crate::process::Credentials;
use crate::{Errno, Result};

/// To read, or to list.
pub const READ: u32 = raw::R_OK;
/// To write, or to change names.
pub const WRITE: u32 = raw::W_OK;
/// To execute, or to look names up.
pub const EXECUTE: u32 = raw::X_OK;

/// Whether the credentials include a group.
#[must_use]
pub fn is_member(who: &Credentials, group: u32) -> bool {
    who.egid() == group || who.groups.contains(&group)
}

/// Checks the permission bits for `wanted`, a union of [`READ`], [`WRITE`], [`EXECUTE`].
///
/// # Errors
/// `EACCES`.
pub fn check(metadata: &Metadata, wanted: u32, who: &Credentials) -> Result<()> {
    let mode = metadata.mode;
    if who.is_root() {
        let runs = metadata.kind() == FileKind::Directory || mode & 0o111 != 0;
        return if wanted & EXECUTE == 0 || runs {
            Ok(())
        } else {
            Err(Errno::EACCES)
        };
    }
    let granted = if who.euid() == metadata.uid {
        mode >> 6
    } else if is_member(who, metadata.gid) {
        mode >> 3
    } else {
        mode
    };
    if wanted & !granted & 7 == 0 {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}

/// Whether they own the inode, or are root.
#[must_use]
pub fn owns(metadata: &Metadata, who: &Credentials) -> bool {
    who.is_root() || who.euid() == metadata.uid
}

/// Checks that a name may be removed from a directory: in one with the sticky bit only by
/// the owner of either.
///
/// # Errors
/// `EPERM`.
pub fn check_sticky(directory: &Metadata, victim: &Metadata, who: &Credentials) -> Result<()> {
    let free = directory.mode & raw::S_ISVTX == 0;
    if free || owns(directory, who) || owns(victim, who) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}
