//! The page of shared information, and a virtual CPU's information.

use engine_contract::Stop;

use crate::errors::{FAULT, INVALID, NO_DOMAIN, NO_ENTRY, NO_PLACE, NOT_SERVED};
use crate::guest::{ARGUMENT, FREE, Guest, UNMAPPED, each};
use crate::numbers::{ADD_TO_PHYSMAP, MEMORY, REGISTER_INFO, VCPU};

const OWN: u16 = 0x7ff0;
/// The time in a virtual CPU's information, and its parts.
const TIME: u64 = 32;
const STAMP: u64 = TIME + 8;

fn addition(domain: u16, space: u32, index: u64, frame: u64) -> [u8; 24] {
    let mut addition = [0; 24];
    addition[..2].copy_from_slice(&domain.to_le_bytes());
    addition[4..8].copy_from_slice(&space.to_le_bytes());
    addition[8..16].copy_from_slice(&index.to_le_bytes());
    addition[16..].copy_from_slice(&frame.to_le_bytes());
    addition
}

fn add(guest: &mut Guest, addition: &[u8]) -> i64 {
    guest.call_with(MEMORY, ADD_TO_PHYSMAP, addition)
}

fn put(guest: &mut Guest, page: u64) -> i64 {
    add(guest, &addition(OWN, 0, 0, page >> 12))
}

#[test]
fn the_shared_page_is_where_nothing_is() {
    each(|guest| {
        let frames = [
            0,
            1,
            0xa0,
            // Devices, the I/O APIC, the local APIC.
            0xc_0000,
            0xf_ec00,
            0xf_ee00,
            // Beyond the processor's addresses, and what becomes small when it is shifted.
            1 << 28,
            (1 << 52) - 1,
            1 << 52,
            1 << 52 | 0x10_0000,
            u64::MAX,
        ];
        for frame in frames {
            let answer = add(guest, &addition(OWN, 0, 0, frame));
            assert_eq!(answer, INVALID, "{frame:#x}");
        }
        assert_eq!(guest.load(FREE), u32::MAX);
        for frame in [0x400, 0xb_ffff, 0x10_0000, (1 << 28) - 1] {
            let answer = add(guest, &addition(OWN, 0, 0, frame));
            assert_eq!(answer, 0, "{frame:#x}");
        }
        for (asked, answer) in [
            (addition(0, 0, 0, 0x10_0000), NO_DOMAIN),
            (addition(OWN, 1, 0, 0x10_0000), NOT_SERVED),
            (addition(OWN, 0, 1, 0x10_0000), INVALID),
        ] {
            assert_eq!(add(guest, &asked), answer);
        }
        assert_eq!(guest.call(MEMORY, &[ADD_TO_PHYSMAP, UNMAPPED - 8]), FAULT);
        assert_eq!(guest.load(FREE), u32::MAX);
    });
}

#[test]
fn the_shared_page_is_memory_and_moves() {
    each(|guest| {
        assert_eq!(put(guest, FREE), 0);
        // lock inc dword ptr [rbx], twice; it goes across the end of the page, too
        for at in [FREE + 8, FREE + 8, FREE + 0xffe] {
            guest.state.general[3] = at;
            assert_eq!(guest.execute(&[0xf0, 0xff, 0x03]), Stop::Kicked);
        }
        assert_eq!(guest.load(FREE + 8), 2);
        // xchg eax, [rbx]
        guest.state.general[0] = 9;
        guest.state.general[3] = FREE + 8;
        assert_eq!(guest.execute(&[0x87, 0x03]), Stop::Kicked);
        assert_eq!(guest.state.general[0], 2);
        assert_eq!(put(guest, FREE + 0x3000), 0);
        assert_eq!(guest.load(FREE + 8), u32::MAX);
        assert_eq!(guest.load(FREE + 0x3008), 9);
    });
}

/// It is executed as it is when it is executed.
#[test]
fn code_in_the_shared_page_is_looked_at_each_time() {
    each(|guest| {
        assert_eq!(put(guest, FREE), 0);
        // hlt; jmp $
        for (code, is_halted) in [(0xf4_u64, true), (0xfeeb, false)] {
            guest.state.general[3] = FREE + 0x100;
            guest.state.general[0] = code;
            // mov [rbx], eax; jmp rbx
            assert_eq!(guest.execute(&[0x89, 0x03]), Stop::Kicked);
            guest.execute(&[0xff, 0xe3]);
            let halted = std::mem::take(&mut guest.state.events.halted);
            assert_eq!(halted, is_halted);
        }
    });
}

