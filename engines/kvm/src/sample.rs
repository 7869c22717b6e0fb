//! Code for a trial, in 64-bit mode at ring 0. Each piece runs to its end and halts.
//!
//! Encodings: Intel SDM vol. 2. `[0x8000]` is the trial's scratch page.

/// An instruction that a kernel of ours or of Linux runs early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instruction {
    pub(crate) name: &'static str,
    /// It and what it needs around it.
    pub(crate) code: &'static [u8],
    pub(crate) needs: Needs,
}

/// What the processor must have for an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// What every processor has that Husk runs on.
    Nothing,
    /// Supervisor-mode access prevention.
    Smap,
}

/// `hlt`.
pub(crate) const HALT: u8 = 0xf4;

const fn plain(name: &'static str, code: &'static [u8]) -> Instruction {
    Instruction {
        name,
        code,
        needs: Needs::Nothing,
    }
}

/// What is tried, besides the loop. An interpreter stumbles over one of these.
pub(crate) const INSTRUCTIONS: &[Instruction] = &[
    plain("rdtsc", &[0x0f, 0x31]),
    // xor eax, eax; cpuid
    plain("cpuid", &[0x31, 0xc0, 0x0f, 0xa2]),
    // mov ecx, 0xc0000080 (EFER); rdmsr
    plain("rdmsr", &[0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32]),
    // mov rax, cr3; mov cr3, rax
    plain("mov cr3", &[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]),
    plain("invlpg", &[0x0f, 0x01, 0x3c, 0x25, 0x00, 0x80, 0x00, 0x00]),
    plain("swapgs", &[0x0f, 0x01, 0xf8]),
    // wrfsbase rax
    plain("wrfsbase", &[0xf3, 0x48, 0x0f, 0xae, 0xd0]),
    // popcnt rax, rcx
    plain("popcnt", &[0xf3, 0x48, 0x0f, 0xb8, 0xc1]),
    // movaps xmm0, xmm1
    plain("movaps", &[0x0f, 0x28, 0xc1]),
    // paddd xmm0, xmm1
    plain("paddd", &[0x66, 0x0f, 0xfe, 0xc1]),
    // lock cmpxchg16b [0x8000]
    plain(
        "cmpxchg16b",
        &[0xf0, 0x48, 0x0f, 0xc7, 0x0c, 0x25, 0x00, 0x80, 0x00, 0x00],
    ),
    plain(
        "fxsave64",
        &[0x48, 0x0f, 0xae, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00],
    ),
    // xor ecx, ecx; xor edx, edx; mov eax, 3; xsetbv; xsave64 [0x8000]
    plain(
        "xsave64",
        &[
            0x31, 0xc9, 0x31, 0xd2, 0xb8, 0x03, 0x00, 0x00, 0x00, 0x0f, 0x01, 0xd1, 0x48, 0x0f,
            0xae, 0x24, 0x25, 0x00, 0x80, 0x00, 0x00,
        ],
    ),
    Instruction {
        name: "stac",
        code: &[0x0f, 0x01, 0xcb, 0x0f, 0x01, 0xca],
        needs: Needs::Smap,
    },
];

/// `turns` times two instructions: `mov ecx, turns; 1: dec ecx; jnz 1b`.
pub(crate) fn counting_loop(turns: u32) -> [u8; 9] {
    let [a, b, c, d] = turns.to_le_bytes();
    [0xb9, a, b, c, d, 0xff, 0xc9, 0x75, 0xfc]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_counts_in_little_endian() {
        assert_eq!(counting_loop(0x0102_0304)[..5], [0xb9, 4, 3, 2, 1]);
    }

    #[test]
    fn every_piece_fits_its_page_with_the_halt() {
        for instruction in INSTRUCTIONS {
            assert!(!instruction.code.is_empty() && instruction.code.len() < 4095);
            assert!(!instruction.name.is_empty());
        }
    }
}
