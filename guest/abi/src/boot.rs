//! What the monitor tells the stub and the kernel at their start.
//!
//! What the kernel is to run is `guest-config`'s `MachineConfig`, at [`crate::layout::CONFIG`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `BootInfo::magic`: "HUSKBOOT" in little endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"HUSKBOOT");
/// `BootInfo::version`; both sides come from one build, a mismatch is a packaging fault.
pub const VERSION: u32 = 5;
/// Most segments of a kernel image.
pub const SEGMENTS_MAX: usize = 8;

/// Most ranges of physical memory.
pub const RAM_RANGES_MAX: usize = 8;

/// A range of physical memory.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RamRange {
    /// First address.
    pub start: u64,
    /// Length in bytes; zero: none.
    pub length: u64,
}

/// One loadable part of the kernel's image.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Segment {
    /// Linear address, page aligned.
    pub linear: u64,
    /// Guest-physical address, or offset in the image's file; page aligned.
    pub offset: u64,
    /// Length in bytes, whole pages.
    pub length: u64,
    /// `PROT_READ`, `PROT_WRITE`, `PROT_EXEC` as Linux numbers them.
    pub protection: u64,
    /// Where it comes from: [`SOURCE_MEMORY`] or [`SOURCE_IMAGE`].
    pub source: u64,
}

/// `Segment::source`: guest-physical memory.
pub const SOURCE_MEMORY: u64 = 0;
/// `Segment::source`: the file that holds the kernel's image, shared by all machines and
/// never writable.
pub const SOURCE_IMAGE: u64 = 1;

/// Lies at guest-physical [`crate::layout::BOOT_INFO`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BootInfo {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// Number of virtual CPUs.
    pub vcpus: u32,
    /// Bytes of guest-physical space; memory in it appears when touched.
    pub ram_span: u64,
    /// Bytes of memory the machine may use at once.
    pub memory_limit: u64,
    /// Length in bytes of the encoded configuration at [`crate::layout::CONFIG`].
    pub config_length: u64,
    /// Number of device pages.
    pub devices: u32,
    /// Number of valid entries of `segments`.
    pub segment_count: u32,
    /// Linear address of the kernel's entry for this platform.
    pub entry: u64,
    /// Time-stamp counter at the moment the monitor's `main` began.
    pub started_tsc: u64,
    /// Seed of the machine's random numbers.
    pub entropy: [u8; 64],
    /// `AT_HWCAP` of the host.
    pub hwcap: u64,
    /// `AT_HWCAP2` of the host.
    pub hwcap2: u64,
    /// Bytes of a signal frame's extended state, `AT_MINSIGSTKSZ` of the host.
    pub signal_stack_min: u64,
    /// Not zero: a large page that nobody had lately costs many times what clearing it does,
    /// because the host is a machine itself and tells its own host what memory is free (cell).
    pub large_pages_are_dear: u64,
    /// Physical memory, for the bare platform; empty in a cell.
    pub ram: [RamRange; RAM_RANGES_MAX],
    /// The kernel's image.
    pub segments: [Segment; SEGMENTS_MAX],
}
