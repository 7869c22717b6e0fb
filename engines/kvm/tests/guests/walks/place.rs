//! Where everything lies in the guests that walk, in each mode of paging.

use engine_contract::Machine;
use machine_memory::GuestMemory;
use x86_paging::{EntrySize, Mode};
use x86_state::{CpuState, Segment, Table};

use engine_kvm::Kvm;
use machines::code;
use machines::harness::{CODE, machine_with, start};

pub(super) const P: u64 = 1;
pub(super) const RW: u64 = 2;
pub(super) const US: u64 = 4;
/// Accessed and dirty.
pub(super) const MARKS: u64 = 0x60;
pub(super) const PS: u64 = 0x80;

/// The code of the access: the system's, and the program's.
pub(super) const SYSTEM: u64 = CODE + 0x800;
const PROGRAM: u64 = 0x3_8000;
const FAULT_HANDLER: u64 = CODE + 0xc00;
const FAULT_STACK: u64 = 0x1_f000;
const TASK_STATE: u64 = 0x3_9000;
const GDT: u64 = 0x3_9800;
/// The harness', with 16 bytes to a gate; those of 8 bytes are elsewhere.
const GATES_64: u64 = 0x9000;
const GATES_32: u64 = 0x3_a000;
/// The first table of the modes with 32-bit addresses; further ones follow.
const ROOT_32: u64 = 0x5_0000;
/// Tables of the walk.
const NEXT: [u64; 3] = [0x4_0000, 0x4_1000, 0x4_2000];
/// A page of 4 KiB, and the beginnings of 2, 4 MiB and 1 GiB.
const SMALL: u64 = 0x50_0000;
const MIDDLE: u64 = 0x60_0000;
const FOUR_MEGABYTES: u64 = 0x40_0000;

/// One walk: from the first table's entry to the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) mode: Mode,
    /// Where the walk leads from.
    pub(super) linear: u64,
    /// Where the program sees its code.
    pub(super) program: u64,
    pub(super) size: EntrySize,
    pub(super) levels: &'static [Level],
}

/// An entry of the walk: where it is, what it names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) place: u64,
    /// The next table.
    pub(super) next: Option<u64>,
    /// The page, and the bits of its size.
    pub(super) page: Option<(u64, u32)>,
    /// It has rights and marks.
    pub(super) is_full: bool,
}

const fn level(place: u64, next: Option<u64>, page: Option<(u64, u32)>) -> Level {
    Level {
        place,
        next,
        page,
        is_full: true,
    }
}

pub(super) const FOUR_LEVEL: Walk = Walk {
    mode: Mode::FourLevel,
    linear: 1 << 39 | 3 << 30 | 2 << 21 | 7 << 12,
    program: 2 << 39,
    size: EntrySize::Eight,
    levels: &[
        level(0x1000 + 8, Some(NEXT[0]), None),
        level(NEXT[0] + 3 * 8, Some(NEXT[1]), Some((0, 30))),
        level(NEXT[1] + 2 * 8, Some(NEXT[2]), Some((MIDDLE, 21))),
        level(NEXT[2] + 7 * 8, None, Some((SMALL, 12))),
    ],
};

pub(super) const PAE: Walk = Walk {
    mode: Mode::Pae,
    linear: 2 << 30 | 2 << 21 | 7 << 12,
    program: 3 << 30,
    size: EntrySize::Eight,
    levels: &[
        Level {
            is_full: false,
            ..level(ROOT_32 + 2 * 8, Some(NEXT[1]), None)
        },
        level(NEXT[1] + 2 * 8, Some(NEXT[2]), Some((MIDDLE, 21))),
        level(NEXT[2] + 7 * 8, None, Some((SMALL, 12))),
    ],
};

pub(super) const BITS_32: Walk = Walk {
    mode: Mode::Bits32,
    linear: 0x201 << 22 | 7 << 12,
    program: 3 << 30,
    size: EntrySize::Four,
    levels: &[
        level(
            ROOT_32 + 0x201 * 4,
            Some(NEXT[1]),
            Some((FOUR_MEGABYTES, 22)),
        ),
        level(NEXT[1] + 7 * 4, None, Some((SMALL, 12))),
    ],
};

/// Where an access to `linear` arrives in a page.
fn arrival(linear: u64, (page, bits): (u64, u32)) -> u64 {
    page | linear & ((1 << bits) - 1)
}

/// What stands 4 bytes behind the place where an access arrives: which page it is. Before it
/// stand `out 0xf4, al` and a `jmp` to itself.
pub(super) fn page_name(physical: u64) -> u32 {
    (physical >> 12) as u32 | 0x5500_0000
}

pub(super) fn load(memory: &GuestMemory, address: u64, size: EntrySize) -> u64 {
    let mut bytes = [0; 8];
    let count = if size == EntrySize::Four { 4 } else { 8 };
    match memory.read(address, &mut bytes[..count]) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::MAX,
    }
}

pub(super) fn store(memory: &GuestMemory, address: u64, size: EntrySize, value: u64) {
    let count = if size == EntrySize::Four { 4 } else { 8 };
    let bytes = &value.to_le_bytes()[..count];
    memory.write(address, bytes).expect("a place in memory");
}

fn store_all(memory: &GuestMemory, size: EntrySize, values: &[(u64, u64)]) {
    for (place, value) in values {
        store(memory, *place, size, *value);
    }
}

impl Walk {
    const fn is_64(&self) -> bool {
        matches!(self.mode, Mode::FourLevel)
    }

