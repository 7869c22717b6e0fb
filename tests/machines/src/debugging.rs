//! Stopping where a debugger wants it.

use std::io::Write as _;

use engine_contract::{Engine, Met, Points, Stop, Vcpu, Watched, Watchpoint};

use crate::harness::{Access, CODE, END, Recorder, first, machine_with};

/// `mov eax, 5`, `inc eax`, `nop`, `mov edi, 0x30000`, `mov ecx, 3`, `rep stosb`, `mov [0x30010], al`,
/// `mov bl, [0x30020]`, `out 0xf4, al`, `jmp $`.
const GUEST: [u8; 38] = [
    0xb8, 5, 0, 0, 0, 0xff, 0xc0, 0x90, 0xbf, 0, 0, 3, 0, 0xb9, 3, 0, 0, 0, 0xf3, 0xaa, 0x88, 0x04,
    0x25, 0x10, 0, 3, 0, 0x8a, 0x1c, 0x25, 0x20, 0, 3, 0, 0xe6, 0xf4, 0xeb, 0xfe,
];
const INC: u64 = CODE + 5;
const NOP: u64 = CODE + 7;
const REPEATED: u64 = CODE + 18;
const STORE: u64 = CODE + 20;
const LOAD: u64 = CODE + 27;
const OUT: u64 = CODE + 34;
const RAX: usize = 0;
const RCX: usize = 1;
const TRAP: u64 = 1 << 8;

/// Why a test says nothing here.
fn skip(engine: &dyn Engine, why: &str) {
    let name = engine.name();
    // Past the capture of output.
    let _ = writeln!(std::io::stderr(), "SKIPPED: debugging by {name}: {why}");
}

/// Whether this engine can be debugged, and by debug registers if that is asked.
fn can(engine: &dyn Engine, vcpu: &mut dyn Vcpu, by_registers: bool) -> bool {
    if vcpu.debugging().is_none() {
        skip(engine, "it has nothing for debuggers");
        return false;
    }
    if by_registers && engine.name() == "kvm" && is_in_tcg() {
        skip(
            engine,
            "the debug registers of QEMU's emulated processor do nothing in a guest",
        );
        return false;
    }
    true
}

/// Whether this processor is emulated by QEMU, by the name in its CPUID.
fn is_in_tcg() -> bool {
    let name = std::arch::x86_64::__cpuid(0x4000_0000);
    [name.ebx, name.ecx, name.edx] == [0x5447_4354, 0x4354_4743, 0x4743_5447]
}

fn run(vcpu: &mut dyn Vcpu, world: &Recorder, points: &Points) -> (Stop, u64) {
    let debugging = vcpu.debugging().expect("it can be debugged");
    debugging.set(points).expect("there is room");
    let stop = vcpu.run(world).expect("it runs");
    (stop, vcpu.state().expect("its registers").rip)
}

const fn met(met: Met) -> Stop {
    Stop::Breakpoint(met)
}

fn steps() -> Points {
    Points {
        steps: true,
        ..Points::default()
    }
}

pub fn a_step_is_one_instruction_or_one_turn(engine: &dyn Engine) {
    let mut machine = machine_with(engine, &GUEST, 1);
    let mut vcpu = first(&mut *machine);
    if !can(engine, &mut *vcpu, false) {
        return;
    }
    let world = Recorder::new(&*vcpu);
    let places = [
        INC,
        NOP,
        CODE + 8,
        CODE + 13,
        REPEATED,
        REPEATED,
        REPEATED,
        STORE,
        LOAD,
        OUT,
    ];
    for (number, place) in places.into_iter().enumerate() {
        assert_eq!(
            run(&mut *vcpu, &world, &steps()),
            (met(Met::Step), place),
            "step {number}"
        );
        assert_eq!(vcpu.state().unwrap().rflags & TRAP, 0);
    }
    let state = vcpu.state().unwrap();
    assert_eq!((state.general[RAX], state.general[RCX]), (6, 0));
    let mut bytes = [0; 4];
    machine.memory().read(0x3_0000, &mut bytes).unwrap();
    assert_eq!(bytes, [6, 6, 6, 0]);
    assert_eq!(run(&mut *vcpu, &world, &Points::default()).0, Stop::Kicked);
}

