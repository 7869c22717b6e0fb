//! A virtual CPU as text for people: its registers and the instructions that come next.
//!
//! For reports about a guest that cannot go on, and for traces ([`executed`]). [`describe`] is pure: who calls it
//! has the registers ([`x86_state`]) and a copy of the bytes at the instruction pointer, which
//! it read through the guest's page tables. Nothing here judges what it shows.
#![forbid(unsafe_code)]

mod executed;

use std::fmt::{self, Display, Formatter};

use iced_x86::{Decoder, DecoderOptions, Formatter as _, Instruction, IntelFormatter};
use x86_state::{CpuState, Segment};

pub use executed::executed;

/// Most instructions that are shown.
const INSTRUCTIONS_MAX: usize = 8;
/// The longest instruction (SDM vol. 2, 2.3.11), so how many bytes are worth reading.
pub const BYTES_WANTED: usize = INSTRUCTIONS_MAX * 15;

const NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
/// Names of the flags by their bits (SDM vol. 1, 3.4.3); without a name: always zero or one.
const FLAGS: [(u32, &str); 15] = [
    (0, "cf"),
    (2, "pf"),
    (4, "af"),
    (6, "zf"),
    (7, "sf"),
    (8, "tf"),
    (9, "if"),
    (10, "df"),
    (11, "of"),
    (14, "nt"),
    (16, "rf"),
    (17, "vm"),
    (18, "ac"),
    (19, "vif"),
    (20, "vip"),
];
const EFER_LMA: u64 = 1 << 10;
const CR0_PE: u64 = 1;
const RFLAGS_VM: u64 = 1 << 17;
const RIGHTS_L: u16 = 1 << 13;
const RIGHTS_D: u16 = 1 << 14;

/// The registers, some lines of them, and the instructions in `bytes`, which stand at the
/// instruction pointer; no bytes: it says so. No line feed at the end.
#[must_use]
pub fn describe(state: &CpuState, bytes: &[u8]) -> String {
    let registers = Registers(state);
    format!("{registers}\n{}", listing(state, bytes))
}

/// Size of an operand and an address where the processor is: 16, 32 or 64 bits.
#[must_use]
pub fn bitness(state: &CpuState) -> u32 {
    let rights = state.segments.cs.rights;
    let is_real = state.control.cr0 & CR0_PE == 0 || state.rflags & RFLAGS_VM != 0;
    match () {
        () if is_real => 16,
        () if state.control.efer & EFER_LMA != 0 && rights & RIGHTS_L != 0 => 64,
        () if rights & RIGHTS_D != 0 => 32,
        () => 16,
    }
}

/// Linear address of the next instruction (SDM vol. 1, 3.3.7: in 64-bit mode the base of
/// the code segment counts as zero).
#[must_use]
pub fn code_address(state: &CpuState) -> u64 {
    match bitness(state) {
        64 => state.rip,
        _ => state.segments.cs.base.wrapping_add(state.rip) & 0xffff_ffff,
    }
}

struct Registers<'s>(&'s CpuState);

impl Display for Registers<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let state = self.0;
        let bits = bitness(state);
        writeln!(
            f,
            "rip {:016x}  {bits}-bit code{}",
            state.rip,
            pending(state)
        )?;
        let flags = FLAGS.iter().filter(|(bit, _)| state.rflags >> bit & 1 != 0);
        let flags: Vec<&str> = flags.map(|(_, name)| *name).collect();
        writeln!(f, "rflags {:08x} [{}]", state.rflags, flags.join(" "))?;
        let general: Vec<_> = NAMES.iter().zip(state.general).collect();
        for line in general.chunks(4) {
            let words = line
                .iter()
                .map(|(name, value)| format!("{name:<3} {value:016x}"));
            writeln!(f, "{}", words.collect::<Vec<_>>().join("  "))?;
        }
        for (name, segment) in segments(state) {
            writeln!(f, "{}", Named(name, segment))?;
        }
        let (gdt, idt) = (state.gdt, state.idt);
        writeln!(f, "gdt base {:016x} limit {:04x}", gdt.base, gdt.limit)?;
        writeln!(f, "idt base {:016x} limit {:04x}", idt.base, idt.limit)?;
        let control = &state.control;
        write!(
            f,
            "cr0 {:08x} cr2 {:016x} cr3 {:016x} cr4 {:08x} cr8 {:x} efer {:x} xcr0 {:x}",
            control.cr0,
            control.cr2,
            control.cr3,
            control.cr4,
            control.cr8,
            control.efer,
            control.xcr0
        )
    }
}

/// What is on its way, each after a comma.
fn pending(state: &CpuState) -> String {
    let events = &state.events;
    let exception = events.exception.map(|exception| match exception.error {
        Some(error) => format!("exception {} ({error:#x})", exception.vector),
        None => format!("exception {}", exception.vector),
    });
    let interrupt = events
        .interrupt
        .map(|vector| format!("interrupt {vector:#x}"));
    let words = [
        (events.nmi_pending, "non-maskable interrupt waits"),
        (events.nmi_masked, "non-maskable interrupts held back"),
        (events.interrupt_shadow, "interrupts wait one instruction"),
        (events.halted, "halted"),
        (events.awaits_startup, "waits to be started"),
    ];
    let words = words.into_iter().filter(|(is_so, _)| *is_so);
    let words = words.map(|(_, word)| word.to_owned());
    let all = exception.into_iter().chain(interrupt).chain(words);
    all.map(|word| format!(", {word}")).collect()
}

