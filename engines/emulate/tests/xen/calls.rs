//! What is served, and what it says of arguments that are not.

use engine_contract::Stop;

use crate::errors::{FAULT, INVALID, NO_DOMAIN, NO_ENTRY, NOT_SERVED};
use crate::guest::{
    ARGUMENT, DEVICE, Guest, MAP, NO_ADDRESS, PAGES, READ_ONLY, UNMAPPED, VMCALL, VMMCALL, each,
};
use crate::numbers::{HVM, MEMORY, MEMORY_MAP, SCHEDULE, VERSION};

const BUFFER: u64 = 0x2_1000;

/// Asks for so many entries of the memory map, there.
fn asked(count: u32, buffer: u64) -> [u8; 16] {
    let mut asked = [0; 16];
    asked[..4].copy_from_slice(&count.to_le_bytes());
    asked[8..].copy_from_slice(&buffer.to_le_bytes());
    asked
}

fn map(guest: &mut Guest, count: u32, buffer: u64) -> i64 {
    guest.call_with(MEMORY, MEMORY_MAP, &asked(count, buffer))
}

fn entries() -> Vec<u8> {
    let entry = |range: &engine_contract::MemoryRange| {
        let numbers = [range.start.0.to_le_bytes(), range.length.to_le_bytes()].concat();
        [&numbers[..], &range.kind.to_le_bytes()].concat()
    };
    MAP.iter().flat_map(entry).collect()
}

#[test]
fn the_map_of_memory_has_as_many_entries_as_there_is_room_for() {
    let all = entries();
    each(|guest| {
        for (room, count) in [(0, 0), (1, 1), (3, 3), (4, 3), (u32::MAX, 3)] {
            guest.memory.write(BUFFER, &[0xee; 80]).unwrap();
            assert_eq!(map(guest, room, BUFFER), 0);
            assert_eq!(guest.bytes::<4>(ARGUMENT), (count as u32).to_le_bytes());
            let found: [u8; 80] = guest.bytes(BUFFER);
            assert_eq!(&found[..count * 20], &all[..count * 20]);
            assert!(found[count * 20..].iter().all(|byte| *byte == 0xee));
        }
        // Nothing is written where nothing is to be.
        assert_eq!(map(guest, 0, 0), 0);
    });
}

#[test]
fn buffers_go_across_pages_and_not_into_nothing() {
    let all = entries();
    each(|guest| {
        for buffer in [BUFFER + 0xff0, BUFFER + 0xfff] {
            assert_eq!(map(guest, 3, buffer), 0);
            assert_eq!(guest.bytes::<60>(buffer), all[..]);
        }
        for buffer in [
            UNMAPPED,
            UNMAPPED - 1,
            READ_ONLY,
            DEVICE,
            NO_ADDRESS - 1,
            NO_ADDRESS,
            u64::MAX,
            u64::MAX - 58,
            1 << 63,
        ] {
            assert_eq!(map(guest, 3, buffer), FAULT, "{buffer:#x}");
        }
        // Neither do structures.
        for at in [UNMAPPED, UNMAPPED - 8, DEVICE, NO_ADDRESS, u64::MAX - 3] {
            assert_eq!(guest.call(MEMORY, &[MEMORY_MAP, at]), FAULT, "{at:#x}");
        }
        // The count is told where the guest said it; a page that cannot be written is none.
        guest.memory.write(READ_ONLY, &asked(3, BUFFER)).unwrap();
        assert_eq!(guest.call(MEMORY, &[MEMORY_MAP, READ_ONLY]), FAULT);
        assert_eq!(guest.state.control.cr2, 0, "no exception was raised");
    });
}

#[test]
fn a_structure_may_go_across_pages() {
    each(|guest| {
        let at = ARGUMENT + 0xff9;
        guest.memory.write(at, &asked(9, BUFFER)).unwrap();
        assert_eq!(guest.call(MEMORY, &[MEMORY_MAP, at]), 0);
        assert_eq!(guest.bytes::<4>(at), [3, 0, 0, 0]);
    });
}

/// A parameter of the domain of this number.
fn parameter(domain: u16, index: u32, value: u64) -> [u8; 16] {
    let mut parameter = [0; 16];
    parameter[..2].copy_from_slice(&domain.to_le_bytes());
    parameter[4..8].copy_from_slice(&index.to_le_bytes());
    parameter[8..].copy_from_slice(&value.to_le_bytes());
    parameter
}

const OWN: u16 = 0x7ff0;

#[test]
fn one_parameter_is_kept_and_there_is_no_console() {
    let (set, get) = (0, 1);
    each(|guest| {
        assert_eq!(guest.call_with(HVM, set, &parameter(OWN, 0, 77)), 0);
        assert_eq!(guest.call_with(HVM, get, &parameter(OWN, 0, 1)), 0);
        assert_eq!(guest.bytes::<16>(ARGUMENT), parameter(OWN, 0, 77));
        for index in [17, 18, u32::MAX] {
            let asked = parameter(OWN, index, 1);
            for operation in [set, get] {
                assert_eq!(guest.call_with(HVM, operation, &asked), INVALID);
            }
        }
        let other = parameter(1, 0, 1);
        assert_eq!(guest.call_with(HVM, get, &other), NO_DOMAIN);
        assert_eq!(guest.call(HVM, &[get, UNMAPPED]), FAULT);
    });
}

