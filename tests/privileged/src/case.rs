//! A case: what the processor and its memory are before it, and the instructions of it.

use std::fmt::Debug;

use iced_x86::IcedError;
use iced_x86::code_asm::CodeAssembler;

use crate::layout::{self, selector};
use crate::record::Entry;

/// What a case runs in; the number is the privilege level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Real,
    Virtual8086,
    /// Protected mode with segments of 16 bits, at level 0 or 3.
    Protected16(u8),
    /// Protected mode with flat segments of 32 bits.
    Protected32(u8),
    /// Long mode with 64-bit code, at level 0 or 3.
    Long64(u8),
    /// Long mode with 16-bit segments, at level 0 or 3.
    Compatible16(u8),
    /// Long mode with flat segments of 32 bits.
    Compatible32(u8),
}

impl Mode {
    /// The size of operands and addresses.
    pub(crate) fn bits(self) -> u32 {
        match self {
            Self::Real | Self::Virtual8086 | Self::Protected16(_) | Self::Compatible16(_) => 16,
            Self::Protected32(_) | Self::Compatible32(_) => 32,
            Self::Long64(_) => 64,
        }
    }

    pub(crate) fn level(self) -> u8 {
        match self {
            Self::Real => 0,
            Self::Virtual8086 => 3,
            Self::Protected16(level) | Self::Protected32(level) | Self::Long64(level) => level,
            Self::Compatible16(level) | Self::Compatible32(level) => level,
        }
    }

    pub(crate) fn is_long(self) -> bool {
        matches!(
            self,
            Self::Long64(_) | Self::Compatible16(_) | Self::Compatible32(_)
        )
    }

    /// Whether segments start at the case's code and data.
    pub(crate) fn is_16(self) -> bool {
        self.bits() == 16
    }

    /// A short word for names.
    pub(crate) fn word(self) -> String {
        let level = self.level();
        match self {
            Self::Real => "real".into(),
            Self::Virtual8086 => "v86".into(),
            Self::Protected16(_) => format!("p16-{level}"),
            Self::Protected32(_) => format!("p32-{level}"),
            Self::Long64(_) => format!("l64-{level}"),
            Self::Compatible16(_) => format!("c16-{level}"),
            Self::Compatible32(_) => format!("c32-{level}"),
        }
    }

    fn entry(self) -> Entry {
        match self {
            Self::Real => Entry::Real,
            _ if self.is_long() => Entry::Long,
            _ => Entry::Protected,
        }
    }
}

/// The numbers of general registers.
pub(crate) mod number {
    pub(crate) const AX: usize = 0;
    pub(crate) const CX: usize = 1;
    pub(crate) const DX: usize = 2;
    pub(crate) const BX: usize = 3;
    pub(crate) const SP: usize = 4;
}

/// The numbers of segment registers.
pub(crate) mod segment {
    pub(crate) const ES: usize = 0;
    pub(crate) const CS: usize = 1;
    pub(crate) const SS: usize = 2;
    pub(crate) const DS: usize = 3;
    pub(crate) const FS: usize = 4;
    pub(crate) const GS: usize = 5;
}

/// Bits of the flags register.
pub(crate) mod flag {
    pub(crate) const TF: u64 = 0x100;
    pub(crate) const IF: u64 = 0x200;
    pub(crate) const NT: u64 = 0x4000;
    pub(crate) const VM: u64 = 0x2_0000;
    pub(crate) const AC: u64 = 0x4_0000;
    pub(crate) const VIF: u64 = 0x8_0000;
    pub(crate) const VIP: u64 = 0x10_0000;

    /// An I/O privilege level.
    pub(crate) const fn iopl(level: u8) -> u64 {
        (level as u64) << 12
    }
}

