//! Guest memory by linear address, as a virtual CPU has its paging now; whoever may go there.

use machine_memory::GuestMemory;
use x86_paging::{EntrySize, Mapping, Mode, Paging, Tables};
use x86_state::CpuState;

const PAGE: u64 = 4096;
/// Every address that a table can name; whether the processor has so many bits is not asked here.
const PHYSICAL_BITS: u32 = 52;
/// Bits of a linear address; those above are all the same (SDM vol. 1, 3.3.7.1).
const LINEAR_BITS: u32 = 48;

/// The guest's own page tables.
struct GuestTables<'m>(&'m GuestMemory);

impl Tables for GuestTables<'_> {
    fn load(&self, address: u64, size: EntrySize) -> u64 {
        let mut four = [0; 4];
        let mut eight = [0; 8];
        let read = match size {
            EntrySize::Four => self.0.read(address, &mut four),
            EntrySize::Eight => self.0.read(address, &mut eight),
        };
        match (read, size) {
            (Err(_), _) => u64::MAX,
            (Ok(()), EntrySize::Four) => u32::from_le_bytes(four).into(),
            (Ok(()), EntrySize::Eight) => u64::from_le_bytes(eight),
        }
    }
}

/// Where a linear address leads; `None`: nowhere.
#[must_use]
pub fn translate(memory: &GuestMemory, state: &CpuState, linear: u64) -> Option<Mapping> {
    let paging = Paging::new(&state.control, PHYSICAL_BITS);
    let unused = 64 - LINEAR_BITS;
    let is_canonical = ((linear << unused).cast_signed() >> unused).cast_unsigned() == linear;
    if paging.mode() == Mode::FourLevel && !is_canonical {
        return None;
    }
    paging.look(&GuestTables(memory), linear)
}

/// Pieces of a range, none of which goes beyond a page: address and length.
fn pieces(start: u64, length: usize) -> impl Iterator<Item = (u64, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = start.wrapping_add(done as u64);
        let count = (length - done).min((PAGE - at % PAGE) as usize);
        done += count;
        (count > 0).then_some((at, count))
    })
}

/// Reads, up to the first byte that cannot be read; how many bytes that are.
pub fn read(memory: &GuestMemory, state: &CpuState, start: u64, into: &mut [u8]) -> usize {
    let mut done = 0;
    for (at, count) in pieces(start, into.len()) {
        let place = into.get_mut(done..done + count);
        let (Some(mapping), Some(place)) = (translate(memory, state, at), place) else {
            break;
        };
        if memory.read(mapping.physical, place).is_err() {
            break;
        }
        done += count;
    }
    done
}

/// Writes all of it, or nothing if some of it cannot be; whether it did.
#[must_use]
pub fn write(memory: &GuestMemory, state: &CpuState, start: u64, bytes: &[u8]) -> bool {
    let mut there = vec![0; bytes.len()];
    if read(memory, state, start, &mut there) < bytes.len() {
        return false;
    }
    let mut rest = bytes;
    for (at, count) in pieces(start, bytes.len()) {
        let (piece, behind) = rest.split_at(count.min(rest.len()));
        rest = behind;
        let mapping = translate(memory, state, at);
        // What could be read can be written, too; virtual CPUs that keep decoded code see it.
        let written = mapping.is_some_and(|mapping| memory.write(mapping.physical, piece).is_ok());
        if !written {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use x86_state::Control;

    use super::*;

    /// Pages at 0x10000 and 0x11000 lead to 0x5000 and 0x3000; there is no other.
    fn paged() -> (GuestMemory, CpuState) {
        let memory = machine_memory::create(0x8000).unwrap();
        let entries = [
            (0x1000, 0x2003_u64),
            (0x2000, 0x4003),
            (0x4000, 0x6003),
            (0x6080, 0x5003),
            (0x6088, 0x3003),
        ];
        for (place, entry) in entries {
            memory.write(place, &entry.to_le_bytes()).unwrap();
        }
        let control = Control {
            cr0: 0x8000_0001,
            cr3: 0x1000,
            cr4: 0x20,
            efer: 0x500,
            ..Control::default()
        };
        let state = CpuState {
            control,
            ..CpuState::default()
        };
        (memory, state)
    }

    #[test]
    fn an_access_follows_the_page_tables() {
        let (memory, state) = paged();
        assert!(write(&memory, &state, 0x1_0ffe, b"abcd"));
        let mut bytes = [0; 2];
        memory.read(0x5ffe, &mut bytes).unwrap();
        assert_eq!(&bytes, b"ab");
        memory.read(0x3000, &mut bytes).unwrap();
        assert_eq!(&bytes, b"cd");
        let mut bytes = [0; 4];
        assert_eq!(read(&memory, &state, 0x1_0ffe, &mut bytes), 4);
        assert_eq!(&bytes, b"abcd");
    }

    #[test]
    fn what_cannot_be_reached_is_not_written_in_part() {
        let (memory, state) = paged();
        assert!(!write(&memory, &state, 0x1_1ffe, b"abcd"));
        let mut bytes = [7; 4];
        assert_eq!(read(&memory, &state, 0x1_1ffe, &mut bytes), 2);
        assert_eq!(bytes, [0, 0, 7, 7]);
        for address in [0xfff0, 1 << 60, u64::MAX] {
            assert_eq!(
                read(&memory, &state, address, &mut bytes),
                0,
                "{address:#x}"
            );
        }
    }

    #[test]
    fn without_paging_addresses_are_physical() {
        let (memory, _) = paged();
        let state = CpuState::default();
        assert!(write(&memory, &state, 0x7ffc, b"last"));
        let mut bytes = [0; 8];
        assert_eq!(read(&memory, &state, 0x7ffc, &mut bytes), 4);
        assert_eq!(read(&memory, &state, 0x8000, &mut bytes), 0);
        assert_eq!(read(&memory, &state, 0x7ffc, &mut bytes[..4]), 4);
        assert_eq!(&bytes[..4], b"last");
    }
}
