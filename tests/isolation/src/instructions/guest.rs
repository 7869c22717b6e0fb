//! The interpreter's side: a machine whose program has the bench's code and memory at the same addresses, and nothing
//! else. Descriptors, handlers and page tables lie in the other half of the address space.

use engine_contract::{Stop, VcpuId, World};
use engine_emulate::testing::{Trial, Way};
use host_processor::{CODE, End, Extended, MEMORY, MEMORY_SIZE, Mode, Registers};
use machine_bus::{GuestAddress, Port, Vector};
use machine_memory::GuestMemory;
use x86_state::{Control, CpuState, Segment, Table};

/// Bytes of its memory, and where things lie in it.
const SIZE: u64 = 0x1_0000;
const GDT: u64 = 0x1000;
const TASK: u64 = 0x1800;
const IDT: u64 = 0x2000;
const HANDLERS: u64 = 0x3000;
const STACK_END: u64 = 0x5000;
const ROOT: u64 = 0x5000;
const LOW_THIRD: u64 = 0x6000;
const LOW_DIRECTORY: u64 = 0x7000;
const LOW_TABLE: u64 = 0x8000;
const HIGH_THIRD: u64 = 0x9000;
const HIGH_DIRECTORY: u64 = 0xa000;
const HIGH_TABLE: u64 = 0xb000;
const CODE_PAGE: u64 = 0xc000;
const DATA: u64 = 0xd000;

/// Where all of it is mapped for the system.
const HIGH: u64 = 0xffff_8000_0000_0000;
/// Bytes of code that it has room for.
pub(super) const CODE_SIZE: u64 = 0x800;

/// The system's code, the program's code of both widths and its data (SDM vol. 3, 3.4.5), as Linux has them.
const DESCRIPTORS: [(u16, u64); 4] = [
    (0x10, 0x00af_9b00_0000_ffff),
    (0x20, 0x00cf_fb00_0000_ffff),
    (0x28, 0x00cf_f300_0000_ffff),
    (0x30, 0x00af_fb00_0000_ffff),
];
const SYSTEM_CODE: u64 = 0x10;
const TASK_LIMIT: u32 = 0x67;
/// Flags: arithmetic ones, `DF`, `AC`, `ID`, as the bench has them.
pub(super) const FLAGS: u64 = 0x0024_0cd5;

/// Page table entries: present, can be written, a program's.
const SYSTEM: u64 = 3;
const PROGRAM: u64 = 7;

/// The port that ends a run, written by handlers.
const END_PORT: u8 = 0xf4;
/// Vectors of exceptions, and bytes of each handler.
const VECTORS: u64 = 32;
const HANDLER: u64 = 16;
/// `HLT`, which a program may not execute.
const HALT: u8 = 0xf4;
const PAGE_FAULT: u8 = 14;
const PROTECTION: u8 = 13;
/// Vectors whose exceptions have an error code.
const fn has_error(vector: u8) -> bool {
    matches!(vector, 8 | 10..=14 | 17 | 21)
}

/// What there is to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) registers: Registers,
    pub(super) extended: Extended,
    pub(super) memory: Vec<u8>,
}

/// The machine.
pub(super) struct Guest {
    memory: GuestMemory,
    trial: Trial,
    mode: Mode,
}

impl Guest {
    pub(super) fn new(mode: Mode) -> Self {
        let memory = machine_memory::create(SIZE).expect("the host has memory");
        let mut guest = Self {
            trial: Trial::new(memory.clone()),
            memory,
            mode,
        };
        guest.put_system();
        guest.put_tables();
        guest
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.memory.write(at, bytes).expect("it is there");
    }

    fn quad(&mut self, at: u64, value: u64) {
        self.write(at, &value.to_le_bytes());
    }