#[test]
fn a_vector_for_upcalls_is_looked_at() {
    each(|guest| {
        for (vcpu, vector, answer) in [
            (0_u32, 0xf3, 0),
            (0, 15, INVALID),
            (1, 0xf3, NO_ENTRY),
            (u32::MAX, 0xf3, NO_ENTRY),
        ] {
            let [a, b, c, d] = vcpu.to_le_bytes();
            let asked = [a, b, c, d, vector, 0, 0, 0];
            assert_eq!(guest.call_with(HVM, 23, &asked), answer);
        }
    });
}

#[test]
fn translations_are_forgotten_when_they_are_to_be() {
    let (entry, page) = (PAGES + 0x22 * 8, 0x2_2000);
    each(|guest| {
        guest.memory.write(page, &[1, 0, 0, 0]).unwrap();
        guest.memory.write(BUFFER, &[2, 0, 0, 0]).unwrap();
        assert_eq!(guest.load(page), 1);
        guest
            .memory
            .write(entry, &(BUFFER | 3).to_le_bytes())
            .unwrap();
        assert_eq!(guest.call(HVM, &[5, 0]), 0);
        assert_eq!(guest.load(page), 2);
        assert_eq!(guest.call(HVM, &[5, 1]), INVALID);
    });
}

#[test]
fn a_guest_ends_its_machine() {
    each(|guest| {
        for (reason, stop) in [
            (0_u32, Stop::Shutdown),
            (1, Stop::Reset),
            (3, Stop::Crash),
            (4, Stop::Reset),
        ] {
            guest.memory.write(ARGUMENT, &reason.to_le_bytes()).unwrap();
            let arguments = [2, ARGUMENT];
            assert_eq!(guest.call_by(VMMCALL, SCHEDULE, &arguments), stop);
        }
        for reason in [2_u32, 5, 6, u32::MAX] {
            let asked = reason.to_le_bytes();
            assert_eq!(guest.call_with(SCHEDULE, 2, &asked), INVALID);
        }
        assert_eq!(guest.call(SCHEDULE, &[2, UNMAPPED]), FAULT);
    });
}

#[test]
fn a_guest_gives_its_turn_or_waits() {
    each(|guest| {
        assert_eq!(guest.call(SCHEDULE, &[0, 0]), 0);
        assert_eq!(guest.call_by(VMMCALL, SCHEDULE, &[1, 0]), Stop::Halted);
        assert_eq!(guest.state.general[0], 0);
        guest.state.events.halted = false;
        assert_eq!(guest.call(SCHEDULE, &[99, 0]), NOT_SERVED);
    });
}

#[test]
fn the_version_and_features_are_told() {
    each(|guest| {
        assert_eq!(guest.call(VERSION, &[0, 0]), 0x0004_0011);
        assert_eq!(guest.call(VERSION, &[1, BUFFER]), 0);
        assert_eq!(guest.call_with(VERSION, 6, &[0; 8]), 0);
        assert_eq!(guest.bytes::<8>(ARGUMENT)[4..], 0x204_u32.to_le_bytes());
        let other = [1, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(guest.call_with(VERSION, 6, &other), INVALID);
        assert_eq!(guest.call(VERSION, &[1, UNMAPPED - 1]), FAULT);
        assert_eq!(guest.call(VERSION, &[5, BUFFER]), NOT_SERVED);
    });
}

#[test]
fn both_instructions_make_calls() {
    each(|guest| {
        for instruction in [VMMCALL, VMCALL] {
            assert_eq!(guest.call_by(instruction, VERSION, &[0]), Stop::Kicked);
            assert_eq!(guest.state.general[0], 0x0004_0011);
        }
    });
}

#[test]
fn the_page_of_calls_makes_them() {
    each(|guest| {
        guest.state.general[0] = BUFFER;
        guest.state.general[1] = 0x4000_0000;
        guest.state.general[2] = 0;
        // wrmsr
        assert_eq!(guest.execute(&[0x0f, 0x30]), Stop::Kicked);
        let stub: [u8; 9] = guest.bytes(BUFFER + 34 * 32);
        assert_eq!(stub, [0xb8, 34, 0, 0, 0, 0x0f, 0x01, 0xd9, 0xc3]);
        assert_eq!(guest.bytes::<2>(BUFFER + 23 * 32), [0x0f, 0x0b]);
        // rdmsr
        assert_eq!(guest.execute(&[0x0f, 0x32]), Stop::Kicked);
        assert_eq!(guest.state.general[0], 0);
    });
}
