//! Guests in the hands of a debugger: they come to the same end, and see nothing of it.

use std::sync::{Arc, Mutex};

use engine_contract::{Met, Points, Stop, Tracer, Vcpu, VcpuId, Watched, Watchpoint};
use engine_emulate::Emulate;
use machines::harness::{CODE, Numbers, Recorder, first, machine_with, run};
use x86_state::CpuState;

use crate::quick::{DATA, DATA_BYTES, program};

const RBX: usize = 3;
const RSI: usize = 6;
const RSP: usize = 4;
const TRAP: u64 = 1 << 8;
/// The gates of vectors 1 and 2, and where their handlers are.
const GATES: [u64; 2] = [0x9010, 0x9020];
const HANDLERS: [u64; 2] = [0x3_1000, 0x3_2000];

fn set(vcpu: &mut dyn Vcpu, points: &Points) {
    vcpu.debugging().unwrap().set(points).unwrap();
}

/// What stops a program now and then.
fn points(numbers: &mut Numbers, length: u64) -> Points {
    let place = |numbers: &mut Numbers| CODE + numbers.random() % length;
    let kinds = [Watched::Writes, Watched::Reads, Watched::Accesses];
    let watchpoint = |numbers: &mut Numbers| Watchpoint {
        address: DATA + numbers.random() % 0x400,
        length: 1 << (numbers.random() % 8),
        kind: kinds[numbers.random() as usize % 3],
    };
    Points {
        breakpoints: (0..numbers.random() % 20).map(|_| place(numbers)).collect(),
        watchpoints: (0..numbers.random() % 3)
            .map(|_| watchpoint(numbers))
            .collect(),
        steps: numbers.random().is_multiple_of(4),
        holds_interrupts: numbers.random().is_multiple_of(2),
        passes: true,
    }
}

/// Registers, flags and data after a program, and how often it was stopped.
fn end(
    code: &[u8],
    general: [u64; 16],
    data: &[u8],
    mut held: Option<&mut Numbers>,
) -> ([u64; 16], u64, Vec<u8>, u32) {
    let mut machine = machine_with(&Emulate, code, 1);
    let start = DATA - DATA_BYTES as u64 / 2;
    machine.memory().write(start, data).unwrap();
    let mut vcpu = first(&mut *machine);
    let mut state = vcpu.state().unwrap();
    let stack = state.general[RSP];
    state.general = general;
    state.general[RSP] = stack;
    vcpu.set_state(&state).unwrap();
    let world = Recorder::new(&*vcpu);
    let mut stops = 0;
    loop {
        if let Some(numbers) = &mut held {
            set(&mut *vcpu, &points(numbers, code.len() as u64));
        }
        match vcpu.run(&world).unwrap() {
            Stop::Breakpoint(_) => stops += 1,
            stop => {
                assert_eq!(stop, Stop::Kicked);
                break;
            }
        }
    }
    let state = vcpu.state().unwrap();
    let mut after = vec![0; DATA_BYTES];
    machine.memory().read(start, &mut after).unwrap();
    (state.general, state.rflags, after, stops)
}

#[test]
fn a_program_that_is_held_comes_to_the_same_end() {
    let mut numbers = Numbers(0x1357_9bdf_0246_8ace);
    let mut all = 0;
    for turn in 0..100 {
        let code = program(&mut numbers);
        let mut general = [0; 16].map(|_: u64| numbers.random());
        general[RBX] = DATA;
        general[RSI] = numbers.random() % 64;
        let data: Vec<u8> = (0..DATA_BYTES).map(|_| numbers.random() as u8).collect();
        let free = end(&code, general, &data, None);
        let held = end(&code, general, &data, Some(&mut numbers));
        let same = (free.0, free.1, &free.2) == (held.0, held.1, &held.2);
        assert!(same, "program {turn}: {code:02x?}");
        all += held.3;
    }
    assert!(all > 200, "{all}");
}

/// A guest with handlers for exceptions 1 and 2, of this code.
fn with_handlers(code: &[u8], handlers: [&[u8]; 2]) -> Box<dyn engine_contract::Machine> {
    let machine = machine_with(&Emulate, code, 1);
    for ((gate, place), handler) in GATES.into_iter().zip(HANDLERS).zip(handlers) {
        let value = place & 0xffff | 8 << 16 | 0x8e << 40 | (place >> 16) << 48;
        machine.memory().write(gate, &value.to_le_bytes()).unwrap();
        machine.memory().write(place, handler).unwrap();
    }
    machine
}

fn steps(holds_interrupts: bool) -> Points {
    Points {
        steps: true,
        holds_interrupts,
        ..Points::default()
    }
}

