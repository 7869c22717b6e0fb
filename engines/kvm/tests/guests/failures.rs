//! Guests that cannot go on, and requests that cannot be met.

use engine_contract::{Engine as _, Resources, VcpuId};
use engine_kvm::Kvm;
use machines::code;
use machines::harness::{Recorder, first, machine, machine_with, start};

use crate::needs_kvm;

#[test]
fn what_kvm_cannot_emulate_is_shown() {
    needs_kvm!("no emulation");
    let mut machine = machine_with(&Kvm, code::strange(), 1);
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    let error = vcpu.run(&world).unwrap_err().to_string();
    for expected in ["KVM gives up", "rbx 00000000d0000000", "pmaddwd xmm3,[rbx]"] {
        assert!(error.contains(expected), "{expected} is not in\n{error}");
    }
}

#[test]
fn code_outside_of_memory_is_said_to_be_so() {
    needs_kvm!("no code");
    let mut machine = machine_with(&Kvm, code::run_away(), 1);
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    let error = vcpu.run(&world).unwrap_err().to_string();
    for expected in ["rip 00000000d0000000", "cannot be read"] {
        assert!(error.contains(expected), "{expected} is not in\n{error}");
    }
}

#[test]
fn impossible_states_and_machines_are_refused() {
    needs_kvm!("refusals");
    let mut one = machine(&Kvm, 1 << 20, 2);
    let mut vcpu = one.vcpu(VcpuId(1)).unwrap();
    let refused = |id| one.vcpu(VcpuId(id)).err().expect("refused").to_string();
    let mut refused = refused;
    assert!(refused(1).contains("taken"));
    assert!(refused(2).contains("has 2"));
    let mut state = start();
    state.control.cr4 = u64::MAX;
    let error = vcpu.set_state(&state).unwrap_err().to_string();
    assert!(error.contains("KVM_SET_SREGS"), "{error}");
    state = start();
    state.model_specific = vec![(0xdead, 1)];
    let error = vcpu.set_state(&state).unwrap_err().to_string();
    assert!(error.contains("0xdead"), "{error}");
    for (memory, vcpus, remedy) in [
        (1 << 20, 0, "--cpus"),
        (1 << 20, 65, "--cpus"),
        (0, 1, "--memory"),
    ] {
        let resources = Resources {
            memory,
            vcpus,
            image: None,
        };
        let made = Kvm.create(resources).and_then(|creation| creation.finish());
        let error = made.err().expect("refused").to_string();
        assert!(error.contains(remedy), "{error}");
    }
    assert!(one.doorbells().is_err(), "no room for the shared pages");
}
