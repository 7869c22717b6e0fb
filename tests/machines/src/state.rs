//! Registers taken and given.

use std::sync::Arc;

use engine_contract::{Engine, Machine, Vcpu};
use machine_memory::GuestMemory;
use x86_state::{CpuState, Exception};

use crate::code;
use crate::harness::{
    Access, Numbers, Recorder, assert_same, first, machine_with, run, start, timeless,
};

/// A port whose reading ends the run: in the midst of an access.
const ASK: u16 = 0xf6;

impl Numbers {
    fn bit(&mut self) -> bool {
        self.random() & 1 != 0
    }

    /// An address that 48 bits can say.
    fn address(&mut self) -> u64 {
        ((self.random() << 16).cast_signed() >> 16).cast_unsigned()
    }
}

/// Changes everything that can have many values.
fn change(state: &mut CpuState, numbers: &mut Numbers) {
    for register in &mut state.general {
        *register = numbers.random();
    }
    state.rip = numbers.address();
    // Carry to overflow without trap and interrupts, and the bit that is always one.
    state.rflags = numbers.random() & 0xcd5 | 2;
    for place in &mut state.debug[..4] {
        *place = numbers.address();
    }
    state.segments.fs.base = numbers.address();
    state.segments.gs.base = numbers.address();
    state.segments.ds.selector = numbers.random() as u16;
    state.gdt.base = numbers.address();
    state.idt.limit = numbers.random() as u16;
    state.control.cr2 = numbers.random();
    state.control.cr8 = numbers.random() & 15;
    for (number, value) in &mut state.model_specific {
        match *number {
            // System calls' targets, and the bases of segments.
            0xc000_0082 | 0xc000_0083 | 0xc000_0102 => *value = numbers.address(),
            // Of `sysenter`, processors of AMD have the lower halves.
            0x174..=0x176 | 0xc000_0084 => *value = numbers.random() & 0xffff_ffff,
            _ => {}
        }
    }
    // Both of the state's parts that every processor has are in it; registers of 128 bits.
    state.vector[512] = 3;
    for byte in &mut state.vector[160..416] {
        *byte = numbers.random() as u8;
    }
    let events = &mut state.events;
    events.exception = numbers.bit().then(|| Exception {
        vector: 14,
        error: Some(numbers.random() as u32 & 0x1f),
    });
    events.interrupt = (events.exception.is_none() && numbers.bit()).then_some(0x30);
    events.nmi_masked = numbers.bit();
    events.nmi_pending = numbers.bit();
    events.halted = numbers.bit();
    events.awaits_startup = !events.halted && numbers.bit();
    events.interrupt_shadow = !events.halted && numbers.bit();
}

pub fn what_was_set_is_found(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::spin(), 1);
    let mut vcpu = first(&mut *machine);
    let first_state = vcpu.state().unwrap();
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    for turn in 0..200 {
        let mut state = first_state.clone();
        change(&mut state, &mut numbers);
        vcpu.set_state(&state).unwrap();
        let found = vcpu.state().unwrap();
        assert_same(&timeless(found), &timeless(state), &format!("turn {turn}"));
    }
}

pub fn the_state_after_reset_is_real_mode_below_4_gib(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::spin(), 1);
    let mut vcpu = machine.vcpu(engine_contract::VcpuId(0)).unwrap();
    let state = vcpu.state().unwrap();
    assert_eq!((state.segments.cs.base, state.rip), (0xffff_0000, 0xfff0));
    assert!(!state.events.awaits_startup && !state.events.halted);
}

/// Runs until the guest has asked once more.
fn until_asked(vcpu: &mut dyn Vcpu) -> (CpuState, Vec<Access>) {
    let kick = vcpu.kick();
    let world = Recorder::reacting(vcpu, move |access| {
        if matches!(access, Access::In(ASK, _)) {
            kick.kick();
        }
    });
    run(vcpu, &world);
    (timeless(vcpu.state().unwrap()), world.accesses())
}

fn contents(memory: &GuestMemory) -> Vec<u8> {
    let mut bytes = vec![0; memory.span() as usize];
    memory.read(0, &mut bytes).unwrap();
    bytes
}

pub fn an_access_is_complete_when_a_run_ends(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::mix(), 1);
    let mut vcpu = first(&mut *machine);
    let (state, accesses) = until_asked(&mut *vcpu);
    assert_eq!(accesses, [Access::In(ASK, 4)]);
    // `in eax, dx` has its answer, and the next instruction is `add r10, rax`.
    assert_eq!(state.general[0], 0x0403_0201);
    let mut next = [0; 3];
    machine.memory().read(state.rip, &mut next).unwrap();
    assert_eq!(next, [0x49, 0x01, 0xc2]);
    assert_eq!(state.general[10], 0);
}

pub fn a_guest_goes_on_in_another_machine_as_in_its_own(engine: &dyn Engine) {
    let mut here = machine_with(engine, code::mix(), 1);
    let mut vcpu = first(&mut *here);
    // 80 turns of 13 instructions.
    until_asked(&mut *vcpu);
    let state = vcpu.state().unwrap();
    let mut there: Box<dyn Machine> = machine_with(engine, &[], 1);
    there.memory().write(0, &contents(here.memory())).unwrap();
    let mut moved = first(&mut *there);
    moved.set_state(&state).unwrap();
    for turn in 0..50 {
        let (one, accesses) = until_asked(&mut *moved);
        let (other, expected) = until_asked(&mut *vcpu);
        assert_same(&one, &other, &format!("turn {turn}"));
        assert_eq!(accesses, expected);
    }
    assert!(contents(here.memory()) == contents(there.memory()));
    assert!(timeless(state) != timeless(vcpu.state().unwrap()));
}

pub fn a_loader_s_state_is_what_the_guest_starts_with(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::spin(), 1);
    let mut vcpu = first(&mut *machine);
    let kick = Arc::clone(&vcpu.kick());
    let world = Recorder::new(&*vcpu);
    kick.kick();
    run(&mut *vcpu, &world);
    let (found, given) = (vcpu.state().unwrap(), start());
    assert_eq!((found.general, found.rip), (given.general, given.rip));
    assert_eq!(found.segments.cs, given.segments.cs);
    assert_eq!(found.segments.ss, given.segments.ss);
    assert_eq!((found.gdt, found.idt), (given.gdt, given.idt));
    assert_eq!(found.control.cr3, given.control.cr3);
    assert_eq!(found.control.efer, given.control.efer);
}
