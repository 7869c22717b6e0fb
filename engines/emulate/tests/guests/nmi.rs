//! Interrupts that cannot be masked.

use engine_emulate::Emulate;
use machines::harness::{Access, Recorder, first, machine_with, run};

/// The gate of vector 2, and where its handler is.
const GATE: u64 = 0x9020;
const HANDLER: u64 = 0x3_0000;

/// What a guest says whose handler says 2, and whether one still waits and is held back.
fn said(is_masked: bool, code: &[u8]) -> (Vec<Access>, bool, bool) {
    let mut machine = machine_with(&Emulate, code, 1);
    let gate = HANDLER & 0xffff | 8 << 16 | 0x8e << 40 | (HANDLER >> 16) << 48;
    machine.memory().write(GATE, &gate.to_le_bytes()).unwrap();
    // mov al, 2; out 0xf5, al; iretq
    let handler = [0xb0, 2, 0xe6, 0xf5, 0x48, 0xcf];
    machine.memory().write(HANDLER, &handler).unwrap();
    let mut vcpu = first(&mut *machine);
    let mut state = vcpu.state().unwrap();
    state.events.nmi_pending = true;
    state.events.nmi_masked = is_masked;
    vcpu.set_state(&state).unwrap();
    let world = Recorder::new(&*vcpu);
    run(&mut *vcpu, &world);
    let events = vcpu.state().unwrap().events;
    (world.accesses(), events.nmi_pending, events.nmi_masked)
}

#[test]
fn one_that_waits_is_taken_and_its_handler_returns() {
    // out 0xf4, al
    let (accesses, waits, is_masked) = said(false, &[0xe6, 0xf4]);
    assert_eq!(accesses, [Access::Out(0xf5, vec![2])]);
    assert!(!waits && !is_masked);
}

#[test]
fn one_that_is_held_back_waits() {
    let (accesses, waits, is_masked) = said(true, &[0xe6, 0xf4]);
    assert_eq!(accesses, []);
    assert!(waits && is_masked);
}
