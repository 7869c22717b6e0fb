//! What is to be started, and the low memory in which every protocol leaves its information.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::ffi::CString;

use machine_memory::GuestMemory;

use crate::claims::Claims;
use crate::error::BootError;
use crate::image::Image;
use crate::ram::{Ram, Range};

/// Most modules of a guest.
pub const MODULES_MAX: usize = 64;

/// What a PC's firmware leaves for others, and where in there it says how many KiB lie below
/// its own.
const BIOS_DATA: u64 = 0x400;
const BIOS_DATA_END: u64 = 0x500;
const BASE_MEMORY: u64 = 0x413;
/// The stack of the first instructions ends here; most kernels bring their own.
pub(crate) const STACK: u64 = 0x6000;
/// Descriptor table.
pub(crate) const GDT: u64 = 0x6000;
/// The protocol's own structure, a page.
pub(crate) const INFO: u64 = 0x7000;
/// The memory map, where it is not in that structure.
pub(crate) const MAP: u64 = 0x8000;
/// The list of modules.
pub(crate) const MODULE_LIST: u64 = 0x9000;
/// Page tables.
pub(crate) const PAGE_TABLES: u64 = 0xa000;
const INFO_START: u64 = 0x5000;
const INFO_END: u64 = 0x1_0000;
/// Command lines and names.
const TEXT_START: u64 = 0x2_0000;
const TEXT_END: u64 = 0x4_0000;
/// Longest command line, in bytes.
pub(crate) const COMMAND_LINE_MAX: u64 = 0xffff;

/// The most that a 32-bit guest reaches.
pub(crate) const BELOW_4G: u64 = 1 << 32;

pub(crate) const KERNEL: &str = "the kernel";
pub(crate) const SEGMENT: &str = "a segment of the kernel";
pub(crate) const MODULE: &str = "the initial RAM disk";

/// An operating system to be started.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// The kernel.
    pub kernel: &'a Image,
    /// Initial RAM disk, or modules.
    pub modules: &'a [Module<'a>],
    /// Command line, without a zero at its end.
    pub command_line: &'a [u8],
    /// Where the machine has memory.
    pub ram: &'a Ram,
    /// The tables of ACPI, if the machine has any.
    pub acpi: Option<Acpi>,
    /// Whether there is a screen of 80 by 25 characters at `0xb8000`.
    pub text_screen: bool,
}

/// An initial RAM disk or a module.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    /// Its file.
    pub image: &'a Image,
    /// Its arguments, for protocols that have those.
    pub arguments: &'a [u8],
}

/// Where the tables of ACPI are, between `0xa0000` and `0xfffff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acpi {
    /// The root pointer.
    pub rsdp: u64,
    /// All that is to be kept.
    pub tables: Range,
}

impl<'a> Guest<'a> {
    /// Checks what every protocol has in common and takes the low memory.
    pub(crate) fn claims(&self) -> Result<Claims<'a>, BootError> {
        let legacy = Range::new(crate::ram::LEGACY, 0x6_0000);
        let tables = self.acpi.map(|acpi| acpi.tables);
        if tables.is_some_and(|tables| !legacy.is_some_and(|legacy| legacy.contains(tables))) {
            let why = "the tables of ACPI are not between 0xa0000 and 0xfffff";
            return Err(BootError::Ram(why));
        }
        if self.modules.len() > MODULES_MAX {
            return Err(self.too_many_modules(MODULES_MAX));
        }
        let mut claims = Claims::new(self.ram);
        for (what, start, end) in [
            ("the firmware's data", BIOS_DATA, BIOS_DATA_END),
            ("the boot information", INFO_START, INFO_END),
            ("the command line", TEXT_START, TEXT_END),
        ] {
            claims.take(what, start, end.saturating_sub(start))?;
        }
        Ok(claims)
    }

    /// Says in the firmware's place how much memory lies below it; Xen and others believe no
    /// one else.
    pub(crate) fn write_bios_data(&self, memory: &GuestMemory) -> Result<(), BootError> {
        let base = u16::try_from(self.base_memory()).unwrap_or(u16::MAX);
        Ok(memory.write(BASE_MEMORY, &base.to_le_bytes())?)
    }

    /// KiB of memory from address 0 on, below what a PC has there.
    pub(crate) fn base_memory(&self) -> u64 {
        self.kilobytes_from(0)
    }

    /// KiB of memory from `start` on, up to the first hole.
    pub(crate) fn kilobytes_from(&self, start: u64) -> u64 {
        let mut ranges = self.ram.usable();
        let range = ranges.find(|range| range.start() == start);
        range.map_or(0, |range| range.length() >> 10)
    }

    pub(crate) const fn too_many_modules(&self, limit: usize) -> BootError {
        let count = self.modules.len();
        BootError::TooManyModules { count, limit }
    }

    /// Address of the root pointer, zero without.
    pub(crate) fn rsdp(&self) -> u64 {
        self.acpi.map_or(0, |acpi| acpi.rsdp)
    }

    /// The command line with a zero at its end, if the kernel takes `limit` bytes of it.
    pub(crate) fn command_line(&self, limit: u64) -> Result<CString, BootError> {
        let length = self.command_line.len();
        let limit = limit.min(COMMAND_LINE_MAX);
        if length as u64 > limit {
            return Err(BootError::CommandLineTooLong { length, limit });
        }
        CString::new(self.command_line).map_err(|_| BootError::CommandLineZero)
    }
}

/// Hands out the memory for texts.
pub(crate) struct Texts<'m> {
    memory: &'m GuestMemory,
    next: u64,
}

impl<'m> Texts<'m> {
    pub(crate) const fn new(memory: &'m GuestMemory) -> Self {
        let next = TEXT_START;
        Self { memory, next }
    }

    /// Writes a text with the zero at its end; returns its address.
    pub(crate) fn put(&mut self, text: &CString) -> Result<u32, BootError> {
        let bytes = text.as_bytes_with_nul();
        let length = bytes.len() as u64;
        let address = self.next;
        let end = address.checked_add(length).filter(|end| *end <= TEXT_END);
        self.next = end.ok_or(BootError::CommandLineTooLong {
            length: text.count_bytes(),
            limit: TEXT_END.saturating_sub(address).saturating_sub(1),
        })?;
        self.memory.write(address, bytes)?;
        Ok(u32::try_from(address).unwrap_or(u32::MAX))
    }
}
