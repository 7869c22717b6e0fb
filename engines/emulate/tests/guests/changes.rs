//! Code that changes, and pages that share a place among the translations.

use engine_emulate::Emulate;
use machines::harness::{Access, CODE, Recorder, first, machine_with, run};

/// Where a guest says what it has.
const SAYS: u16 = 0xf5;
/// Where a device is asked to write.
const ASKS: u16 = 0xf7;

/// What a guest said; when it asks, a device writes 9 behind the first byte of its fifth.
fn said(code: &[u8]) -> Vec<u8> {
    let mut machine = machine_with(&Emulate, code, 1);
    let memory = machine.memory().clone();
    let mut vcpu = first(&mut *machine);
    let world = Recorder::reacting(&*vcpu, move |access| {
        if matches!(access, Access::Out(ASKS, _)) {
            memory.write(CODE + 5, &[9]).unwrap();
        }
    });
    run(&mut *vcpu, &world);
    let accesses = world.accesses();
    let said = accesses.iter().filter_map(|access| match access {
        Access::Out(SAYS, data) => data.first().copied(),
        _ => None,
    });
    said.collect()
}

#[test]
fn the_next_instruction_is_executed_as_it_was_written() {
    // mov byte ptr [rip + 1], 7; mov al, 0; out 0xf5, al; out 0xf4, al
    let code = [0xc6, 0x05, 1, 0, 0, 0, 7, 0xb0, 0, 0xe6, 0xf5, 0xe6, 0xf4];
    assert_eq!(said(&code), [7]);
}

#[test]
fn a_loop_sees_what_it_writes_into_itself() {
    // mov cl, 3; again: mov al, 1; out 0xf5, al; inc byte ptr [rip - 9]; dec cl; jnz again; out 0xf4, al
    let code = [
        0xb1, 3, 0xb0, 1, 0xe6, 0xf5, 0xfe, 0x05, 0xf7, 0xff, 0xff, 0xff, 0xfe, 0xc9, 0x75, 0xf2,
        0xe6, 0xf4,
    ];
    assert_eq!(said(&code), [1, 2, 3]);
}

#[test]
fn code_that_a_device_wrote_is_executed() {
    // mov cl, 2; jmp +0 ; again: mov al, 1; out 0xf5, al; mov al, 1; out 0xf7, al; dec cl; jnz again; out 0xf4, al
    let code = [
        0xb1, 2, 0xeb, 0, 0xb0, 1, 0xe6, 0xf5, 0xb0, 1, 0xe6, 0xf7, 0xfe, 0xc9, 0x75, 0xf4, 0xe6,
        0xf4,
    ];
    assert_eq!(said(&code), [1, 9]);
}

#[test]
fn pages_with_the_same_place_are_copied() {
    // mov esi, 0x200000; mov edi, 0x600000; mov ecx, 4096; rep movsb; out 0xf4, al
    let code = [
        0xbe, 0, 0, 0x20, 0, 0xbf, 0, 0, 0x60, 0, 0xb9, 0, 0x10, 0, 0, 0xf3, 0xa4, 0xe6, 0xf4,
    ];
    let mut machine = machine_with(&Emulate, &code, 1);
    let bytes: Vec<u8> = (0..4096_u32).map(|at| ((at * 7) >> 3) as u8).collect();
    machine.memory().write(0x20_0000, &bytes).unwrap();
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    run(&mut *vcpu, &world);
    let mut copy = vec![0; 4096];
    machine.memory().read(0x60_0000, &mut copy).unwrap();
    assert!(copy == bytes);
}
