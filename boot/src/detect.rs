//! Which protocol a kernel speaks.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use machine_memory::GuestMemory;
use x86_state::CpuState;

use crate::error::BootError;
use crate::executable::{self, Executable};
use crate::guest::Guest;
use crate::image::Image;
use crate::{linux, multiboot, pvh};

/// A way to load and enter a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// [`linux`].
    Linux,
    /// [`multiboot`].
    Multiboot,
    /// [`pvh`].
    Pvh,
}

impl Protocol {
    /// Loads a kernel by this protocol; returns the state in which the first virtual CPU starts. The others wait to be
    /// started, as after a reset.
    ///
    /// The machine's memory is zero where nothing has been loaded before.
    ///
    /// # Errors
    /// When the kernel's file is damaged, speaks another, or something does not fit the memory.
    pub fn load(self, memory: &GuestMemory, guest: &Guest<'_>) -> Result<CpuState, BootError> {
        match self {
            Self::Linux => linux::load(memory, guest),
            Self::Multiboot => multiboot::load(memory, guest),
            Self::Pvh => pvh::load(memory, guest),
        }
    }
}

/// What other files begin with.
const OTHERS: [(&[u8], &str); 10] = [
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"\xfd7zXZ\0", "compressed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first"),
    (b"\x02\x21\x4c\x18", "compressed with lz4; unpack it first"),
    (b"\x04\x22\x4d\x18", "compressed with lz4; unpack it first"),
    (b"BZh", "compressed with bzip2; unpack it first"),
    (b"MZ", "a program for UEFI or DOS; start it from a disk"),
    (b"QFI\xfb", "a qcow2 disk; give it as --disk"),
    (b"070701", "an initial RAM disk; give it as --initrd"),
    (b"#!", "a script"),
];

/// Finds out which protocol a kernel speaks.
///
/// A bzImage is one whatever else it is; a file with both a Multiboot header and a PVH note is
/// taken for the former: that is Xen, whose PVH entry is for running below another Xen ([`detect_over_xen`]).
///
/// # Errors
/// When it speaks none, naming what it is instead and what is accepted.
pub fn detect(kernel: &Image) -> Result<Protocol, BootError> {
    let head = kernel.head(multiboot::SEARCHED)?;
    if linux::recognizes(&head) {
        return Ok(Protocol::Linux);
    }
    if multiboot::find(&head).is_some() {
        return Ok(Protocol::Multiboot);
    }
    if head.starts_with(&executable::MAGIC) {
        let executable = Executable::parse(kernel)?;
        return match pvh::entry(kernel, &executable)? {
            Some(_) => Ok(Protocol::Pvh),
            None => Err(unknown("an ELF file without an entry note")),
        };
    }
    let mut others = OTHERS.iter();
    let other = others.find(|(beginning, _)| head.starts_with(beginning));
    Err(unknown(
        other.map_or("of an unknown kind", |(_, what)| what),
    ))
}

/// Finds out how a kernel is entered that finds Xen below itself: by PVH, as Xen enters its guests.
///
/// # Errors
/// When it has no PVH entry, and as [`detect`].
pub fn detect_over_xen(kernel: &Image) -> Result<Protocol, BootError> {
    // A file that is no kernel at all is called that.
    let protocol = detect(kernel)?;
    let head = kernel.head(multiboot::SEARCHED)?;
    if protocol == Protocol::Linux || !head.starts_with(&executable::MAGIC) {
        return Err(BootError::NoPvhEntry);
    }
    let executable = Executable::parse(kernel)?;
    let entry = pvh::entry(kernel, &executable)?;
    entry.map(|_| Protocol::Pvh).ok_or(BootError::NoPvhEntry)
}

const fn unknown(what: &'static str) -> BootError {
    BootError::UnknownKernel { what }
}

/// Loads a kernel by the protocol it speaks, as [`Protocol::load`] does.
///
/// # Errors
/// As [`detect`] and [`Protocol::load`].
pub fn start(memory: &GuestMemory, guest: &Guest<'_>) -> Result<CpuState, BootError> {
    detect(guest.kernel)?.load(memory, guest)
}
