//! Moves, exchanges and conversions.

use iced_x86::{Mnemonic, OpKind, Register};

use super::operand::Place;
use super::{Handler, Step};
use crate::{Condition, Exception, Flags, Size, arithmetic, bits};

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Movzx | Mnemonic::Movnti => copy,
        Mnemonic::Movsx | Mnemonic::Movsxd => copy_signed,
        Mnemonic::Movbe => |step| {
            let value = step.read(1)?;
            step.write(0, bits::reverse_bytes(step.size(0), value))
        },
        Mnemonic::Lea => |step| {
            let offset = step.offset(1)?;
            step.write(0, offset)
        },
        Mnemonic::Xchg => exchange,
        Mnemonic::Xadd => exchange_add,
        Mnemonic::Cmpxchg => compare_exchange,
        Mnemonic::Cmpxchg8b => compare_exchange_pair,
        Mnemonic::Cmpxchg16b => compare_exchange_sixteen,
        Mnemonic::Bswap => |step| step.update(0, |size, value| (bits::swap_bytes(size, value), ())),
        Mnemonic::Xlatb => table_look_up,
        Mnemonic::Cbw => |step| extend(step, Size::Byte, Register::AX),
        Mnemonic::Cwde => |step| extend(step, Size::Word, Register::EAX),
        Mnemonic::Cdqe => |step| extend(step, Size::Double, Register::RAX),
        Mnemonic::Cwd => |step| spread(step, Size::Word, Register::DX),
        Mnemonic::Cdq => |step| spread(step, Size::Double, Register::EDX),
        Mnemonic::Cqo => |step| spread(step, Size::Quad, Register::RDX),
        Mnemonic::Lahf => |step| {
            let flags = step.cpu.flags.bits() & 0xff | 2;
            step.set_register(Register::AH, flags);
            Ok(())
        },
        Mnemonic::Sahf => |step| {
            // The high byte's flag stays.
            let kept = step.cpu.flags.bits() & !0xff;
            step.cpu.flags = Flags::from_bits(kept | step.register(Register::AH));
            Ok(())
        },
        Mnemonic::Salc => |step| {
            let carry = step.cpu.flags.carry();
            step.set_register(Register::AL, if carry { 0xff } else { 0 });
            Ok(())
        },
        Mnemonic::Clc => |step| set_carry(step, false),
        Mnemonic::Stc => |step| set_carry(step, true),
        Mnemonic::Cmc => |step| set_carry(step, !step.cpu.flags.carry()),
        Mnemonic::Cld => |step| {
            step.cpu.set_direction(false);
            Ok(())
        },
        Mnemonic::Std => |step| {
            step.cpu.set_direction(true);
            Ok(())
        },
        _ => return conditional(mnemonic),
    })
}

/// `CMOVcc` and `SETcc`.
fn conditional(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Cmova
        | Mnemonic::Cmovae
        | Mnemonic::Cmovb
        | Mnemonic::Cmovbe
        | Mnemonic::Cmove
        | Mnemonic::Cmovg
        | Mnemonic::Cmovge
        | Mnemonic::Cmovl
        | Mnemonic::Cmovle
        | Mnemonic::Cmovne
        | Mnemonic::Cmovno
        | Mnemonic::Cmovnp
        | Mnemonic::Cmovns
        | Mnemonic::Cmovo
        | Mnemonic::Cmovp
        | Mnemonic::Cmovs => copy_if,
        Mnemonic::Seta
        | Mnemonic::Setae
        | Mnemonic::Setb
        | Mnemonic::Setbe
        | Mnemonic::Sete
        | Mnemonic::Setg
        | Mnemonic::Setge
        | Mnemonic::Setl
        | Mnemonic::Setle
        | Mnemonic::Setne
        | Mnemonic::Setno
        | Mnemonic::Setnp
        | Mnemonic::Setns
        | Mnemonic::Seto
        | Mnemonic::Setp
        | Mnemonic::Sets => |step| {
            let holds = step.condition()?;
            step.write(0, holds.into())
        },
        _ => return None,
    })
}

impl Step<'_> {
    /// Whether the instruction's condition holds.
    pub(super) fn condition(&self) -> Result<bool, Exception> {
        // iced counts from one, in the order of the opcodes.
        let number = self.instruction.condition_code() as usize;
        let condition = number.checked_sub(1).and_then(|at| Condition::ALL.get(at));
        let condition = condition.ok_or(Exception::InvalidOpcode)?;
        Ok(condition.holds(self.cpu.flags))
    }

    /// What is in the accumulator of some size.
    pub(super) fn accumulator(size: Size) -> Register {
        match size {
            Size::Byte => Register::AL,
            Size::Word => Register::AX,
            Size::Double => Register::EAX,
            Size::Quad => Register::RAX,
        }
    }
}

fn set_carry(step: &mut Step<'_>, carry: bool) -> Result<(), Exception> {
    step.cpu.flags = step.cpu.flags.with_carry(carry);
    Ok(())
}

fn copy(step: &mut Step<'_>) -> Result<(), Exception> {
    let value = step.read(1)?;
    step.write(0, value)
}

