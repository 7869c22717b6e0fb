//! What is compared on a processor of AMD's alone: where makers differ, the interpreter is one of theirs
//! (docs/emulate.md). The other's are those of the SDM.

use std::arch::x86_64::__cpuid;
use std::sync::OnceLock;

use host_processor::End;
use iced_x86::{Instruction, Mnemonic, OpKind};
use x86_semantics::Exception;

use crate::open::{is_image, may_fault};

/// `CPUID` 0: its maker.
const MAKERS: [&[u8; 12]; 2] = [b"AuthenticAMD", b"HygonGenuine"];

/// Whether the host's processor is AMD's.
#[must_use]
pub fn is_amd() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| {
        let leaf = __cpuid(0);
        let name: Vec<u8> = [leaf.ebx, leaf.edx, leaf.ecx]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect();
        MAKERS.iter().any(|maker| name == maker.as_slice())
    })
}

const BOUND: End = raised(5);
const STACK: End = raised(12);
const PROTECTION: End = raised(13);
const SIMD: End = raised(19);
const PAGE_FAULT: u8 = 14;
const ALIGNMENT: u8 = 17;

const fn raised(vector: u8) -> End {
    End::Raised {
        vector,
        error: 0,
        address: 0,
    }
}

/// What the interpreter's end is on a processor.
#[must_use]
pub fn end_of(done: Result<(), Exception>) -> End {
    let Err(exception) = done else {
        return End::Done;
    };
    let address = match exception {
        Exception::Page { address, .. } => address,
        _ => 0,
    };
    End::Raised {
        vector: exception.vector(),
        error: exception.error_code().unwrap_or(0),
        address,
    }
}

/// Whether it is open which comes first, an address that is none or one that is not aligned.
#[must_use]
pub fn may_be_either(there: End, here: End) -> bool {
    (there, here) == (PROTECTION, STACK)
}

/// Whether an instruction that ended so on the host and so by the interpreter is one in which makers differ: nothing more is
/// compared then.
#[must_use]
pub fn may_differ(instruction: &Instruction, there: End, here: End) -> bool {
    let End::Raised {
        vector: vector_here @ (12..15 | ALIGNMENT),
        error: error_here,
        address: address_here,
    } = here
    else {
        let may_fault = may_want_alignment(instruction) || may_fault_elsewhere(instruction);
        return there == PROTECTION && may_fault;
    };
    match there {
        // What is written of a selector is aligned where all would not be.
        _ if vector_here == ALIGNMENT && open_pushed(instruction) != 0 => true,
        BOUND => may_be_found_out(instruction),
        End::Raised {
            vector: PAGE_FAULT | 13,
            ..
        } if may_fault_elsewhere(instruction) => true,
        PROTECTION if may_want_alignment(instruction) => true,
        End::Done | SIMD => may_be_kept(instruction),
        End::Raised {
            vector,
            error,
            address,
        } => {
            let is_alike =
                (vector, error) == (vector_here, error_here) && address >> 12 == address_here >> 12;
            (is_alike || may_be_either(there, here)) && open_fault(instruction)
        }
    }
}

/// Bytes of the stack that are not compared: of a selector that is pushed in 32-bit code others write only the lower half
/// of four bytes (SDM vol. 2, `PUSH`).
#[must_use]
pub fn open_pushed(instruction: &Instruction) -> usize {
    let is_selector = instruction.mnemonic() == Mnemonic::Push
        && instruction.op0_register().is_segment_register()
        && instruction.stack_pointer_increment() == -4;
    if is_selector && !is_amd() { 2 } else { 0 }
}

