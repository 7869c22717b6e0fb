//! Moves, which need no stub, and what clears registers.

use host_processor::half;
use host_processor::stub::Slot;
use iced_x86::{Code, Instruction, Mnemonic, OpKind};
use x86_semantics::{CodeSize, Exception, Size};

use crate::available::{self, Uses};
use crate::prepared::{Handler, Move, Prepared};
use crate::registers::array;
use crate::run::Step;

const HALF: usize = 16;
const WHOLE: usize = 32;
const SSE: u8 = Uses::Sse as u8;
const AVX: u8 = Uses::Avx as u8;

/// How a clearing is done.
pub(crate) fn prepared(code: Code) -> Option<Prepared> {
    match code.mnemonic() {
        Mnemonic::Vzeroupper => Some(Prepared::by_hand(clear::<HALF>, Uses::Avx)),
        Mnemonic::Vzeroall => Some(Prepared::by_hand(clear::<0>, Uses::Avx)),
        _ => None,
    }
}

/// What does a move; `None` for other instructions, and for those that the host does as well.
pub(crate) fn handler(prepared: &Prepared, instruction: &Instruction) -> Option<Handler> {
    use Mnemonic as M;
    match instruction.mnemonic() {
        M::Movaps
        | M::Movapd
        | M::Movups
        | M::Movupd
        | M::Movdqa
        | M::Movdqu
        | M::Lddqu
        | M::Movntps
        | M::Movntpd
        | M::Movntdq
        | M::Movntdqa => Some(whole::<HALF, SSE>(prepared)),
        M::Vmovaps
        | M::Vmovapd
        | M::Vmovups
        | M::Vmovupd
        | M::Vmovdqa
        | M::Vmovdqu
        | M::Vlddqu
        | M::Vmovntps
        | M::Vmovntpd
        | M::Vmovntdq
        | M::Vmovntdqa => {
            let registers = [instruction.op0_register(), instruction.op1_register()];
            let is_whole = registers.iter().any(|register| register.is_ymm());
            Some(if is_whole {
                whole::<WHOLE, AVX>(prepared)
            } else {
                whole::<HALF, AVX>(prepared)
            })
        }
        M::Movss | M::Movsd | M::Movq | M::Movd if prepared.uses == Uses::Sse => {
            number::<SSE>(prepared, instruction)
        }
        M::Vmovss | M::Vmovsd | M::Vmovq | M::Vmovd => number::<AVX>(prepared, instruction),
        M::Movlps | M::Movlpd if prepared.writes_memory() => Some(store_number::<SSE, 8, 0>),
        M::Movhps | M::Movhpd if prepared.writes_memory() => Some(store_number::<SSE, 8, 8>),
        M::Movlps | M::Movlpd if prepared.reads_memory() => Some(load_half::<0>),
        M::Movhps | M::Movhpd if prepared.reads_memory() => Some(load_half::<8>),
        _ => None,
    }
}

/// The move that an instruction is, where only vector registers and memory take part and nothing is kept of
/// what is written.
pub(crate) fn simple(prepared: &Prepared, instruction: &Instruction) -> Option<Move> {
    handler(prepared, instruction)?;
    let is_avx = prepared.uses == Uses::Avx;
    let has_memory = prepared.reads_memory() || prepared.writes_memory();
    let is_half = matches!(
        instruction.mnemonic(),
        Mnemonic::Movlps | Mnemonic::Movlpd | Mnemonic::Movhps | Mnemonic::Movhpd
    );
    if is_half || prepared.general().is_some() {
        return None;
    }
    let is_whole = (0..instruction.op_count()).any(|at| instruction.op_register(at).is_ymm());
    let bytes = match prepared.memory_bytes {
        _ if !has_memory && is_whole => WHOLE,
        _ if !has_memory => HALF,
        bytes => bytes.into(),
    };
    let slot = prepared.at[usize::from(prepared.writes_memory())];
    Some(Move {
        register: slot.vector_number() as u8,
        from: prepared.at[1].vector_number() as u8,
        bytes: bytes as u8,
        cleared: if is_avx { WHOLE } else { HALF } as u8,
    })
}

fn whole<const BYTES: usize, const USES: u8>(prepared: &Prepared) -> Handler {
    if prepared.writes_memory() {
        store::<BYTES, USES>
    } else if prepared.reads_memory() {
        load::<BYTES, USES>
    } else {
        copy::<BYTES, USES>
    }
}

