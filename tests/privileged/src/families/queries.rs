//! LAR, LSL, VERR, VERW and ARPL: what they say of every kind of descriptor.

use iced_x86::code_asm::*;

use super::TEST;
use crate::case::Mode::{Compatible32, Long64, Protected16, Protected32, Real, Virtual8086};
use crate::case::{Case, Mode};
use crate::descriptor::{PAGES, at_level, segment};

/// The system descriptors and the kinds of code and data.
const TYPES: [u8; 26] = [
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f,
    0x90, 0x92, 0x94, 0x96, 0x98, 0x9a, 0x9c, 0x9e, 0x12, 0x00,
];

/// All four instructions about one selector: registers keep what they were on failure, and the
/// flags of each are summed up in ESI.
fn all(a: &mut CodeAssembler) -> Result<(), iced_x86::IcedError> {
    a.xor(esi, esi)?;
    a.lar(ebx, eax)?;
    a.setz(dl)?;
    a.movzx(edx, dl)?;
    a.lea(esi, esi * 2 + edx)?;
    a.lsl(ecx, eax)?;
    a.setz(dl)?;
    a.lea(esi, esi * 2 + edx)?;
    a.verr(ax)?;
    a.setz(dl)?;
    a.lea(esi, esi * 2 + edx)?;
    a.verw(ax)?;
    a.setz(dl)?;
    a.lea(esi, esi * 2 + edx)
}

fn query(name: &str, mode: Mode, selector: u16) -> Case {
    let case = Case::new(format!("query/{}/{name}", mode.word()), mode);
    case.ax(selector.into()).cx(0x7777_7777).bx(0x5555_5555)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Compatible32(0)] {
        for kind in TYPES {
            let case = query(&format!("type-{kind:02x}"), mode, TEST);
            // What LAR says of the limit is undefined, so its upper bits are zero.
            let descriptor = segment(0x1234_5678, 0x0bcde, kind, 0x50);
            cases.push(case.descriptor(TEST, descriptor).code(all));
        }
    }
    for mode in [Protected32(0), Protected32(3), Long64(3)] {
        for (name, selector) in [
            ("null", 0),
            ("null-rpl3", 3),
            ("outside", 0x200),
            ("ldt", 4),
        ] {
            cases.push(query(name, mode, selector).code(all));
        }
        for (level, requested) in [(0, 0), (0, 3), (3, 0), (3, 3)] {
            for (kind, access) in [("data", 0x93), ("code", 0x9b), ("conforming", 0x9f)] {
                let name = format!("{kind}-dpl{level}-rpl{requested}");
                let case = query(&name, mode, TEST | requested);
                let descriptor = segment(0, 0xf_ffff, at_level(access, level), PAGES);
                cases.push(case.descriptor(TEST, descriptor).code(all));
            }
        }
    }
    cases.extend(adjusted());
    cases
}

/// ARPL, and all of them where there are none.
fn adjusted() -> Vec<Case> {
    let mut cases = Vec::new();
    for (own, other) in [(0x100u64, 3u64), (0x103, 1), (0x101, 2), (0x102, 2)] {
        let case = Case::new(format!("query/p32-3/arpl-{own:x}-{other}"), Protected32(3));
        cases.push(case.ax(own).bx(other).code(|a| a.arpl(ax, bx)));
    }
    for mode in [Real, Virtual8086] {
        for (name, bytes) in [
            ("lar", &[0x0f, 0x02, 0xc3][..]),
            ("lsl", &[0x0f, 0x03, 0xc3]),
            ("verr", &[0x0f, 0x00, 0xe0]),
            ("verw", &[0x0f, 0x00, 0xe8]),
            ("arpl", &[0x63, 0xc3]),
            ("lldt", &[0x0f, 0x00, 0xd0]),
            ("ltr", &[0x0f, 0x00, 0xd8]),
            ("sldt", &[0x0f, 0x00, 0xc0]),
            ("str", &[0x0f, 0x00, 0xc8]),
        ] {
            let case = Case::new(format!("query/{}/{name}", mode.word()), mode);
            cases.push(case.bytes(bytes));
        }
    }
    let case = Case::new("query/p16-0/lar-word", Protected16(0))
        .ax(0xa8)
        .bx(0x5555_5555);
    cases.push(case.code(|a| a.lar(bx, ax)));
    cases
}
