//! One instruction and what it did, as a line.

use iced_x86::{Decoder, DecoderOptions, Formatter as _, GasFormatter};
use x86_state::CpuState;

use crate::{NAMES, bitness, code_address, segments};

/// Where the registers of SSE are in the standard form of `XSAVE`.
const VECTORS: usize = 160;

/// An instruction: linear address, bytes, GNU's syntax, and the registers that are otherwise than before, but for the
/// instruction pointer where it only went on. No line feed at the end.
#[must_use]
pub fn executed(before: &CpuState, after: &CpuState, code: &[u8]) -> String {
    let address = code_address(before);
    let bytes: Vec<String> = code.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut decoder = Decoder::with_ip(bitness(before), code, before.rip, DecoderOptions::AMD);
    let instruction = decoder.decode();
    let mut text = String::new();
    if code.is_empty() {
        text.push_str("(cannot be fetched)");
    } else if instruction.is_invalid() {
        text.push_str("(no instruction)");
    } else {
        let mut formatter = GasFormatter::new();
        formatter.options_mut().set_uppercase_hex(false);
        formatter.options_mut().set_branch_leading_zeros(false);
        formatter.format(&instruction, &mut text);
    }
    let mut changes = changes(before, after);
    let goes_on = !code.is_empty() && after.rip == instruction.next_ip();
    if !goes_on {
        changes.insert(0, format!("rip={:x}", after.rip));
    }
    let line = format!(
        "{address:016x}: {:<30} {text:<40} {}",
        bytes.join(" "),
        changes.join(" ")
    );
    line.trim_end().to_owned()
}

fn changes(before: &CpuState, after: &CpuState) -> Vec<String> {
    let (old, new) = (words(before), words(after));
    let pairs = old.into_iter().zip(new);
    let changed = pairs.filter(|((_, old), (_, new))| old != new);
    let mut all: Vec<String> = changed
        .map(|(_, (name, value))| format!("{name}={value:x}"))
        .collect();
    for (place, (old, new)) in vectors(before).zip(vectors(after)).enumerate() {
        if old != new {
            all.push(format!("xmm{place}={:032x}", new));
        }
    }
    all
}

/// The registers of one word.
fn words(state: &CpuState) -> Vec<(String, u64)> {
    let general = NAMES.iter().zip(state.general);
    let mut words: Vec<_> = general
        .map(|(name, value)| ((*name).to_owned(), value))
        .collect();
    let control = &state.control;
    let named = [
        ("rflags", state.rflags),
        ("cr0", control.cr0),
        ("cr2", control.cr2),
        ("cr3", control.cr3),
        ("cr4", control.cr4),
        ("cr8", control.cr8),
        ("efer", control.efer),
        ("xcr0", control.xcr0),
        ("gdt", state.gdt.base),
        ("idt", state.idt.base),
    ];
    words.extend(named.map(|(name, value)| (name.to_owned(), value)));
    for (name, segment) in segments(state) {
        words.push((name.to_owned(), segment.selector.into()));
        words.push((format!("{name}.base"), segment.base));
    }
    words.extend(
        (0..)
            .zip(state.debug)
            .map(|(number, value)| (format!("dr{number}"), value)),
    );
    let specific = state.model_specific.iter();
    words.extend(specific.map(|(number, value)| (format!("msr{number:x}"), *value)));
    words
}

/// The low halves of the vector registers.
fn vectors(state: &CpuState) -> impl Iterator<Item = u128> {
    (0..16).map(|number| {
        let start = VECTORS + 16 * number;
        let bytes = state.vector.get(start..start + 16);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u128::from_le_bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(rip: u64) -> CpuState {
        let mut state = CpuState {
            rip,
            ..CpuState::default()
        };
        state.control.cr0 = 1;
        state.control.efer = 1 << 10;
        state.segments.cs.rights = 0x209b;
        state
    }

    #[test]
    fn a_line_has_address_bytes_text_and_changes() {
        let before = state(0x1000);
        let mut after = state(0x1003);
        after.general[0] = 0xabc;
        after.rflags = 0x46;
        let line = executed(&before, &after, &[0x48, 0x89, 0xd8]);
        assert!(line.starts_with("0000000000001000: 48 89 d8 "), "{line}");
        assert!(line.contains("mov %rbx,%rax"), "{line}");
        assert!(line.ends_with("rax=abc rflags=46"), "{line}");
    }

    #[test]
    fn a_jump_and_a_fault_show_where_they_lead() {
        let line = executed(&state(0x1000), &state(0x2000), &[0xeb, 0xfe]);
        assert!(line.ends_with("rip=2000"), "{line}");
        let line = executed(&state(0x1000), &state(0x2000), &[]);
        assert!(
            line.contains("(cannot be fetched)") && line.ends_with("rip=2000"),
            "{line}"
        );
        let line = executed(&state(0x1000), &state(0x1001), &[0x90]);
        assert!(line.ends_with("nop"), "{line}");
    }
}
