//! Several processors, and what they say they are.

use std::thread;

use engine_contract::{Engine, Stop, VcpuId};

use crate::code;
use crate::harness::{Access, Recorder, first, machine_with, run, start};

pub fn the_first_processor_starts_the_second(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::start_another(), 2);
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

pub fn a_processor_with_a_state_needs_no_start(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::strings(), 2);
    let mut two = machine.vcpu(VcpuId(1)).unwrap();
    two.set_state(&start()).unwrap();
    let world = Recorder::new(&*two);
    run(&mut *two, &world);
    assert_eq!(world.accesses().len(), 12);
}
