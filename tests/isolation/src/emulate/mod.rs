//! The interpreter (`engine_emulate`) with random state, tables and code, once by blocks and once instruction by
//! instruction: both come to the same registers, memory and accesses to the world.
//!
//! Time stands still and there are no random numbers, so interrupts come when the guest asks for them. That is
//! compared, too: whatever the guest does to its interrupt controllers ends a block. A bit of the input has the guest find
//! Xen below itself. Beside the guest's memory lies memory of others, which stays as it is.

mod guest;
mod memory;
mod start;
mod world;

use engine_contract::Stop;
use engine_emulate::testing::{Ran, Trial, Way};
use machine_memory::GuestMemory;
use x86_state::CpuState;

use crate::script::Script;
use guest::Guest;
use world::{ACCESSES, Access, Answers};

/// Instructions of a run by blocks, and of the other, in which repeated ones may count more often.
const MOST: u32 = 120;
const MOST_BY_ONE: u32 = 250;

/// Where a run came to.
#[derive(Debug)]
struct End {
    ran: Ran,
    state: CpuState,
    memory: Vec<u8>,
    accesses: Vec<Access>,
}

impl End {
    /// It did not end because so many instructions or accesses were used up.
    fn is_whole(&self, most: u32) -> bool {
        let has_room = self.ran.instructions < most.into() && self.accesses.len() < ACCESSES;
        has_room || self.ran.stop == Stop::TripleFault
    }
}

/// Runs the guest that the input describes, both ways.
///
/// # Panics
/// When the interpreter does, when the two ways differ, when memory of others has changed, or when a state cannot be
/// set again.
pub fn emulate(data: &[u8]) {
    let guest = Guest::new(&mut Script::new(data));
    let quick = run(&guest, MOST, Way::Blocks);
    assert_returns(&quick.state);
    // One that would go on has no end to be compared.
    if quick.is_whole(MOST) {
        let slow = run(&guest, MOST_BY_ONE, Way::OneByOne);
        if slow.is_whole(MOST_BY_ONE) {
            compare(&guest, &quick, &slow);
        }
    }
}

fn run(guest: &Guest, instructions: u32, way: Way) -> End {
    let guard = || {
        let memory = machine_memory::create(memory::GUARD as u64).expect("the host has memory");
        let bytes = [memory::MARK; memory::GUARD];
        memory.write(0, &bytes).expect("it is there");
        memory
    };
    let before = guard();
    let memory = machine_memory::create(memory::SIZE as u64).expect("the host has memory");
    let after = guard();
    memory.write(0, &guest.memory).expect("it is there");
    let mut trial = if guest.is_over_xen {
        let map = vec![memory::RANGE; 3];
        Trial::over_xen(memory.clone(), map).expect("the host has memory")
    } else {
        Trial::new(memory.clone())
    };
    let vcpu = trial.vcpu();
    let mut state = vcpu.state().expect("it has one");
    guest.start(&mut state);
    vcpu.set_state(&state).expect("it takes any");
    let world = Answers::new(vcpu.kick());
    let ran = trial.run(&world, instructions, way).expect("it runs");
    for guard in [before, after] {
        let bytes = bytes(&guard, memory::GUARD);
        assert!(
            bytes.iter().all(|byte| *byte == memory::MARK),
            "not its own"
        );
    }
    End {
        ran,
        state: trial.vcpu().state().expect("it has one"),
        memory: bytes(&memory, memory::SIZE),
        accesses: world.accesses(),
    }
}

fn bytes(memory: &GuestMemory, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    memory.read(0, &mut bytes).expect("it is there");
    bytes
}

fn compare(guest: &Guest, quick: &End, slow: &End) {
    let differing = differing(&quick.memory, &slow.memory);
    let is_same = quick.state == slow.state
        && quick.ran.stop == slow.ran.stop
        && differing.is_none()
        && quick.accesses == slow.accesses;
    assert!(
        is_same,
        "by blocks {:?} and by one {:?}\n{}\nmemory from {differing:x?}\n{:x?}\n{:x?}\n{}",
        quick.ran,
        slow.ran,
        difference(&quick.state, &slow.state),
        quick.accesses,
        slow.accesses,
        first_difference(guest),
    );
}

/// After how many instructions the ways first differ, where the block before that began, and what differs.
fn first_difference(guest: &Guest) -> String {
    let mut start = guest.entry();
    for count in 1..MOST {
        let quick = run(guest, count, Way::Blocks);
        let executed = quick.ran.instructions as u32;
        let slow = run(guest, executed, Way::OneByOne);
        if quick.state != slow.state || quick.memory != slow.memory {
            let differ = difference(&quick.state, &slow.state);
            let code = &quick.memory[start as usize % memory::SIZE..];
            let code = &code[..code.len().min(192)];
            let kind = guest.kind();
            return format!(
                "{kind:?}: first after {executed}, from {start:x} {code:02x?}: {differ}"
            );
        }
        start = quick.state.segments.cs.base.wrapping_add(quick.state.rip);
    }
    "not by count".to_owned()
}

/// The first address at which two memories differ.
fn differing(one: &[u8], other: &[u8]) -> Option<usize> {
    one.iter().zip(other).position(|(one, other)| one != other)
}

/// The lines in which two states differ.
fn difference(one: &CpuState, other: &CpuState) -> String {
    let (one, other) = (format!("{one:#x?}"), format!("{other:#x?}"));
    let pairs = one.lines().zip(other.lines()).enumerate();
    let lines = pairs.filter(|(_, (one, other))| one != other);
    lines
        .map(|(number, (one, other))| format!("{number}: {} / {}\n", one.trim(), other.trim()))
        .collect()
}

/// A state that was read can be set, and is the same then.
fn assert_returns(state: &CpuState) {
    let memory = machine_memory::create(memory::GUARD as u64).expect("the host has memory");
    let mut trial = Trial::new(memory);
    let vcpu = trial.vcpu();
    vcpu.set_state(state).expect("it was one");
    let again = vcpu.state().expect("it has one");
    assert!(*state == again, "{}", difference(state, &again));
}
