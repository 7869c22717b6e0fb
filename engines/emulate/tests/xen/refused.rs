//! Who may not call, what is not served, and guests that have no Xen below themselves.

use engine_contract::Stop;
use engine_emulate::testing::Way;

use crate::errors::{NOT_PERMITTED, NOT_SERVED};
use crate::guest::{Guest, VMCALL, VMMCALL, each};
use crate::numbers::{CONSOLE, VERSION};

const WAYS: [Way; 2] = [Way::Blocks, Way::OneByOne];

#[test]
fn programs_make_no_calls() {
    each(|guest| {
        for (code, data) in [(0xfb, 0xf3), (0xdb, 0xd3)] {
            let level = code >> 5 & 3;
            guest.state.segments.cs.rights = 0xa000 | code;
            guest.state.segments.cs.selector = 8 | level;
            guest.state.segments.ss.rights = 0xc000 | data;
            guest.state.segments.ss.selector = 0x10 | level;
            if level == 3 {
                // All is a program's.
                for at in [0x1_0000, 0x1_1000, 0x1_2000, 0x1_3008] {
                    let [low, ..] = guest.bytes::<1>(at);
                    guest.memory.write(at, &[low | 4]).unwrap();
                }
            }
            assert_eq!(guest.call(VERSION, &[0]), NOT_PERMITTED, "{level}");
        }
        assert_eq!(guest.counts(), []);
    });
}

#[test]
fn code_of_32_bits_is_not_served() {
    each(|guest| {
        // In long mode, then in protected mode without paging.
        guest.state.segments.cs.rights = 0xc09b;
        for (control, efer) in [(0x8001_0033, 0x500), (0x33, 0)] {
            (guest.state.control.cr0, guest.state.control.efer) = (control, efer);
            assert_eq!(guest.call(VERSION, &[0]), 0xffff_ffda);
        }
    });
}

#[test]
fn real_mode_is_not_served() {
    each(|guest| {
        (guest.state.control.cr0, guest.state.control.efer) = (0x10, 0);
        guest.state.segments.cs.rights = 0x9b;
        guest.state.segments.cs.limit = 0xffff;
        assert_eq!(guest.call(VERSION, &[0]), 0xffff_ffda);
    });
}

#[test]
fn what_is_not_served_is_counted_by_number() {
    each(|guest| {
        for number in [CONSOLE, CONSOLE, 6, 64, u64::MAX, 1 << 63 | VERSION] {
            assert_eq!(guest.call(number, &[0, 0, 0]), NOT_SERVED);
        }
        let counts = [
            ("unserved hypercall 18", 2),
            ("unserved hypercall 6", 1),
            ("unserved hypercall beyond all", 3),
        ];
        let mut expected = counts
            .map(|(name, count)| (name.to_owned(), count))
            .to_vec();
        expected.sort();
        let mut found = guest.counts();
        found.sort();
        assert_eq!(found, expected);
    });
}

#[test]
fn without_xen_both_instructions_raise_an_exception() {
    for way in WAYS {
        for instruction in [VMMCALL, VMCALL] {
            let mut guest = Guest::new(way, false);
            // There is no handler.
            let stop = guest.call_by(instruction, VERSION, &[0]);
            assert_eq!(stop, Stop::TripleFault);
        }
    }
}

/// The registers of KVM's clock are not there above Xen, and Xen's is not there without.
#[test]
fn a_guest_has_the_registers_of_one_hypervisor() {
    const XEN: u64 = 0x4000_0000;
    const KVM: [u64; 2] = [0x4b56_4d00, 0x4b56_4d01];
    for way in WAYS {
        for (is_over_xen, number, is_there) in [
            (true, XEN, true),
            (true, KVM[0], false),
            (true, KVM[1], false),
            (false, XEN, false),
            (false, KVM[0], true),
            (false, KVM[1], true),
        ] {
            // rdmsr; wrmsr of a page
            for instruction in [&[0x0f, 0x32], &[0x0f, 0x30]] {
                let mut guest = Guest::new(way, is_over_xen);
                guest.state.general[..3].copy_from_slice(&[0x2_1000, number, 0]);
                let stop = guest.execute(instruction);
                let expected = if is_there {
                    Stop::Kicked
                } else {
                    Stop::TripleFault
                };
                assert_eq!(stop, expected, "{number:#x}");
            }
        }
        // Where there is no memory, and another page than the first.
        for (low, high) in [(0, 1), (0x2_1001, 0), (0, u64::from(u32::MAX))] {
            let mut guest = Guest::new(way, true);
            guest.state.general[..3].copy_from_slice(&[low, XEN, high]);
            assert_eq!(guest.execute(&[0x0f, 0x30]), Stop::TripleFault);
        }
    }
}
