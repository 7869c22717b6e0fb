//! Accesses at the edges of segments, and through segments that do not allow them.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use super::TEST;
use crate::case::Mode::{Compatible32, Long64, Protected16, Protected32};
use crate::case::{Case, Mode, segment as number};
use crate::descriptor::{self, BIG, PAGES, segment};
use crate::layout;

const BASE: u32 = layout::DATA;

/// What is done at EBX through FS.
#[derive(Clone, Copy)]
enum Access {
    Read,
    ReadDoubleword,
    Write,
    ReadModifyWrite,
}

impl Access {
    const ALL: [(&str, Self); 4] = [
        ("read", Self::Read),
        ("read-dword", Self::ReadDoubleword),
        ("write", Self::Write),
        ("modify", Self::ReadModifyWrite),
    ];

    fn code(self, a: &mut CodeAssembler) -> Result<(), IcedError> {
        match self {
            Self::Read => a.mov(al, byte_ptr(ebx).fs()),
            Self::ReadDoubleword => a.mov(eax, dword_ptr(ebx).fs()),
            Self::Write => a.mov(byte_ptr(ebx).fs(), al),
            Self::ReadModifyWrite => a.not(dword_ptr(ebx).fs()),
        }
    }
}

/// The family's cases.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = edges();
    cases.extend(rights());
    cases.extend(nulls());
    cases.extend(stacks());
    cases.extend(code());
    cases
}

/// Offsets around the ends of segments that grow up and down, small and big.
fn edges() -> Vec<Case> {
    let segments = [
        ("up", segment(BASE, 0x0f, descriptor::DATA, BIG)),
        ("up-pages", segment(BASE, 0, descriptor::DATA, BIG | PAGES)),
        ("down-big", segment(BASE, 0x0f, 0x97, BIG)),
        ("down-small", segment(BASE, 0x0f, 0x97, 0)),
    ];
    let mut cases = Vec::new();
    for (kind, descriptor) in segments {
        let offsets: &[u64] = match kind {
            "up" => &[0x0c, 0x0d, 0x0f, 0x10, 0xffff_ffff],
            "up-pages" => &[0xfff, 0x1000, 0xffd],
            "down-big" => &[0x0f, 0x10, 0x0e, 0x1_0000],
            _ => &[0x0f, 0x10, 0xfffc, 0xfffe, 0xffff, 0x1_0000],
        };
        for offset in offsets {
            for (access, what) in Access::ALL {
                if access == "modify" && kind != "up" {
                    continue;
                }
                let name = format!("limit/{kind}/{access}-{offset:x}");
                let case = Case::new(name, Protected32(0)).descriptor(TEST, descriptor);
                let case = case.segment(number::FS, TEST).bx(*offset);
                // What is there behind the bytes that are set back.
                let case = match u32::try_from(*offset) {
                    Ok(offset @ 0x100..0x2_0000) => case.patch_32(BASE + offset, 0x6a6b_6c6d),
                    _ => case,
                };
                cases.push(case.code(|a| what.code(a)));
            }
        }
    }
    cases
}

/// What code and read-only data allow.
fn rights() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Compatible32(0)] {
        for (kind, access) in [("read-only", 0x91), ("code", 0x9b), ("code-down", 0x9f)] {
            for (name, what) in Access::ALL {
                let name = format!("limit/{}/{kind}/{name}", mode.word());
                let case = Case::new(name, mode).bx(4).segment(number::FS, TEST);
                let case = case.descriptor(TEST, segment(BASE, 0xff, access, BIG));
                cases.push(case.code(|a| what.code(a)));
            }
        }
        let name = format!("limit/{}/cs/write", mode.word());
        let case = Case::new(name, mode).bx(BASE.into());
        cases.push(case.code(|a| a.mov(byte_ptr(ebx).cs(), al)));
        let name = format!("limit/{}/cs/read", mode.word());
        let case = Case::new(name, mode).bx(BASE.into());
        cases.push(case.code(|a| a.mov(al, byte_ptr(ebx).cs())));
    }
    // 64-bit mode has neither limits nor rights of segments, but for bases of FS and GS.
    for (kind, access) in [("read-only", 0x91), ("code", 0x9b)] {
        let case = Case::new(format!("limit/l64-0/{kind}/write"), Long64(0));
        let case = case.descriptor(TEST, segment(BASE, 0, access, BIG));
        let case = case.segment(number::FS, TEST).bx(0x40).show(BASE + 0x40, 1);
        cases.push(case.code(|a| a.mov(byte_ptr(rbx).fs(), al)));
        let case = Case::new(format!("limit/l64-0/{kind}/no-base"), Long64(0));
        let case = case.descriptor(TEST, segment(BASE, 0, access, BIG));
        let case = case.segment(number::DS, TEST).bx((BASE + 4).into());
        cases.push(case.code(|a| a.mov(eax, dword_ptr(rbx))));
    }
    cases
}

