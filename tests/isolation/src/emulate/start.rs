//! The registers with which a guest starts.

use x86_state::{Control, CpuState, Exception, Segment, Table};

use super::memory::{
    self, CODE, CODE_LONG, DATA, FLAT, GDT, GDT_LIMIT, IDT, LONG_ROOT, PAE_ROOT, SMALL_ROOT, STACK,
    TASK, TASK_LIMIT, TASK_SELECTOR,
};
use crate::random::Random;

/// `CR0`: protection, numeric errors and the extension, write protection, paging.
const PROTECTION: u64 = 1;
const NUMERIC: u64 = 1 << 5 | 1 << 4 | 1 << 1;
const WRITE_PROTECTION: u64 = 1 << 16;
const ALIGNMENT: u64 = 1 << 18;
const PAGING: u64 = 1 << 31;
/// `CR4`: larger pages and addresses; vectors and their image, global pages, bases.
const LARGE: u64 = 1 << 4;
const PHYSICAL: u64 = 1 << 5;
const USUAL: u64 = LARGE | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 16 | 1 << 18;
/// Those that are known: `VME` to `OSXMMEXCPT`, `UMIP`, `FSGSBASE`, `OSXSAVE`, `SMEP`, `SMAP`.
const KNOWN: u64 = 0x0035_0fff;
/// Process contexts, which are there in long mode alone.
const CONTEXTS: u64 = 1 << 17;
/// `RFLAGS`: virtual-8086 mode.
const VIRTUAL: u64 = 1 << 17;
/// `EFER`: fast calls; long mode, enabled and active; pages without code.
const CALLS: u64 = 1;
const LONG: u64 = 0x500;
const NO_EXECUTE: u64 = 1 << 11;

/// Bytes of an image of the vector registers.
const IMAGE: usize = 832;

/// How code is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Long,
    Real,
    Virtual8086,
    Protected,
    ProtectedWord,
    Paged,
    PagedWide,
    Compatible,
    CompatibleWord,
}

impl Kind {
    /// Long mode more often than others.
    pub(super) const ALL: [Self; 12] = [
        Self::Long,
        Self::Long,
        Self::Long,
        Self::Long,
        Self::Real,
        Self::Virtual8086,
        Self::Protected,
        Self::ProtectedWord,
        Self::Paged,
        Self::PagedWide,
        Self::Compatible,
        Self::CompatibleWord,
    ];

    /// `EFER.LMA` is set.
    pub(super) const fn is_long(self) -> bool {
        matches!(self, Self::Long | Self::Compatible | Self::CompatibleWord)
    }

    const fn is_word(self) -> bool {
        matches!(
            self,
            Self::Real | Self::Virtual8086 | Self::ProtectedWord | Self::CompatibleWord
        )
    }

    /// Segments are selectors times 16.
    const fn is_real(self) -> bool {
        matches!(self, Self::Real | Self::Virtual8086)
    }

    /// A privilege level, if it has a choice.
    pub(super) fn level(self, level: u8) -> u16 {
        match self {
            Self::Real => 0,
            Self::Virtual8086 => 3,
            _ => level.into(),
        }
    }

    /// The offset of a linear address in the code segment.
    pub(super) const fn offset(self, linear: u64) -> u64 {
        if self.is_word() {
            linear - CODE
        } else {
            linear
        }
    }

    pub(super) const fn flags(self) -> u64 {
        match self {
            Self::Virtual8086 => VIRTUAL,
            _ => 0,
        }
    }

