//! The registers that gdb knows, by its own names and numbers: those of amd64, or of i386.
//!
//! Which of the two is decided when a debugger comes, by whether the first virtual CPU is in long mode; gdb asks
//! only once. In code of 16 or 32 bits the numbers of amd64 are those of the whole registers.

use x86_state::{CpuState, Segment, Segments};

use crate::vector::{self, Control};

const CR0_PE: u64 = 1;
const FLAGS_VM: u64 = 1 << 17;
const EFER_LMA: u64 = 1 << 10;

/// What a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// In the order of encoding.
    General(usize),
    Pointer,
    Flags,
    /// A selector.
    Selector(usize),
    /// Of x87's stack.
    Stack(usize),
    /// Of x87's control.
    Control(Control),
    Vector(usize),
    VectorControl,
    FsBase,
    GsBase,
    Cr0,
    Cr2,
    Cr3,
    Cr4,
    Cr8,
    Efer,
}

/// A register as gdb is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) bits: usize,
    /// A type of gdb's, or of the description's.
    pub(crate) kind: &'static str,
    pub(crate) register: Register,
}

/// A group of registers, by the name of gdb's that says what they are.
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// Which registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Amd64,
    I386,
}

const CORE: &str = "org.gnu.gdb.i386.core";
const SSE: &str = "org.gnu.gdb.i386.sse";
const SEGMENTS: &str = "org.gnu.gdb.i386.segments";
const SYSTEM: &str = "husk.system";

const NAMES_64: [(&str, usize); 16] = [
    ("rax", 0),
    ("rbx", 3),
    ("rcx", 1),
    ("rdx", 2),
    ("rsi", 6),
    ("rdi", 7),
    ("rbp", 5),
    ("rsp", 4),
    ("r8", 8),
    ("r9", 9),
    ("r10", 10),
    ("r11", 11),
    ("r12", 12),
    ("r13", 13),
    ("r14", 14),
    ("r15", 15),
];
const NAMES_32: [(&str, usize); 8] = [
    ("eax", 0),
    ("ecx", 1),
    ("edx", 2),
    ("ebx", 3),
    ("esp", 4),
    ("ebp", 5),
    ("esi", 6),
    ("edi", 7),
];
const SELECTORS: [&str; 6] = ["cs", "ss", "ds", "es", "fs", "gs"];
const STACK: [&str; 8] = ["st0", "st1", "st2", "st3", "st4", "st5", "st6", "st7"];
const CONTROL: [(&str, Control); 8] = [
    ("fctrl", Control::Word),
    ("fstat", Control::Status),
    ("ftag", Control::Tags),
    ("fiseg", Control::CodeSelector),
    ("fioff", Control::CodeOffset),
    ("foseg", Control::DataSelector),
    ("fooff", Control::DataOffset),
    ("fop", Control::Opcode),
];
const VECTORS: [&str; 16] = [
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
    "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
];
const SYSTEM_NAMES: [(&str, Register); 6] = [
    ("cr0", Register::Cr0),
    ("cr2", Register::Cr2),
    ("cr3", Register::Cr3),
    ("cr4", Register::Cr4),
    ("cr8", Register::Cr8),
    ("efer", Register::Efer),
];

const fn row(name: &'static str, bits: usize, kind: &'static str, register: Register) -> Row {
    Row {
        name,
        bits,
        kind,
        register,
    }
}

impl Layout {
    /// For a processor in this state.
    pub(crate) const fn of(state: &CpuState) -> Self {
        if state.control.efer & EFER_LMA != 0 {
            Self::Amd64
        } else {
            Self::I386
        }
    }