/// Bits of control registers.
pub(crate) mod control {
    pub(crate) const CR0_PE: u32 = 1;
    pub(crate) const CR0_MP: u32 = 2;
    pub(crate) const CR0_EM: u32 = 4;
    pub(crate) const CR0_TS: u32 = 8;
    pub(crate) const CR0_ET: u32 = 0x10;
    pub(crate) const CR0_NE: u32 = 0x20;
    pub(crate) const CR0_WP: u32 = 0x1_0000;
    pub(crate) const CR0_AM: u32 = 0x4_0000;
    pub(crate) const CR0_PG: u32 = 0x8000_0000;
    pub(crate) const CR4_VME: u32 = 1;
    pub(crate) const CR4_PVI: u32 = 2;
    pub(crate) const CR4_TSD: u32 = 4;
    pub(crate) const CR4_DE: u32 = 8;
    pub(crate) const CR4_PSE: u32 = 0x10;
    pub(crate) const CR4_PAE: u32 = 0x20;
    pub(crate) const CR4_PGE: u32 = 0x80;
    pub(crate) const CR4_PCE: u32 = 0x100;
    pub(crate) const CR4_OSFXSR: u32 = 0x200;
    pub(crate) const CR4_FSGSBASE: u32 = 0x1_0000;
    pub(crate) const CR4_OSXSAVE: u32 = 0x4_0000;
    pub(crate) const CR4_SMEP: u32 = 0x10_0000;
    pub(crate) const CR4_SMAP: u32 = 0x20_0000;
    pub(crate) const EFER_SCE: u32 = 1;
    pub(crate) const EFER_LME: u32 = 0x100;
    pub(crate) const EFER_LMA: u32 = 0x400;
    pub(crate) const EFER_NXE: u32 = 0x800;
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    pub(crate) entry: Entry,
    pub(crate) cr0: u32,
    pub(crate) cr3: u32,
    pub(crate) cr4: u32,
    pub(crate) efer: u32,
    pub(crate) tr: u16,
    pub(crate) ldtr: u16,
    pub(crate) segments: [u16; 6],
    pub(crate) rip: u64,
    pub(crate) rflags: u64,
    pub(crate) general: [u64; 16],
    pub(crate) debug: [u32; 5],
    pub(crate) patches: Vec<(u32, Vec<u8>)>,
    pub(crate) probes: Vec<(u32, u32)>,
    pub(crate) registers: Vec<(u32, u64)>,
    pub(crate) register_probes: Vec<u32>,
    has_code: bool,
}

/// The instruction that ends a case: INT 0xff.
pub(crate) const END: [u8; 2] = [0xcd, 0xff];

impl Case {
    /// A case that ends at once.
    pub(crate) fn new(name: impl Into<String>, mode: Mode) -> Self {
        let long = mode.is_long();
        let mut case = Self {
            name: name.into(),
            mode,
            entry: mode.entry(),
            cr0: control::CR0_ET | control::CR0_NE,
            cr3: 0,
            cr4: 0,
            efer: 0,
            tr: if long {
                selector::TSS_LONG
            } else {
                selector::TSS
            },
            ldtr: selector::LDT,
            segments: segments(mode),
            rip: if mode.is_16() { 0 } else { layout::CODE.into() },
            rflags: 2,
            general: [0; 16],
            debug: [0, 0, 0, 0, 0x400],
            patches: Vec::new(),
            probes: Vec::new(),
            registers: Vec::new(),
            register_probes: Vec::new(),
            has_code: false,
        };
        for (register, value) in (1..).zip(&mut case.general) {
            *value = register * 0x0101_0101;
        }
        let stack = layout::STACKS[usize::from(mode.level())];
        let base = if mode.is_16() { layout::DATA } else { 0 };
        case.general[number::SP] = u64::from(stack - base);
        if mode == Mode::Virtual8086 {
            case.rflags |= flag::VM;
        }
        if mode != Mode::Real {
            case.cr0 |= control::CR0_PE;
        }
        if long {
            case.pages_of_long_mode();
        }
        case
    }

    fn pages_of_long_mode(&mut self) {
        self.cr0 |= control::CR0_PG;
        self.cr3 = layout::PML4;
        self.cr4 = control::CR4_PAE;
        self.efer = control::EFER_LME | control::EFER_LMA | control::EFER_NXE;
        self.open_user_pages(layout::PT, 8);
    }

