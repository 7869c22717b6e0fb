//! String instructions, alone and repeated.

use iced_x86::{Mnemonic, OpKind, Register};

use super::operand::size_of;
use super::{Handler, Step};
use crate::{CodeSize, Exception, Size, arithmetic};

/// Steps of a repeated instruction before others may come in between: it goes on where it was.
const STEPS_MAX: u32 = 4096;

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq => |step| {
            is_string(step)?;
            repeat(step, Until::Counted, |step, size| {
                let value = step.load_string(1, size)?;
                step.store_string(0, size, value)?;
                step.advance(&[0, 1], size);
                Ok(())
            })
        },
        Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq => |step| {
            repeat(step, Until::Counted, |step, size| {
                let value = step.register(Step::accumulator(size));
                step.store_string(0, size, value)?;
                step.advance(&[0], size);
                Ok(())
            })
        },
        Mnemonic::Lodsb | Mnemonic::Lodsw | Mnemonic::Lodsd | Mnemonic::Lodsq => |step| {
            repeat(step, Until::Counted, |step, size| {
                let value = step.load_string(1, size)?;
                step.set_register(Step::accumulator(size), value);
                step.advance(&[1], size);
                Ok(())
            })
        },
        Mnemonic::Scasb | Mnemonic::Scasw | Mnemonic::Scasd | Mnemonic::Scasq => |step| {
            repeat(step, Until::Compared, |step, size| {
                let value = step.load_string(1, size)?;
                let accumulator = step.register(Step::accumulator(size));
                step.cpu.flags = arithmetic::subtract(size, accumulator, value).1;
                step.advance(&[1], size);
                Ok(())
            })
        },
        Mnemonic::Cmpsb | Mnemonic::Cmpsw | Mnemonic::Cmpsd | Mnemonic::Cmpsq => |step| {
            is_string(step)?;
            repeat(step, Until::Compared, |step, size| {
                // AMD's look at `ES:rDI` first: it shows where neither can be read.
                let second = step.load_string(1, size)?;
                let first = step.load_string(0, size)?;
                step.cpu.flags = arithmetic::subtract(size, first, second).1;
                step.advance(&[0, 1], size);
                Ok(())
            })
        },
        _ => return None,
    })
}

/// Two of the names are those of vector instructions, too.
fn is_string(step: &Step<'_>) -> Result<(), Exception> {
    let pointer = pointer(step.instruction.op_kind(0));
    pointer.map(|_| ()).ok_or(Exception::InvalidOpcode)
}

/// What ends a repetition.
#[derive(Clone, Copy)]
enum Until {
    Counted,
    /// Or what was compared.
    Compared,
}

/// The register that points to an operand.
fn pointer(kind: OpKind) -> Option<Register> {
    Some(match kind {
        OpKind::MemorySegSI => Register::SI,
        OpKind::MemorySegESI => Register::ESI,
        OpKind::MemorySegRSI => Register::RSI,
        OpKind::MemoryESDI => Register::DI,
        OpKind::MemoryESEDI => Register::EDI,
        OpKind::MemoryESRDI => Register::RDI,
        _ => return None,
    })
}

/// The counter beside such a register.
fn counter(pointer: Register) -> Register {
    match pointer.size() {
        2 => Register::CX,
        4 => Register::ECX,
        _ => Register::RCX,
    }
}

impl Step<'_> {
    fn pointer(&self, operand: u32) -> Result<Register, Exception> {
        pointer(self.instruction.op_kind(operand)).ok_or(Exception::InvalidOpcode)
    }

    pub(super) fn string_address(
        &self,
        operand: u32,
        size: Size,
        writes: bool,
    ) -> Result<u64, Exception> {
        let pointer = self.pointer(operand)?;
        let segment = match self.instruction.op_kind(operand) {
            OpKind::MemoryESDI | OpKind::MemoryESEDI | OpKind::MemoryESRDI => Register::ES,
            _ => self.source_segment(),
        };
        self.linear(segment, self.register(pointer), size.bytes().into(), writes)
    }

    /// The source's segment. In 64-bit code prefixes other than those for `FS` and `GS` say nothing.
    fn source_segment(&self) -> Register {
        match self.instruction.memory_segment() {
            named @ (Register::FS | Register::GS) => named,
            _ if self.cpu.code_size() == CodeSize::Quad => Register::DS,
            named => named,
        }
    }

    pub(super) fn load_string(&mut self, operand: u32, size: Size) -> Result<u64, Exception> {
        let address = self.string_address(operand, size, false)?;
        self.read_at(address, size, false)
    }

    fn store_string(&mut self, operand: u32, size: Size, value: u64) -> Result<(), Exception> {
        let address = self.string_address(operand, size, true)?;
        self.write_at(address, size, value)
    }

    /// Moves the pointers of these operands on.
    pub(super) fn advance(&mut self, operands: &[u32], size: Size) {
        let bytes = self.cpu.step() * i64::from(size.bytes());
        for operand in operands {
            if let Some(pointer) = pointer(self.instruction.op_kind(*operand)) {
                let moved = self.register(pointer).wrapping_add_signed(bytes);
                self.set_register(pointer, moved);
            }
        }
    }
}

/// Repeats as often as the counter says, if there is a prefix.
pub(super) fn repeat_counted(
    step: &mut Step<'_>,
    size: Size,
    one: impl Fn(&mut Step<'_>, Size) -> Result<(), Exception>,
) -> Result<(), Exception> {
    repeat_of(step, Until::Counted, size, one)
}

fn repeat(
    step: &mut Step<'_>,
    until: Until,
    one: impl Fn(&mut Step<'_>, Size) -> Result<(), Exception>,
) -> Result<(), Exception> {
    let size = size_of(step.instruction.memory_size().size()).ok_or(Exception::InvalidOpcode)?;
    repeat_of(step, until, size, one)
}

fn repeat_of(
    step: &mut Step<'_>,
    until: Until,
    size: Size,
    one: impl Fn(&mut Step<'_>, Size) -> Result<(), Exception>,
) -> Result<(), Exception> {
    let instruction = step.instruction;
    let (while_equal, while_different) =
        (instruction.has_rep_prefix(), instruction.has_repne_prefix());
    if !while_equal && !while_different {
        return one(step, size);
    }
    let pointer = step.pointer(0).or_else(|_| step.pointer(1))?;
    let counter = counter(pointer);
    let steps = if step.cpu.by_steps { 1 } else { STEPS_MAX };
    for _ in 0..steps {
        let left = step.register(counter);
        if left == 0 {
            return Ok(());
        }
        one(step, size)?;
        step.set_register(counter, left - 1);
        if matches!(until, Until::Compared) && step.cpu.flags.zero() != while_equal {
            return Ok(());
        }
    }
    if step.register(counter) != 0 {
        step.next = step.cpu.rip;
    }
    Ok(())
}
