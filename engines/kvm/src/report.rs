//! What is said about a guest that cannot go on: where it was, and which code it was at.

use engine_contract::EngineError;
use machine_memory::GuestMemory;
use x86_listing::BYTES_WANTED;
use x86_paging::{EntrySize, Paging, Tables};
use x86_state::CpuState;

use crate::error::KvmError;

const PAGE: u64 = 4096;
/// Every address that a table can name; whether the processor has so many bits is not asked here.
const PHYSICAL_BITS: u32 = 52;

/// The error for it.
pub(crate) fn failure(
    id: u32,
    why: &str,
    state: Result<CpuState, KvmError>,
    memory: &GuestMemory,
) -> EngineError {
    let shown = match state {
        Ok(state) => {
            let paging = Paging::new(&state.control, PHYSICAL_BITS);
            let translate = |linear| Some(paging.look(&GuestTables(memory), linear)?.physical);
            let bytes = code(memory, x86_listing::code_address(&state), translate);
            x86_listing::describe(&state, &bytes)
        }
        Err(error) => format!("its registers cannot be read: {error}"),
    };
    let reason = format!("virtual CPU {id}: {why}\n{shown}");
    EngineError::new("the guest cannot go on", reason)
}

/// The guest's own page tables.
struct GuestTables<'m>(&'m GuestMemory);

impl Tables for GuestTables<'_> {
    fn load(&self, address: u64, size: EntrySize) -> u64 {
        let mut bytes = [0; 8];
        let count = match size {
            EntrySize::Four => 4,
            EntrySize::Eight => 8,
        };
        match self.0.read(address, &mut bytes[..count]) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => u64::MAX,
        }
    }
}

/// The bytes at a linear address, as many as are worth showing and can be read.
fn code(memory: &GuestMemory, start: u64, translate: impl Fn(u64) -> Option<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < BYTES_WANTED {
        let linear = start.wrapping_add(bytes.len() as u64);
        let in_page = (PAGE - linear % PAGE) as usize;
        let mut piece = vec![0; in_page.min(BYTES_WANTED - bytes.len())];
        let physical = translate(linear);
        let read = physical.is_some_and(|physical| memory.read(physical, &mut piece).is_ok());
        if !read {
            break;
        }
        bytes.append(&mut piece);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_read_page_by_page_until_there_is_none() {
        let memory = machine_memory::create(0x4000).unwrap();
        memory.write(0x1ffe, &[1, 2]).unwrap();
        memory.write(0x3000, &[3; 4096]).unwrap();
        // The linear page behind 0x1000 lies in another place.
        let scattered = |linear: u64| match linear & !0xfff {
            0x1000 => Some(linear),
            0x2000 => Some(linear + 0x1000),
            _ => None,
        };
        let bytes = code(&memory, 0x1ffe, scattered);
        assert_eq!((&bytes[..3], bytes.len()), (&[1, 2, 3][..], BYTES_WANTED));
        let bytes = code(&memory, 0x2ffd, scattered);
        assert_eq!(bytes, [3, 3, 3]);
        assert!(code(&memory, 0x9000, scattered).is_empty());
        assert!(code(&memory, 0x9000, |_| Some(1 << 40)).is_empty());
    }
}