pub fn a_breakpoint_stops_before_its_instruction(engine: &dyn Engine) {
    let mut machine = machine_with(engine, &GUEST, 1);
    let mut vcpu = first(&mut *machine);
    if !can(engine, &mut *vcpu, true) {
        return;
    }
    let world = Recorder::new(&*vcpu);
    let points = |passes| Points {
        breakpoints: vec![NOP, STORE],
        passes,
        ..Points::default()
    };
    assert_eq!(
        run(&mut *vcpu, &world, &points(false)),
        (met(Met::Breakpoint), NOP)
    );
    assert_eq!(vcpu.state().unwrap().general[RAX], 6);
    assert_eq!(
        run(&mut *vcpu, &world, &points(false)),
        (met(Met::Breakpoint), NOP)
    );
    assert_eq!(
        run(&mut *vcpu, &world, &points(true)),
        (met(Met::Breakpoint), STORE)
    );
    let mut byte = [7];
    machine.memory().read(0x3_0010, &mut byte).unwrap();
    assert_eq!(byte, [0]);
    assert_eq!(run(&mut *vcpu, &world, &Points::default()).0, Stop::Kicked);
    assert_eq!(world.accesses(), []);
}

pub fn a_breakpoint_where_it_stands_can_be_passed(engine: &dyn Engine) {
    let mut machine = machine_with(engine, &GUEST, 1);
    let mut vcpu = first(&mut *machine);
    if !can(engine, &mut *vcpu, false) {
        return;
    }
    let world = Recorder::new(&*vcpu);
    let points = |place, steps| Points {
        breakpoints: vec![place],
        passes: true,
        steps,
        ..Points::default()
    };
    let stop = run(&mut *vcpu, &world, &points(CODE, true));
    assert_eq!(stop, (met(Met::Step), INC));
    let stop = run(&mut *vcpu, &world, &points(INC, false));
    assert_eq!(stop.0, Stop::Kicked);
    assert_eq!(vcpu.state().unwrap().general[RAX], 6);
}

pub fn a_watchpoint_stops_after_the_access(engine: &dyn Engine) {
    let mut machine = machine_with(engine, &GUEST, 1);
    let mut vcpu = first(&mut *machine);
    if !can(engine, &mut *vcpu, true) {
        return;
    }
    let world = Recorder::new(&*vcpu);
    let all = [
        (0x3_0001, 1, Watched::Writes, REPEATED),
        (0x3_0010, 4, Watched::Writes, LOAD),
        (0x3_0020, 8, Watched::Accesses, OUT),
    ];
    for (address, length, kind, place) in all {
        let watchpoint = Watchpoint {
            address,
            length,
            kind,
        };
        let points = Points {
            watchpoints: vec![watchpoint],
            ..Points::default()
        };
        let expected = (met(Met::Watchpoint(watchpoint)), place);
        assert_eq!(run(&mut *vcpu, &world, &points), expected, "{address:#x}");
    }
    assert_eq!(vcpu.state().unwrap().general[RCX], 0);
    let nowhere = Points {
        watchpoints: vec![Watchpoint {
            address: 0x4_0000,
            length: 4,
            kind: Watched::Accesses,
        }],
        ..Points::default()
    };
    assert_eq!(run(&mut *vcpu, &world, &nowhere).0, Stop::Kicked);
}

pub fn points_that_are_too_many_are_refused(engine: &dyn Engine) {
    let mut machine = machine_with(engine, &GUEST, 1);
    let mut vcpu = first(&mut *machine);
    if !can(engine, &mut *vcpu, false) {
        return;
    }
    let debugging = vcpu.debugging().unwrap();
    let many = Points {
        breakpoints: vec![CODE; debugging.limits().points + 1],
        ..Points::default()
    };
    assert!(debugging.set(&many).is_err());
    let world = Recorder::reacting(&*vcpu, |access| {
        assert!(matches!(access, Access::Out(END, _)))
    });
    assert_eq!(vcpu.run(&world).unwrap(), Stop::Kicked);
}
