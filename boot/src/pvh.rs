//! ELF kernels by Xen's PVH protocol (Xen's docs/misc/pvh.pandoc and `start_info.h`).
//!
//! A note says where to enter, in protected mode without paging; `ebx` points to a structure
//! with the rest. Linux's uncompressed kernel, FreeBSD, and many small kernels have one.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::ffi::CString;

use machine_memory::GuestMemory;
use x86_state::CpuState;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

use crate::cpu::{self, Registers};
use crate::error::BootError;
use crate::executable::{Executable, Note};
use crate::guest::{
    BELOW_4G, COMMAND_LINE_MAX, Guest, INFO, MAP, MODULE, MODULE_LIST, SEGMENT, Texts,
};
use crate::image::Image;

const OWNER: &[u8] = b"Xen";
/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const PHYSICAL_ENTRY: u32 = 18;
const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct StartInfo {
    magic: U32,
    version: U32,
    flags: U32,
    module_count: U32,
    modules: U64,
    command_line: U64,
    rsdp: U64,
    map: U64,
    map_count: U32,
    reserved: U32,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ModuleEntry {
    address: U64,
    size: U64,
    command_line: U64,
    reserved: U64,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct MapEntry {
    address: U64,
    size: U64,
    kind: U32,
    reserved: U32,
}

/// The entry that a kernel's note names.
pub(crate) fn entry(image: &Image, executable: &Executable) -> Result<Option<u64>, BootError> {
    executable.find_note(image, entry_of_note)
}

fn entry_of_note(note: &Note<'_>) -> Option<u64> {
    if note.owner != OWNER || note.kind != PHYSICAL_ENTRY {
        return None;
    }
    match note.contents {
        [a, b, c, d] => Some(u32::from_le_bytes([*a, *b, *c, *d]).into()),
        contents => Some(u64::from_le_bytes(contents.try_into().ok()?)),
    }
}

/// Loads an ELF file with an entry note, and what it is told.
///
/// The machine's memory is zero where nothing has been loaded before.
///
/// # Errors
/// When the kernel's file is damaged, has no entry note, or something does not fit the memory.
pub fn load(memory: &GuestMemory, guest: &Guest<'_>) -> Result<CpuState, BootError> {
    let executable = Executable::parse(guest.kernel)?;
    let entry = entry(guest.kernel, &executable)?;
    let entry = entry.ok_or(BootError::NoEntry(
        "it has no XEN_ELFNOTE_PHYS32_ENTRY note",
    ))?;
    let command_line = guest.command_line(COMMAND_LINE_MAX)?;
    let mut claims = guest.claims()?;
    executable.load(guest.kernel, memory, &mut claims)?;
    if entry >= BELOW_4G || !claims.holds(SEGMENT, entry) {
        return Err(BootError::Entry(entry));
    }

    let mut texts = Texts::new(memory);
    let command_line = texts.put(&command_line)?;
    let mut modules = Vec::new();
    for module in guest.modules {
        let range = claims.take_highest(MODULE, module.image.length(), BELOW_4G)?;
        module
            .image
            .load(memory, range.start(), 0, range.length())?;
        let arguments = CString::new(module.arguments).map_err(|_| BootError::CommandLineZero)?;
        modules.push(ModuleEntry {
            address: range.start().into(),
            size: range.length().into(),
            command_line: u64::from(texts.put(&arguments)?).into(),
            reserved: 0.into(),
        });
    }
    write_info(memory, guest, command_line, &modules)?;
    let registers = Registers {
        rip: entry,
        rbx: INFO,
        ..Registers::default()
    };
    cpu::protected_mode(memory, registers)
}

fn write_info(
    memory: &GuestMemory,
    guest: &Guest<'_>,
    command_line: u32,
    modules: &[ModuleEntry],
) -> Result<(), BootError> {
    let map = guest.ram.map(guest.acpi.map(|acpi| acpi.tables));
    let entries = map.iter().map(|entry| MapEntry {
        address: entry.range.start().into(),
        size: entry.range.length().into(),
        kind: (entry.kind as u32).into(),
        reserved: 0.into(),
    });
    let map: Vec<MapEntry> = entries.collect();
    let info = StartInfo {
        magic: MAGIC.into(),
        version: VERSION.into(),
        flags: 0.into(),
        module_count: (modules.len() as u32).into(),
        modules: if modules.is_empty() { 0 } else { MODULE_LIST }.into(),
        command_line: u64::from(command_line).into(),
        rsdp: guest.rsdp().into(),
        map: MAP.into(),
        map_count: (map.len() as u32).into(),
        reserved: 0.into(),
    };
    guest.write_bios_data(memory)?;
    memory.write(INFO, info.as_bytes())?;
    memory.write(MAP, map.as_bytes())?;
    Ok(memory.write(MODULE_LIST, modules.as_bytes())?)
}