    /// The registers, in the order of their numbers.
    pub(crate) fn features(self) -> Vec<Feature> {
        let (bits, code, data) = match self {
            Self::Amd64 => (64, "code_ptr", "data_ptr"),
            Self::I386 => (32, "code_ptr", "data_ptr"),
        };
        let number = if bits == 64 { "int64" } else { "int32" };
        let kind = |name: &str| match name {
            "rbp" | "rsp" | "ebp" | "esp" => data,
            _ => number,
        };
        let names: &[_] = match self {
            Self::Amd64 => &NAMES_64,
            Self::I386 => &NAMES_32,
        };
        let general = |&(name, place)| row(name, bits, kind(name), Register::General(place));
        let mut core: Vec<Row> = names.iter().map(general).collect();
        let pointer = if bits == 64 { "rip" } else { "eip" };
        core.push(row(pointer, bits, code, Register::Pointer));
        core.push(row("eflags", 32, "i386_eflags", Register::Flags));
        let selector = |(place, name): (usize, &&'static str)| {
            row(name, 32, "int32", Register::Selector(place))
        };
        core.extend(SELECTORS.iter().enumerate().map(selector));
        let stack = |(place, name): (usize, &&'static str)| {
            row(name, 80, "i387_ext", Register::Stack(place))
        };
        core.extend(STACK.iter().enumerate().map(stack));
        let control = |&(name, which)| row(name, 32, "int", Register::Control(which));
        core.extend(CONTROL.iter().map(control));

        let vector = |(place, name): (usize, &&'static str)| {
            row(name, 128, "vec128", Register::Vector(place))
        };
        let vectors = VECTORS.iter().take(bits / 4).enumerate();
        let mut sse: Vec<Row> = vectors.map(vector).collect();
        sse.push(row("mxcsr", 32, "i386_mxcsr", Register::VectorControl));

        let bases = [
            row("fs_base", bits, number, Register::FsBase),
            row("gs_base", bits, number, Register::GsBase),
        ];
        let system = SYSTEM_NAMES.iter();
        let system = system.map(|&(name, register)| row(name, 64, "int64", register));
        let feature = |name, rows| Feature { name, rows };
        match self {
            Self::Amd64 => vec![
                feature(CORE, core),
                feature(SSE, sse),
                feature(SEGMENTS, bases.to_vec()),
                feature(SYSTEM, system.collect()),
            ],
            // Of i386 gdb knows no bases.
            Self::I386 => vec![
                feature(CORE, core),
                feature(SSE, sse),
                feature(SYSTEM, bases.into_iter().chain(system).collect()),
            ],
        }
    }

    /// All registers, by number.
    pub(crate) fn rows(self) -> Vec<Row> {
        let features = self.features().into_iter();
        features.flat_map(|feature| feature.rows).collect()
    }
}

/// A register's bytes, lowest first.
pub(crate) fn read(state: &CpuState, row: &Row) -> Vec<u8> {
    let value = match row.register {
        Register::Stack(number) => return vector::stack(&state.vector, number).to_vec(),
        Register::Vector(number) => return vector::register(&state.vector, number).to_vec(),
        Register::General(number) => state.general.get(number).copied().unwrap_or(0),
        Register::Pointer => state.rip,
        Register::Flags => state.rflags,
        Register::Selector(number) => {
            segment(&state.segments, number).map_or(0, |segment| segment.selector.into())
        }
        Register::Control(which) => vector::control(&state.vector, which).into(),
        Register::VectorControl => vector::vector_control(&state.vector).into(),
        Register::FsBase => state.segments.fs.base,
        Register::GsBase => state.segments.gs.base,
        Register::Cr0 => state.control.cr0,
        Register::Cr2 => state.control.cr2,
        Register::Cr3 => state.control.cr3,
        Register::Cr4 => state.control.cr4,
        Register::Cr8 => state.control.cr8,
        Register::Efer => state.control.efer,
    };
    value.to_le_bytes().into_iter().take(row.bits / 8).collect()
}

/// Sets a register; whether the bytes are as many as it has.
pub(crate) fn write(state: &mut CpuState, row: &Row, bytes: &[u8]) -> bool {
    if bytes.len() != row.bits / 8 {
        return false;
    }
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    let value = u64::from_le_bytes(word);
    let place = match row.register {
        Register::Stack(number) => return vector::set_stack(&mut state.vector, number, bytes),
        Register::Vector(number) => return vector::set_register(&mut state.vector, number, bytes),
        Register::Control(which) => {
            return vector::set_control(&mut state.vector, which, value as u32);
        }
        Register::VectorControl => {
            return vector::set_vector_control(&mut state.vector, value as u32);
        }
        Register::Selector(number) => return select(state, number, value as u16),
        Register::General(number) => match state.general.get_mut(number) {
            Some(place) => place,
            None => return false,
        },
        Register::Pointer => &mut state.rip,
        Register::Flags => &mut state.rflags,
        Register::FsBase => &mut state.segments.fs.base,
        Register::GsBase => &mut state.segments.gs.base,
        Register::Cr0 => &mut state.control.cr0,
        Register::Cr2 => &mut state.control.cr2,
        Register::Cr3 => &mut state.control.cr3,
        Register::Cr4 => &mut state.control.cr4,
        Register::Cr8 => &mut state.control.cr8,
        Register::Efer => &mut state.control.efer,
    };
    // Of a register of 64 bits, of which gdb knows fewer, the others stay.
    let known = u64::MAX >> (64 - row.bits.min(64));
    *place = *place & !known | value & known;
    true
}