/// For a single number, to or from memory or a general register.
fn number<const USES: u8>(prepared: &Prepared, instruction: &Instruction) -> Option<Handler> {
    let is_general = prepared.general().is_some();
    let bytes = if is_general {
        let is_first = prepared.writes_general();
        let general = if is_first {
            instruction.op0_register()
        } else {
            instruction.op1_register()
        };
        general.size()
    } else {
        prepared.memory_bytes.into()
    };
    let to_vector = !prepared.writes_memory() && !prepared.writes_general();
    let handlers: [Handler; 4] = match bytes {
        4 => [
            load_number::<USES, 4>,
            store_number::<USES, 4, 0>,
            from_general::<USES, 4>,
            to_general::<USES, 4>,
        ],
        8 => [
            load_number::<USES, 8>,
            store_number::<USES, 8, 0>,
            from_general::<USES, 8>,
            to_general::<USES, 8>,
        ],
        _ => return None,
    };
    // With two vector registers it is the host's, but that there is no memory then.
    let has_memory = instruction.op_kinds().any(|kind| kind == OpKind::Memory);
    (is_general || has_memory)
        .then(|| handlers[2 * usize::from(is_general) + usize::from(!to_vector)])
}

impl Step<'_> {
    /// Sets a vector register: with a VEX prefix the rest is cleared.
    #[inline]
    fn set<const BYTES: usize, const USES: u8>(&mut self, number: usize, bytes: &[u8; BYTES]) {
        let register = &mut self.vectors.operands.vector[number];
        register[..BYTES].copy_from_slice(bytes);
        if USES == AVX {
            register[BYTES..].fill(0);
        }
    }

    #[inline]
    fn register(&self, slot: Slot) -> &[u8; WHOLE] {
        &self.vectors.operands.vector[slot.vector_number()]
    }
}

fn copy<const BYTES: usize, const USES: u8>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    available::check_known::<USES>(step.cpu)?;
    let bytes = array::<BYTES>(step.register(prepared.at[1]));
    step.set::<BYTES, USES>(prepared.at[0].vector_number(), &bytes);
    Ok(())
}

fn load<const BYTES: usize, const USES: u8>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    available::check_known::<USES>(step.cpu)?;
    let address = step.address(prepared, false)?;
    let mut bytes = [0; BYTES];
    step.read(address, &mut bytes)?;
    step.set::<BYTES, USES>(prepared.at[0].vector_number(), &bytes);
    Ok(())
}

fn store<const BYTES: usize, const USES: u8>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    available::check_known::<USES>(step.cpu)?;
    let address = step.address(prepared, true)?;
    let bytes = array::<BYTES>(step.register(prepared.at[1]));
    step.write(address, &bytes)
}

const fn size(bytes: usize) -> Size {
    if bytes == 4 { Size::Double } else { Size::Quad }
}

/// To the lowest bytes of a register, whose lower half is cleared above them.
fn load_number<const USES: u8, const BYTES: usize>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    available::check_known::<USES>(step.cpu)?;
    let address = step.address(prepared, false)?;
    let number = step.read_number(address, size(BYTES))?;
    step.set::<HALF, USES>(prepared.at[0].vector_number(), &half::of_number(number));
    Ok(())
}

/// To one of the halves of a register's lower half; the other stays.
fn load_half<const TO: usize>(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    available::check_known::<SSE>(step.cpu)?;
    let address = step.address(prepared, false)?;
    let number = step.read_number(address, Size::Quad)?;
    let to = prepared.at[0].vector_number();
    step.vectors.operands.vector[to][TO..TO + 8].copy_from_slice(&number.to_le_bytes());
    Ok(())
}

fn store_number<const USES: u8, const BYTES: usize, const FROM: usize>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    available::check_known::<USES>(step.cpu)?;
    let address = step.address(prepared, true)?;
    let number = u64::from_le_bytes(array(&step.register(prepared.at[1])[FROM..]));
    step.write_number(address, size(BYTES), number)
}

fn from_general<const USES: u8, const BYTES: usize>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    available::check_known::<USES>(step.cpu)?;
    let general = step.cpu.general[prepared.general().unwrap_or(0)];
    let number = half::of_number(size(BYTES).cut(general));
    step.set::<HALF, USES>(prepared.at[0].vector_number(), &number);
    Ok(())
}

fn to_general<const USES: u8, const BYTES: usize>(
    prepared: &Prepared,
    step: &mut Step<'_>,
) -> Result<(), Exception> {
    available::check_known::<USES>(step.cpu)?;
    let number = u64::from_le_bytes(array(step.register(prepared.at[1])));
    step.cpu.general[prepared.general().unwrap_or(0)] = size(BYTES).cut(number);
    Ok(())
}

/// Clears all vector registers but for their first bytes.
fn clear<const KEPT: usize>(prepared: &Prepared, step: &mut Step<'_>) -> Result<(), Exception> {
    prepared.check(step.cpu)?;
    let is_long = step.cpu.code_size() == CodeSize::Quad;
    let count = if is_long { 16 } else { 8 };
    for register in &mut step.vectors.operands.vector[..count] {
        register[KEPT..].fill(0);
    }
    Ok(())
}
