//! From the first instruction to the upper half's.
//!
//! A Husk monitor enters in long mode, at the kernel's ordinary entry, with page tables that
//! show the image where it is linked and the first 4 GiB of physical memory at `FRAMES_BASE`,
//! and the boot information at physical address zero.

use core::sync::atomic::Ordering;

use guest_abi::boot::{BootInfo, MAGIC};
use guest_abi::layout::{self, page_up};
use zerocopy::FromBytes;

use super::frames::{FRAME, Frames};
use super::memory::{self, Range};
use super::{VCPU, apic, cpu, entry, image, tables};
use crate::boot;

/// Starts on this processor; the layers above go on.
pub(crate) fn start() {
    let info = boot_information();
    assert_eq!(info.magic, MAGIC, "boot information");
    let stack = crate::start::stack_top();
    VCPU.kernel_stack.store(stack, Ordering::Relaxed);
    cpu::initialize(stack);
    entry::set_gs_base((&raw const VCPU).addr() as u64);
    let ram = info.ram.map(|range| Range {
        start: range.start,
        end: range
            .start
            .saturating_add(range.length)
            .min(layout::FRAMES_SPAN_MAX),
    });
    let kept = kept(&info);
    let (frames, free) = frames(&ram);
    let span = info.ram_span.min(layout::RAM_SPAN_MAX);
    memory::initialize(frames, &ram, &kept, span).expect("memory for the first page tables");
    for range in &ram {
        add_free(*range, free, &kept);
    }
    let info = boot::initialize();
    crate::memory::initialize(info.ram_span.min(layout::RAM_SPAN_MAX));
    apic::initialize();
    x86_64::instructions::interrupts::enable();
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

/// The frames' own tables, right behind the image, and where what is free begins: some of it
/// is handed out at once, for page tables.
fn frames(ram: &[Range]) -> (Frames, u64) {
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
    let mut frames = Frames::new(bits, counts);
    let free = image.end + bytes;
    frames.add(free, free + FIRST);
    (frames, free + FIRST)
}

/// Hands out what of a range is not in use: not kept, not the image and what follows it.
fn add_free(range: Range, free: u64, kept: &[Range]) {
    let used = Range {
        start: image_range().start,
        end: free,
    };
    let mut at = range.start.max(kept.first().map_or(0, |first| first.end));
    for taken in kept.iter().skip(1).chain([&used]) {
        if at < taken.start {
            let end = taken.start.min(range.end);
            memory::add(Range { start: at, end });
        }
        at = at.max(taken.end);
    }
    if at < range.end {
        memory::add(Range {
            start: at,
            end: range.end,
        });
    }
}
