//! General, segment, control and debug registers.

use kvm_bindings::{kvm_debugregs, kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};
use x86_state::{CpuState, Segment, Table};

/// A 32-bit task state that is in use: what the task register has after reset.
const TASK_RIGHTS: u16 = 0x8b;

pub(super) const fn general(regs: &kvm_regs) -> [u64; 16] {
    [
        regs.rax, regs.rcx, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi, regs.r8,
        regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15,
    ]
}

pub(super) const fn general_to_kvm(state: &CpuState) -> kvm_regs {
    let [
        rax,
        rcx,
        rdx,
        rbx,
        rsp,
        rbp,
        rsi,
        rdi,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
    ] = state.general;
    kvm_regs {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rsp,
        rbp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip: state.rip,
        rflags: state.rflags,
    }
}

pub(super) const fn debug(regs: &kvm_debugregs) -> [u64; 6] {
    let [db0, db1, db2, db3] = regs.db;
    [db0, db1, db2, db3, regs.dr6, regs.dr7]
}

pub(super) fn debug_to_kvm(debug: &[u64; 6]) -> kvm_debugregs {
    let [db0, db1, db2, db3, dr6, dr7] = *debug;
    kvm_debugregs {
        db: [db0, db1, db2, db3],
        dr6,
        dr7,
        ..Default::default()
    }
}

/// All but `xcr0`, which is elsewhere.
pub(super) fn special_from_kvm(special: &kvm_sregs, state: &mut CpuState) {
    let segments = &mut state.segments;
    for (ours, kvms) in [
        (&mut segments.cs, &special.cs),
        (&mut segments.ds, &special.ds),
        (&mut segments.es, &special.es),
        (&mut segments.fs, &special.fs),
        (&mut segments.gs, &special.gs),
        (&mut segments.ss, &special.ss),
        (&mut segments.tr, &special.tr),
        (&mut segments.ldt, &special.ldt),
    ] {
        *ours = segment_from_kvm(kvms);
    }
    state.gdt = table_from_kvm(&special.gdt);
    state.idt = table_from_kvm(&special.idt);
    let control = &mut state.control;
    control.cr0 = special.cr0;
    control.cr2 = special.cr2;
    control.cr3 = special.cr3;
    control.cr4 = special.cr4;
    control.cr8 = special.cr8;
    control.efer = special.efer;
}

pub(super) fn special_to_kvm(state: &CpuState, special: &mut kvm_sregs) {
    let segments = &state.segments;
    let mut task = segments.tr;
    if task.rights == 0 {
        task.rights = TASK_RIGHTS;
    }
    for (kvms, ours) in [
        (&mut special.cs, &segments.cs),
        (&mut special.ds, &segments.ds),
        (&mut special.es, &segments.es),
        (&mut special.fs, &segments.fs),
        (&mut special.gs, &segments.gs),
        (&mut special.ss, &segments.ss),
        (&mut special.tr, &task),
        (&mut special.ldt, &segments.ldt),
    ] {
        *kvms = segment_to_kvm(ours);
    }
    special.gdt = table_to_kvm(state.gdt);
    special.idt = table_to_kvm(state.idt);
    let control = &state.control;
    special.cr0 = control.cr0;
    special.cr2 = control.cr2;
    special.cr3 = control.cr3;
    special.cr4 = control.cr4;
    special.cr8 = control.cr8;
    special.efer = control.efer;
    // Interrupts on their way are set with the other events.
    special.interrupt_bitmap = [0; 4];
}

fn segment_from_kvm(segment: &kvm_segment) -> Segment {
    let bit = |value: u8, at: u32| u16::from(value & 1) << at;
    let rights = u16::from(segment.type_ & 0xf)
        | bit(segment.s, 4)
        | u16::from(segment.dpl & 3) << 5
        | bit(segment.present, 7)
        | bit(segment.avl, 12)
        | bit(segment.l, 13)
        | bit(segment.db, 14)
        | bit(segment.g, 15);
    Segment {
        selector: segment.selector,
        base: segment.base,
        limit: segment.limit,
        rights: if segment.unusable == 0 { rights } else { 0 },
    }
}