    /// With 32-bit paging.
    pub(crate) fn legacy_paging(mut self) -> Self {
        self.cr0 |= control::CR0_PG;
        self.cr3 = layout::PD_LEGACY;
        self.open_user_pages(layout::PT_LEGACY, 4);
        self
    }

    /// With PAE paging.
    pub(crate) fn pae_paging(mut self) -> Self {
        self.cr0 |= control::CR0_PG;
        self.cr3 = layout::PDPT_PAE;
        self.cr4 |= control::CR4_PAE;
        self.efer |= control::EFER_NXE;
        self.open_user_pages(layout::PT, 8);
        self
    }

    /// A program at level 3 needs its code, its data and its stack.
    fn open_user_pages(&mut self, table: u32, size: u32) {
        if self.mode.level() < 3 {
            return;
        }
        for page in [
            layout::CODE >> 12,
            layout::DATA >> 12,
            (layout::STACKS[3] >> 12) - 1,
        ] {
            let entry = page << 12 | 0x67;
            self.patches
                .push((table + page * size, entry.to_le_bytes().to_vec()));
        }
    }

    /// The case's instructions, after which it ends.
    pub(crate) fn code(self, build: impl Fn(&mut CodeAssembler) -> Result<(), IcedError>) -> Self {
        let bits = self.mode.bits();
        self.code_at(0, bits, build)
    }

    /// More instructions, at an offset of the case's code, after which it ends.
    pub(crate) fn code_at(
        self,
        offset: u32,
        bits: u32,
        build: impl Fn(&mut CodeAssembler) -> Result<(), IcedError>,
    ) -> Self {
        let ip = if bits == 16 { 0 } else { layout::CODE } + offset;
        let assembled = CodeAssembler::new(bits).and_then(|mut a| {
            build(&mut a)?;
            a.assemble(ip.into())
        });
        match assembled {
            Ok(bytes) => self.bytes_at(offset, &bytes),
            Err(error) => panic!("the code of {} cannot be encoded: {error}", self.name),
        }
    }