#[test]
fn the_shared_page_tells_time() {
    each(|guest| {
        assert_eq!(put(guest, FREE), 0);
        let factor = guest.load(FREE + TIME + 24);
        let shift = guest.load(FREE + TIME + 28) as u8 as i8;
        // The counter has 1 MHz here.
        let nanos = ((1_000_000_u64 << shift) * u64::from(factor)) >> 32;
        assert!(nanos.abs_diff(1_000_000_000) < 10, "{nanos}");
        let version = guest.load(FREE + TIME);
        assert!(version > 0 && version.is_multiple_of(2));
        assert!(guest.load(FREE + 3072).is_multiple_of(2));
        assert!(guest.load(FREE + 3076) > 1_600_000_000);
    });
}

fn registration(frame: u64, offset: u32) -> [u8; 16] {
    let mut registration = [0; 16];
    registration[..8].copy_from_slice(&frame.to_le_bytes());
    registration[8..12].copy_from_slice(&offset.to_le_bytes());
    registration
}

fn register(guest: &mut Guest, vcpu: u64, frame: u64, offset: u32) -> i64 {
    let asked = registration(frame, offset);
    guest.memory.write(ARGUMENT, &asked).unwrap();
    guest.call(VCPU, &[REGISTER_INFO, vcpu, ARGUMENT])
}

#[test]
fn a_place_for_information_is_within_a_page_of_memory_and_named_once() {
    each(|guest| {
        for (vcpu, frame, offset, answer) in [
            (1, 0x30, 0, NO_ENTRY),
            (u64::from(u32::MAX), 0x30, 0, NO_ENTRY),
            (0, 0x30, 0xfc8, NO_PLACE),
            (0, 0x30, 4, NO_PLACE),
            (0, 0x30, u32::MAX - 7, NO_PLACE),
            (0, 0x400, 0, INVALID),
            (0, 0xf_ee00, 0, INVALID),
            (0, (1 << 52) - 1, 0, INVALID),
            (0, 1 << 52 | 0x30, 0, INVALID),
            (0, u64::MAX, 0xfc0, INVALID),
        ] {
            let answered = register(guest, vcpu, frame, offset);
            assert_eq!(answered, answer, "{vcpu} {frame:#x} {offset:#x}");
        }
        let arguments = [REGISTER_INFO, 0, UNMAPPED];
        assert_eq!(guest.call(VCPU, &arguments), FAULT);
        assert_eq!(guest.call(VCPU, &[9, 0, ARGUMENT]), NOT_SERVED);
        assert_eq!(register(guest, 0, 0x30, 0xfc0), 0);
        assert_eq!(register(guest, 0, 0x30, 0xfc0), INVALID);
        assert_eq!(register(guest, 0, 0x31, 0), INVALID);
    });
}

#[test]
fn information_goes_with_its_place_and_time_with_the_counter() {
    each(|guest| {
        assert_eq!(put(guest, FREE), 0);
        guest.state.general[3] = FREE;
        guest.state.general[0] = 0x55;
        // mov [rbx], eax
        assert_eq!(guest.execute(&[0x89, 0x03]), Stop::Kicked);
        assert_eq!(register(guest, 0, 0x30, 0x40), 0);
        let place = 0x3_0040;
        assert_eq!(guest.bytes::<4>(place), [0x55, 0, 0, 0]);
        let number = |bytes: [u8; 4]| u32::from_le_bytes(bytes);
        let before = number(guest.bytes(place + TIME));
        assert_eq!(guest.bytes::<8>(place + STAMP), [0; 8]);
        // wrmsr of the counter
        guest.state.general[..3].copy_from_slice(&[1000, 0x10, 1]);
        assert_eq!(guest.execute(&[0x0f, 0x30]), Stop::Kicked);
        let stamp = u64::from_le_bytes(guest.bytes(place + STAMP));
        assert_eq!(stamp, 1 << 32 | 1000);
        let after = number(guest.bytes(place + TIME));
        assert!(after > before && after.is_multiple_of(2));
        // The shared page has nothing of it any more.
        assert_eq!(guest.load(FREE + STAMP), 0);
    });
}