fn segments(state: &CpuState) -> [(&'static str, &Segment); 8] {
    let s = &state.segments;
    [
        ("cs", &s.cs),
        ("ds", &s.ds),
        ("es", &s.es),
        ("fs", &s.fs),
        ("gs", &s.gs),
        ("ss", &s.ss),
        ("tr", &s.tr),
        ("ldt", &s.ldt),
    ]
}

struct Named<'s>(&'static str, &'s Segment);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(name, segment) = self;
        write!(
            f,
            "{name:<3} {:04x} base {:016x} limit {:08x} rights {:04x}",
            segment.selector, segment.base, segment.limit, segment.rights
        )
    }
}

/// A line an instruction: linear address, bytes, Intel's syntax.
fn listing(state: &CpuState, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "code cannot be read at the instruction pointer".to_owned();
    }
    let address = code_address(state);
    let bits = bitness(state);
    let decoder = Decoder::with_ip(bits, bytes, state.rip, DecoderOptions::NONE);
    let (mut lines, mut at) = (Vec::new(), 0);
    for instruction in decoder.into_iter().take(INSTRUCTIONS_MAX) {
        let end = at + instruction.len();
        let code = bytes.get(at..end).unwrap_or_default();
        let place = address.wrapping_add(at as u64);
        lines.push(line(place, code, &instruction));
        at = end;
        if instruction.is_invalid() {
            break;
        }
    }
    lines.join("\n")
}

fn line(address: u64, code: &[u8], instruction: &Instruction) -> String {
    let code: Vec<String> = code.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = String::new();
    if instruction.is_invalid() {
        text.push_str("(no instruction, or only the beginning of one)");
    } else {
        IntelFormatter::new().format(instruction, &mut text);
    }
    format!("{address:016x}: {:<30} {text}", code.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x86_state::{Control, Exception, Segments};

    use super::*;

    fn at(rip: u64, cr0: u64, efer: u64, rights: u16) -> CpuState {
        let cs = Segment {
            selector: 8,
            base: 0x10000,
            limit: u32::MAX,
            rights,
        };
        CpuState {
            rip,
            rflags: 0x246,
            segments: Segments {
                cs,
                ..Segments::default()
            },
            control: Control {
                cr0,
                efer,
                ..Control::default()
            },
            ..CpuState::default()
        }
    }

    #[test]
    fn the_mode_decides_how_bytes_are_read() {
        // 64-bit: 48 is a prefix; 32- and 16-bit: `dec eax`, `dec ax`.
        let bytes = [0x48, 0x89, 0xd8];
        let last = |state: &CpuState| {
            let text = describe(state, &bytes);
            let line = text.lines().rfind(|line| line.contains("48")).unwrap();
            line.rsplit_once("  ").unwrap().1.trim().to_owned()
        };
        let code_64 = at(0x1000, CR0_PE, EFER_LMA, 0x209b);
        assert_eq!(last(&code_64), "mov rax,rbx");
        assert_eq!(last(&at(0x1000, CR0_PE, 0, 0xc09b)), "dec eax");
        assert_eq!(last(&at(0x1000, CR0_PE, 0, 0x009b)), "dec ax");
        assert_eq!(last(&at(0x1000, 0, 0, 0xc09b)), "dec ax");
    }

    #[test]
    fn the_base_counts_outside_of_64_bit_mode() {
        assert_eq!(code_address(&at(0x1234, CR0_PE, EFER_LMA, 0x209b)), 0x1234);
        assert_eq!(code_address(&at(0x1234, 0, 0, 0x9b)), 0x11234);
        assert_eq!(code_address(&at(0xffff_ffff, 0, 0, 0x9b)), 0xffff);
    }

    #[test]
    fn registers_flags_and_instructions_are_shown() {
        let mut state = at(0xfff0, CR0_PE, EFER_LMA, 0x209b);
        state.general[15] = 0xdead_beef;
        state.events.exception = Some(Exception {
            vector: 14,
            error: Some(2),
        });
        state.events.nmi_masked = true;
        let text = describe(&state, &[0x90, 0xf4, 0x0f, 0x0b]);
        for expected in [
            "rip 000000000000fff0  64-bit code, exception 14 (0x2), non-maskable",
            "rflags 00000246 [pf zf if]",
            "r15 00000000deadbeef",
            "cs  0008 base 0000000000010000 limit ffffffff rights 209b",
            "000000000000fff1: f4 ",
            "hlt\n",
            "ud2",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(!text.ends_with('\n'));
    }

    #[test]
    fn what_is_missing_or_cut_is_said() {
        let state = at(0, CR0_PE, EFER_LMA, 0x209b);
        assert!(describe(&state, &[]).contains("cannot be read"));
        assert!(describe(&state, &[0x48, 0xb8, 1]).contains("only the beginning"));
    }

    #[test]
    fn no_more_is_shown_than_fits_a_screen() {
        let state = at(0, CR0_PE, EFER_LMA, 0x209b);
        let text = describe(&state, &[0x90; 200]);
        assert_eq!(text.matches(" nop").count(), INSTRUCTIONS_MAX);
    }

    proptest! {
        #[test]
        fn any_state_and_any_bytes_are_described(
            rip: u64, cr0: u64, efer: u64, rights: u16, rflags: u64,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut state = at(rip, cr0, efer, rights);
            state.rflags = rflags;
            prop_assert!(describe(&state, &bytes).lines().count() <= 18 + INSTRUCTIONS_MAX);
        }
    }
}
