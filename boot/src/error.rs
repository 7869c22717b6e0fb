//! What keeps a machine from being prepared.

use std::io;

use guest_abi::layout;
use machine_memory::MemoryError;

use crate::image::Part;

/// A machine cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Husk's own kernel is not one.
    #[error("the kernel is damaged: {0}")]
    Kernel(&'static str),
    /// The configuration does not fit.
    #[error("arguments and environment have {0} bytes, the limit is {limit}", limit = layout::CONFIG_MAX)]
    ConfigTooLong(usize),
    /// The configuration cannot be encoded.
    #[error("the configuration cannot be encoded")]
    Encode,
    /// Guest memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A file cannot be opened or read.
    #[error("{part} cannot be read: {error}")]
    Read {
        /// What the file is to the guest.
        part: Part,
        /// The host's reason.
        error: io::Error,
    },
    /// A directory, a pipe, a device.
    #[error("{0} is no regular file (write it to one first)")]
    NotRegular(Part),
    /// A file larger than anything reasonable.
    #[error("{part} has {length} bytes, the limit is {limit} (was another file meant?)")]
    FileTooLarge {
        /// What the file is to the guest.
        part: Part,
        /// Its length, in bytes.
        length: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A file without a byte.
    #[error("{0} is an empty file (fetch or build it again)")]
    Empty(Part),
    /// A file that speaks no protocol.
    #[error(
        "the kernel is {what} (what can be started: a Linux bzImage; an ELF file with a PVH entry \
         note, as vmlinux has; an ELF or flat file with a Multiboot 1 header)"
    )]
    UnknownKernel {
        /// What it looks like instead.
        what: &'static str,
    },
    /// A file ends before something it must have.
    #[error("{part} ends before {missing} (fetch or build it again)")]
    Truncated {
        /// What the file is to the guest.
        part: Part,
        /// What is missing.
        missing: &'static str,
    },
    /// A field of the kernel's headers makes no sense.
    #[error("the kernel's {field} is {value:#x}: {wanted} (fetch or build it again)")]
    Field {
        /// The field, by its name in the specification.
        field: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        wanted: &'static str,
    },
    /// A Linux kernel with a boot protocol that is too old.
    #[error(
        "the kernel speaks version {major}.{minor:02} of the Linux boot protocol, 2.10 is needed \
         (take Linux 2.6.31 or later)"
    )]
    OldLinux {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// A zImage, which loads below 1 MiB.
    #[error("the kernel is a zImage, which loads below 1 MiB (build a bzImage)")]
    LowLinux,
    /// A kernel needs what no loader here has.
    #[error("the kernel's Multiboot header demands {0}, which is not offered (change its flags)")]
    Demand(&'static str),
    /// An ELF file says nowhere where to enter it.
    #[error("the kernel has no entry: {0} (build it with CONFIG_PVH, or take the bzImage)")]
    NoEntry(&'static str),
    /// A kernel that finds Xen below itself cannot be entered.
    #[error(
        "the kernel has no PVH entry note, by which one is entered that finds Xen below itself (build Xen with CONFIG_PVH_GUEST, \
         or leave --hypervisor out)"
    )]
    NoPvhEntry,
    /// The entry lies outside of what was loaded.
    #[error("the kernel's entry {0:#x} is not in what it loads (build it again)")]
    Entry(u64),
    /// Two things want the same memory.
    #[error("{first} at {start:#x} lies on {second} (link the kernel elsewhere)")]
    Overlap {
        /// What was to be placed.
        first: &'static str,
        /// Its first address.
        start: u64,
        /// What was there before.
        second: &'static str,
    },
    /// Something must lie where no memory is.
    #[error(
        "{what} needs {length} bytes at {start:#x}, where the machine has no free memory \
         (raise --memory)"
    )]
    OutsideMemory {
        /// What was to be placed.
        what: &'static str,
        /// Its first address.
        start: u64,
        /// Its length, in bytes.
        length: u64,
    },
    /// Something fits nowhere.
    #[error(
        "{what} needs {length} bytes below {below:#x}, and no free memory there is as large \
         (raise --memory)"
    )]
    NoRoom {
        /// What was to be placed.
        what: &'static str,
        /// Its length, in bytes.
        length: u64,
        /// Where it must end.
        below: u64,
    },
    /// The command line does not fit.
    #[error("the command line has {length} bytes, the kernel takes {limit} (shorten --append)")]
    CommandLineTooLong {
        /// Its length, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The command line cannot be passed.
    #[error("the command line has a zero byte, which would end it (remove it from --append)")]
    CommandLineZero,
    /// More initial RAM disks or modules than the protocol has room for.
    #[error("there are {count} initial RAM disks or modules, the kernel takes {limit} (join them)")]
    TooManyModules {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The description of the machine's memory contradicts itself.
    #[error("the machine's memory is badly described: {0}")]
    Ram(&'static str),
}
