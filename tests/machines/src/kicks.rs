//! Ending a run from outside.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use engine_contract::{Engine, Stop, VcpuId};

use crate::code;
use crate::harness::{Recorder, first, machine_with};

/// Far more than a kick takes: a test that waits so long has lost it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kicks runs of this code, at various moments, each of which must end.
fn kick_often(engine: &dyn Engine, code: &[u8], times: u32) {
    let mut machine = machine_with(engine, code, 1);
    let mut vcpu = first(&mut *machine);
    let kick = vcpu.kick();
    let (sender, receiver) = mpsc::channel();
    let runner = thread::spawn(move || {
        let world = Recorder::new(&*vcpu);
        for _ in 0..times {
            sender.send(vcpu.run(&world).unwrap()).unwrap();
        }
        assert_eq!(world.accesses(), []);
    });
    for turn in 0..times {
        thread::sleep(Duration::from_micros(u64::from(turn % 8) * 300));
        kick.kick();
        assert_eq!(receiver.recv_timeout(PATIENCE), Ok(Stop::Kicked));
    }
    runner.join().unwrap();
    // It is gone now.
    kick.kick();
}

pub fn a_guest_that_spins_without_interrupts_is_stopped(engine: &dyn Engine) {
    kick_often(engine, code::spin(), 64);
}

pub fn a_guest_that_sleeps_without_interrupts_is_stopped(engine: &dyn Engine) {
    kick_often(engine, code::sleep(), 64);
}

pub fn a_kick_before_a_run_ends_it_at_once_and_only_it(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::strings(), 1);
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    vcpu.kick().kick();
    vcpu.kick().kick();
    assert_eq!(vcpu.run(&world).unwrap(), Stop::Kicked);
    assert_eq!(world.accesses(), []);
    assert_eq!(vcpu.run(&world).unwrap(), Stop::Kicked);
    assert_eq!(world.accesses().len(), 12);
}

pub fn one_that_waits_to_be_started_can_be_kicked(engine: &dyn Engine) {
    let mut machine = machine_with(engine, code::spin(), 2);
    let mut vcpu = machine.vcpu(VcpuId(1)).unwrap();
    let kick = vcpu.kick();
    let (sender, receiver) = mpsc::channel();
    let runner = thread::spawn(move || {
        let world = Recorder::new(&*vcpu);
        sender.send(vcpu.run(&world).unwrap()).unwrap();
        assert!(vcpu.state().unwrap().events.awaits_startup);
    });
    thread::sleep(Duration::from_millis(20));
    kick.kick();
    assert_eq!(receiver.recv_timeout(PATIENCE), Ok(Stop::Kicked));
    runner.join().unwrap();
}