    /// Instructions as bytes, after which the case ends.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        self.bytes_at(0, bytes)
    }

    pub(crate) fn bytes_at(mut self, offset: u32, bytes: &[u8]) -> Self {
        let mut code = bytes.to_vec();
        // Twice, since a case may go on one byte too late.
        code.extend(END);
        code.extend(END);
        self.has_code |= offset == 0;
        self.patch(layout::CODE + offset, &code)
    }

    /// A case without instructions of its own just ends.
    pub(crate) fn finished(self) -> Self {
        if self.has_code { self } else { self.bytes(&[]) }
    }

    /// Bytes of memory.
    pub(crate) fn patch(mut self, address: u32, bytes: &[u8]) -> Self {
        self.patches.push((address, bytes.to_vec()));
        self
    }

    pub(crate) fn patch_16(self, address: u32, value: u16) -> Self {
        self.patch(address, &value.to_le_bytes())
    }

    pub(crate) fn patch_32(self, address: u32, value: u32) -> Self {
        self.patch(address, &value.to_le_bytes())
    }

    pub(crate) fn patch_64(self, address: u32, value: u64) -> Self {
        self.patch(address, &value.to_le_bytes())
    }

    /// A descriptor of the GDT or, as its selector says, of the LDT.
    pub(crate) fn descriptor(self, selector: u16, descriptor: u64) -> Self {
        self.patch_64(place(selector), descriptor)
    }

    /// A descriptor of 16 bytes.
    pub(crate) fn long_descriptor(self, selector: u16, descriptor: [u8; 16]) -> Self {
        self.patch(place(selector), &descriptor)
    }

    /// A gate of the IDT of protected mode.
    pub(crate) fn gate(self, vector: u32, gate: u64) -> Self {
        self.patch_64(layout::IDT + vector * 8, gate)
    }

    /// A gate of the IDT of long mode.
    pub(crate) fn long_gate(self, vector: u32, gate: [u8; 16]) -> Self {
        self.patch(layout::IDT_LONG + vector * 16, &gate)
    }

    /// A general register by its number.
    pub(crate) fn general(mut self, number: usize, value: u64) -> Self {
        self.general[number] = value;
        self
    }

    pub(crate) fn ax(self, value: u64) -> Self {
        self.general(number::AX, value)
    }

    pub(crate) fn bx(self, value: u64) -> Self {
        self.general(number::BX, value)
    }

    pub(crate) fn cx(self, value: u64) -> Self {
        self.general(number::CX, value)
    }

    pub(crate) fn dx(self, value: u64) -> Self {
        self.general(number::DX, value)
    }

    pub(crate) fn sp(self, value: u64) -> Self {
        self.general(number::SP, value)
    }

    /// A segment register by its number.
    pub(crate) fn segment(mut self, number: usize, selector: u16) -> Self {
        self.segments[number] = selector;
        self
    }

    pub(crate) fn ip(mut self, value: u64) -> Self {
        self.rip = value;
        self
    }

    pub(crate) fn flags(mut self, bits: u64) -> Self {
        self.rflags |= bits;
        self
    }

    pub(crate) fn cr0(mut self, bits: u32) -> Self {
        self.cr0 |= bits;
        self
    }

    pub(crate) fn cr4(mut self, bits: u32) -> Self {
        self.cr4 |= bits;
        self
    }

    pub(crate) fn efer(mut self, bits: u32) -> Self {
        self.efer |= bits;
        self
    }

    pub(crate) fn efer_without(mut self, bits: u32) -> Self {
        self.efer &= !bits;
        self
    }

    /// A debug register: DR0 to DR3.
    pub(crate) fn debug_address(mut self, number: usize, address: u32) -> Self {
        self.debug[number] = address;
        self
    }

    pub(crate) fn dr7(mut self, bits: u32) -> Self {
        self.debug[4] |= bits;
        self
    }

    /// A model-specific register.
    pub(crate) fn register(mut self, number: u32, value: u64) -> Self {
        self.registers.push((number, value));
        self
    }

    /// Shows words of 32 bits.
    pub(crate) fn show(mut self, address: u32, count: u32) -> Self {
        self.probes.push((address, count));
        self
    }

    /// Shows a descriptor.
    pub(crate) fn show_descriptor(self, selector: u16) -> Self {
        self.show(place(selector), 2)
    }

    /// Shows what was pushed below the end of a stack.
    pub(crate) fn show_stack(mut self, end: u32, count: u32) -> Self {
        let start = end - count * 4;
        self.patches.push((start, vec![0; count as usize * 4]));
        self.show(start, count)
    }

    pub(crate) fn show_register(mut self, number: u32) -> Self {
        self.register_probes.push(number);
        self
    }

    pub(crate) fn tr(mut self, selector: u16) -> Self {
        self.tr = selector;
        self
    }

    pub(crate) fn ldtr(mut self, selector: u16) -> Self {
        self.ldtr = selector;
        self
    }

    pub(crate) fn cr3(mut self, value: u32) -> Self {
        self.cr3 = value;
        self
    }
}

/// Where the descriptor of a selector is.
pub(crate) fn place(selector: u16) -> u32 {
    let table = if selector & 4 == 0 {
        layout::GDT
    } else {
        layout::LDT
    };
    table + u32::from(selector & 0xfff8)
}

fn segments(mode: Mode) -> [u16; 6] {
    let level = usize::from(mode.level());
    let [code, data] = match mode {
        Mode::Real | Mode::Virtual8086 => [layout::CODE >> 4, layout::DATA >> 4].map(|s| s as u16),
        _ if mode.is_16() => [selector::CODE_16[level / 3], selector::DATA_16[level / 3]],
        Mode::Long64(_) => [selector::CODE_64[level / 3], selector::DATA_32[level]],
        _ => [selector::CODE_32[level], selector::DATA_32[level]],
    };
    let mut segments = [data; 6];
    segments[segment::CS] = code;
    segments
}