#[test]
fn a_step_is_not_to_be_seen_in_flags() {
    // pushfq; pop rbx; out 0xf4, al
    let mut machine = machine_with(&Emulate, &[0x9c, 0x5b, 0xe6, 0xf4], 1);
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    for _ in 0..2 {
        set(&mut *vcpu, &steps(true));
        assert_eq!(vcpu.run(&world).unwrap(), Stop::Breakpoint(Met::Step));
    }
    assert_eq!(vcpu.state().unwrap().general[RBX] & TRAP, 0);
}

#[test]
fn an_interrupt_is_a_step_or_waits() {
    for holds in [true, false] {
        // nop; nop; out 0xf4, al; the handler: iretq
        let mut machine = with_handlers(&[0x90, 0x90, 0xe6, 0xf4], [&[], &[0x48, 0xcf]]);
        let mut vcpu = first(&mut *machine);
        let mut state = vcpu.state().unwrap();
        state.events.nmi_pending = true;
        vcpu.set_state(&state).unwrap();
        let world = Recorder::new(&*vcpu);
        let mut places = Vec::new();
        for _ in 0..3 {
            set(&mut *vcpu, &steps(holds && places.is_empty()));
            assert_eq!(vcpu.run(&world).unwrap(), Stop::Breakpoint(Met::Step));
            places.push(vcpu.state().unwrap().rip);
        }
        let handler = HANDLERS[1];
        if holds {
            assert_eq!(places, [CODE + 1, handler, CODE + 1]);
        } else {
            assert_eq!(places, [handler, CODE, CODE + 1]);
        }
    }
}

#[test]
fn a_guest_that_debugs_itself_is_debugged() {
    // pushfq; or qword ptr [rsp], 0x100; popfq; nop; nop; pushfq; and qword ptr [rsp], ~0x100; popfq;
    // out 0xf4, al; the handler: inc r12; or dword ptr [rsp + 16], RF; iretq
    let code = [
        0x9c, 0x48, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0x90, 0x9c, 0x48, 0x81, 0x24, 0x24,
        0xff, 0xfe, 0xff, 0xff, 0x9d, 0xe6, 0xf4,
    ];
    let handler = [
        0x49, 0xff, 0xc4, 0x81, 0x4c, 0x24, 0x10, 0, 0, 1, 0, 0x48, 0xcf,
    ];
    let end = |points: Option<Points>| -> (CpuState, u32) {
        let mut machine = with_handlers(&code, [&handler, &[]]);
        let mut vcpu = first(&mut *machine);
        let mut state = vcpu.state().unwrap();
        // A breakpoint of its own, where the debugger has one, too.
        (state.debug[0], state.debug[5]) = (CODE, 0x401);
        vcpu.set_state(&state).unwrap();
        let world = Recorder::new(&*vcpu);
        let mut stops = 0;
        loop {
            set(&mut *vcpu, &points.clone().unwrap_or_default());
            match vcpu.run(&world).unwrap() {
                Stop::Breakpoint(_) => stops += 1,
                _ => return (vcpu.state().unwrap(), stops),
            }
        }
    };
    let (free, _) = end(None);
    // Its breakpoint, and five instructions behind the one that set the flag.
    assert_eq!(free.general[12], 6);
    let (stepped, stops) = end(Some(steps(true)));
    assert_eq!(stepped, free);
    assert!(stops > 20, "{stops}");
    let (held, stops) = end(Some(Points {
        breakpoints: vec![CODE, CODE + 10, CODE + 11, HANDLERS[0]],
        passes: true,
        ..Points::default()
    }));
    assert_eq!(held, free);
    assert!(stops > 5, "{stops}");
}

#[test]
fn a_breakpoint_in_a_loop_stops_each_time() {
    // mov ecx, 5; again: nop; dec ecx; jnz again; out 0xf4, al
    let code = [0xb9, 5, 0, 0, 0, 0x90, 0xff, 0xc9, 0x75, 0xfb, 0xe6, 0xf4];
    let mut machine = machine_with(&Emulate, &code, 1);
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    for left in (1..=5).rev() {
        set(
            &mut *vcpu,
            &Points {
                breakpoints: vec![CODE + 6],
                passes: true,
                ..Points::default()
            },
        );
        assert_eq!(vcpu.run(&world).unwrap(), Stop::Breakpoint(Met::Breakpoint));
        assert_eq!(vcpu.state().unwrap().general[1], left);
    }
    set(&mut *vcpu, &Points::default());
    run(&mut *vcpu, &world);
}

