//! Kernels by the Multiboot Specification, version 0.6.96 (the first Multiboot).
//!
//! A header in the first 8 KiB says what the kernel wants; either it also says what to load, or
//! the file is ELF. The kernel is entered in protected mode without paging.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::ffi::CString;

use machine_memory::GuestMemory;
use x86_state::CpuState;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::claims::Claims;
use crate::cpu::{self, Registers};
use crate::error::BootError;
use crate::executable::{self, Executable};
use crate::guest::{
    BELOW_4G, COMMAND_LINE_MAX, Guest, INFO, MAP, MODULE, MODULE_LIST, SEGMENT, Texts,
};
use crate::ram::{ABOVE_LEGACY, Entry};

/// The header lies in this many bytes of the file, at a multiple of four.
pub(crate) const SEARCHED: usize = 8192;
const MAGIC: u32 = 0x1bad_b002;
/// What a kernel finds in `eax`.
const LOADER_MAGIC: u32 = 0x2bad_b002;
const LOADER_NAME: &str = "husk";

/// Flags of the header: modules at pages, a memory map, a screen, and where to load.
const WANTS_SCREEN: u32 = 1 << 2;
const KNOWN_DEMANDS: u32 = 0b111;
/// The lower half are demands, the upper half are not.
const DEMANDS: u32 = 0xffff;
const HAS_ADDRESSES: u32 = 1 << 16;

/// Flags of the information.
const MEMORY: u32 = 1;
const COMMAND_LINE: u32 = 1 << 2;
const MODULES: u32 = 1 << 3;
const MEMORY_MAP: u32 = 1 << 6;
const NAME: u32 = 1 << 9;
const SCREEN: u32 = 1 << 12;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Magic {
    magic: U32,
    flags: U32,
    checksum: U32,
}

/// What follows [`Magic`] where [`HAS_ADDRESSES`] is set.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Addresses {
    header: U32,
    load: U32,
    load_end: U32,
    bss_end: U32,
    entry: U32,
}

/// A header that was found.
pub(crate) struct Header {
    offset: u64,
    flags: u32,
}

#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct Information {
    flags: U32,
    memory_lower: U32,
    memory_upper: U32,
    boot_device: U32,
    command_line: U32,
    module_count: U32,
    modules: U32,
    symbols: [U32; 4],
    map_length: U32,
    map: U32,
    drives: [U32; 2],
    configuration: U32,
    name: U32,
    power_management: U32,
    video_bios: [U32; 4],
    screen: Screen,
}

