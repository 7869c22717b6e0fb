//! Linux by its own boot protocol (Documentation/arch/x86/boot.rst and zero-page.rst).
//!
//! A bzImage is entered in long mode where it has a 64-bit entry, otherwise in protected mode.
//! It decompresses itself; what it gets is the "zero page" with its own set-up header in it.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use machine_memory::GuestMemory;
use x86_state::CpuState;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::claims::Claims;
use crate::cpu::{self, Registers};
use crate::error::BootError;
use crate::guest::{BELOW_4G, Guest, INFO, KERNEL, MODULE, Texts};
use crate::image::Image;
use crate::ram::{ABOVE_LEGACY, Range};

const HEADER: usize = 0x1f1;
/// The byte here says where the header ends, counted from [`MAGIC_AT`].
const HEADER_END: usize = 0x201;
const MAGIC_AT: usize = 0x202;
const MAGIC: [u8; 4] = *b"HdrS";
const BOOT_SIGNATURE: u16 = 0xaa55;
/// The header ends at or before this, where the zero page has something else.
const HEADER_LIMIT: usize = 0x290;
const SECTOR: u64 = 512;
const VERSION_MIN: u16 = 0x20a;
/// The first version with [`SetupHeader::xloadflags`].
const VERSION_XLOADFLAGS: u16 = 0x20c;
const LOADED_HIGH: u8 = 1;
const KERNEL_64: u16 = 1;
const ENTRY_64: u64 = 0x200;
/// A boot loader without a number of its own.
const LOADER_UNDEFINED: u8 = 0xff;

/// Places in the zero page.
const ZERO_PAGE_SIZE: usize = 4096;
const SCREEN: usize = 0;
const RSDP: usize = 0x70;
const MAP_COUNT: usize = 0x1e8;
const MAP: usize = 0x2d0;

/// The set-up header, from offset [`HEADER`] of the file on.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SetupHeader {
    setup_sects: u8,
    root_flags: U16,
    syssize: U32,
    ram_size: U16,
    vid_mode: U16,
    root_dev: U16,
    boot_flag: U16,
    jump: U16,
    header: [u8; 4],
    version: U16,
    realmode_swtch: U32,
    start_sys_seg: U16,
    kernel_version: U16,
    type_of_loader: u8,
    loadflags: u8,
    setup_move_size: U16,
    code32_start: U32,
    ramdisk_image: U32,
    ramdisk_size: U32,
    bootsect_kludge: U32,
    heap_end_ptr: U16,
    ext_loader_ver: u8,
    ext_loader_type: u8,
    cmd_line_ptr: U32,
    initrd_addr_max: U32,
    kernel_alignment: U32,
    relocatable_kernel: u8,
    min_alignment: u8,
    xloadflags: U16,
    cmdline_size: U32,
    hardware_subarch: U32,
    hardware_subarch_data: U64,
    payload_offset: U32,
    payload_length: U32,
    setup_data: U64,
    pref_address: U64,
    init_size: U32,
}

/// The kernel proper, behind the set-up code: where in the file, and where it goes.
struct Body {
    offset: u64,
    length: u64,
    place: Range,
}

/// Whether a file that begins with these bytes is a Linux kernel.
pub(crate) fn recognizes(head: &[u8]) -> bool {
    let signature = head.get(0x1fe..0x200) == Some(BOOT_SIGNATURE.to_le_bytes().as_slice());
    signature
        && head
            .get(MAGIC_AT..)
            .is_some_and(|rest| rest.starts_with(&MAGIC))
}

/// Loads a bzImage and what it is told.
///
/// The machine's memory is zero where nothing has been loaded before.
///
/// # Errors
/// When the kernel's file is damaged, too old, or something does not fit the memory.
pub fn load(memory: &GuestMemory, guest: &Guest<'_>) -> Result<CpuState, BootError> {
    let head = guest.kernel.head(HEADER_LIMIT)?;
    let mut bytes = header_bytes(guest.kernel, &head)?;
    let (header, _) = SetupHeader::mut_from_prefix(&mut bytes)
        .map_err(|_| guest.kernel.truncated("its set-up header does"))?;
    check(header)?;
    let command_line = guest.command_line(header.cmdline_size.get().into())?;
    let mut claims = guest.claims()?;
    let body = place(header, guest.kernel, &mut claims)?;
    let disk = place_disk(header, guest, &mut claims)?;

    guest
        .kernel
        .load(memory, body.place.start(), body.offset, body.length)?;
    if let Some((image, range)) = disk {
        image.load(memory, range.start(), 0, image.length())?;
        header.ramdisk_image = low(range.start());
        header.ramdisk_size = low(range.length());
    }
    header.type_of_loader = LOADER_UNDEFINED;
    header.code32_start = low(body.place.start());
    header.cmd_line_ptr = Texts::new(memory).put(&command_line)?.into();
    let is_64 = has_64_bit_entry(header);
    guest.write_bios_data(memory)?;
    memory.write(INFO, &zero_page(guest, &bytes))?;
    enter(memory, body.place.start(), is_64)
}

/// The header alone, which says itself how long it is; what it does not have is zero.
fn header_bytes(kernel: &Image, head: &[u8]) -> Result<Vec<u8>, BootError> {
    let length = *head
        .get(HEADER_END)
        .ok_or_else(|| kernel.truncated("its set-up header does"))?;
    let end = MAGIC_AT.saturating_add(length.into()).min(HEADER_LIMIT);
    let found = head
        .get(HEADER..end)
        .ok_or_else(|| kernel.truncated("its set-up header does"))?;
    let mut bytes = found.to_vec();
    bytes.resize(bytes.len().max(size_of::<SetupHeader>()), 0);
    Ok(bytes)
}

