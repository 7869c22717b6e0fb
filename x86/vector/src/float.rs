//! Instructions for which MXCSR counts, and the exceptions that it does not mask.

use std::sync::OnceLock;

use host_processor::stub::Stub;
use iced_x86::{Code, Mnemonic};
use x86_semantics::Exception;

use crate::prepared::Prepared;
use crate::run::Step;

/// Those that are found before anything is computed: invalid operation, denormal operand, division by zero.
const BEFORE: u32 = 7;
const UNDERFLOW: u32 = 1 << 4;
/// Flushes tiny results to zero.
const FLUSH: u32 = 1 << 15;
/// Bytes of the largest result of half precision.
const HALVES: usize = 16;
/// `CR4.OSXMMEXCPT`.
const OS_EXCEPTIONS: u64 = 1 << 10;

/// Whether MXCSR counts for an instruction.
pub(crate) fn is_float(code: Code) -> bool {
    // Whole numbers of 32 bits become doubles exactly.
    let is_exact = matches!(
        code,
        Code::Cvtsi2sd_xmm_rm32 | Code::VEX_Vcvtsi2sd_xmm_xmm_rm32
    );
    !is_exact && has_float_name(code.mnemonic())
}

fn has_float_name(mnemonic: Mnemonic) -> bool {
    static TABLE: OnceLock<Vec<bool>> = OnceLock::new();
    let table = TABLE.get_or_init(|| Mnemonic::values().map(is_named_so).collect());
    table[mnemonic as usize]
}

/// Names say it: what is done, and to which numbers. Here, too, some are exact.
fn is_named_so(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    if matches!(mnemonic, M::Cvtdq2pd | M::Vcvtdq2pd | M::Cvtpi2pd) {
        return false;
    }
    const STEMS: [&str; 17] = [
        "Add", "Sub", "Mul", "Div", "Sqrt", "Min", "Max", "Cmp", "Comi", "Ucomi", "Hadd", "Hsub",
        "Dp", "Round", "Fm", "Fnm", "Cvt",
    ];
    let name = format!("{mnemonic:?}");
    let lower = name.strip_prefix('V').map(|rest| {
        let (first, rest) = rest.split_at(1);
        first.to_uppercase() + rest
    });
    let name = lower.unwrap_or(name);
    let ends = ["ps", "pd", "ss", "sd"]
        .iter()
        .any(|end| name.ends_with(end));
    let begins = STEMS.iter().any(|stem| name.starts_with(stem));
    begins && (ends || name.starts_with("Cvt"))
}

/// Runs it by the guest's MXCSR.
#[inline]
pub(crate) fn run(stub: Stub, prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    let vectors = &mut *step.vectors;
    if vectors.unmasked() == 0 {
        stub.run_with_mxcsr(&mut vectors.operands, prepared.at);
        return Ok(());
    }
    run_unmasked(stub, prepared, step)
}

/// Runs it as if all were masked, and takes the result back if that was not so.
#[cold]
fn run_unmasked(stub: Stub, prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    let before = step.vectors.operands;
    let tiny = underflow(stub, prepared, step);
    let unmasked = step.vectors.unmasked();
    let operands = &mut step.vectors.operands;
    operands.raised = 0;
    stub.run_with_mxcsr(operands, prepared.at);
    let raised = operands.raised | tiny;
    if raised & unmasked == 0 {
        operands.raised |= before.raised;
        return Ok(());
    }
    *operands = before;
    operands.raised |= if raised & unmasked & BEFORE != 0 {
        raised & BEFORE
    } else {
        raised
    };
    // The result of a conversion to or from MMX is taken back, but not that MMX was used.
    if prepared.is_mmx() {
        step.vectors.numeric.enter_mmx();
    }
    Err(if step.cpu.control.cr4 & OS_EXCEPTIONS != 0 {
        Exception::Simd
    } else {
        Exception::InvalidOpcode
    })
}

/// The exception of tiny results, if it is not masked: then it is raised for exact ones, too, of which a
/// run with masks says nothing. One that flushes them to zero does.
fn underflow(stub: Stub, prepared: &Prepared, step: &mut Step<'_>) -> u32 {
    if step.vectors.unmasked() & UNDERFLOW == 0 {
        return 0;
    }
    let operands = &mut step.vectors.operands;
    let before = *operands;
    operands.raised = 0;
    operands.mxcsr |= FLUSH;
    stub.run_with_mxcsr(operands, prepared.at);
    let mut raised = operands.raised & UNDERFLOW;
    // Conversions to half precision are never flushed: there the result itself is looked at.
    let result = if prepared.writes_memory() {
        &operands.memory[..HALVES]
    } else {
        &operands.vector[prepared.at[0].vector_number()][..HALVES]
    };
    let is_tiny = |half: &[u8]| half[1] & 0x7c == 0 && (half[0] != 0 || half[1] & 3 != 0);
    if step.instruction.mnemonic() == Mnemonic::Vcvtps2ph && result.chunks(2).any(is_tiny) {
        raised |= UNDERFLOW;
    }
    *operands = before;
    raised
}
