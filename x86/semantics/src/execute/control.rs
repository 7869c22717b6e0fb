//! Jumps, calls and returns within a segment; what does nothing, and what only raises.

use iced_x86::{Mnemonic, OpKind, Register};

use super::operand::size_of;
use super::{Handler, Step, far};
use crate::cpu::CodeSize;
use crate::processor::is_canonical;
use crate::{Exception, Size};

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Jmp => |step| {
            if far::is_far(step) {
                return far::jump(step);
            }
            let target = target(step)?;
            go_to(step, target)
        },
        Mnemonic::Call => |step| {
            if far::is_far(step) {
                return far::call(step);
            }
            let (target, size) = (target(step)?, step.stack_size()?);
            check(step, target)?;
            let back = step.next;
            step.push(size, back)?;
            go_to(step, target)
        },
        Mnemonic::Ret => |step| {
            let taken = step.instruction.stack_pointer_increment() as u64;
            let more = match step.instruction.op_count() {
                0 => 0,
                _ => u64::from(step.instruction.immediate16()),
            };
            let size = size_of((taken - more) as usize).ok_or(Exception::InvalidOpcode)?;
            let target = step.top(size)?;
            go_to(step, target)?;
            step.drop_top(taken);
            Ok(())
        },
        Mnemonic::Jcxz => |step| jump_if(step, step.register(Register::CX) == 0),
        Mnemonic::Jecxz => |step| jump_if(step, step.register(Register::ECX) == 0),
        Mnemonic::Jrcxz => |step| jump_if(step, step.register(Register::RCX) == 0),
        Mnemonic::Loop | Mnemonic::Loope | Mnemonic::Loopne => count_down,
        Mnemonic::Nop
        | Mnemonic::Reservednop
        | Mnemonic::Pause
        | Mnemonic::Endbr32
        | Mnemonic::Endbr64
        // Reserved no-operations for a processor without shadow stacks and bounds (SDM vol. 2,
        // RDSSPD and BNDCL).
        | Mnemonic::Rdsspd
        | Mnemonic::Rdsspq
        | Mnemonic::Bndmk
        | Mnemonic::Bndmov
        | Mnemonic::Bndcl
        | Mnemonic::Bndcu
        | Mnemonic::Bndcn
        | Mnemonic::Bndldx
        | Mnemonic::Bndstx
        | Mnemonic::Lfence
        | Mnemonic::Mfence
        | Mnemonic::Sfence
        | Mnemonic::Prefetchnta
        | Mnemonic::Prefetcht0
        | Mnemonic::Prefetcht1
        | Mnemonic::Prefetcht2
        | Mnemonic::Prefetchw
        | Mnemonic::Prefetch
        | Mnemonic::Prefetchit0
        | Mnemonic::Prefetchit1
        | Mnemonic::Cldemote => |_| Ok(()),
        Mnemonic::Int3 => |_| Err(Exception::Breakpoint),
        Mnemonic::Into => |step| {
            if step.cpu.flags.overflow() {
                return Err(Exception::Overflow);
            }
            Ok(())
        },
        Mnemonic::Bound => bound,
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => |_| Err(Exception::InvalidOpcode),
        _ => return conditional(mnemonic),
    })
}

fn conditional(mnemonic: Mnemonic) -> Option<Handler> {
    matches!(
        mnemonic,
        Mnemonic::Ja
            | Mnemonic::Jae
            | Mnemonic::Jb
            | Mnemonic::Jbe
            | Mnemonic::Je
            | Mnemonic::Jg
            | Mnemonic::Jge
            | Mnemonic::Jl
            | Mnemonic::Jle
            | Mnemonic::Jne
            | Mnemonic::Jno
            | Mnemonic::Jnp
            | Mnemonic::Jns
            | Mnemonic::Jo
            | Mnemonic::Jp
            | Mnemonic::Js
    )
    .then_some(|step| {
        let holds = step.condition()?;
        jump_if(step, holds)
    })
}

/// Where a jump or call leads that stays in its segment.
fn target(step: &mut Step<'_>) -> Result<u64, Exception> {
    match step.instruction.op0_kind() {
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64 => {
            Ok(step.instruction.near_branch_target())
        }
        _ => step.read(0),
    }
}

/// Whether there can be code.
fn check(step: &Step<'_>, target: u64) -> Result<(), Exception> {
    let is_there = match step.cpu.code_size() {
        CodeSize::Quad => is_canonical(target),
        _ => target <= step.cpu.segments.cs.limit.into(),
    };
    if is_there {
        Ok(())
    } else {
        Err(Exception::Protection(0))
    }
}

fn go_to(step: &mut Step<'_>, target: u64) -> Result<(), Exception> {
    check(step, target)?;
    step.next = target;
    Ok(())
}

fn jump_if(step: &mut Step<'_>, holds: bool) -> Result<(), Exception> {
    if holds {
        return go_to(step, step.instruction.near_branch_target());
    }
    Ok(())
}

/// `LOOP` and its like: the counter has the size of addresses.
fn count_down(step: &mut Step<'_>) -> Result<(), Exception> {
    use iced_x86::Code;
    let counter = match step.instruction.code() {
        Code::Loop_rel8_16_CX
        | Code::Loop_rel8_32_CX
        | Code::Loope_rel8_16_CX
        | Code::Loope_rel8_32_CX
        | Code::Loopne_rel8_16_CX
        | Code::Loopne_rel8_32_CX => Register::CX,
        Code::Loop_rel8_16_RCX
        | Code::Loop_rel8_64_RCX
        | Code::Loope_rel8_16_RCX
        | Code::Loope_rel8_64_RCX
        | Code::Loopne_rel8_16_RCX
        | Code::Loopne_rel8_64_RCX => Register::RCX,
        _ => Register::ECX,
    };
    let zero = step.cpu.flags.zero();
    let also = match step.instruction.mnemonic() {
        Mnemonic::Loope => zero,
        Mnemonic::Loopne => !zero,
        _ => true,
    };
    let left = step.register(counter).wrapping_sub(1);
    let bits = Size::ALL[counter.size().trailing_zeros() as usize];
    jump_if(step, bits.cut(left) != 0 && also)?;
    step.set_register(counter, left);
    Ok(())
}

/// `BOUND`: signed, both ends included.
fn bound(step: &mut Step<'_>) -> Result<(), Exception> {
    let size = step.size(0);
    let bytes = u64::from(size.bytes());
    let offset = step.offset(1)?;
    let address = step.linear(step.memory_segment(), offset, 2 * bytes, false)?;
    let lower = step.read_at(address, size, false)?;
    let upper = step.read_at(address.wrapping_add(bytes), size, false)?;
    let index = size.signed(step.read(0)?);
    if index < size.signed(lower) || index > size.signed(upper) {
        return Err(Exception::Bound);
    }
    Ok(())
}