    fn put_system(&mut self) {
        for (selector, descriptor) in DESCRIPTORS {
            self.quad(GDT + u64::from(selector), descriptor);
        }
        self.quad(TASK + 4, HIGH + STACK_END);
        for vector in 0..VECTORS {
            let place = HANDLERS + vector * HANDLER;
            self.write(place, &[0xe6, END_PORT, HALT]);
            // An interrupt gate that programs may use, too.
            let address = HIGH + place;
            let low = address & 0xffff | SYSTEM_CODE << 16 | 0xee << 40;
            self.quad(IDT + vector * 16, low | (address >> 16 & 0xffff) << 48);
            self.quad(IDT + vector * 16 + 8, address >> 32);
        }
    }

    fn put_tables(&mut self) {
        self.quad(ROOT, LOW_THIRD | PROGRAM);
        self.quad(ROOT + 256 * 8, HIGH_THIRD | SYSTEM);
        self.quad(LOW_THIRD, LOW_DIRECTORY | PROGRAM);
        self.quad(LOW_DIRECTORY + (CODE >> 21) * 8, LOW_TABLE | PROGRAM);
        let pages = [
            (CODE, CODE_PAGE),
            (MEMORY, DATA),
            (MEMORY + 0x1000, DATA + 0x1000),
        ];
        for (address, page) in pages {
            self.quad(LOW_TABLE + (address >> 12 & 511) * 8, page | PROGRAM);
        }
        self.quad(HIGH_THIRD, HIGH_DIRECTORY | SYSTEM);
        self.quad(HIGH_DIRECTORY, HIGH_TABLE | SYSTEM);
        for page in 0..SIZE >> 12 {
            self.quad(HIGH_TABLE + page * 8, page << 12 | SYSTEM);
        }
    }

    /// The program's state at an offset of the code.
    fn state(&mut self, at: u64, side: &Side) -> CpuState {
        let mut state = self.trial.vcpu().state().expect("it has one");
        let data = Segment {
            selector: 0x2b,
            base: 0,
            limit: u32::MAX,
            rights: 0xc0f3,
        };
        let (selector, rights) = match self.mode {
            Mode::Protected => (0x23, 0xc0fb),
            Mode::Long => (0x33, 0xa0fb),
        };
        state.general = side.registers.general;
        state.rip = CODE + at;
        state.rflags = side.registers.flags & FLAGS | 0x202;
        let segments = &mut state.segments;
        (segments.ds, segments.es, segments.ss) = (data, data, data);
        segments.cs = Segment {
            selector,
            rights,
            ..data
        };
        (segments.fs, segments.gs, segments.ldt) = Default::default();
        segments.tr = Segment {
            selector: 0x40,
            base: HIGH + TASK,
            limit: TASK_LIMIT,
            rights: 0x8b,
        };
        let table = |at, limit| Table {
            base: HIGH + at,
            limit,
        };
        (state.gdt, state.idt) = (table(GDT, 0x3f), table(IDT, 0x1ff));
        // As Linux has them: with alignment checks; all of vectors, and physical addresses of 64-bit entries.
        state.control = Control {
            cr0: 0x8005_0033,
            cr2: 0,
            cr3: ROOT,
            cr4: 1 << 5 | 1 << 9 | 1 << 10 | 1 << 18,
            efer: 0xd01,
            xcr0: 7,
            ..state.control
        };
        state.vector = side.extended.bytes.to_vec();
        state
    }

    fn side(&mut self, state: &CpuState) -> Side {
        let mut memory = vec![0; MEMORY_SIZE];
        self.memory.read(DATA, &mut memory).expect("it is there");
        let mut extended = Extended::default();
        extended.bytes.copy_from_slice(&state.vector);
        Side {
            registers: Registers {
                general: state.general,
                flags: state.rflags & FLAGS,
            },
            extended,
            memory,
        }
    }

    /// Writes code behind which nothing comes.
    pub(super) fn load(&mut self, at: u64, code: &[u8]) {
        self.write(CODE_PAGE + at, code);
    }

