//! Whole file systems on the host: an overlay over a fake lower one, paths, descriptors.

extern crate std;

mod lower;
mod overlay;
mod pages;
mod paths;

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as raw;

use super::caller::{Caller, How};
use super::entry::Location;
use super::mount::{self, MountFlags};
use super::overlay::OverlayFs;
use super::{Destination, OpenFile, Origin};
use crate::Result;

/// A caller at the root of an overlay over the fake lower file system.
fn machine() -> Caller {
    guest_hal::initialize_hosted();
    let overlay = OverlayFs::over(lower::file_system(), &[]);
    let root = mount::mount_root(overlay, "test", MountFlags::default());
    Caller {
        umask: 0o022,
        ..Caller::kernel(&root)
    }
}

fn open(caller: &Caller, path: &str, flags: u32) -> Result<Arc<OpenFile>> {
    caller.open(
        &caller.cwd,
        path.as_bytes(),
        How {
            flags,
            mode: 0o666,
            resolve: 0,
        },
    )
}

fn read_all(file: &OpenFile) -> Vec<u8> {
    let mut bytes = alloc::vec![0; 1 << 20];
    let count = file
        .read_at(0, &mut Destination::kernel(&mut bytes))
        .unwrap();
    bytes.truncate(count as usize);
    bytes
}

fn read_path(caller: &Caller, path: &str) -> Result<Vec<u8>> {
    open(caller, path, raw::O_RDONLY).map(|file| read_all(&file))
}

fn write_path(caller: &Caller, path: &str, bytes: &[u8]) -> Result<()> {
    let file = open(caller, path, raw::O_WRONLY | raw::O_CREAT | raw::O_TRUNC)?;
    assert_eq!(file.write(&mut Origin::kernel(bytes))?, bytes.len() as u64);
    Ok(())
}

fn names(caller: &Caller, path: &str) -> Vec<Vec<u8>> {
    let at: Location = caller.find(path.as_bytes(), super::Follow::Yes).unwrap();
    let records = at.inode().as_directory().unwrap().list().unwrap();
    let mut names: Vec<Vec<u8>> = records
        .into_iter()
        .map(|record| record.name.into_vec())
        .collect();
    names.sort();
    names
}
