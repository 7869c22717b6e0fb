//! How Husk's own kernel starts at ring 0: in long mode, at its ordinary entry, with page
//! tables for its first instructions.
//!
//! The tables show the image where it is linked and the first 4 GiB of physical memory at
//! `FRAMES_BASE` ([`guest_abi::layout`]); the kernel replaces them at once by its own. Zero in
//! `rdi` tells it that there is no cell. Nothing is put behind the image, and the kernel relies on
//! memory being zero there.

use guest_abi::layout::{
    BOOT_FRAMES, BOOT_TABLES, BOOT_TABLES_SPAN, FRAMES_BASE, HUGE_PAGE_SIZE, KERNEL_BASE,
    KERNEL_IMAGE, KERNEL_SPAN, PAGE_SIZE,
};
use machine_memory::GuestMemory;
use x86_state::{Control, CpuState, Segment, Segments};
use zerocopy::IntoBytes;

use crate::BootError;

const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 1 << 7;

/// Control registers of long mode (SDM vol. 3, 2.5): protection, numeric errors, write protection
/// of the kernel, paging; physical address extension; system calls, long mode, no-execute.
const CR0: u64 = 1 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 31;
const CR4: u64 = 1 << 5;
const EFER: u64 = 1 | 1 << 8 | 1 << 10 | 1 << 11;
/// The states that `xsave` and `xrstor` save: x87, and SSE, which every processor with them has
/// (SDM vol. 1, 13.3). The kernel adds what else there is; a virtual machine monitor that does not
/// see it do so, as under an emulator which lacks that intercept, still saves these.
const XCR0: u64 = 1 | 1 << 1;
/// The flag that is always set.
const FLAGS: u64 = 2;

/// Flat segments as [`Segment::rights`] wants them: 64-bit code, data, a busy task's state.
const CODE: Segment = segment(0x10, 0xa09b);
const DATA: Segment = segment(0x18, 0xc093);
const TASK: Segment = segment(0x38, 0x008b);

const fn segment(selector: u16, rights: u16) -> Segment {
    Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        rights,
    }
}

/// The state of a virtual CPU beside the first, which waits to be started: what it is after reset,
/// and the vector states, which starting it leaves as they are.
#[must_use]
pub fn waiting_state(mut state: CpuState) -> CpuState {
    state.control.xcr0 = XCR0;
    state
}

/// Which entry of a table of `level` an address has; level 4 is the root.
const fn index(linear: u64, level: u64) -> usize {
    ((linear >> (12 + 9 * (level - 1))) % 512) as usize
}

/// A table under construction.
type Table = [u64; 512];

/// Writes the tables; the state of the first virtual CPU. `entry` is the kernel's.
///
/// # Errors
/// When the memory ends before the tables do.
pub fn start_state(memory: &GuestMemory, entry: u64) -> Result<CpuState, BootError> {
    let at = |number: u64| BOOT_TABLES + number * PAGE_SIZE;
    let directories = BOOT_FRAMES >> 30;
    let (frames, image, image_directory) = (1, 2 + directories, 3 + directories);
    let mut tables = vec![[0u64; 512]; (4 + directories) as usize];
    let mut set = |table: u64, index: usize, value: u64| {
        let table = tables.get_mut(table as usize);
        if let Some(entry) = table.and_then(|table: &mut Table| table.get_mut(index)) {
            *entry = value;
        }
    };
    set(0, index(FRAMES_BASE, 4), at(frames) | PRESENT_WRITABLE);
    set(0, index(KERNEL_BASE, 4), at(image) | PRESENT_WRITABLE);
    set(
        image,
        index(KERNEL_BASE, 3),
        at(image_directory) | PRESENT_WRITABLE,
    );
    for number in 0..directories {
        set(frames, number as usize, at(2 + number) | PRESENT_WRITABLE);
    }
    for page in 0..BOOT_FRAMES / HUGE_PAGE_SIZE {
        let value = (page * HUGE_PAGE_SIZE) | PRESENT_WRITABLE | LARGE;
        set(2 + page / 512, (page % 512) as usize, value);
    }
    for page in 0..KERNEL_SPAN / HUGE_PAGE_SIZE {
        let value = (KERNEL_IMAGE + page * HUGE_PAGE_SIZE) | PRESENT_WRITABLE | LARGE;
        set(
            image_directory,
            index(KERNEL_BASE, 2) + page as usize,
            value,
        );
    }
    let bytes = tables.as_bytes();
    debug_assert!(bytes.len() as u64 <= BOOT_TABLES_SPAN);
    memory.write(BOOT_TABLES, bytes)?;
    Ok(CpuState {
        rip: entry,
        rflags: FLAGS,
        segments: Segments {
            cs: CODE,
            ds: DATA,
            es: DATA,
            fs: DATA,
            gs: DATA,
            ss: DATA,
            tr: TASK,
            ldt: Segment::default(),
        },
        control: Control {
            cr0: CR0,
            cr3: BOOT_TABLES,
            cr4: CR4,
            efer: EFER,
            xcr0: XCR0,
            ..Control::default()
        },
        ..CpuState::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the processor finds an address, by the tables in memory.
    fn translate(memory: &GuestMemory, linear: u64) -> Option<u64> {
        let mut at = BOOT_TABLES;
        for level in (2..=4).rev() {
            let mut entry = [0; 8];
            let place = at + 8 * index(linear, level) as u64;
            memory.read(place, &mut entry).unwrap();
            let entry = u64::from_le_bytes(entry);
            if entry & 1 == 0 {
                return None;
            }
            at = entry & !0xfff;
            if level == 2 {
                assert_ne!(entry & LARGE, 0);
                return Some((at & !(HUGE_PAGE_SIZE - 1)) + linear % HUGE_PAGE_SIZE);
            }
        }
        None
    }

    #[test]
    fn image_and_physical_memory_are_where_the_kernel_expects_them() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(KERNEL_IMAGE).unwrap();
        let memory = GuestMemory::new(file, KERNEL_IMAGE).unwrap();
        let state = start_state(&memory, KERNEL_BASE + 5).unwrap();
        assert_eq!(
            (state.rip, state.control.cr3),
            (KERNEL_BASE + 5, BOOT_TABLES)
        );
        for (linear, physical) in [
            (KERNEL_BASE + 0x1234, Some(KERNEL_IMAGE + 0x1234)),
            (
                KERNEL_BASE + KERNEL_SPAN - 1,
                Some(KERNEL_IMAGE + KERNEL_SPAN - 1),
            ),
            (KERNEL_BASE + KERNEL_SPAN, None),
            (FRAMES_BASE, Some(0)),
            (FRAMES_BASE + 0xfee0_0020, Some(0xfee0_0020)),
            (FRAMES_BASE + BOOT_FRAMES, None),
            (0, None),
        ] {
            assert_eq!(translate(&memory, linear), physical, "{linear:#x}");
        }
    }
}