    fn set(&mut self, at: u64, side: &Side) {
        self.write(DATA, &side.memory);
        let state = self.state(at, side);
        self.trial.vcpu().set_state(&state).expect("it takes any");
    }

    /// Executes the instruction at an offset of the code: how it ended, and where.
    pub(super) fn step(&mut self, at: u64, side: &Side) -> (End, u64, Side) {
        /// Most parts of a repeated instruction.
        const PARTS: u32 = 1000;
        self.set(at, side);
        let world = Silent { kick: None };
        for _ in 0..PARTS {
            let ran = self.trial.run(&world, 1, Way::OneByOne).expect("it runs");
            assert!(ran.stop == Stop::Kicked, "{ran:?}");
            let state = self.trial.vcpu().state().expect("it has one");
            if state.rip != CODE + at {
                return self.end(&state);
            }
        }
        panic!("it goes on for ever");
    }

    /// Executes code by blocks up to its end, where this puts an instruction that no program may execute: how that
    /// ended, and where.
    pub(super) fn run(&mut self, from: u64, to: u64, side: &Side) -> (End, u64, Side) {
        /// Far more instructions than there are.
        const ALL: u32 = 1_000_000;
        self.load(to, &[HALT]);
        self.set(from, side);
        let kick = self.trial.vcpu().kick();
        let world = Silent { kick: Some(kick) };
        let ran = self.trial.run(&world, ALL, Way::Blocks).expect("it runs");
        assert!(
            ran.stop == Stop::Kicked && ran.instructions < ALL.into(),
            "{ran:?}"
        );
        let state = self.trial.vcpu().state().expect("it has one");
        self.end(&state)
    }

    /// Whether that is how [`Guest::run`] ends.
    pub(super) fn is_end(end: End) -> bool {
        matches!(
            end,
            End::Raised {
                vector: PROTECTION,
                error: 0,
                ..
            }
        )
    }

    fn end(&mut self, state: &CpuState) -> (End, u64, Side) {
        let mut side = self.side(state);
        let handlers = HIGH + HANDLERS;
        let Some(at) = state
            .rip
            .checked_sub(handlers)
            .filter(|at| *at < VECTORS * HANDLER)
        else {
            return (End::Done, state.rip, side);
        };
        let vector = (at / HANDLER) as u8;
        let frame = state.general[4] - HIGH;
        let word = |number: u64| {
            let mut bytes = [0; 8];
            self.memory
                .read(frame + 8 * number, &mut bytes)
                .expect("on its stack");
            u64::from_le_bytes(bytes)
        };
        let (error, first) = if has_error(vector) {
            (word(0), 1)
        } else {
            (0, 0)
        };
        let rip = word(first);
        side.registers.flags = word(first + 2) & FLAGS;
        side.registers.general[4] = word(first + 3);
        let end = End::Raised {
            vector,
            error: error as u32,
            address: if vector == PAGE_FAULT {
                state.control.cr2
            } else {
                0
            },
        };
        (end, rip, side)
    }
}

/// Nothing is outside but the port that ends a run.
struct Silent {
    kick: Option<std::sync::Arc<dyn engine_contract::Kick>>,
}

impl World for Silent {
    fn port_read(&self, port: Port, _: &mut [u8]) {
        panic!("it reads {port:?}");
    }

    fn port_write(&self, port: Port, _: &[u8]) {
        assert!(port.0 == u16::from(END_PORT), "it writes to {port:?}");
        self.kick.iter().for_each(|kick| kick.kick());
    }

    fn mmio_read(&self, address: GuestAddress, _: &mut [u8]) {
        panic!("it reads {address:?}");
    }

    fn mmio_write(&self, address: GuestAddress, _: &[u8]) {
        panic!("it writes to {address:?}");
    }

    fn take_interrupt(&self, _: VcpuId) -> Option<Vector> {
        None
    }
}