#[derive(IntoBytes, Immutable, Default)]
#[repr(C)]
struct Screen {
    address: U64,
    pitch: U32,
    width: U32,
    height: U32,
    bits: u8,
    kind: u8,
    colours: [u8; 6],
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ModuleEntry {
    start: U32,
    end: U32,
    text: U32,
    reserved: U32,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct MapEntry {
    /// Of what follows.
    size: U32,
    address: U64,
    length: U64,
    kind: U32,
}

/// The header in the first bytes of a file, if there is one.
pub(crate) fn find(head: &[u8]) -> Option<Header> {
    let mut places = (0..SEARCHED as u64).step_by(4);
    places.find_map(|offset| {
        let rest = head.get(usize::try_from(offset).ok()?..)?;
        let (found, _) = Magic::ref_from_prefix(rest).ok()?;
        let flags = found.flags.get();
        let sum = found.magic.get().wrapping_add(flags);
        let right = found.magic.get() == MAGIC && sum.wrapping_add(found.checksum.get()) == 0;
        right.then_some(Header { offset, flags })
    })
}

/// Loads a kernel with a Multiboot header, and what it is told.
///
/// The machine's memory is zero where nothing has been loaded before.
///
/// # Errors
/// When the kernel's file is damaged, has no header or demands something else, or something
/// does not fit the memory.
pub fn load(memory: &GuestMemory, guest: &Guest<'_>) -> Result<CpuState, BootError> {
    let head = guest.kernel.head(SEARCHED)?;
    let what = "no file with a Multiboot 1 header";
    let header = find(&head).ok_or(BootError::UnknownKernel { what })?;
    check_demands(&header, guest)?;
    // The kernel's name comes first and is not counted.
    guest.command_line(COMMAND_LINE_MAX)?;
    let mut claims = guest.claims()?;
    let entry = if header.flags & HAS_ADDRESSES != 0 {
        load_flat(memory, guest, &header, &mut claims)?
    } else if head.starts_with(&executable::MAGIC) {
        let executable = Executable::parse(guest.kernel)?;
        executable.load(guest.kernel, memory, &mut claims)?;
        executable.physical_entry()
    } else {
        let why = "its Multiboot header has no addresses, and it is no ELF file";
        return Err(BootError::NoEntry(why));
    };
    if entry >= BELOW_4G || !claims.holds(SEGMENT, entry) {
        return Err(BootError::Entry(entry));
    }
    write_information(memory, guest, &header, &mut claims)?;
    let registers = Registers {
        rip: entry,
        rax: LOADER_MAGIC.into(),
        rbx: INFO,
        ..Registers::default()
    };
    cpu::protected_mode(memory, registers)
}

fn check_demands(header: &Header, guest: &Guest<'_>) -> Result<(), BootError> {
    let demands = header.flags & DEMANDS;
    if demands & !KNOWN_DEMANDS != 0 {
        return Err(BootError::Demand("something unknown (bits 3 to 15)"));
    }
    if demands & WANTS_SCREEN != 0 && !guest.text_screen {
        return Err(BootError::Demand("a screen"));
    }
    Ok(())
}

/// Loads a file of which the header says what goes where; returns the entry.
fn load_flat(
    memory: &GuestMemory,
    guest: &Guest<'_>,
    header: &Header,
    claims: &mut Claims<'_>,
) -> Result<u64, BootError> {
    let image = guest.kernel;
    let after = header.offset.saturating_add(size_of::<Magic>() as u64);
    let fields: Addresses = image.value(after, "the addresses of its Multiboot header")?;
    let load = u64::from(fields.load.get());
    let bad = |field, value: U32, wanted| BootError::Field {
        field,
        value: value.get().into(),
        wanted,
    };
    let before = u64::from(fields.header.get()).checked_sub(load);
    let offset = before.and_then(|before| header.offset.checked_sub(before));
    let wanted = "it must lie behind load_addr, no further than in the file";
    let offset = offset.ok_or_else(|| bad("header_addr", fields.header, wanted))?;
    let rest = image.length().saturating_sub(offset);
    let length = match u64::from(fields.load_end.get()) {
        0 => Some(rest),
        end => end.checked_sub(load),
    };
    let wanted = "it lies before load_addr";
    let length = length.ok_or_else(|| bad("load_end_addr", fields.load_end, wanted))?;
    if length > rest {
        return Err(image.truncated("what its Multiboot header loads"));
    }
    let size = match u64::from(fields.bss_end.get()) {
        0 => Some(length),
        end => end.checked_sub(load).filter(|size| *size >= length),
    };
    let wanted = "it lies before load_end_addr";
    let size = size.ok_or_else(|| bad("bss_end_addr", fields.bss_end, wanted))?;
    claims.take(SEGMENT, load, size)?;
    image.load(memory, load, offset, length)?;
    Ok(fields.entry.get().into())
}

fn write_information(
    memory: &GuestMemory,
    guest: &Guest<'_>,
    header: &Header,
    claims: &mut Claims<'_>,
) -> Result<(), BootError> {
    let mut texts = Texts::new(memory);
    let command_line = texts.put(&text(guest.kernel.name(), guest.command_line)?)?;
    let name = texts.put(&text(LOADER_NAME, b"")?)?;
    let modules = load_modules(memory, guest, claims, &mut texts)?;
    let map = guest.ram.map(guest.acpi.map(|acpi| acpi.tables));
    let map: Vec<MapEntry> = map.iter().map(map_entry).collect();
    let mut information = Information {
        flags: (MEMORY | COMMAND_LINE | MODULES | MEMORY_MAP | NAME).into(),
        memory_lower: low(guest.base_memory()),
        memory_upper: low(guest.kilobytes_from(ABOVE_LEGACY)),
        command_line: command_line.into(),
        module_count: (modules.len() as u32).into(),
        modules: low(MODULE_LIST),
        map_length: (map.as_bytes().len() as u32).into(),
        map: low(MAP),
        name: name.into(),
        ..Information::default()
    };
    if guest.text_screen && header.flags & WANTS_SCREEN != 0 {
        information.flags |= SCREEN;
        information.screen = text_screen();
    }
    guest.write_bios_data(memory)?;
    memory.write(INFO, information.as_bytes())?;
    memory.write(MAP, map.as_bytes())?;
    Ok(memory.write(MODULE_LIST, modules.as_bytes())?)
}

/// Modules follow the kernel, each at a page.
fn load_modules(
    memory: &GuestMemory,
    guest: &Guest<'_>,
    claims: &mut Claims<'_>,
    texts: &mut Texts<'_>,
) -> Result<Vec<ModuleEntry>, BootError> {
    let mut modules = Vec::new();
    for module in guest.modules {
        let length = module.image.length();
        let space = (ABOVE_LEGACY, BELOW_4G);
        let range = claims.take_lowest(MODULE, length, space, 4096)?;
        module.image.load(memory, range.start(), 0, length)?;
        let text = text(module.image.name(), module.arguments)?;
        modules.push(ModuleEntry {
            start: low(range.start()),
            end: low(range.end()),
            text: texts.put(&text)?.into(),
            reserved: 0.into(),
        });
    }
    Ok(modules)
}

/// A name and what follows it.
fn text(name: &str, arguments: &[u8]) -> Result<CString, BootError> {
    let mut text = name.as_bytes().to_vec();
    if !arguments.is_empty() {
        text.push(b' ');
        text.extend_from_slice(arguments);
    }
    CString::new(text).map_err(|_| BootError::CommandLineZero)
}

fn map_entry(entry: &Entry) -> MapEntry {
    MapEntry {
        size: (size_of::<MapEntry>().saturating_sub(size_of::<U32>()) as u32).into(),
        address: entry.range.start().into(),
        length: entry.range.length().into(),
        kind: (entry.kind as u32).into(),
    }
}

/// 80 by 25 characters, 16 bits each, in the colours of EGA.
fn text_screen() -> Screen {
    Screen {
        address: 0xb_8000.into(),
        pitch: 160.into(),
        width: 80.into(),
        height: 25.into(),
        bits: 16,
        kind: 2,
        colours: [0; 6],
    }
}

fn low(value: u64) -> U32 {
    U32::new(u32::try_from(value).unwrap_or(u32::MAX))
}