    /// A machine with the code of both levels, tables, a page-fault handler and a task state.
    pub(super) fn machine(&self) -> Box<dyn Machine> {
        let (go, access, fault) = if self.is_64() {
            (code::forget_and_go(), code::access(), code::note_fault())
        } else {
            let handler = code::note_fault_32();
            (code::forget_and_go_32(), code::access_32(), handler)
        };
        let machine = machine_with(&Kvm, go, 1);
        let memory = machine.memory();
        for (place, code) in [(SYSTEM, access), (PROGRAM, access), (FAULT_HANDLER, fault)] {
            memory.write(place, code).expect("a place in memory");
        }
        for page in self.levels.iter().filter_map(|level| level.page) {
            let place = arrival(self.linear, page);
            memory
                .write(place, &[0xe6, 0xf4, 0xeb, 0xfe])
                .expect("a place in memory");
            store(memory, place + 4, EntrySize::Four, page_name(place).into());
        }
        self.describe_segments(memory);
        match self.mode {
            Mode::Bits32 => map_32(memory),
            Mode::Pae => map_pae(memory),
            _ => map_program(memory),
        }
        machine
    }

    /// Segments of both levels, where the handler is, and where it has its stack.
    fn describe_segments(&self, memory: &GuestMemory) {
        let code = if self.is_64() { 0xaf } else { 0xcf } << 48;
        let descriptors = [
            (GDT + 8, code | 0x9b00_0000_ffff),
            (GDT + 0x10, 0xcf_9300_0000_ffff),
            (GDT + 0x18, 0xcf_f300_0000_ffff),
            (GDT + 0x20, code | 0xfb00_0000_ffff),
        ];
        store_all(memory, EntrySize::Eight, &descriptors);
        let (gate, stack_segment) = if self.is_64() {
            (GATES_64 + 14 * 16, 0)
        } else {
            (GATES_32 + 14 * 8, 0x10)
        };
        let place = (FAULT_HANDLER & 0xffff) | (FAULT_HANDLER >> 16) << 48;
        store(memory, gate, EntrySize::Eight, place | 8 << 16 | 0x8e << 40);
        let stack = FAULT_STACK | stack_segment << 32;
        store(memory, TASK_STATE + 4, EntrySize::Eight, stack);
    }

    /// A task state that nobody has loaded yet, as it must be before each run.
    pub(super) fn describe_task(&self, memory: &GuestMemory) {
        let base = (TASK_STATE & 0xff_ffff) << 16;
        store(
            memory,
            GDT + 0x28,
            EntrySize::Eight,
            0x67 | base | 0x89 << 40,
        );
    }

    /// Before the first instruction.
    pub(super) fn start(&self) -> CpuState {
        let mut state = start();
        state.gdt = Table {
            base: GDT,
            limit: 0x2f,
        };
        state.segments.tr = Segment {
            selector: 0,
            base: TASK_STATE,
            limit: 0x67,
            rights: 0x8b,
        };
        if self.is_64() {
            return state;
        }
        state.idt.base = GATES_32;
        state.segments.cs.rights = 0xc09b;
        // One that stays when the level becomes 3.
        state.segments.ds.selector = 0x1b;
        state.segments.ds.rights = 0xc0f3;
        state.control.cr3 = ROOT_32;
        // Neither long mode nor, perhaps, PAE.
        state.control.efer &= !0x500;
        if self.mode == Mode::Bits32 {
            state.control.cr4 &= !0x20;
        }
        state
    }
}

/// The program's code, beside what the harness maps.
fn map_program(memory: &GuestMemory) {
    let tables = [
        (0x1000 + 2 * 8, 0x3_b000),
        (0x3_b000, 0x3_c000),
        (0x3_c000, 0x3_d000),
        (0x3_d000, PROGRAM),
    ];
    let entries = tables.map(|(place, leads_to)| (place, leads_to | P | US | MARKS));
    store_all(memory, EntrySize::Eight, &entries);
}

/// 8 MiB to themselves, in small pages, and the program's code.
fn map_32(memory: &GuestMemory) {
    for table in 0..2 {
        let place = ROOT_32 + 0x1000 + table * 0x1000;
        store(
            memory,
            ROOT_32 + table * 4,
            EntrySize::Four,
            place | P | RW | MARKS,
        );
        for entry in 0..1024 {
            let page = (table * 1024 + entry) << 12;
            store(
                memory,
                place + entry * 4,
                EntrySize::Four,
                page | P | RW | MARKS,
            );
        }
    }
    let entries = [
        (ROOT_32 + 0x300 * 4, 0x3_b000 | P | US | MARKS),
        (0x3_b000, PROGRAM | P | US | MARKS),
    ];
    store_all(memory, EntrySize::Four, &entries);
}

/// The same by large pages.
fn map_pae(memory: &GuestMemory) {
    let table = ROOT_32 + 0x1000;
    store(memory, ROOT_32, EntrySize::Eight, table | P);
    for entry in 0..4 {
        store(
            memory,
            table + entry * 8,
            EntrySize::Eight,
            entry << 21 | P | RW | MARKS | PS,
        );
    }
    let entries = [
        (ROOT_32 + 3 * 8, 0x3_b000 | P),
        (0x3_b000, 0x3_c000 | P | US | MARKS),
        (0x3_c000, PROGRAM | P | US | MARKS),
    ];
    store_all(memory, EntrySize::Eight, &entries);
}
