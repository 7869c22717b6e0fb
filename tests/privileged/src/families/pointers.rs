//! Far pointers into segment registers: LDS, LES, LFS, LGS, LSS.

use iced_x86::code_asm::*;

use super::TEST;
use crate::case::Mode::{Compatible32, Long64, Protected16, Protected32, Real, Virtual8086};
use crate::case::{Case, Mode};
use crate::descriptor::flat;
use crate::layout;

/// A far pointer at the case's data: a selector after an offset of the mode's size.
fn pointer(name: &str, mode: Mode, selector: u16) -> Case {
    let case = Case::new(format!("pointer/{}/{name}", mode.word()), mode);
    let offset = if mode.bits() == 16 { 2 } else { 4 };
    let place = if mode.bits() == 16 {
        0
    } else {
        layout::DATA.into()
    };
    let case = case.patch_32(layout::DATA, 0x1122_3344);
    case.patch_16(layout::DATA + offset, selector).bx(place)
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Real, Virtual8086, Protected16(0)] {
        let selector = if mode == Protected16(0) { 0x88 } else { 0x3000 };
        let case = pointer("lds", mode, selector);
        cases.push(case.code(|a| a.lds(cx, dword_ptr(bx))));
        cases.push(pointer("lgs", mode, selector).code(|a| a.lgs(cx, dword_ptr(bx))));
    }
    for mode in [Protected32(0), Protected32(3), Compatible32(3)] {
        let selector = TEST | u16::from(mode.level());
        let data = flat(0x92, mode.level());
        let case = pointer("lds", mode, selector).descriptor(TEST, data);
        cases.push(
            case.code(|a| a.lds(ecx, fword_ptr(ebx)))
                .show_descriptor(TEST),
        );
        let case = pointer("les-null", mode, 0);
        cases.push(case.code(|a| a.les(ecx, fword_ptr(ebx))));
        // A pointer that cannot be loaded leaves both registers.
        let case = pointer("lfs-reserved", mode, selector);
        cases.push(case.code(|a| a.lfs(ecx, fword_ptr(ebx))));
        let case = pointer("lss", mode, selector).descriptor(TEST, data);
        cases.push(
            case.code(|a| a.lss(ecx, fword_ptr(ebx)))
                .show_descriptor(TEST),
        );
        let case = pointer("lss-null", mode, 0);
        cases.push(case.code(|a| a.lss(ecx, fword_ptr(ebx))));
        let case = pointer("lgs-absent", mode, selector);
        let case = case.descriptor(TEST, data & !(1 << 47));
        cases.push(case.code(|a| a.lgs(ecx, fword_ptr(ebx))));
        cases.push(pointer("lss-register", mode, 0).bytes(&[0x0f, 0xb2, 0xcb]));
    }
    for mode in [Long64(0), Long64(3)] {
        let selector = TEST | u16::from(mode.level());
        let data = flat(0x93, mode.level());
        let case = pointer("lfs", mode, selector).descriptor(TEST, data);
        cases.push(case.code(|a| a.lfs(ecx, fword_ptr(rbx))));
        let case = pointer("lss-null", mode, 0);
        cases.push(case.code(|a| a.lss(ecx, fword_ptr(rbx))));
        cases.push(pointer("lds-invalid", mode, 0).bytes(&[0xc5, 0x0b]));
    }
    cases
}
