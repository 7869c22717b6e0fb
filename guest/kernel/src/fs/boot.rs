//! What a process finds when the machine starts.

use alloc::sync::Arc;

use guest_abi::fuse::{STDERR, STDIN, STDOUT};
use guest_config::MachineConfig;
use linux_raw_sys::general as raw;

use super::caller::{Caller, FsContext};
use super::console::{self, Stream};
use super::fuse::{FuseFs, Transport, Use};
use super::inode::Inode;
use super::metadata::FileKind;
use super::mount::{self, MountFlags};
use super::open::OpenFile;
use super::pages;
use super::table::{Descriptor, FileTable};
use super::walk::Follow;
use crate::{Errno, Result};

/// Opens the device of a number.
pub type OpenTransport<'a> = &'a mut dyn FnMut(u32) -> Result<Arc<dyn Transport>>;

/// Mounts everything and opens the standard streams.
///
/// # Errors
/// `EINVAL` for a configuration without a root; what a device or its server answers;
/// `ENOENT`, `ENOTDIR`, `EACCES` for the working directory.
pub fn boot(config: &MachineConfig, open: OpenTransport<'_>) -> Result<(FsContext, FileTable)> {
    let memory = guest_hal::boot::info().memory_limit;
    super::MEMORY_LIMIT.store(memory, core::sync::atomic::Ordering::Relaxed);
    pages::set_limit(memory / 4);
    console::open(open(config.console_device)?)?;
    let [first, ..] = config.mounts.as_slice() else {
        return Err(Errno::EINVAL);
    };
    let fs = FuseFs::open(open(first.device)?, Use::Lower)?;
    let flags = MountFlags {
        read_only: first.read_only,
        ..MountFlags::default()
    };
    let root = mount::mount_root(fs, &first.source, flags);
    let cwd = Caller::kernel(&root).find(&config.working_directory, Follow::Yes)?;
    if !cwd.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    let files = standard_streams(config.open_streams)?;
    Ok((
        FsContext {
            root,
            cwd,
            umask: config.umask,
        },
        files,
    ))
}

fn standard_streams(open: u8) -> Result<FileTable> {
    let mut files = FileTable::new();
    for (fd, node) in [STDIN, STDOUT, STDERR].into_iter().enumerate() {
        if open >> fd & 1 == 0 {
            continue;
        }
        let stream = Stream::open(node)?;
        let access = match (stream.kind(), node) {
            (FileKind::CharacterDevice | FileKind::Socket, _) => raw::O_RDWR,
            (_, STDIN) => raw::O_RDONLY,
            _ => raw::O_WRONLY,
        };
        let location = mount::unnamed(stream.clone(), b"/dev/console");
        let file = OpenFile::new(location, stream, access);
        files.replace(
            fd as i32,
            Descriptor {
                file,
                close_on_exec: false,
            },
            u64::MAX,
        )?;
    }
    Ok(files)
}
