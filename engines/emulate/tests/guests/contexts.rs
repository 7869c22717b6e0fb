//! Process contexts: translations stay with theirs, for as long as they are not forgotten.
//!
//! A processor may forget a translation at any time; this engine does not, so that it can be seen which are kept.

use engine_contract::Stop;
use engine_emulate::Emulate;
use iced_x86::code_asm::{CodeAssembler, al, cr3, cr4, eax, ptr, rax, rbx, rcx};
use machines::harness::{Access, CODE, END, Recorder, first, machine_with, run};

/// Where a guest says what it reads.
const SAYS: i32 = 0xf5;
/// The page that differs, and the root of each of two address spaces.
const PAGE: u64 = 0x4000_0000;
const ROOTS: [u64; 2] = [0x10_0000, 0x11_0000];
/// The harness's table of the first GiB.
const FIRST_GIB: u64 = 0x3000;
/// Pages whose first byte is their number: that of each space, and one more.
const FRAMES: u64 = 0x20_0000;
/// `CR4.PCIDE`.
const CONTEXTS: i32 = 1 << 17;
const KEEP: u64 = 1 << 63;
/// Present, writable, accessed, dirty.
const BITS: u64 = 0x63;
/// Where `INVPCID` finds what it is to forget.
const DESCRIPTOR: u64 = 0x30_0000;

/// Steps of a guest.
#[derive(Clone, Copy)]
enum Do {
    /// Turns contexts on.
    Begin,
    /// Loads a root with this context, and keeps what was found there or not.
    Load(usize, u64, bool),
    /// Says what is in the page.
    Read,
    /// Has a space's page lead to this frame.
    Change(usize, u64),
    /// `INVPCID` of a kind, with a context.
    Forget(i64, u64),
    /// `INVLPG`.
    ForgetPage,
}

fn frame(number: u64) -> u64 {
    FRAMES + number * 0x1000
}

fn assemble(steps: &[Do]) -> Vec<u8> {
    let mut a = CodeAssembler::new(64).unwrap();
    for step in steps {
        match *step {
            Do::Begin => {
                a.mov(rax, cr4).unwrap();
                a.or(eax, CONTEXTS).unwrap();
                a.mov(cr4, rax).unwrap();
            }
            Do::Load(space, context, keeps) => {
                let keep = if keeps { KEEP } else { 0 };
                a.mov(rax, ROOTS[space] | context | keep).unwrap();
                a.mov(cr3, rax).unwrap();
            }
            Do::Read => {
                a.mov(rbx, PAGE).unwrap();
                a.mov(al, ptr(rbx)).unwrap();
                a.out(SAYS, al).unwrap();
            }
            Do::Change(space, to) => {
                a.mov(rbx, ROOTS[space] + 0x3000).unwrap();
                a.mov(rax, frame(to) | BITS).unwrap();
                a.mov(ptr(rbx), rax).unwrap();
            }
            Do::Forget(kind, context) => {
                a.mov(rbx, DESCRIPTOR).unwrap();
                a.mov(rax, context).unwrap();
                a.mov(ptr(rbx), rax).unwrap();
                a.mov(rax, PAGE).unwrap();
                a.mov(ptr(rbx + 8), rax).unwrap();
                a.mov(rcx, kind).unwrap();
                a.invpcid(rcx, ptr(rbx)).unwrap();
            }
            Do::ForgetPage => {
                a.mov(rbx, PAGE).unwrap();
                a.invlpg(ptr(rbx)).unwrap();
            }
        }
    }
    a.out(i32::from(END), al).unwrap();
    a.assemble(CODE).unwrap()
}

/// What a guest says; `None`: it raised an exception, for which it has no handler.
fn said(steps: &[Do]) -> Option<Vec<u8>> {
    let mut machine = machine_with(&Emulate, &assemble(steps), 1);
    let memory = machine.memory().clone();
    let set = |place: u64, value: u64| memory.write(place, &value.to_le_bytes()).unwrap();
    for (number, root) in (0..).zip(ROOTS) {
        let [pointers, directory, table] = [1, 2, 3].map(|level| root + level * 0x1000);
        set(root, pointers | BITS);
        set(pointers, FIRST_GIB | BITS);
        set(pointers + 8, directory | BITS);
        set(directory, table | BITS);
        set(table, frame(number) | BITS);
    }
    for number in 0..3 {
        set(frame(number), number);
    }
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    if vcpu.run(&world).expect("it runs") == Stop::TripleFault {
        return None;
    }
    let accesses = world.accesses();
    let said = accesses.iter().filter_map(|access| match access {
        Access::Out(port, data) if i32::from(*port) == SAYS => data.first().copied(),
        _ => None,
    });
    Some(said.collect())
}

