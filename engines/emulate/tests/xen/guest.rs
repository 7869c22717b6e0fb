//! A guest in long mode that makes one call after another.

use engine_contract::{MemoryRange, Stop, VcpuId, World};
use engine_emulate::testing::{Trial, Way};
use machine_bus::{GuestAddress, Port, Vector};
use machine_memory::GuestMemory;
use x86_state::{CpuState, Segment};

/// Bytes of memory, of which those below 2 MiB are mapped to themselves but for some pages.
pub(crate) const MEMORY: u64 = 4 << 20;
/// Where arguments are put, and a page behind which nothing is mapped.
pub(crate) const ARGUMENT: u64 = 0x2_0000;
pub(crate) const UNMAPPED: u64 = 0x8000;
pub(crate) const READ_ONLY: u64 = 0x9000;
/// A page of a device's.
pub(crate) const DEVICE: u64 = 0xa000;
/// A page that is mapped where no memory is.
pub(crate) const FREE: u64 = 1 << 32;
/// Behind the last address of the lower half.
pub(crate) const NO_ADDRESS: u64 = 1 << 47;

/// The instructions that make a call.
pub(crate) const VMMCALL: &[u8] = &[0x0f, 0x01, 0xd9];
pub(crate) const VMCALL: &[u8] = &[0x0f, 0x01, 0xc1];

pub(crate) const CODE: u64 = 0x1000;
const ROOT: u64 = 0x1_0000;
/// The table of the lowest pages.
pub(crate) const PAGES: u64 = ROOT + 0x3000;
/// Present, and can be written.
const OWN: u64 = 3;

pub(crate) const MAP: [MemoryRange; 3] = [
    range(0, 0xa_0000, 1),
    range(0xe_0000, 0x1000, 3),
    range(0x10_0000, MEMORY - 0x10_0000, 1),
];

const fn range(start: u64, length: u64, kind: u32) -> MemoryRange {
    MemoryRange {
        start: GuestAddress(start),
        length,
        kind,
    }
}

/// There is nothing but ones.
struct Nothing;

impl World for Nothing {
    fn port_read(&self, _: Port, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn port_write(&self, _: Port, _: &[u8]) {}

    fn mmio_read(&self, _: GuestAddress, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn mmio_write(&self, _: GuestAddress, _: &[u8]) {}

    fn take_interrupt(&self, _: VcpuId) -> Option<Vector> {
        None
    }
}

/// The guest.
pub(crate) struct Guest {
    trial: Trial,
    pub(crate) memory: GuestMemory,
    pub(crate) state: CpuState,
    way: Way,
}

/// Has a guest by blocks and one by single instructions do the same.
pub(crate) fn each(test: impl Fn(&mut Guest)) {
    for way in [Way::Blocks, Way::OneByOne] {
        test(&mut Guest::new(way, true));
    }
}

impl Guest {
    /// With Xen below it, or as usual.
    pub(crate) fn new(way: Way, is_over_xen: bool) -> Self {
        let memory = machine_memory::create(MEMORY).unwrap();
        put_tables(&memory);
        let mut trial = if is_over_xen {
            Trial::over_xen(memory.clone(), MAP.to_vec()).unwrap()
        } else {
            Trial::new(memory.clone())
        };
        let mut state = trial.vcpu().state().unwrap();
        set_long_mode(&mut state);
        Self {
            trial,
            memory,
            state,
            way,
        }
    }

    /// Runs an instruction, behind which is one that goes to itself; why it stopped.
    pub(crate) fn execute(&mut self, instruction: &[u8]) -> Stop {
        let code = [instruction, &[0xeb, 0xfe]].concat();
        self.memory.write(CODE, &code).unwrap();
        self.state.rip = CODE;
        self.trial.vcpu().set_state(&self.state).unwrap();
        let ran = self.trial.run(&Nothing, 2, self.way).unwrap();
        self.state = self.trial.vcpu().state().unwrap();
        ran.stop
    }

    /// Makes a call by this instruction; why it stopped.
    pub(crate) fn call_by(&mut self, instruction: &[u8], number: u64, arguments: &[u64]) -> Stop {
        self.state.general[0] = number;
        for (register, argument) in [7, 6, 2, 10, 8].into_iter().zip(arguments) {
            self.state.general[register] = *argument;
        }
        self.execute(instruction)
    }

    /// Makes a call, behind which the guest goes on; the answer.
    pub(crate) fn call(&mut self, number: u64, arguments: &[u64]) -> i64 {
        let stop = self.call_by(VMMCALL, number, arguments);
        assert_eq!((stop, self.state.rip), (Stop::Kicked, CODE + 3));
        self.state.general[0] as i64
    }

    /// Makes a call with its first argument and the address of a structure.
    pub(crate) fn call_with(&mut self, number: u64, operation: u64, structure: &[u8]) -> i64 {
        self.memory.write(ARGUMENT, structure).unwrap();
        self.call(number, &[operation, ARGUMENT])
    }

    /// Bytes of its memory.
    pub(crate) fn bytes<const COUNT: usize>(&self, at: u64) -> [u8; COUNT] {
        let mut bytes = [0; COUNT];
        self.memory.read(at, &mut bytes).unwrap();
        bytes
    }

    /// Four bytes at a linear address, as an instruction reads them.
    pub(crate) fn load(&mut self, at: u64) -> u32 {
        self.state.general[3] = at;
        // mov eax, [rbx]
        assert_eq!(self.execute(&[0x8b, 0x03]), Stop::Kicked);
        self.state.general[0] as u32
    }

    /// What was met that is not served.
    pub(crate) fn counts(&mut self) -> Vec<(String, u64)> {
        self.trial.vcpu().exits()
    }
}

pub(crate) fn put_tables(memory: &GuestMemory) {
    let put = |table: u64, index: u64, entry: u64| {
        let at = table + index * 8;
        memory.write(at, &entry.to_le_bytes()).unwrap();
    };
    let [third, low, low_pages, high, high_pages] =
        [1, 2, 3, 4, 5].map(|page| ROOT + page * 0x1000);
    put(ROOT, 0, third | OWN);
    put(third, 0, low | OWN);
    put(third, 4, high | OWN);
    put(low, 0, low_pages | OWN);
    put(high, 0, high_pages | OWN);
    for page in 0..512 {
        let entry = match page << 12 {
            UNMAPPED => 0,
            READ_ONLY => READ_ONLY | 1,
            DEVICE => 0xd000_0000 | OWN,
            address => address | OWN,
        };
        put(low_pages, page, entry);
        put(high_pages, page, (FREE + (page << 12)) | OWN);
    }
}

/// As a kernel runs: protection of read-only pages, and pages of programs out of reach.
pub(crate) fn set_long_mode(state: &mut CpuState) {
    let segment = |selector, rights| Segment {
        selector,
        base: 0,
        limit: u32::MAX,
        rights,
    };
    let data = segment(0x10, 0xc093);
    state.segments.cs = segment(8, 0xa09b);
    for each in [
        &mut state.segments.ds,
        &mut state.segments.es,
        &mut state.segments.ss,
    ] {
        *each = data;
    }
    state.control.cr0 = 0x8001_0033;
    state.control.cr3 = ROOT;
    state.control.cr4 = 0x20;
    state.control.efer = 0x500;
    state.idt.limit = 0;
    state.rflags = 2;
}
