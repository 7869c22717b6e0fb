//! From the first instruction to the upper half's.
//!
//! A Husk monitor enters in long mode, at the kernel's ordinary entry, with page tables that
//! show the image where it is linked and the first 4 GiB of physical memory at `FRAMES_BASE`,
//! and the boot information at physical address zero. Others start it by PVH ([`pvh`]).

use guest_abi::boot::{BootInfo, MAGIC, RAM_RANGES_MAX, RamRange};
use guest_abi::layout::{self, RAM_BASE, page_up};
use zerocopy::{FromBytes, IntoBytes};

use super::command_line::COMMAND_LINE;
use super::frames::{FRAME, Frames};
use super::ranges::{self, Range};
use super::{apic, clock, cpu, image, memory, platform, processors, pvh, tables, trampoline};
use crate::boot;

/// A Husk monitor gives memory that nobody has used, and puts nothing behind the image
/// (`boot::ring0`).
const UNUSED_IS_ZERO: bool = true;

/// Starts on this processor; the layers above go on. `start_info` is zero with a Husk monitor,
/// otherwise the physical address of what PVH says.
pub(crate) fn start(start_info: u64) {
    let stack = crate::start::stack_top();
    cpu::initialize(stack);
    // Loading segments cleared it.
    crate::area::claim(0);
    if start_info == 0 {
        start_with_monitor();
    } else {
        start_elsewhere(start_info);
    }
    let info = boot::initialize();
    crate::memory::initialize(info.ram_span.min(layout::RAM_SPAN_MAX), false);
    x86_64::instructions::interrupts::enable();
}

fn start_with_monitor() {
    let info = boot_information();
    assert_eq!(info.magic, MAGIC, "boot information");
    begin(&info.ram, &kept(&info), &[], info.ram_span, UNUSED_IS_ZERO);
    apic::initialize();
    let count = (info.vcpus as usize).min(layout::VCPUS_MAX);
    processors::given(count);
    if count > 1 {
        trampoline::prepare(layout::TRAMPOLINE);
    }
}

fn start_elsewhere(start_info: u64) {
    let machine = pvh::machine(start_info).expect("the start information of PVH");
    platform::set_power_off(machine.acpi.power_off);
    let mut info = pvh::boot_information(&machine);
    // Others, and their firmware, may have used any of it.
    begin(
        &info.ram,
        &[],
        &machine.taken,
        info.ram_span,
        !UNUSED_IS_ZERO,
    );
    apic::initialize();
    if let Some(page) = machine.low_page {
        info.vcpus = processors::found(&machine.acpi.processors);
        if info.vcpus > 1 {
            trampoline::prepare(page);
        }
    }
    // Where a monitor would have put it.
    memory::write(layout::BOOT_INFO, info.as_bytes());
    // Interrupts may not fault: what they touch is there from now on.
    let pages = u64::from(info.vcpus) * layout::PAGE_SIZE;
    memory::populate(RAM_BASE + layout::VCPU_PAGES, pages, true);
    let frequencies = clock::frequencies(machine.acpi.timer);
    apic::set_frequency(frequencies.local);
    clock::keep(frequencies);
    COMMAND_LINE.call_once(|| machine.command_line);
}

/// Begins to use memory: `kept` is shared with the monitor, `taken` is in use otherwise.
/// `is_zero`: so is all memory behind the image.
fn begin(ram: &[RamRange], kept: &[Range], taken: &[Range], span: u64, is_zero: bool) {
    let mut ranges = [Range::default(); RAM_RANGES_MAX];
    for (range, ram) in ranges.iter_mut().zip(ram) {
        let end = ram.start.saturating_add(ram.length);
        *range = Range {
            start: ram.start,
            end: end.min(layout::FRAMES_SPAN_MAX),
        };
    }
    let (frames, used) = frames(&ranges, is_zero);
    let span = span.min(layout::RAM_SPAN_MAX);
    memory::initialize(frames, &ranges, kept, span).expect("memory for the first page tables");
    let mut all = [Range::default(); 8];
    let others = kept.iter().chain(taken).copied();
    for (slot, range) in all.iter_mut().zip(others.chain([used])) {
        *slot = range;
    }
    for range in ranges {
        ranges::without(range, &mut all, memory::add);
    }
}

fn boot_information() -> BootInfo {
    let mut bytes = [0u8; size_of::<BootInfo>()];
    let from = tables::pointer(layout::BOOT_INFO);
    // SAFETY: whoever enters here shows physical memory at `FRAMES_BASE`, this page included;
    // the buffer has the length.
    unsafe { core::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
    BootInfo::read_from_bytes(&bytes).expect("the buffer has the type's size")
}

/// What the monitor shares with us.
fn kept(info: &BootInfo) -> [Range; 2] {
    let config = page_up(info.config_length.min(layout::CONFIG_MAX));
    let devices = layout::DEVICE_PAGES + layout::DEVICES_MAX as u64 * layout::PAGE_SIZE;
    [
        Range {
            start: layout::BOOT_INFO,
            end: layout::CONFIG + config,
        },
        Range {
            start: layout::VCPU_PAGES,
            end: devices,
        },
    ]
}

/// Where the kernel's image lies in physical memory.
fn image_range() -> Range {
    let [(text, _), _, (data, _)] = image::parts();
    let physical = |linear: u64| linear - layout::KERNEL_BASE + layout::KERNEL_IMAGE;
    Range {
        start: physical(text.start),
        end: physical(data.end),
    }
}

/// The frames' own tables, right behind the image; some frames behind them, for page tables;
/// and all that the image, these tables and these frames cover.
fn frames(ram: &[Range], is_zero: bool) -> (Frames, Range) {
    const FIRST: u64 = 8 << 20;
    let image = image_range();
    let end = ram.iter().map(|range| range.end).max().unwrap_or(0);
    let home = ram
        .iter()
        .find(|range| range.start <= image.start && image.end <= range.end);
    let home = home.expect("the kernel's image lies in memory");
    let count = end / FRAME;
    let bytes = Frames::table_bytes(count);
    assert!(
        image.end + bytes + FIRST <= home.end.min(layout::BOOT_FRAMES),
        "too little memory for the kernel"
    );
    tables::clear(image.end, bytes);
    let (words, blocks) = Frames::table_lengths(count);
    let bits = tables::pointer(image.end).cast::<u64>();
    let counts = bits.wrapping_add(words).cast::<u16>();
    // SAFETY: the range behind the image is memory (asserted), zero, ours, and mapped for ever.
    let bits = unsafe { core::slice::from_raw_parts_mut(bits, words) };
    // SAFETY: as above; it begins where the words end and fits `table_bytes`.
    let counts = unsafe { core::slice::from_raw_parts_mut(counts, blocks) };
    let free = image.end + bytes;
    let unused = if is_zero { free } else { u64::MAX };
    let mut frames = Frames::new(bits, counts, unused);
    frames.add(free, free + FIRST);
    let start = image.start;
    let end = free + FIRST;
    (frames, Range { start, end })
}