fn copy_signed(step: &mut Step<'_>) -> Result<(), Exception> {
    let (value, size) = (step.read(1)?, step.size(1));
    step.write(0, size.signed(value) as u64)
}

/// The source is read, and an upper half cleared, whether the condition holds or not.
fn copy_if(step: &mut Step<'_>) -> Result<(), Exception> {
    let value = step.read(1)?;
    let value = if step.condition()? {
        value
    } else {
        step.read(0)?
    };
    step.write(0, value)
}

fn extend(step: &mut Step<'_>, from: Size, to: Register) -> Result<(), Exception> {
    let value = step.register(Register::RAX);
    step.set_register(to, from.signed(from.cut(value)) as u64);
    Ok(())
}

fn spread(step: &mut Step<'_>, size: Size, to: Register) -> Result<(), Exception> {
    let value = size.signed(size.cut(step.register(Register::RAX)));
    step.set_register(to, (value >> 63) as u64);
    Ok(())
}

/// `XCHG` with memory is locked without being told.
fn exchange(step: &mut Step<'_>) -> Result<(), Exception> {
    let (first, second) = (step.place(0, true)?, step.place(1, true)?);
    let (memory, register) = match first {
        Place::Memory { .. } => (first, second),
        Place::Register { .. } => (second, first),
    };
    let new = step.load(register, false)?;
    let old = match memory {
        Place::Memory { address, size } => loop {
            let old = step.read_at(address, size, true)?;
            if step.exchange_at(address, size, (old, new))? {
                break old;
            }
        },
        Place::Register { .. } => {
            let old = step.load(memory, false)?;
            step.store(memory, new)?;
            old
        }
    };
    step.store(register, old)
}

fn exchange_add(step: &mut Step<'_>) -> Result<(), Exception> {
    let added = step.read(1)?;
    let (old, flags) = step.update(0, |size, old| {
        let (sum, flags) = arithmetic::add(size, old, added);
        (sum, (old, flags))
    })?;
    // Of the same register, the sum stays.
    if step.instruction.op0_kind() == OpKind::Register {
        let sum = step.read(0)?;
        step.write(1, old)?;
        step.write(0, sum)?;
    } else {
        step.write(1, old)?;
    }
    step.cpu.flags = flags;
    Ok(())
}

fn compare_exchange(step: &mut Step<'_>) -> Result<(), Exception> {
    let accumulator = Step::accumulator(step.size(0));
    let (expected, new) = (step.register(accumulator), step.read(1)?);
    let compare = |size, old| arithmetic::subtract(size, expected, old).1;
    let (old, flags) = if step.instruction.op0_kind() == OpKind::Register {
        // A register that differs is not written: its upper half stays.
        let old = step.read(0)?;
        let flags = compare(step.size(0), old);
        if flags.zero() {
            step.write(0, new)?;
        }
        (old, flags)
    } else {
        // Memory that differs is written as it was.
        step.update(0, |size, old| {
            let flags = compare(size, old);
            (if flags.zero() { new } else { old }, (old, flags))
        })?
    };
    if !flags.zero() {
        step.set_register(accumulator, old);
    }
    step.cpu.flags = flags;
    Ok(())
}

/// `CMPXCHG8B`. Only `ZF` changes.
fn compare_exchange_pair(step: &mut Step<'_>) -> Result<(), Exception> {
    let pair = |step: &Step<'_>, high, low| step.register(high) << 32 | step.register(low);
    let expected = pair(step, Register::EDX, Register::EAX);
    let new = pair(step, Register::ECX, Register::EBX);
    let old = step.update(0, |_, old| (if old == expected { new } else { old }, old))?;
    if old != expected {
        step.set_register(Register::EAX, old);
        step.set_register(Register::EDX, old >> 32);
    }
    step.cpu.flags = step.cpu.flags.with_zero(old == expected);
    Ok(())
}

/// `CMPXCHG16B`, of an address that is aligned. Whoever implements the memory sees to it that no other virtual
/// CPU comes in between.
fn compare_exchange_sixteen(step: &mut Step<'_>) -> Result<(), Exception> {
    const BYTES: u64 = 16;
    let offset = step.offset(0)?;
    let address = step.linear(step.memory_segment(), offset, BYTES, true)?;
    if !address.is_multiple_of(BYTES) {
        return Err(Exception::Protection(0));
    }
    let [low, high] = [0, 8].map(|at| address.wrapping_add(at));
    let old = (
        step.read_at(low, Size::Quad, true)?,
        step.read_at(high, Size::Quad, true)?,
    );
    let general = |step: &Step<'_>, low, high| (step.register(low), step.register(high));
    let is_expected = old == general(step, Register::RAX, Register::RDX);
    if is_expected {
        let new = general(step, Register::RBX, Register::RCX);
        step.write_at(low, Size::Quad, new.0)?;
        step.write_at(high, Size::Quad, new.1)?;
    } else {
        step.set_register(Register::RAX, old.0);
        step.set_register(Register::RDX, old.1);
    }
    step.cpu.flags = step.cpu.flags.with_zero(is_expected);
    Ok(())
}

fn table_look_up(step: &mut Step<'_>) -> Result<(), Exception> {
    let value = step.read(0)?;
    step.set_register(Register::AL, value);
    Ok(())
}
