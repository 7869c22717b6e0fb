//! From an input to a guest: the first bytes choose modes and registers, then come changes to its memory, then code.

use x86_state::CpuState;

use super::memory::{CODE, END, Image, Shape};
use super::start::{self, Kind, Privileged};
use crate::random::Random;
use crate::script::Script;

/// Most changes of memory, and bytes of one.
const CHANGES: u8 = 8;
const CHANGED: usize = 8;
/// Most bytes of code.
const CODE_BYTES: usize = 512;

/// A guest.
pub(super) struct Guest {
    pub(super) memory: Vec<u8>,
    /// It finds Xen below itself.
    pub(super) is_over_xen: bool,
    /// Where its code begins.
    entry: u64,
    kind: Kind,
    level: u16,
    privileged: Privileged,
    flags: u64,
    /// What the general registers are, four bits each.
    general: u64,
    seed: u64,
    breakpoints: u8,
    events: u8,
    /// Changes a segment register: which, and a byte of it.
    segment: [u8; 3],
}

impl Guest {
    pub(super) fn new(script: &mut Script<'_>) -> Self {
        let mut byte = || script.byte().unwrap_or(0);
        let (first, second) = (byte(), byte());
        let kind = Kind::ALL[usize::from(first) % Kind::ALL.len()];
        let level = kind.level(second & 3);
        let shape = Shape {
            is_long: kind.is_long(),
            is_real: kind == Kind::Real,
            is_user: level == 3,
            goes_on: second & 4 != 0,
        };
        let [breakpoints, events] = [byte(), byte()];
        let segment = [byte(), byte(), byte()];
        let entry = CODE + if second & 8 != 0 { 0xff4 } else { 0 };
        let mut guest = Self {
            memory: Vec::new(),
            is_over_xen: second & 16 != 0,
            entry,
            kind,
            level,
            privileged: Privileged {
                cr0: script.number::<1>(),
                cr4: script.number::<3>(),
                extended: script.number::<1>(),
            },
            flags: script.number::<3>(),
            general: script.number::<8>(),
            seed: script.number::<2>(),
            breakpoints,
            events,
            segment,
        };
        guest.memory = guest.image(shape, script);
        guest
    }

    fn image(&self, shape: Shape, script: &mut Script<'_>) -> Vec<u8> {
        let mut image = Image::new(shape);
        let mut random = Random::new(self.seed);
        for at in (super::memory::DATA..super::memory::DATA + 0x1000).step_by(8) {
            image.write(at, &start::number(&mut random).to_le_bytes());
        }
        for _ in 0..script.byte().unwrap_or(0) % CHANGES {
            let at = script.number::<3>();
            let count = script.byte().unwrap_or(0);
            let bytes = script.bytes(usize::from(count) % CHANGED + 1);
            image.write(at % super::memory::SIZE as u64, bytes);
        }
        let code = script.bytes(CODE_BYTES);
        image.write(self.entry, code);
        image.write(self.entry + code.len() as u64, &[0xe6, END, 0xf4]);
        image.0
    }

    /// The address of its first instruction.
    pub(super) const fn entry(&self) -> u64 {
        self.entry
    }

    /// How it is executed at first.
    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Sets how it starts.
    pub(super) fn start(&self, state: &mut CpuState) {
        self.kind.set_segments(self.level, state);
        self.kind.set_control(&self.privileged, state);
        let mut random = Random::new(self.seed);
        start::set_general(self.kind, self.general, &mut random, state);
        state.vector = start::vectors(&mut random);
        state.rip = self.kind.offset(self.entry);
        // All but those that are none, and virtual-8086 mode.
        state.rflags = (self.flags ^ 0x202) & 0x003d_7fd5 | 2 | self.kind.flags();
        start::set_breakpoints(self.breakpoints, &mut random, state);
        start::set_events(self.events, state);
        start::change_segment(self.segment, state);
    }
}
