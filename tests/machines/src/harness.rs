//! Machines for the tests, and a world that remembers.

use std::sync::{Arc, Mutex};

use engine_contract::{Engine, Kick, Machine, Resources, Stop, Vcpu, VcpuId, World};
use machine_bus::{GuestAddress, Port, Vector};
use machine_memory::GuestMemory;
use x86_state::{Control, CpuState, Segment, Segments, Table};

use crate::code;

/// Where guests start, and where their stack ends.
pub const CODE: u64 = 0x1_0000;
const STACK_TOP: u64 = 0x2_0000;
const TABLES: u64 = 0x1000;
const INTERRUPTS: u64 = 0x9000;
const HANDLERS: u64 = 0xa000;

/// The port by which a guest ends its run.
pub const END: u16 = 0xf4;

/// Numbers that look random, the same each time.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next of them.
    pub fn random(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A machine without anything in it.
pub fn machine(engine: &dyn Engine, memory: u64, vcpus: u32) -> Box<dyn Machine> {
    let resources = Resources {
        memory,
        vcpus,
        image: None,
    };
    let creation = engine.create(resources).expect("a machine begun");
    creation.finish().expect("a machine")
}

/// One with 8 MiB, tables and this code.
pub fn machine_with(engine: &dyn Engine, code: &[u8], vcpus: u32) -> Box<dyn Machine> {
    let machine = machine(engine, 8 << 20, vcpus);
    load(machine.memory(), code);
    machine
}

/// Tables that map 5 GiB to themselves, the code, and handlers of three interrupts.
pub fn load(memory: &GuestMemory, code: &[u8]) {
    /// Present, writable, accessed, dirty: so that the processor writes none of them.
    const BITS: u64 = 0x63;
    const LARGE: u64 = 0x80;
    let set = |place: u64, value: u64| memory.write(place, &value.to_le_bytes()).unwrap();
    set(TABLES, (TABLES + 0x1000) | BITS);
    for gib in 0..5 {
        let table = TABLES + 0x2000 + gib * 0x1000;
        set(TABLES + 0x1000 + gib * 8, table | BITS);
        for entry in 0..512 {
            set(table + entry * 8, (gib << 30 | entry << 21) | BITS | LARGE);
        }
    }
    for vector in [0x40, 0x41, 0xf0] {
        let place = HANDLERS + u64::from(vector) * 64;
        // mov al, vector
        let handler = [&[0xb0, vector][..], code::handle()].concat();
        memory.write(place, &handler).unwrap();
        let gate = INTERRUPTS + u64::from(vector) * 16;
        set(
            gate,
            (place & 0xffff) | 8 << 16 | 0x8e << 40 | (place >> 16) << 48,
        );
    }
    // The gates' code segment is loaded by its selector.
    set(0x808, 0x00af_9b00_0000_ffff);
    set(0x810, 0x00cf_9300_0000_ffff);
    memory.write(CODE, code).unwrap();
}

/// 64-bit mode at the code.
pub fn start() -> CpuState {
    let data = Segment {
        selector: 0x10,
        base: 0,
        limit: u32::MAX,
        rights: 0xc093,
    };
    let cs = Segment {
        selector: 8,
        rights: 0xa09b,
        ..data
    };
    let mut state = CpuState {
        rip: CODE,
        rflags: 2,
        segments: Segments {
            cs,
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            ..Segments::default()
        },
        gdt: Table {
            base: 0x800,
            limit: 0x17,
        },
        idt: Table {
            base: INTERRUPTS,
            limit: 0xfff,
        },
        control: Control {
            cr0: 0x8001_0033,
            cr3: TABLES,
            // Physical address extension, SSE.
            cr4: 0x620,
            efer: 0xd00,
            ..Control::default()
        },
        ..CpuState::default()
    };
    state.general[4] = STACK_TOP;
    state
}

/// The first virtual CPU, at the code.
pub fn first(machine: &mut dyn Machine) -> Box<dyn Vcpu> {
    let mut vcpu = machine.vcpu(VcpuId(0)).expect("the first virtual CPU");
    vcpu.set_state(&start()).expect("its first state");
    vcpu.prepare().expect("ready");
    vcpu
}

/// An access to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Of so many bytes from a port.
    In(u16, usize),
    /// Of these to a port.
    Out(u16, Vec<u8>),
    /// Of so many bytes from an address.
    Load(u64, usize),
    /// Of these to an address.
    Store(u64, Vec<u8>),
}