    pub(super) fn set_segments(self, level: u16, state: &mut CpuState) {
        let rights = |kind: u16| 0x80 | level << 5 | kind;
        let (large, code) = match self {
            Self::Long => (0xc000, 0xa01b),
            _ if self.is_word() => (0, 0x1b),
            _ => (0xc000, 0xc01b),
        };
        let limit = if self.is_word() { 0xffff } else { u32::MAX };
        let segment = |base: u64, index: u16, kind: u16| Segment {
            selector: if self.is_real() {
                (base >> 4) as u16
            } else {
                index | level
            },
            base: if self.is_word() { base } else { 0 },
            limit,
            rights: rights(kind),
        };
        let code = if self.is_real() { 0x13 } else { code };
        let program = if level == 3 { 0x28 } else { 0 };
        let segments = &mut state.segments;
        segments.cs = segment(CODE, CODE_LONG + program, code);
        segments.ss = segment(STACK, FLAT + program, large | 0x13);
        segments.ds = segment(DATA, FLAT + program, large | 0x13);
        segments.es = segments.ds;
        segments.fs = Segment {
            base: DATA,
            ..segments.ds
        };
        segments.gs = segments.fs;
        if self == Self::Real {
            let rights = |segment: &mut Segment| segment.rights = 0x93;
            let all = [&mut segments.ds, &mut segments.es, &mut segments.ss];
            all.into_iter().for_each(rights);
            state.idt = Table {
                base: 0,
                limit: 0x3ff,
            };
        } else {
            segments.tr = Segment {
                selector: TASK_SELECTOR,
                base: TASK,
                limit: TASK_LIMIT,
                rights: 0x8b,
            };
            state.idt = Table {
                base: IDT,
                limit: 0xfff,
            };
        }
        state.gdt = Table {
            base: GDT,
            limit: GDT_LIMIT,
        };
    }

    pub(super) fn set_control(self, privileged: &Privileged, state: &mut CpuState) {
        let paging = !matches!(self, Self::Real | Self::Protected | Self::ProtectedWord);
        let protection = if self == Self::Real { 0 } else { PROTECTION };
        let wide = self.is_long() || self == Self::PagedWide;
        let root = match self {
            _ if self.is_long() => LONG_ROOT,
            Self::PagedWide => PAE_ROOT,
            _ => SMALL_ROOT,
        };
        let others = (u64::from(paging) * PAGING) | privileged.cr0();
        let size = u64::from(wide) * PHYSICAL;
        let known = KNOWN | if self.is_long() { CONTEXTS } else { 0 };
        state.control = Control {
            cr0: NUMERIC ^ others | protection,
            cr3: root,
            cr4: (USUAL ^ privileged.cr4) & known & !PHYSICAL | size,
            efer: privileged.efer() | if self.is_long() { LONG } else { 0 },
            xcr0: if privileged.extended & 4 == 0 { 7 } else { 1 },
            ..state.control
        };
    }
}

/// Changes of the usual control registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Privileged {
    pub(super) cr0: u64,
    pub(super) cr4: u64,
    pub(super) extended: u64,
}

impl Privileged {
    /// Write protection and alignment by the lowest bits; rarely, x87 is not at hand.
    const fn cr0(&self) -> u64 {
        let write = if self.cr0 & 1 == 0 {
            WRITE_PROTECTION
        } else {
            0
        };
        let alignment = if self.cr0 & 2 == 0 { 0 } else { ALIGNMENT };
        let x87 = if self.cr0 & 0xc0 == 0xc0 {
            self.cr0 >> 2 & 0xe
        } else {
            0
        };
        write | alignment | x87
    }

    const fn efer(&self) -> u64 {
        let calls = if self.extended & 1 == 0 { CALLS } else { 0 };
        let no_execute = if self.extended & 2 == 0 {
            NO_EXECUTE
        } else {
            0
        };
        calls | no_execute
    }
}

/// General registers, by four bits each.
pub(super) fn set_general(kind: Kind, choices: u64, random: &mut Random, state: &mut CpuState) {
    let base = if kind.is_word() { 0 } else { DATA };
    for (number, register) in state.general.iter_mut().enumerate() {
        *register = match choices >> (4 * number) & 15 {
            0 => base + 0x100 + 8 * number as u64,
            1 => base + 0xffc,
            2 => 0,
            3 => 1,
            4 => u64::MAX,
            5 => 0x7fff_ffff,
            6 => 0x8000_0000,
            7 => 1 << 63,
            8 => kind.offset(CODE),
            9 => 3,
            // The same memory in large pages, or the other half.
            10 => 0x20_0000 + base,
            11 => 0xffff_8000_0000_0000 + base,
            12 => random.below(0x1000),
            13 => random.bits(),
            14 => 0xfee0_0300,
            _ => memory::LONG_ROOT + random.below(0x8000),
        };
    }
    let stack = if kind.is_word() { 0 } else { STACK };
    if choices >> 16 & 15 == 0 {
        state.general[4] = stack + 0x800;
    }
}