fn check(header: &SetupHeader) -> Result<(), BootError> {
    if header.header != MAGIC || header.boot_flag.get() != BOOT_SIGNATURE {
        let what = "no bzImage, though its beginning is one's";
        return Err(BootError::UnknownKernel { what });
    }
    let version = header.version.get();
    if version < VERSION_MIN {
        let [minor, major] = version.to_le_bytes();
        return Err(BootError::OldLinux { major, minor });
    }
    if header.loadflags & LOADED_HIGH == 0 {
        return Err(BootError::LowLinux);
    }
    Ok(())
}

/// Finds the kernel in its file and a place for it.
fn place(header: &SetupHeader, kernel: &Image, claims: &mut Claims<'_>) -> Result<Body, BootError> {
    // Zero means four, for the sake of old kernels.
    let sectors = match header.setup_sects {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let offset = sectors.saturating_add(1).saturating_mul(SECTOR);
    let rest = kernel.length().saturating_sub(offset);
    let whole = u64::from(header.syssize.get()).saturating_mul(16);
    // Sixteen bytes are the unit; the last need not be full. What follows is a signature.
    if whole == 0 || rest.next_multiple_of(16) < whole {
        return Err(kernel.truncated("the code that its set-up header announces"));
    }
    let length = rest.min(whole);
    let size = length.max(header.init_size.get().into());
    let place = find_place(header, size, claims)?;
    Ok(Body {
        offset,
        length,
        place,
    })
}

fn find_place(
    header: &SetupHeader,
    size: u64,
    claims: &mut Claims<'_>,
) -> Result<Range, BootError> {
    let preferred = header.pref_address.get();
    let alignment = u64::from(header.kernel_alignment.get());
    let bad = |field, value, wanted| BootError::Field {
        field,
        value,
        wanted,
    };
    if !(ABOVE_LEGACY..BELOW_4G).contains(&preferred) {
        let wanted = "an address from 1 MiB to 4 GiB is accepted";
        return Err(bad("pref_address", preferred, wanted));
    }
    if header.relocatable_kernel == 0 {
        return claims.take(KERNEL, preferred, size);
    }
    if !alignment.is_power_of_two() {
        return Err(bad(
            "kernel_alignment",
            alignment,
            "a power of two is accepted",
        ));
    }
    // A kernel below its preferred address would move itself there.
    claims.take_lowest(KERNEL, size, (preferred, BELOW_4G), alignment)
}

/// The initial RAM disk goes as high as the kernel reaches it.
fn place_disk<'g>(
    header: &SetupHeader,
    guest: &Guest<'g>,
    claims: &mut Claims<'_>,
) -> Result<Option<(&'g Image, Range)>, BootError> {
    let disk = match guest.modules {
        [] => return Ok(None),
        [disk] => disk.image,
        _ => return Err(guest.too_many_modules(1)),
    };
    let below = u64::from(header.initrd_addr_max.get()).saturating_add(1);
    let range = claims.take_highest(MODULE, disk.length(), below)?;
    Ok(Some((disk, range)))
}

fn has_64_bit_entry(header: &SetupHeader) -> bool {
    header.version.get() >= VERSION_XLOADFLAGS && header.xloadflags.get() & KERNEL_64 != 0
}

fn enter(memory: &GuestMemory, start: u64, is_64: bool) -> Result<CpuState, BootError> {
    let registers = Registers {
        rip: if is_64 {
            start.saturating_add(ENTRY_64)
        } else {
            start
        },
        rsi: INFO,
        ..Registers::default()
    };
    if is_64 {
        cpu::long_mode(memory, registers)
    } else {
        cpu::protected_mode(memory, registers)
    }
}

fn zero_page(guest: &Guest<'_>, header: &[u8]) -> Vec<u8> {
    let mut page = vec![0; ZERO_PAGE_SIZE];
    if guest.text_screen {
        put(&mut page, SCREEN, &text_screen());
    }
    put(&mut page, RSDP, &guest.rsdp().to_le_bytes());
    put(&mut page, HEADER, header);
    let map = guest.ram.map(guest.acpi.map(|acpi| acpi.tables));
    put(&mut page, MAP_COUNT, &[map.len() as u8]);
    let mut entries = Vec::new();
    for entry in &map {
        entries.extend_from_slice(&entry.range.start().to_le_bytes());
        entries.extend_from_slice(&entry.range.length().to_le_bytes());
        entries.extend_from_slice(&(entry.kind as u32).to_le_bytes());
    }
    put(&mut page, MAP, &entries);
    page
}

/// `screen_info` of a colour screen in mode 3.
fn text_screen() -> [u8; 18] {
    let mut screen = [0; 18];
    for (at, value) in [(0x06, 3), (0x07, 80), (0x0e, 25), (0x0f, 1), (0x10, 16)] {
        put(&mut screen, at, &[value]);
    }
    screen
}

/// Places are constants within a page; the map has at most as many entries as fit.
fn put(page: &mut [u8], at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    if let Some(place) = page.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}

/// What was placed below 4 GiB.
fn low(value: u64) -> U32 {
    U32::new(u32::try_from(value).unwrap_or(u32::MAX))
}