/// The first space's page was read, and has changed in the other one. There it is not read: pages have one place for all
/// contexts.
const CHANGED: [Do; 5] = [
    Do::Begin,
    Do::Load(0, 5, false),
    Do::Read,
    Do::Load(1, 6, false),
    Do::Change(0, 2),
];

/// The same, and then these steps.
fn after(steps: &[Do]) -> Option<Vec<u8>> {
    said(&[&CHANGED, steps].concat())
}

#[test]
fn each_space_has_its_page() {
    let steps = [
        Do::Load(0, 0, false),
        Do::Read,
        Do::Load(1, 0, false),
        Do::Read,
    ];
    assert_eq!(said(&steps), Some(vec![0, 1]));
    let back = [
        Do::Load(1, 6, true),
        Do::Read,
        Do::Load(0, 5, false),
        Do::Read,
    ];
    assert_eq!(after(&back), Some(vec![0, 1, 2]));
}

#[test]
fn a_context_keeps_what_was_found_in_it() {
    let kept = after(&[
        Do::Load(0, 5, true),
        Do::Read,
        Do::Load(0, 5, false),
        Do::Read,
    ]);
    assert_eq!(kept, Some(vec![0, 0, 2]));
}

#[test]
fn what_is_forgotten_is_looked_up_anew() {
    let ways = [
        Do::Forget(0, 5),
        Do::Forget(1, 5),
        Do::Forget(2, 0),
        Do::Forget(3, 0),
        Do::ForgetPage,
    ];
    for way in ways {
        let steps = [way, Do::Load(0, 5, true), Do::Read];
        assert_eq!(after(&steps), Some(vec![0, 2]));
    }
    // Of another context.
    let steps = [Do::Forget(1, 6), Do::Load(0, 5, true), Do::Read];
    assert_eq!(after(&steps), Some(vec![0, 0]));
    let present = [Do::Load(0, 5, true), Do::Read, Do::Forget(1, 5), Do::Read];
    assert_eq!(after(&present), Some(vec![0, 0, 2]));
}

#[test]
fn contexts_have_rules() {
    // They begin with number zero, and what is asked for has to be there.
    assert_eq!(said(&[Do::Load(0, 5, false), Do::Begin]), None);
    assert_eq!(said(&[Do::Load(0, 0, true)]), None);
    assert_eq!(said(&[Do::Forget(1, 5)]), None);
    assert_eq!(after(&[Do::Forget(4, 0)]), None);
    assert_eq!(after(&[Do::Forget(1, 1 << 12)]), None);
    assert_eq!(said(&[Do::Forget(1, 0)]), Some(vec![]));
}

#[test]
fn more_contexts_than_are_remembered_are_all_right() {
    let mut steps = vec![Do::Begin];
    for context in 0..40 {
        steps.extend([Do::Load(0, context, false), Do::Read]);
    }
    steps.push(Do::Change(0, 2));
    for context in 0..40 {
        steps.extend([Do::Load(1, context, false), Do::Read]);
    }
    let said = said(&steps).unwrap();
    assert_eq!(said, [[0; 40], [1; 40]].concat());
}

#[test]
fn a_loop_of_switches_outlives_all_epochs() {
    let mut a = CodeAssembler::new(64).unwrap();
    let mut again = a.create_label();
    a.mov(rcx, 5000_u64).unwrap();
    a.set_label(&mut again).unwrap();
    a.mov(rax, cr3).unwrap();
    a.mov(cr3, rax).unwrap();
    a.dec(rcx).unwrap();
    a.jne(again).unwrap();
    a.out(i32::from(END), al).unwrap();
    let mut machine = machine_with(&Emulate, &a.assemble(CODE).unwrap(), 1);
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    run(&mut *vcpu, &world);
    assert_eq!(vcpu.state().unwrap().general[1], 0);
}
