//! Guests that cannot go on, and requests that cannot be met.

use engine_contract::{Engine, Stop};
use x86_state::Table;

use crate::code;
use crate::harness::{Recorder, first, machine_with, start};

pub fn a_triple_fault_is_reported(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::fault(), 1);
    let mut vcpu = first(&mut *machine);
    let mut state = start();
    state.idt = Table::default();
    vcpu.set_state(&state).unwrap();
    let world = Recorder::new(&*vcpu);
    assert_eq!(vcpu.run(&world).unwrap(), Stop::TripleFault);
    assert_eq!(world.accesses(), []);
    // It can be started anew.
    machine.memory().write(0x1_0000, code::spin()).unwrap();
    vcpu.set_state(&start()).unwrap();
    vcpu.kick().kick();
    assert_eq!(vcpu.run(&world).unwrap(), Stop::Kicked);
}