type Reaction = Box<dyn Fn(&Access) + Send + Sync>;

/// Remembers accesses; answers with ascending bytes; ends the run at port 0xf4.
pub struct Recorder {
    accesses: Mutex<Vec<Access>>,
    answer: Mutex<u8>,
    kick: Arc<dyn Kick>,
    reaction: Reaction,
}

impl Recorder {
    /// For this virtual CPU.
    pub fn new(vcpu: &dyn Vcpu) -> Self {
        Self::reacting(vcpu, |_| {})
    }

    /// Calls this at each access, from the virtual CPU's thread.
    pub fn reacting(vcpu: &dyn Vcpu, reaction: impl Fn(&Access) + Send + Sync + 'static) -> Self {
        Self {
            accesses: Mutex::default(),
            answer: Mutex::new(0),
            kick: vcpu.kick(),
            reaction: Box::new(reaction),
        }
    }

    /// What there was, but for the end.
    pub fn accesses(&self) -> Vec<Access> {
        let mut all = self.accesses.lock().unwrap().clone();
        all.retain(|access| !matches!(access, Access::Out(END, _)));
        all
    }

    fn note(&self, access: Access) {
        if matches!(access, Access::Out(END, _)) {
            self.kick.kick();
        }
        (self.reaction)(&access);
        self.accesses.lock().unwrap().push(access);
    }

    fn fill(&self, data: &mut [u8]) {
        let mut answer = self.answer.lock().unwrap();
        for byte in data {
            *answer = answer.wrapping_add(1);
            *byte = *answer;
        }
    }
}

impl World for Recorder {
    fn port_read(&self, port: Port, data: &mut [u8]) {
        self.note(Access::In(port.0, data.len()));
        self.fill(data);
    }

    fn port_write(&self, port: Port, data: &[u8]) {
        self.note(Access::Out(port.0, data.to_vec()));
    }

    fn mmio_read(&self, address: GuestAddress, data: &mut [u8]) {
        self.note(Access::Load(address.0, data.len()));
        self.fill(data);
    }

    fn mmio_write(&self, address: GuestAddress, data: &[u8]) {
        self.note(Access::Store(address.0, data.to_vec()));
    }

    fn take_interrupt(&self, _: VcpuId) -> Option<Vector> {
        None
    }
}

/// Runs until the guest ends its run.
pub fn run(vcpu: &mut dyn Vcpu, world: &Recorder) {
    assert_eq!(vcpu.run(world).expect("it runs"), Stop::Kicked);
}

/// Fails with the parts in which two states differ, and not with all of both.
pub fn assert_same(found: &CpuState, expected: &CpuState, when: &str) {
    let parts = |state: &CpuState| {
        let vector: Vec<_> = state
            .vector
            .iter()
            .enumerate()
            .map(|(at, byte)| (at, *byte))
            .collect();
        let general = (
            state.general,
            state.rip,
            state.rflags,
            state.debug,
            state.segments,
        );
        let text = format!(
            "{general:x?}\n{:x?}\n{:x?}\n{:x?}\n{:x?}",
            state.gdt, state.idt, state.control, state.events
        );
        let lines = text.lines().map(str::to_owned);
        let registers = state
            .model_specific
            .iter()
            .map(|register| format!("{register:x?}"));
        let bytes = vector.iter().map(|byte| format!("vector {byte:x?}"));
        lines.chain(registers).chain(bytes).collect::<Vec<_>>()
    };
    if found != expected {
        let pairs = parts(found).into_iter().zip(parts(expected));
        let differ: Vec<_> = pairs.filter(|(one, other)| one != other).collect();
        panic!("{when}: found and expected differ in {differ:#?}");
    }
}

/// Without what goes on by itself, the time-stamp counter, and without what is the processor's to say: which vector
/// states are as after reset.
pub fn timeless(mut state: CpuState) -> CpuState {
    const PARTS: usize = 512;
    if let Some(parts) = state.vector.get_mut(PARTS) {
        *parts |= 3;
    }
    state.model_specific.retain(|(number, _)| *number != 0x10);
    state
}
