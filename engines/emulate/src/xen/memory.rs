//! `memory_op` (public/memory.h): the map of memory, and the page of shared information.

use std::sync::atomic::Ordering;

use engine_contract::MemoryRange;
use machine_memory::HOLE;

use super::{Answer, Call, DONE, Errno, PAGE_SHIFT, SELF, field};
use crate::identity::PHYSICAL_BITS;

/// `XENMEM_add_to_physmap`, its structure, and the one space that can be added (`XENMAPSPACE_shared_info`).
const ADD_TO_PHYSMAP: u64 = 7;
const ADDITION: usize = 24;
const SHARED_INFO: u64 = 0;
/// `XENMEM_memory_map`, its structure, and an entry: an address, a length, a kind.
const MEMORY_MAP: u64 = 9;
const MAP: usize = 16;

impl Call<'_, '_> {
    pub(super) fn memory(&mut self) -> Answer {
        let [operation, address, ..] = self.arguments;
        match operation {
            ADD_TO_PHYSMAP => self.add_to_memory(address),
            MEMORY_MAP => self.tell_map(address),
            _ => Err(Errno::NotServed),
        }
    }

    /// As many entries as there are and the guest has room for.
    fn tell_map(&mut self, address: u64) -> Answer {
        let mut asked: [u8; MAP] = self.take(address)?;
        let map = self.xen.map.get().ok_or(Errno::NotServed)?;
        let count = field(&asked, 0, 4).min(map.len() as u64);
        let entries = map.iter().take(count as usize);
        let entries: Vec<u8> = entries.flat_map(entry).collect();
        self.give(field(&asked, 8, 8), &entries)?;
        asked[..4].copy_from_slice(&(count as u32).to_le_bytes());
        self.give(address, &asked)?;
        Ok(DONE)
    }

    /// The shared page appears where the guest wants it, and is no longer where it was.
    fn add_to_memory(&mut self, address: u64) -> Answer {
        let asked: [u8; ADDITION] = self.take(address)?;
        if field(&asked, 0, 2) != SELF {
            return Err(Errno::NoDomain);
        }
        if field(&asked, 4, 4) != SHARED_INFO {
            return Err(Errno::NotServed);
        }
        let (index, frame) = (field(&asked, 8, 8), field(&asked, 16, 8));
        if index != 0 || frame >> (PHYSICAL_BITS - PAGE_SHIFT) != 0 {
            return Err(Errno::Invalid);
        }
        let physical = frame << PAGE_SHIFT;
        if self.bus.memory.frame(physical).is_some() || HOLE.contains(&physical) {
            return Err(Errno::Invalid);
        }
        self.tell_all_times();
        self.xen.at.store(physical, Ordering::Relaxed);
        Ok(DONE)
    }
}

fn entry(range: &MemoryRange) -> Vec<u8> {
    let mut entry = range.start.0.to_le_bytes().to_vec();
    entry.extend(range.length.to_le_bytes());
    entry.extend(range.kind.to_le_bytes());
    entry
}
