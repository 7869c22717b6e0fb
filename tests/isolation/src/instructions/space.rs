//! The addresses at which the host's process has nothing, beside the bench's memory.

use std::ops::Range;

use host_processor::{CODE, MEMORY, MEMORY_SIZE, Mode};

/// The bench's own pages before the memory: registers and code.
const OWN: u64 = CODE - 0x1000;
/// The memory's end.
const END: u64 = MEMORY + MEMORY_SIZE as u64;
/// Accesses may be that many bytes beside what is known of them: images, and operands that move with the stack.
const MARGIN: u64 = 576;
/// Addresses that are none (SDM vol. 1, 3.3.7.1).
const HOLE: Range<u64> = 0x0000_8000_0000_0000..0xffff_8000_0000_0000;
/// Where 32-bit code ends.
const DOUBLE: u64 = 1 << 32;

/// What an access of the host's processor would meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The memory, in whole or up to its end, where nothing follows.
    Memory,
    /// Nothing: it faults.
    Nothing,
    /// Something of the process, perhaps.
    Unknown,
}

/// How far there is nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    ceiling: u64,
}

impl Space {
    /// Looks at the process. `None` when it has something below the bench.
    pub(super) fn of_process() -> Option<Self> {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let starts = maps.lines().filter_map(|line| {
            let (start, _) = line.split_once('-')?;
            u64::from_str_radix(start, 16).ok()
        });
        let others = starts.filter(|start| !(OWN..END).contains(start));
        let first = others.min().unwrap_or(DOUBLE);
        (first > END).then_some(Self {
            ceiling: first.min(DOUBLE),
        })
    }

    /// What bytes from an address on are.
    pub(super) fn place(self, mode: Mode, address: u64, bytes: u64) -> Place {
        let Some(end) = address.checked_add(bytes) else {
            return Place::Unknown;
        };
        let (start, end) = (address, end);
        if (MEMORY..END).contains(&start) {
            return Place::Memory;
        }
        let around = start.saturating_sub(MARGIN)..end.saturating_add(MARGIN);
        let is_apart = around.end <= OWN || around.start >= END;
        if around.end <= self.ceiling && is_apart {
            return Place::Nothing;
        }
        let is_none = around.start >= HOLE.start && around.end <= HOLE.end;
        if mode == Mode::Long && is_none {
            return Place::Nothing;
        }
        Place::Unknown
    }
}