/// Eight bytes: random ones, or numbers of single or double precision as programs have them.
pub(super) fn number(random: &mut Random) -> u64 {
    let bits = random.bits();
    let small = f64::from(bits as i32) / 1024.0;
    match bits >> 60 {
        0..6 => small.to_bits(),
        6..10 => u64::from((small as f32).to_bits()) << 32 | u64::from(1.5_f32.to_bits()),
        10 => 0,
        11 => memory::DATA + (bits & 0xff8),
        12 => memory::CODE + (bits & 0xff),
        _ => bits,
    }
}

/// x87 as after `FNINIT`, `MXCSR` with some choices, and registers of numbers.
pub(super) fn vectors(random: &mut Random) -> Vec<u8> {
    let numbers = (0..IMAGE / 8).flat_map(|_| number(random).to_le_bytes());
    let mut image: Vec<u8> = numbers.collect();
    image[..32].fill(0);
    image[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
    let choices = [0x1f80_u32, 0x1fa0, 0x7fbf, 0x9fe0, 0x3f80, 0x1f00, 0];
    let mxcsr = choices[random.below(choices.len() as u64) as usize];
    image[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    image[512..576].fill(0);
    image[512] = 7;
    image
}

/// Breakpoints near the code and the data; zero means none.
pub(super) fn set_breakpoints(choices: u8, random: &mut Random, state: &mut CpuState) {
    let on = u64::from(choices) & 0xf;
    for (number, address) in state.debug[..4].iter_mut().enumerate() {
        let near = [CODE, DATA, STACK + 0x780, 0x40][(number + usize::from(choices >> 4)) % 4];
        *address = near + random.below(64);
    }
    let spread = on & 1 | (on & 2) << 1 | (on & 4) << 2 | (on & 8) << 3;
    state.debug[5] = 0x400 | spread;
    if on != 0 {
        state.debug[5] |= random.below(1 << 16) << 16;
    }
}

/// What is on its way; zero means nothing.
pub(super) fn set_events(choices: u8, state: &mut CpuState) {
    let events = &mut state.events;
    events.nmi_pending = choices & 1 != 0;
    events.nmi_masked = choices & 2 != 0;
    events.interrupt_shadow = choices & 4 != 0;
    events.halted = choices & 0x18 == 0x18;
    match choices >> 5 {
        1 => events.interrupt = Some(0x40),
        2 => {
            let error = Some(0);
            events.exception = Some(Exception { vector: 13, error });
        }
        3 => {
            let error = None;
            events.exception = Some(Exception { vector: 1, error });
        }
        _ => {}
    }
}

/// Changes one segment register: a byte of its rights, its base or its limit.
pub(super) fn change_segment([which, part, value]: [u8; 3], state: &mut CpuState) {
    let segments = &mut state.segments;
    let all = [
        &mut segments.ds,
        &mut segments.es,
        &mut segments.fs,
        &mut segments.gs,
        &mut segments.ss,
        &mut segments.cs,
        &mut segments.tr,
    ];
    // Zero changes nothing.
    let Some(segment) = all.into_iter().nth((which % 8).wrapping_sub(1).into()) else {
        return;
    };
    let byte = u64::from(value);
    match part % 6 {
        0 => segment.rights ^= u16::from(value),
        1 => segment.rights ^= u16::from(value & 0xf0) << 8,
        2 => segment.limit ^= u32::from(value) << 4,
        3 => segment.limit = u32::from(value),
        4 => segment.base = segment.base.wrapping_add(byte),
        _ => segment.base ^= byte << 40,
    }
}
