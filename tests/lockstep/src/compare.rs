//! How two states differ.

use std::fmt;

use x86_state::{CpuState, Segment};

/// Model-specific registers that tell time: the counter and its adjustment, the local timer's deadline, and KVM's clocks.
pub(crate) const TIME: [u32; 7] = [0x10, 0x11, 0x12, 0x3b, 0x6e0, 0x4b56_4d00, 0x4b56_4d01];
/// In the standard form of `XSAVE` (SDM vol. 1, 13.4): control and status, `mxcsr`, registers of x87 and of SSE, the
/// upper halves of AVX. Left out are the last instruction's place, which AMD's processors save only with an
/// unmasked exception (APM vol. 2, 11.4.4), `mxcsr`'s mask, which is the processor's, and the header, which may call the same
/// registers changed or initial (SDM vol. 1, 13.6).
const CONTROL: std::ops::Range<usize> = 0..5;
const MXCSR: std::ops::Range<usize> = 24..28;
const VECTORS: std::ops::Range<usize> = 160..416;
const UPPER: std::ops::Range<usize> = 576..832;
/// In a segment's rights (SDM vol. 3, 3.4.5): the limit is in pages.
const GRANULAR: u16 = 1 << 15;
/// The level.
const LEVEL: u16 = 3 << 5;
/// `EFER.LMA`.
const LONG_ACTIVE: u64 = 1 << 10;
/// Each x87 register has 10 bytes of 16.
const STACK: usize = 32;

/// One register that differs, as the interpreter and as KVM has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) name: String,
    pub(crate) emulate: String,
    pub(crate) kvm: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, emulate, kvm } = self;
        write!(f, "{name}: emulate {emulate}, kvm {kvm}")
    }
}

/// Whether two states are the same.
pub(crate) fn are_same(emulate: &CpuState, kvm: &CpuState) -> bool {
    let rest = |state: &CpuState| {
        let tables = (state.gdt, state.idt);
        (state.rip, state.rflags, tables, state.control, state.debug)
    };
    let pairs = segments(emulate).into_iter().zip(segments(kvm));
    emulate.general == kvm.general
        && rest(emulate) == rest(kvm)
        && pairs.into_iter().all(|((_, one), (_, other))| one == other)
        && emulate.events == kvm.events
        && model_specific(emulate, kvm).all(|(_, one, other)| one == other)
        && vector_parts(emulate).eq(vector_parts(kvm))
}

/// The registers that both have, but for time.
fn model_specific<'a>(
    one: &'a CpuState,
    other: &'a CpuState,
) -> impl Iterator<Item = (u32, u64, u64)> + 'a {
    let mut rest = other.model_specific.as_slice();
    one.model_specific
        .iter()
        .filter_map(move |&(number, value)| {
            while let [(first, _), behind @ ..] = rest
                && *first < number
            {
                rest = behind;
            }
            let &(first, found) = rest.first()?;
            (first == number && !TIME.contains(&number)).then_some((number, value, found))
        })
}

/// What is compared of the vector state, by name.
fn vector_parts(state: &CpuState) -> impl Iterator<Item = (Part, &[u8])> {
    let bytes = state.vector.as_slice();
    let get = move |range: std::ops::Range<usize>| bytes.get(range).unwrap_or_default();
    let stack = (0..8).map(move |number| {
        let start = STACK + 16 * number;
        (Part::Stack(number), get(start..start + 10))
    });
    let vectors = (0..16).map(move |number| {
        let start = VECTORS.start + 16 * number;
        (Part::Vector(number), get(start..start + 16))
    });
    let has_upper = bytes.get(512).is_some_and(|header| header & 4 != 0);
    let upper = (0..16).map(move |number| {
        let start = UPPER.start + 16 * number;
        let there = if has_upper {
            get(start..start + 16)
        } else {
            &[]
        };
        let is_zero = there.iter().all(|byte| *byte == 0);
        (Part::Upper(number), if is_zero { &[] } else { there })
    });
    let control = [(Part::Control, get(CONTROL)), (Part::Mxcsr, get(MXCSR))];
    control.into_iter().chain(stack).chain(vectors).chain(upper)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Control,
    Mxcsr,
    Stack(usize),
    Vector(usize),
    Upper(usize),
}

/// All that differs.
pub(crate) fn differences(emulate: &CpuState, kvm: &CpuState) -> Vec<Difference> {
    let pairs = words(emulate).into_iter().zip(words(kvm));
    let mut all: Vec<Difference> = pairs
        .filter(|((_, one), (_, other))| one != other)
        .map(|((name, one), (_, other))| Difference {
            name,
            emulate: format!("{one:#x}"),
            kvm: format!("{other:#x}"),
        })
        .collect();
    let registers = model_specific(emulate, kvm).filter(|(_, one, other)| one != other);
    all.extend(registers.map(|(number, one, other)| Difference {
        name: format!("msr {number:#x}"),
        emulate: format!("{one:#x}"),
        kvm: format!("{other:#x}"),
    }));
    let parts = vector_parts(emulate).zip(vector_parts(kvm));
    let parts = parts.filter(|(one, other)| one != other);
    all.extend(parts.map(|((part, one), (_, other))| Difference {
        name: format!("{part:?}").to_lowercase(),
        emulate: format!("{one:02x?}"),
        kvm: format!("{other:02x?}"),
    }));
    if emulate.events != kvm.events {
        all.push(Difference {
            name: "events".to_owned(),
            emulate: format!("{:?}", emulate.events),
            kvm: format!("{:?}", kvm.events),
        });
    }
    all
}

