//! What a process finds when the machine starts.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::net::Ipv4Addr;

use guest_abi::fuse::{STDERR, STDIN, STDOUT};
use guest_config::{MachineConfig, MountConfig, NetworkConfig};
use linux_raw_sys::general as raw;

use super::buffer::Origin;
use super::caller::{Caller, FsContext, How};
use super::console::{self, Stream};
use super::entry::Location;
use super::fuse::{FuseFs, Transport, Use};
use super::inode::{FileSystem, Inode};
use super::metadata::FileKind;
use super::mount::{self, MountFlags};
use super::open::OpenFile;
use super::overlay::OverlayFs;
use super::table::{Descriptor, FileTable};
use super::walk::Follow;
use super::{dev, pages, proc, sys};
use crate::net::network;
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
    let [first, volumes @ ..] = config.mounts.as_slice() else {
        return Err(Errno::EINVAL);
    };
    let root = mount_root(first, open)?;
    mount_own(&root)?;
    for volume in volumes {
        let fs = host_directory(volume, &[], open)?;
        mount_at(&root, &volume.path, fs, &volume.source, flags_of(volume))?;
    }
    let cwd = Caller::kernel(&root).find(&config.working_directory, Follow::Yes)?;
    if !cwd.is_directory() {
        return Err(Errno::ENOTDIR);
    }
    if let Some(network) = &config.network {
        let text = resolvers(network);
        if first.overlay && !text.is_empty() {
            // Without such a directory there is nobody who would look there.
            let _ = write_resolvers(&root, &text);
        }
    }
    let files = standard_streams(config.streams)?;
    Ok((
        FsContext {
            root,
            cwd,
            umask: config.umask,
        },
        files,
    ))
}

/// Where programs look who answers for names.
const RESOLVERS: &[u8] = b"/etc/resolv.conf";

/// Who answers for names in the machine's network, as the file says it; of a server that is asked
/// for the machine's place, what it says. Nothing when nobody knows.
fn resolvers(network: &NetworkConfig) -> String {
    let lease = network.asks.then(network::wait_for_lease).flatten();
    let domain = lease.as_ref().and_then(|lease| lease.domain.as_ref());
    let asked = lease
        .iter()
        .flat_map(|lease| lease.dns_servers.iter().copied());
    let told = network
        .resolvers
        .iter()
        .map(|&address| Ipv4Addr::from(address));
    let servers = told
        .chain(asked)
        .map(|address| format!("nameserver {address}\n"));
    let search = domain.map(|domain| format!("search {domain}\n"));
    search.into_iter().chain(servers).collect()
}

/// The resolvers of the machine's network in place of the host's.
fn write_resolvers(root: &Location, text: &str) -> Result<()> {
    let caller = Caller::kernel(root);
    match caller.remove(root, RESOLVERS, false) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    let how = How {
        flags: raw::O_WRONLY | raw::O_CREAT | raw::O_EXCL,
        mode: 0o644,
        resolve: 0,
    };
    let file = caller.open(root, RESOLVERS, how)?;
    file.write(&mut Origin::kernel(text.as_bytes())).map(drop)
}

fn flags_of(mount: &MountConfig) -> MountFlags {
    MountFlags {
        read_only: mount.read_only,
        ..MountFlags::default()
    }
}

/// Names of the root on which the kernel mounts its own.
const OWN: [&[u8]; 3] = [b"proc", b"sys", b"dev"];

/// The file system of a mount, with directories for `places` if it is an overlay.
fn host_directory(
    mount: &MountConfig,
    places: &[&[u8]],
    open: OpenTransport<'_>,
) -> Result<Arc<dyn FileSystem>> {
    let usage = if mount.overlay {
        Use::Lower
    } else {
        Use::Volume
    };
    let host = FuseFs::open(open(mount.device)?, usage)?;
    Ok(if mount.overlay {
        OverlayFs::over(host, places)
    } else {
        host
    })
}

fn mount_root(mount: &MountConfig, open: OpenTransport<'_>) -> Result<Location> {
    let fs = host_directory(mount, &OWN, open)?;
    Ok(mount::mount_root(fs, &mount.source, flags_of(mount)))
}

/// Mounts what the kernel itself shows.
fn mount_own(root: &Location) -> Result<()> {
    let strict = MountFlags {
        read_only: false,
        no_exec: true,
        no_suid: true,
        no_dev: true,
    };
    let devices = MountFlags {
        no_dev: false,
        ..strict
    };
    let shared = MountFlags {
        no_exec: false,
        ..strict
    };
    mount_at(root, b"/proc", proc::file_system(), "proc", strict)?;
    mount_at(root, b"/sys", sys::file_system(), "sysfs", strict)?;
    mount_at(
        root,
        b"/sys/fs/cgroup",
        sys::control_group(),
        "cgroup",
        strict,
    )?;
    mount_at(root, b"/dev", dev::file_system(), "devtmpfs", devices)?;
    mount_at(
        root,
        b"/dev/shm",
        OverlayFs::empty("tmpfs"),
        "tmpfs",
        shared,
    )
}

/// Mounts at a path; directories that are missing are made.
fn mount_at(
    root: &Location,
    path: &[u8],
    fs: Arc<dyn FileSystem>,
    source: &str,
    flags: MountFlags,
) -> Result<()> {
    let caller = Caller::kernel(root);
    for (end, _) in path
        .iter()
        .enumerate()
        .filter(|&(at, &byte)| byte == b'/' && at > 0)
    {
        make_directory(&caller, path.get(..end).unwrap_or_default())?;
    }
    make_directory(&caller, path)?;
    mount::mount(fs, source, flags, caller.find(path, Follow::Yes)?);
    Ok(())
}

fn make_directory(caller: &Caller, path: &[u8]) -> Result<()> {
    match caller.find(path, Follow::Yes) {
        Ok(at) if at.is_directory() => Ok(()),
        Ok(_) => Err(Errno::ENOTDIR),
        Err(Errno::ENOENT) => caller.make_directory(&caller.root, path, 0o755),
        Err(errno) => Err(errno),
    }
}

/// `modes`: what the streams are; nothing that a mode can mean where one is closed.
fn standard_streams(modes: [u32; 3]) -> Result<FileTable> {
    let mut files = FileTable::new();
    for (fd, (node, mode)) in [STDIN, STDOUT, STDERR].into_iter().zip(modes).enumerate() {
        let Some(kind) = FileKind::from_mode(mode) else {
            continue;
        };
        let stream = Stream::of_kind(node, kind)?;
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
