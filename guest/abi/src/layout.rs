//! Where things lie in a machine: linear and guest-physical addresses.
//!
//! The upper half of the x86-64 address space cannot be mapped by a process, so the
//! kernel lives at the top of the lower half, at the same addresses on every
//! platform. Linux places a process's stack, vDSO and `mmap` area at most about
//! 1.1 TiB below `0x7fff_ffff_f000`; all of Husk's own ranges lie below that.
//!
//! | linear range | what |
//! |---|---|
//! | `APP_START..APP_END` | the program |
//! | `STUB_BASE..+STUB_SPAN` | the cell's stub (cell platform only) |
//! | `KERNEL_BASE..+KERNEL_SPAN` | the kernel's image |
//! | `RAM_BASE..+ram_span` | every page of guest-physical memory, writable, not executable |
//! | `FRAMES_BASE..` | the machine's physical memory (bare platform only) |
//! | `REGISTERS_BASE..+REGISTERS_SPAN` | registers of devices (bare platform only) |
//!
//! On the cell platform guest-physical memory is a file of the host, sparse and larger than
//! the machine's memory. On the bare platform the kernel makes the same of the memory there is:
//! a *frame* of physical memory backs a guest-physical page when it is touched. Up to
//! [`FREE_START`] the two are the same.

/// Size of a page in bytes.
pub const PAGE_SIZE: u64 = 4096;
/// Size of a huge page in bytes.
pub const HUGE_PAGE_SIZE: u64 = 2 << 20;

/// Lowest linear address a program may map (Linux' `mmap_min_addr` is 64 KiB by default).
pub const APP_START: u64 = 0x1_0000;
/// First linear address above the program's part.
pub const APP_END: u64 = 0x7000_0000_0000;

/// Linear address at which the cell's stub is linked.
pub const STUB_BASE: u64 = 0x7000_0000_0000;
/// Bytes set aside for the stub.
pub const STUB_SPAN: u64 = 0x0100_0000;

/// Linear address at which the kernel's image is linked.
pub const KERNEL_BASE: u64 = 0x7010_0000_0000;
/// Bytes set aside for the kernel's image.
pub const KERNEL_SPAN: u64 = 0x0400_0000;

/// Linear address of guest-physical address zero.
pub const RAM_BASE: u64 = 0x7100_0000_0000;
/// The largest guest-physical span that fits the layout.
pub const RAM_SPAN_MAX: u64 = 0x0400_0000_0000;
/// The usual guest-physical span: far more than any machine's memory, since memory
/// that nobody touched costs nothing and a fresh range is already zero.
pub const RAM_SPAN: u64 = 0x0100_0000_0000;

/// Linear address of physical address zero on the bare platform.
pub const FRAMES_BASE: u64 = 0x7500_0000_0000;
/// The most physical memory that fits the layout.
pub const FRAMES_SPAN_MAX: u64 = 0x0400_0000_0000;
/// Linear address at which the bare platform maps registers of devices.
pub const REGISTERS_BASE: u64 = 0x7a00_0000_0000;
/// Bytes set aside for registers.
pub const REGISTERS_SPAN: u64 = 0x4000_0000;

/// Guest-physical address of [`crate::boot::BootInfo`].
pub const BOOT_INFO: u64 = 0;
/// Guest-physical address of the page that is the kernel's own, for the first instructions of the
/// virtual CPUs beside the first (bare platform only): they begin in real mode.
pub const TRAMPOLINE: u64 = 0x1000;
/// Guest-physical address of the encoded `MachineConfig`.
pub const CONFIG: u64 = 0x2000;
/// Room for the configuration in bytes: arguments and environment (Linux' `ARG_MAX`
/// is 2 MiB by default) and the rest.
pub const CONFIG_MAX: u64 = 0x30_0000;
/// Guest-physical address of the first [`crate::vcpu::VcpuPage`]; one page each.
pub const VCPU_PAGES: u64 = 0x40_0000;
/// Most virtual CPUs of a machine.
pub const VCPUS_MAX: usize = 64;
/// Guest-physical address of the [`crate::vcpu::ClockPage`].
pub const CLOCK_PAGE: u64 = 0x44_0000;
/// Guest-physical address of the [`crate::report::ReportPage`].
pub const REPORT_PAGE: u64 = 0x44_1000;
/// Guest-physical address of the first [`crate::device::DevicePage`]; one page each.
pub const DEVICE_PAGES: u64 = 0x48_0000;
/// Most devices of a machine.
pub const DEVICES_MAX: usize = 32;
/// Guest-physical address of the page tables that a monitor makes for the first instructions
/// of the bare platform; [`BOOT_TABLES_SPAN`] bytes.
pub const BOOT_TABLES: u64 = 0x60_0000;
/// Room for them in bytes.
pub const BOOT_TABLES_SPAN: u64 = 0x1_0000;
/// Bytes of physical memory that the first page tables show at [`FRAMES_BASE`].
pub const BOOT_FRAMES: u64 = 0x1_0000_0000;
/// Guest-physical address at which the kernel's image is loaded.
pub const KERNEL_IMAGE: u64 = 0x80_0000;
/// First guest-physical address that the kernel may use as it likes.
pub const FREE_START: u64 = KERNEL_IMAGE + KERNEL_SPAN;

/// Rounds up to a whole number of pages; saturates at the last page below 2^64.
#[must_use]
pub const fn page_up(bytes: u64) -> u64 {
    match bytes.checked_add(PAGE_SIZE - 1) {
        Some(sum) => sum & !(PAGE_SIZE - 1),
        None => !(PAGE_SIZE - 1),
    }
}

/// Rounds down to a whole number of pages.
#[must_use]
pub const fn page_down(bytes: u64) -> u64 {
    bytes & !(PAGE_SIZE - 1)
}
