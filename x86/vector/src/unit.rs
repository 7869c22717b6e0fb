//! Finds out how instructions are done, once for each.

use std::{fmt, io};

use host_processor::stub::{self, Stubs};
use iced_x86::{Code, CpuidFeature, EncodingKind, Instruction, InstructionInfoFactory};

use crate::available::Uses;
use crate::on_stack::{Choice, OnStack, on_stack};
use crate::prepared::{Prepared, Quick};
use crate::run::{NONE, run};
use crate::{
    Features, control, extended, float, gather, masked, moves, save, stack, usual_x87, x87,
};

/// Finds out how instructions are done. One for each virtual CPU, or for several.
pub struct Unit {
    stubs: Stubs,
    features: Features,
    infos: InstructionInfoFactory,
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit")
            .field("features", &self.features)
            .finish()
    }
}

impl Unit {
    /// A unit with these extensions. The first in a process maps memory; afterwards there are no system
    /// calls.
    ///
    /// # Errors
    /// When the host gives no memory that can be executed.
    pub fn new(features: Features) -> io::Result<Self> {
        Ok(Self {
            stubs: Stubs::new()?,
            features,
            infos: InstructionInfoFactory::new(),
        })
    }

    /// How an instruction is done; `None` for one that is not of this crate's, or of an extension that
    /// is not there.
    pub fn prepare(&mut self, instruction: &Instruction) -> Option<Prepared> {
        let code = instruction.code();
        if !self.features.allow(code) {
            return None;
        }
        let by_hand = by_hand(code);
        let is_by_host = by_hand.is_none();
        let mut prepared = by_hand.or_else(|| self.by_host(instruction))?;
        prepared.describe(instruction, self.infos.info(instruction));
        if is_by_host && prepared.uses != Uses::X87 {
            prepared.choose(instruction, float::is_float(code));
        }
        Some(prepared)
    }

    fn by_host(&self, instruction: &Instruction) -> Option<Prepared> {
        if stub::knows(instruction.code(), true) {
            return self.of_x87(instruction);
        }
        let stub = self.stubs.vector(instruction)?;
        let uses = uses(instruction.code());
        Some(Prepared::by_stub(stub, run::<NONE, false, false>, uses))
    }

    fn of_x87(&self, instruction: &Instruction) -> Option<Prepared> {
        let on_stack = on_stack(instruction, AsQuick);
        if let Some(by_hand) = stack::prepared(instruction, on_stack) {
            return Some(by_hand.with_registers_of(instruction));
        }
        if let Some((stub, stack)) = self.stubs.stack(instruction) {
            let quick = on_stack.or_else(|| usual_x87::quick(instruction));
            let handler = x87::handler(stack)?;
            return Some(Prepared::by_stack(stub, handler, quick, stack.conditions));
        }
        let stub = self.stubs.x87(instruction)?;
        Some(Prepared::by_stub(stub, x87::whole, Uses::X87))
    }
}

/// As a function.
struct AsQuick;

impl Choice for AsQuick {
    type Chosen = Quick;

    fn choose<S: OnStack>(self) -> Quick {
        |vectors, other| S::run(vectors, other) || S::run_seldom(vectors, other)
    }
}

/// Those that are done here.
pub(crate) fn by_hand(code: Code) -> Option<Prepared> {
    let info = code.op_code();
    let is_here = matches!(info.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    if !is_here || info.fwait() {
        return None;
    }
    let families = [
        moves::prepared,
        save::prepared,
        extended::prepared,
        control::prepared,
        masked::prepared,
        gather::prepared,
    ];
    families.iter().find_map(|family| family(code))
}

/// What an instruction on vector or MMX registers uses.
pub(crate) fn uses(code: Code) -> Uses {
    let info = code.op_code();
    if info.encoding() == EncodingKind::VEX {
        return Uses::Avx;
    }
    use iced_x86::OpCodeOperandKind as Operand;
    let is_vector = |kind: &Operand| {
        matches!(
            kind,
            Operand::xmm_reg | Operand::xmm_rm | Operand::xmm_or_mem
        )
    };
    if info.op_kinds().iter().any(is_vector) || code.cpuid_features() == [CpuidFeature::SSE3] {
        Uses::Sse
    } else {
        Uses::Mmx
    }
}
