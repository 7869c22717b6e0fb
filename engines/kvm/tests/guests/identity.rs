//! What KVM's virtual CPUs say they are, and what is known of them.

use engine_kvm::Kvm;
use machines::code;
use machines::harness::{Recorder, first, machine_with, run};
use x86_state::CpuState;

use crate::needs_kvm;

#[test]
fn a_guest_is_told_who_runs_it_and_how_fast() {
    needs_kvm!("identity");
    let mut machine = machine_with(&Kvm, code::identify(), 1);
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    run(&mut *vcpu, &world);
    let general = vcpu.state().unwrap().general;
    assert_eq!(general[8] as u32, u32::from_le_bytes(*b"KVMK"));
    assert!(general[9] > 100_000, "{} kHz", general[9]);
    // A hypervisor, the deadline timer, x2APIC.
    let wanted = 1 << 31 | 1 << 24 | 1 << 21;
    assert_eq!(general[10] & wanted, wanted, "{:#x}", general[10]);
}

/// What KVM takes the counter for decides when a deadline has come. KVM has had another idea of it
/// where the host's counter turned out faster than was thought when KVM was loaded, for lack of a
/// processor that scales it (`--append tsc_early_khz=2000000` makes such a host).
#[test]
fn kvm_and_the_guest_agree_on_the_counter() {
    const COUNTER: u32 = 0x10;
    needs_kvm!("counter");
    let mut machine = machine_with(&Kvm, code::read_counter(), 1);
    let mut vcpu = first(&mut *machine);
    let counter = |state: &CpuState| {
        let mut registers = state.model_specific.iter();
        registers.find(|(number, _)| *number == COUNTER).unwrap().1
    };
    let before = counter(&vcpu.state().unwrap());
    let world = Recorder::new(&*vcpu);
    run(&mut *vcpu, &world);
    let after = vcpu.state().unwrap();
    let read = after.general[8];
    let range = before..counter(&after);
    assert!(range.contains(&read), "{read} is not in {range:?}");
}

#[test]
fn a_state_has_what_a_guest_needs() {
    needs_kvm!("parts of a state");
    let mut machine = machine_with(&Kvm, code::spin(), 1);
    let mut vcpu = first(&mut *machine);
    let state = vcpu.state().unwrap();
    assert!(
        state
            .model_specific
            .is_sorted_by(|one, next| one.0 < next.0)
    );
    let has = |number| state.model_specific.iter().any(|(n, _)| *n == number);
    for number in [
        0x10,
        0x1b,
        0x174,
        0x277,
        0x2ff,
        0xc000_0082,
        0xc000_0102,
        0x4b56_4d01,
    ] {
        assert!(has(number), "{number:#x}");
    }
    assert!(!has(0xc000_0080) && !has(0xc000_0100), "they are elsewhere");
    assert!(state.vector.len() >= 576);
    assert_eq!(state.control.xcr0 & 1, 1);
}