fn segment_to_kvm(segment: &Segment) -> kvm_segment {
    let bit = |at: u32| (segment.rights >> at & 1) as u8;
    kvm_segment {
        base: segment.base,
        limit: segment.limit,
        selector: segment.selector,
        type_: (segment.rights & 0xf) as u8,
        present: bit(7),
        dpl: (segment.rights >> 5 & 3) as u8,
        db: bit(14),
        s: bit(4),
        l: bit(13),
        g: bit(15),
        avl: bit(12),
        unusable: u8::from(segment.rights == 0),
        padding: 0,
    }
}

const fn table_from_kvm(table: &kvm_dtable) -> Table {
    Table {
        base: table.base,
        limit: table.limit,
    }
}

const fn table_to_kvm(table: Table) -> kvm_dtable {
    kvm_dtable {
        base: table.base,
        limit: table.limit,
        padding: [0; 3],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x86_state::{Control, Segments};

    use super::*;

    #[test]
    fn rights_are_the_descriptor_s_bits() {
        // A code segment of 64-bit mode, accessed: 0x00af9b000000ffff.
        let code = segment_to_kvm(&Segment {
            rights: 0xa09b,
            ..Segment::default()
        });
        let bits = (
            code.type_,
            code.s,
            code.dpl,
            code.present,
            code.l,
            code.db,
            code.g,
        );
        assert_eq!(bits, (0xb, 1, 0, 1, 1, 0, 1));
        assert_eq!(code.unusable, 0);
        assert_eq!(segment_to_kvm(&Segment::default()).unusable, 1);
    }

    #[test]
    fn a_task_register_without_rights_is_as_after_reset() {
        let mut special = kvm_sregs::default();
        special_to_kvm(&CpuState::default(), &mut special);
        let task = special.tr;
        assert_eq!((task.type_, task.present, task.unusable), (0xb, 1, 0));
    }

    fn segment() -> impl Strategy<Value = Segment> {
        // A segment that is not usable has no rights, and one with rights is usable.
        any::<(u16, u64, u32, u16)>().prop_map(|(selector, base, limit, rights)| Segment {
            selector,
            base,
            limit,
            rights: rights & 0xf0ff,
        })
    }

    fn state() -> impl Strategy<Value = CpuState> {
        let registers = any::<([u64; 16], u64, u64, [u64; 6])>();
        let segments = prop::array::uniform8(segment());
        let tables = any::<([(u64, u16); 2], [u64; 6])>();
        (registers, segments, tables).prop_map(|(registers, segments, (tables, control))| {
            let (general, rip, rflags, debug) = registers;
            let [cs, ds, es, fs, gs, ss, mut tr, ldt] = segments;
            tr.rights |= 0x80;
            let [gdt, idt] = tables.map(|(base, limit)| Table { base, limit });
            let [cr0, cr2, cr3, cr4, cr8, efer] = control;
            CpuState {
                general,
                rip,
                rflags,
                debug,
                segments: Segments {
                    cs,
                    ds,
                    es,
                    fs,
                    gs,
                    ss,
                    tr,
                    ldt,
                },
                gdt,
                idt,
                control: Control {
                    cr0,
                    cr2,
                    cr3,
                    cr4,
                    cr8,
                    efer,
                    xcr0: 0,
                },
                ..CpuState::default()
            }
        })
    }

    proptest! {
        #[test]
        fn registers_come_back(state in state()) {
            let regs = general_to_kvm(&state);
            let mut special = kvm_sregs::default();
            special_to_kvm(&state, &mut special);
            let mut found = CpuState {
                general: general(&regs),
                rip: regs.rip,
                rflags: regs.rflags,
                debug: debug(&debug_to_kvm(&state.debug)),
                ..CpuState::default()
            };
            special_from_kvm(&special, &mut found);
            prop_assert_eq!(found, state);
        }
    }
}
