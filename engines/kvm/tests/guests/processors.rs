//! Several processors, and what they say they are.

use std::thread;

use engine_contract::{Stop, VcpuId};
use x86_state::CpuState;

use crate::code;
use crate::harness::{Access, Recorder, first, machine_with, needs_kvm, run, start};

#[test]
fn the_first_processor_starts_the_second() {
    needs_kvm!("two processors");
    let mut machine = machine_with(code::start_another(), 2);
    machine.memory().write(0x2_0000, code::started()).unwrap();
    machine.memory().write(0x7000, &[0]).unwrap();
    let mut one = first(&mut *machine);
    let mut two = machine.vcpu(VcpuId(1)).unwrap();
    // One that waits can be moved, and waits on.
    let waiting = two.state().unwrap();
    assert!(waiting.events.awaits_startup);
    two.set_state(&waiting).unwrap();
    let kick = two.kick();
    let other = thread::spawn(move || {
        let world = Recorder::new(&*two);
        let stop = two.run(&world).unwrap();
        (stop, world.accesses(), two.state().unwrap())
    });
    let world = Recorder::new(&*one);
    run(&mut *one, &world);
    kick.kick();
    let (stop, accesses, state) = other.join().unwrap();
    assert_eq!(stop, Stop::Kicked);
    assert_eq!(accesses, [Access::Out(0xf7, vec![1])]);
    assert!(!state.events.awaits_startup);
    assert_eq!(state.segments.cs.base, 0x2_0000);
}

#[test]
fn a_processor_with_a_state_needs_no_start() {
    needs_kvm!("start by state");
    let mut machine = machine_with(code::strings(), 2);
    let mut two = machine.vcpu(VcpuId(1)).unwrap();
    two.set_state(&start()).unwrap();
    let world = Recorder::new(&*two);
    run(&mut *two, &world);
    assert_eq!(world.accesses().len(), 12);
}

#[test]
fn a_guest_is_told_who_runs_it_and_how_fast() {
    needs_kvm!("identity");
    let mut machine = machine_with(code::identify(), 1);
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
    let mut machine = machine_with(code::read_counter(), 1);
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
