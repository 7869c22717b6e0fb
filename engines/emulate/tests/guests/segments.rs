//! Segments in flat code.

use engine_contract::{Points, Stop};
use engine_emulate::Emulate;
use machines::harness::{CODE, Recorder, first, machine_with};
use x86_state::{Control, Segment};

/// It cannot be written by any right that it has (SDM vol. 3, 3.4.5.1); in 64-bit code nobody looks at that.
#[test]
fn the_code_segment_is_not_written() {
    // mov byte ptr cs:[rip or 0x400000], 7; out 0xf4, al
    let code = [0x2e, 0xc6, 0x05, 0, 0, 0x40, 0, 7, 0xe6, 0xf4];
    let ended = |rights: u16| {
        let mut machine = machine_with(&Emulate, &code, 1);
        let mut vcpu = first(&mut *machine);
        let mut state = vcpu.state().unwrap();
        state.segments.cs.rights = rights;
        vcpu.set_state(&state).unwrap();
        let world = Recorder::new(&*vcpu);
        let stop = vcpu.run(&world).unwrap();
        let mut byte = [0];
        machine.memory().read(0x40_0000, &mut byte).unwrap();
        (stop, byte)
    };
    // Nobody handles the fault.
    assert_eq!(ended(0xc09b), (Stop::TripleFault, [0]));
    assert_eq!(ended(0xa09b).0, Stop::Kicked);
}

/// `MOV` and `POP` hold interrupts back, for the pointer comes next; `LSS` has loaded that, too (SDM vol. 3, 6.8.3).
#[test]
fn a_stack_that_is_loaded_whole_holds_nothing_back() {
    let real = |base| Segment {
        base,
        limit: 0xffff,
        rights: 0x9b,
        ..Segment::default()
    };
    let holds_back = |code: &[u8]| {
        let mut machine = machine_with(&Emulate, code, 1);
        let mut vcpu = first(&mut *machine);
        let mut state = vcpu.state().unwrap();
        state.control = Control {
            cr0: 0x10,
            xcr0: 1,
            ..Control::default()
        };
        (state.segments.cs, state.rip) = (real(CODE), 0);
        vcpu.set_state(&state).unwrap();
        let points = Points {
            steps: true,
            ..Points::default()
        };
        vcpu.debugging().unwrap().set(&points).unwrap();
        let world = Recorder::new(&*vcpu);
        vcpu.run(&world).unwrap();
        vcpu.state().unwrap().events.interrupt_shadow
    };
    // mov ss, ax; pop ss; lss sp, [0x20]; lds ax, [0x20]
    assert!(holds_back(&[0x8e, 0xd0]) && holds_back(&[0x17]));
    assert!(!holds_back(&[0x0f, 0xb2, 0x26, 0x20, 0]));
    assert!(!holds_back(&[0xc5, 0x06, 0x20, 0]));
}