const fn segment(segments: &Segments, number: usize) -> Option<&Segment> {
    Some(match number {
        0 => &segments.cs,
        1 => &segments.ss,
        2 => &segments.ds,
        3 => &segments.es,
        4 => &segments.fs,
        5 => &segments.gs,
        _ => return None,
    })
}

/// Sets a selector; in real mode with what follows from it, otherwise alone.
fn select(state: &mut CpuState, number: usize, selector: u16) -> bool {
    let is_real = state.control.cr0 & CR0_PE == 0 || state.rflags & FLAGS_VM != 0;
    let segments = &mut state.segments;
    let segment = match number {
        0 => &mut segments.cs,
        1 => &mut segments.ss,
        2 => &mut segments.ds,
        3 => &mut segments.es,
        4 => &mut segments.fs,
        5 => &mut segments.gs,
        _ => return false,
    };
    if is_real && segment.selector != selector {
        segment.base = u64::from(selector) << 4;
    }
    segment.selector = selector;
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state() -> CpuState {
        let mut state = CpuState::default();
        for (number, register) in state.general.iter_mut().enumerate() {
            *register = 0x1111_1111_1111_1111 * number as u64;
        }
        state.control.cr0 = CR0_PE;
        state
    }

    #[test]
    fn gdb_s_order_is_not_the_encoding_s() {
        let rows = Layout::Amd64.rows();
        assert_eq!(read(&state(), &rows[1]), [0x33; 8]);
        assert_eq!((rows[16].name, rows[17].name), ("rip", "eflags"));
        let rows = Layout::I386.rows();
        assert_eq!(read(&state(), &rows[1]), [0x11; 4]);
        assert_eq!((rows[8].name, rows[9].name), ("eip", "eflags"));
    }

    #[test]
    fn a_selector_means_more_in_real_mode() {
        let mut state = state();
        let rows = Layout::I386.rows();
        let cs = rows.iter().find(|row| row.name == "cs").unwrap();
        assert!(write(&mut state, cs, &[8, 0, 0, 0]));
        assert_eq!((state.segments.cs.selector, state.segments.cs.base), (8, 0));
        state.control.cr0 = 0;
        assert!(write(&mut state, cs, &[0xc0, 7, 0, 0]));
        assert_eq!(state.segments.cs.base, 0x7c00);
        assert!(!write(&mut state, cs, &[0; 2]));
    }

    #[test]
    fn what_gdb_does_not_know_of_a_register_stays() {
        let mut state = state();
        let rows = Layout::I386.rows();
        assert!(write(&mut state, &rows[7], &[1, 0, 0, 0]));
        assert_eq!(state.general[7], 0x7777_7777_0000_0001);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            number in 0_usize..70, bytes in prop::collection::vec(any::<u8>(), 16), is_64: bool,
        ) {
            let rows = if is_64 { Layout::Amd64 } else { Layout::I386 }.rows();
            let Some(row) = rows.get(number) else { return Ok(()) };
            let mut bytes: Vec<u8> = bytes.into_iter().take(row.bits / 8).collect();
            // Of 32 bits some have fewer.
            if matches!(row.register, Register::Selector(_) | Register::Control(_)) {
                bytes[2..].fill(0);
            }
            if row.name == "fop" {
                bytes[1] &= 7;
            }
            let mut state = state();
            prop_assert!(write(&mut state, row, &bytes));
            if row.name != "ftag" {
                prop_assert_eq!(read(&state, row), bytes);
            }
        }
    }
}