/// Whether a fault of it leaves open what it has done until then, and where in a page it was: gathers keep what
/// they have gathered and masked moves name the first byte that is selected (SDM vol. 2, `VPGATHERDD`, `VMASKMOV`), what is
/// stored from x87 or MMX may be there in part or have changed the state, as states that are read may, a conversion
/// its flags, and `POPA` some registers.
fn open_fault(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    let is_masked = matches!(
        instruction.mnemonic(),
        M::Maskmovq
            | M::Maskmovdqu
            | M::Vmaskmovdqu
            | M::Vmaskmovps
            | M::Vmaskmovpd
            | M::Vpmaskmovd
            | M::Vpmaskmovq
    );
    let is_open = is_masked
        || matches!(instruction.mnemonic(), M::Popa | M::Popad)
        || converts_to_memory(instruction)
        || is_image(instruction)
        || gathers(instruction)
        || stores_x87(instruction);
    is_open && !is_amd()
}

/// Whether the host may have done it, or raise an exception of numbers, while here its memory is refused: others do not look
/// there if such an exception keeps it from being written, or for the half of a selector that they do not write.
fn may_be_kept(instruction: &Instruction) -> bool {
    let may_raise = stores_x87(instruction) || converts_to_memory(instruction);
    may_raise && !is_amd() || open_pushed(instruction) > 0
}

/// Whether it may be too long where it is none here: it has another byte, which says nothing (SDM vol. 2, `UD0`).
#[must_use]
pub fn may_be_longer(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Ud0 && !is_amd()
}

/// Whether the upper halves of the count and the pointers are not compared: of a string that is repeated by 32 bits in 64-bit
/// code, but no time, or which ends in an exception, others clear them.
#[must_use]
pub fn open_upper(instruction: &Instruction, rcx: u64, is_done: bool) -> bool {
    let by_32_bits = |kind| {
        matches!(
            kind,
            OpKind::MemorySegESI | OpKind::MemorySegEDI | OpKind::MemoryESEDI
        )
    };
    let is_short = instruction.op_kinds().any(by_32_bits);
    is_repeated(instruction) && is_short && (rcx as u32 == 0 || !is_done) && !is_amd()
}

fn is_repeated(instruction: &Instruction) -> bool {
    instruction.has_rep_prefix() || instruction.has_repne_prefix()
}

/// Whether the flags are not compared when it has ended in an exception: others have those from before a repeated
/// comparison (SDM vol. 2, `REPNE`).
#[must_use]
pub fn open_flags(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    let compares = matches!(
        instruction.mnemonic(),
        M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq | M::Scasb | M::Scasw | M::Scasd | M::Scasq
    );
    is_repeated(instruction) && compares && !is_amd()
}

/// Whether it may fault in any of its pages, or with bytes that are none, where here another page is looked at or none.
fn may_fault_elsewhere(instruction: &Instruction) -> bool {
    may_fault(instruction) && !is_amd()
}

/// Whether the host may have found a number out of bounds of which here both are read first.
fn may_be_found_out(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Bound && !is_amd()
}

fn converts_to_memory(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Vcvtps2ph && has_memory(instruction)
}

/// Whether others want its operand in memory aligned (SDM vol. 2, `SHA1MSG1` and its like, and 2.4.4, class 4).
fn may_want_alignment(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    let is_sha = matches!(
        instruction.mnemonic(),
        M::Sha1msg1
            | M::Sha1msg2
            | M::Sha1nexte
            | M::Sha1rnds4
            | M::Sha256msg1
            | M::Sha256msg2
            | M::Sha256rnds2
    );
    is_sha && has_memory(instruction) && !is_amd()
}

fn has_memory(instruction: &Instruction) -> bool {
    instruction.op_kinds().any(|kind| kind == OpKind::Memory)
}

fn gathers(instruction: &Instruction) -> bool {
    instruction.is_vsib()
}

/// Whether it stores registers of x87's, or of MMX, to memory.
fn stores_x87(instruction: &Instruction) -> bool {
    use Mnemonic as M;
    instruction.op0_kind() == OpKind::Memory
        && (instruction.op1_register().is_mm()
            || matches!(
                instruction.mnemonic(),
                M::Fst | M::Fstp | M::Fist | M::Fistp | M::Fisttp | M::Fbstp
            ))
}