/// Names of the general registers in the order of their encoding.
const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];

fn words(state: &CpuState) -> Vec<(String, u64)> {
    let general = GENERAL.iter().zip(state.general);
    let mut words: Vec<(String, u64)> = general
        .map(|(name, value)| ((*name).to_owned(), value))
        .collect();
    let control = &state.control;
    let [db0, db1, db2, db3, dr6, dr7] = state.debug;
    let named = [
        ("rip", state.rip),
        ("rflags", state.rflags),
        ("cr0", control.cr0),
        ("cr2", control.cr2),
        ("cr3", control.cr3),
        ("cr4", control.cr4),
        ("cr8", control.cr8),
        ("efer", control.efer),
        ("xcr0", control.xcr0),
        ("dr0", db0),
        ("dr1", db1),
        ("dr2", db2),
        ("dr3", db3),
        ("dr6", dr6),
        ("dr7", dr7),
        ("gdt.base", state.gdt.base),
        ("gdt.limit", state.gdt.limit.into()),
        ("idt.base", state.idt.base),
        ("idt.limit", state.idt.limit.into()),
    ];
    words.extend(named.map(|(name, value)| (name.to_owned(), value)));
    for (name, segment) in segments(state) {
        words.extend(segment_words(name, &segment));
    }
    words
}

/// The segment registers as they are compared. Whether a descriptor counted its limit in pages is left out: KVM makes
/// that up from the limit (Linux, `svm_get_segment`), which is in bytes here. Where there is long mode, the level in the stack
/// segment's rights is left out as well: KVM says the current one there (likewise), while `SYSRET` changes nothing of the
/// segment but its selector (APM vol. 3, `SYSRET`).
fn segments(state: &CpuState) -> [(&'static str, Segment); 8] {
    let segments = &state.segments;
    let compared = |segment: &Segment| Segment {
        rights: segment.rights & !GRANULAR,
        ..*segment
    };
    let level = if state.control.efer & LONG_ACTIVE != 0 {
        LEVEL
    } else {
        0
    };
    let stack = Segment {
        rights: segments.ss.rights & !level,
        ..segments.ss
    };
    [
        ("cs", compared(&segments.cs)),
        ("ds", compared(&segments.ds)),
        ("es", compared(&segments.es)),
        ("fs", compared(&segments.fs)),
        ("gs", compared(&segments.gs)),
        ("ss", compared(&stack)),
        ("tr", compared(&segments.tr)),
        ("ldt", compared(&segments.ldt)),
    ]
}

fn segment_words(name: &str, segment: &Segment) -> [(String, u64); 4] {
    [
        (format!("{name}.selector"), segment.selector.into()),
        (format!("{name}.base"), segment.base),
        (format!("{name}.limit"), segment.limit.into()),
        (format!("{name}.rights"), segment.rights.into()),
    ]
}

/// A line each.
pub(crate) fn lines(differences: &[Difference]) -> String {
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether two states are the same after a change of one.
    fn after(change: impl Fn(&mut CpuState)) -> bool {
        let mut vector = vec![0; 832];
        vector[0] = 0x7f;
        let state = CpuState {
            model_specific: vec![(0x10, 1), (0x277, 6)],
            vector,
            ..CpuState::default()
        };
        let mut changed = state.clone();
        change(&mut changed);
        let same = are_same(&state, &changed);
        assert_eq!(same, differences(&state, &changed).is_empty());
        same
    }

    #[test]
    fn every_register_counts_but_time() {
        assert!(after(|_| {}));
        assert!(!after(|state| state.general[15] = 1));
        assert!(!after(|state| state.segments.gs.limit = 1));
        assert!(!after(|state| state.control.cr8 = 1));
        assert!(!after(|state| state.debug[4] = 1));
        assert!(!after(|state| state.events.halted = true));
        assert!(!after(|state| state.model_specific[1].1 = 7));
        assert!(!after(|state| state.vector[24] = 1));
        assert!(!after(|state| state.vector[415] = 1));
        assert!(after(|state| state.model_specific[0].1 = 7));
        assert!(after(|state| state.model_specific = vec![(0x1b, 5)]));
        assert!(after(|state| state.segments.cs.rights = 1 << 15));
        // The place of the last x87 instruction, and the header.
        assert!(after(|state| state.vector[8] = 1));
        assert!(after(|state| state.vector[512] = 3));
    }

    #[test]
    fn upper_halves_count_where_they_are_in_use() {
        let upper = |header| {
            move |state: &mut CpuState| {
                state.vector[512] = header;
                state.vector[600] = 1;
            }
        };
        assert!(after(upper(3)) && !after(upper(7)));
    }
}
