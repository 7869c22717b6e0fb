//! `/proc`.
//!
//! * [`process`]: the process's own directory. [`memory`]: its maps.
//! * [`task`]: what it says of single threads.
//! * [`descriptors`]: `fd` and `fdinfo`.
//! * [`network`]: sockets, interfaces and routes, for `net`.
//! * [`system`]: the machine. [`cpu`]: its processor. [`sysctl`]: `/proc/sys`.

mod cpu;
mod descriptors;
mod memory;
mod network;
mod process;
mod sysctl;
mod system;
mod task;

pub use system::RELEASE;
pub(super) use system::cpu_list;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as raw;

use super::inode::{Directory, FileSystem, Found, Inode, Record};
use super::metadata::{FileKind, Metadata};
use super::pseudo::{PseudoFs, TextLink, Tree, metadata};
use crate::fs::file::File;
use crate::process::current;
use crate::thread;
use crate::{Errno, Result};

const PROC_MAGIC: u64 = 0x9fa0;

/// The root: what concerns the machine, and a directory for each process.
#[derive(Debug)]
struct Root {
    tree: Tree,
    metadata: Metadata,
    process: Arc<dyn Inode>,
}

fn pid_name() -> String {
    format!("{}", current().pid)
}

impl Inode for Root {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.metadata)
    }

    fn open(self: Arc<Self>, _: u32) -> Result<Arc<dyn File>> {
        Err(Errno::EISDIR)
    }

    fn as_directory(&self) -> Option<&dyn Directory> {
        Some(self)
    }
}

impl Directory for Root {
    fn lookup(&self, name: &[u8]) -> Result<Found> {
        if name == pid_name().as_bytes() {
            return Ok(Found::for_good(Some(self.process.clone())));
        }
        self.tree.lookup(name)
    }

    fn list(&self) -> Result<Vec<Record>> {
        let mut records = self.tree.list()?;
        let number = self.process.metadata()?.number;
        let name = pid_name().into_bytes().into_boxed_slice();
        records.push(Record {
            number,
            kind: FileKind::Directory,
            name,
        });
        Ok(records)
    }
}

/// `/proc`.
#[must_use]
pub fn file_system() -> Arc<dyn FileSystem> {
    let device = super::mount::new_device();
    let to_self = TextLink::new(device, Box::new(|| Ok(pid_name().into_bytes())));
    let to_thread = || Ok(format!("{}/task/{}", current().pid, thread::current().tid).into_bytes());
    let tree = Tree::new(device)
        .with("self", to_self)
        .with("thread-self", TextLink::new(device, Box::new(to_thread)))
        .link("mounts", "self/mounts")
        .link("net", "self/net")
        .directory("sys", sysctl::fill);
    let tree = system::fill(tree).file("cpuinfo", cpu::information);
    let root = Root {
        tree,
        metadata: metadata(device, raw::S_IFDIR | 0o555),
        process: Arc::new(process::directory(device)),
    };
    Arc::new(PseudoFs {
        name: "proc",
        magic: PROC_MAGIC,
        root: Arc::new(root),
    })
}