fn nulls() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Protected32(0), Protected32(3), Compatible32(3), Long64(3)] {
        for (name, what) in Access::ALL {
            let name = format!("limit/{}/null/{name}", mode.word());
            let case = Case::new(name, mode).segment(number::FS, 0).bx(BASE.into());
            cases.push(case.code(|a| what.code(a)));
        }
    }
    cases
}

/// PUSH, POP, CALL, ENTER and addresses by EBP through stacks of 64 bytes and small ones.
fn stacks() -> Vec<Case> {
    let mut cases = Vec::new();
    let small = segment(BASE, 0x3f, descriptor::DATA, 0);
    let big = segment(BASE, 0x3f, descriptor::DATA, BIG);
    let down = segment(BASE, 0x0f, 0x97, 0);
    for (kind, descriptor, top) in [
        ("small", small, 0x40),
        ("big", big, 0x40),
        ("down", down, 0),
    ] {
        let case = |name: &str, pointer: u64| {
            let case = Case::new(format!("limit/stack-{kind}/{name}"), Protected32(0));
            let case = case.descriptor(TEST, descriptor).segment(number::SS, TEST);
            // A fault would be pushed onto the stack that is too small.
            capture_by_task(case.sp(pointer), 12)
        };
        cases.push(case("push-last", 0x0c).code(|a| {
            a.push(1)?;
            a.push(2)
        }));
        cases.push(case("pop-first", top).code(|a| a.pop(eax)));
        cases.push(case("push-first", 0).code(|a| a.push(eax)));
        cases.push(case("pop-across", 0x3e).code(|a| a.pop(eax)));
        cases.push(case("call", 2).code(|a| a.call(u64::from(layout::CODE + 0x40))));
        cases.push(case("enter", 0x12).code(|a| a.enter(8, 1)));
        cases.push(case("pusha", 0x18).code(|a| a.pushad()));
        cases.push(
            case("by-ebp", 0x30)
                .general(5, 0x3d)
                .code(|a| a.mov(eax, dword_ptr(ebp))),
        );
    }
    for mode in [Protected16(0), Protected16(3)] {
        let case = |name: &str, pointer: u64| {
            Case::new(format!("limit/{}/{name}", mode.word()), mode).sp(pointer)
        };
        cases.push(case("push-odd", 1).code(|a| a.push(ax)));
        cases.push(case("push-wrap", 0).code(|a| {
            a.push(ax)?;
            a.pop(cx)
        }));
        cases.push(case("pop-wrap", 0xffff).code(|a| a.pop(ax)));
    }
    cases
}

/// Has a vector captured by the task that else captures double faults.
pub(super) fn capture_by_task(case: Case, vector: u32) -> Case {
    let entry = layout::STUBS_TASK + vector * layout::STUB_STRIDE;
    let selector = layout::selector::TSS_CAPTURE;
    let case = case.patch_32(layout::TSS_CAPTURE + crate::task::field::EIP, entry);
    case.gate(vector, descriptor::gate(selector, 0, descriptor::TASK, 0))
}

/// Instructions at the end of their segment.
fn code() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, limit) in [("ends-within", 0x12), ("ends-behind", 0x11)] {
        for (size, flags, mode) in [("16", 0, Protected16(0)), ("32", BIG, Protected32(0))] {
            let case = Case::new(format!("limit/code-{size}/{name}"), mode).ip(0x10);
            let case = case.segment(number::CS, TEST);
            let case = case.descriptor(TEST, segment(layout::CODE, limit, descriptor::CODE, flags));
            cases.push(case.bytes_at(0x10, &[0x90, 0xb0, 0x11]));
        }
    }
    let mode = Mode::Protected32(0);
    for (name, target) in [("within", 0x20i32), ("behind", 0x41)] {
        let case = Case::new(format!("limit/code-32/jump-{name}"), mode).ip(0);
        let case = case.descriptor(TEST, segment(layout::CODE, 0x40, descriptor::CODE, BIG));
        let case = case.segment(number::CS, TEST).bytes_at(0x20, &[0x40]);
        let distance = target - 5;
        let mut bytes = vec![0xe9];
        bytes.extend(distance.to_le_bytes());
        cases.push(case.bytes(&bytes));
    }
    cases
}