#[test]
fn breakpoints_are_by_linear_address() {
    // inc ax; nop; jmp 0x1001:2 ; (at 0x10012) inc ax; out 0xf4, al
    let mut code = vec![0x40, 0x90, 0xea, 2, 0, 1, 0x10];
    code.resize(0x12, 0xf4);
    code.extend([0x40, 0xe6, 0xf4]);
    let mut machine = machine_with(&Emulate, &code, 1);
    let mut vcpu = first(&mut *machine);
    let mut state = vcpu.state().unwrap();
    state.control.cr0 = 0x10;
    state.control.efer = 0;
    let cs = &mut state.segments.cs;
    (cs.selector, cs.base, cs.limit, cs.rights) = ((CODE >> 4) as u16, CODE, 0xffff, 0x9b);
    state.rip = 0;
    vcpu.set_state(&state).unwrap();
    let world = Recorder::new(&*vcpu);
    // Twice the same offset, but one of them lies elsewhere.
    for (linear, rip) in [(CODE + 1, 1), (CODE + 2, 2), (CODE + 0x12, 2)] {
        set(
            &mut *vcpu,
            &Points {
                breakpoints: vec![linear],
                passes: true,
                ..Points::default()
            },
        );
        assert_eq!(vcpu.run(&world).unwrap(), Stop::Breakpoint(Met::Breakpoint));
        let state = vcpu.state().unwrap();
        assert_eq!(
            (state.segments.cs.base + state.rip, state.rip),
            (linear, rip)
        );
    }
    set(&mut *vcpu, &Points::default());
    run(&mut *vcpu, &world);
    assert_eq!(vcpu.state().unwrap().general[0] & 0xff, 2);
}

#[test]
fn vectors_and_stacks_meet_watchpoints() {
    // movdqu [rbx], xmm0; push rax; lock inc dword ptr [rbx + 64]; rep movsb; out 0xf4, al
    let code = [
        0xf3, 0x0f, 0x7f, 0x03, 0x50, 0xf0, 0xff, 0x43, 0x40, 0xf3, 0xa4, 0xe6, 0xf4,
    ];
    let mut machine = machine_with(&Emulate, &code, 1);
    let mut vcpu = first(&mut *machine);
    let mut state = vcpu.state().unwrap();
    let stack = state.general[RSP];
    state.general[RBX] = DATA;
    (state.general[RSI], state.general[7], state.general[1]) = (DATA + 0x100, DATA + 0x200, 9);
    vcpu.set_state(&state).unwrap();
    let world = Recorder::new(&*vcpu);
    let all = [
        (DATA + 15, 1, Watched::Writes, 4),
        (stack - 1, 1, Watched::Accesses, 5),
        (DATA + 66, 1, Watched::Writes, 9),
        (DATA + 0x103, 1, Watched::Reads, 9),
        (DATA + 0x204, 2, Watched::Accesses, 9),
    ];
    for (address, length, kind, offset) in all {
        let watchpoint = Watchpoint {
            address,
            length,
            kind,
        };
        set(
            &mut *vcpu,
            &Points {
                watchpoints: vec![watchpoint],
                ..Points::default()
            },
        );
        let met = Stop::Breakpoint(Met::Watchpoint(watchpoint));
        assert_eq!(vcpu.run(&world).unwrap(), met, "{address:#x}");
        assert_eq!(vcpu.state().unwrap().rip, CODE + offset, "{address:#x}");
    }
    assert_eq!(vcpu.state().unwrap().general[1], 4);
}

/// Remembers where instructions lie, and their bytes.
#[derive(Default)]
struct Trace(Mutex<Vec<(u64, u64, Vec<u8>)>>);

impl Tracer for Trace {
    fn executed(&self, vcpu: VcpuId, before: &CpuState, after: &CpuState, code: &[u8]) {
        assert_eq!(vcpu, VcpuId(0));
        let entry = (before.rip, after.rip, code.to_vec());
        self.0.lock().unwrap().push(entry);
    }
}

#[test]
fn a_trace_tells_of_what_begins_in_its_range() {
    // mov al, 1; inc eax; nop; out 0xf4, al
    let code = [0xb0, 1, 0xff, 0xc0, 0x90, 0xe6, 0xf4];
    let mut machine = machine_with(&Emulate, &code, 1);
    let mut vcpu = first(&mut *machine);
    let trace = Arc::new(Trace::default());
    vcpu.tracing()
        .unwrap()
        .trace(&[CODE + 1..=CODE + 2, CODE + 5..=CODE + 5], trace.clone());
    let world = Recorder::new(&*vcpu);
    run(&mut *vcpu, &world);
    let expected = vec![
        (CODE + 2, CODE + 4, vec![0xff, 0xc0]),
        (CODE + 5, CODE + 7, vec![0xe6, 0xf4]),
    ];
    assert_eq!(*trace.0.lock().unwrap(), expected);
    assert_eq!(vcpu.state().unwrap().general[0], 2);
}
