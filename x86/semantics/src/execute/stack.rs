//! What pushes and pops.

use iced_x86::{Mnemonic, OpKind, Register};

use super::operand::size_of;
use super::{Handler, Step};
use crate::{Exception, Size};

/// `VM` and `RF`, which are not pushed.
const NOT_PUSHED: u64 = 3 << 16;
/// What a program may pop: the arithmetic flags, `TF`, `DF`, `NT`, `AC`, `ID`.
const POPPED: u64 = 0x0024_4dd5;
const INTERRUPT: u64 = 1 << 9;
const LEVEL: u64 = 3 << 12;
/// Stack pointer, in the order of encoding.
const RSP: usize = 4;
const RBP: usize = 5;

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Push => |step| {
            let size = step.stack_size()?;
            let value = step.pushed()?;
            step.push(size, value)
        },
        Mnemonic::Pop => pop,
        Mnemonic::Pusha | Mnemonic::Pushad => push_all,
        Mnemonic::Popa | Mnemonic::Popad => pop_all,
        Mnemonic::Pushf | Mnemonic::Pushfd | Mnemonic::Pushfq => |step| {
            let size = step.stack_size()?;
            let flags = if step.virtual_interrupts(size)? {
                step.virtual_flags()
            } else {
                step.cpu.rflags()
            };
            step.push(size, flags & !NOT_PUSHED)
        },
        Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq => pop_flags,
        Mnemonic::Enter => enter,
        Mnemonic::Leave => |step| {
            let size = step.stack_size_of_leave();
            let frame = step.cpu.general[RBP] & step.cpu.stack_mask();
            let address = step.linear(Register::SS, frame, size.bytes().into(), false)?;
            let value = step.read_at(address, size, false)?;
            step.set_stack(frame.wrapping_add(size.bytes().into()));
            step.set_frame(size, value);
            Ok(())
        },
        _ => return None,
    })
}

impl Step<'_> {
    /// How much the instruction pushes or pops.
    pub(super) fn stack_size(&self) -> Result<Size, Exception> {
        let bytes = self.instruction.stack_pointer_increment().unsigned_abs();
        size_of(bytes as usize).ok_or(Exception::InvalidOpcode)
    }

    /// `LEAVE` moves by what nobody knows before; its size is in its code.
    fn stack_size_of_leave(&self) -> Size {
        use iced_x86::Code;
        match self.instruction.code() {
            Code::Leavew => Size::Word,
            Code::Leaved => Size::Double,
            _ => Size::Quad,
        }
    }

    fn set_frame(&mut self, size: Size, value: u64) {
        let register = match size {
            Size::Word => Register::BP,
            Size::Double => Register::EBP,
            _ => Register::RBP,
        };
        self.set_register(register, value);
    }

    /// What `PUSH` pushes: an operand, or a selector.
    fn pushed(&mut self) -> Result<u64, Exception> {
        if self.instruction.op0_kind() == OpKind::Register {
            let register = self.instruction.op0_register();
            if register.is_segment_register() {
                return self.selector(register);
            }
        }
        self.read(0)
    }

    fn is_system(&self) -> bool {
        self.cpu.level() == 0
    }
}

/// `POP`, of a segment register or any operand.
fn pop(step: &mut Step<'_>) -> Result<(), Exception> {
    let register = step.instruction.op0_register();
    if step.instruction.op0_kind() != OpKind::Register || !register.is_segment_register() {
        return pop_operand(step);
    }
    let size = step.stack_size()?;
    let selector = step.top(size)? as u16;
    let before = step.cpu.general[RSP];
    // The segment before says how far the pointer reaches.
    step.drop_top(size.bytes().into());
    let loaded = step.load_alone(register, selector);
    if loaded.is_err() {
        step.cpu.general[RSP] = before;
    }
    loaded
}

/// The place of `POP`'s operand is found with the new stack pointer.
fn pop_operand(step: &mut Step<'_>) -> Result<(), Exception> {
    let size = step.stack_size()?;
    let value = step.top(size)?;
    let before = step.cpu.general[RSP];
    step.drop_top(size.bytes().into());
    let written = step.write(0, value);
    if written.is_err() {
        step.cpu.general[RSP] = before;
    }
    written
}

fn push_all(step: &mut Step<'_>) -> Result<(), Exception> {
    let size = match step.instruction.mnemonic() {
        Mnemonic::Pusha => Size::Word,
        _ => Size::Double,
    };
    let before = step.cpu.general;
    for value in before.into_iter().take(8) {
        if let Err(exception) = step.push(size, value) {
            step.cpu.general = before;
            return Err(exception);
        }
    }
    Ok(())
}

fn pop_all(step: &mut Step<'_>) -> Result<(), Exception> {
    let (size, general) = match step.instruction.mnemonic() {
        Mnemonic::Popa => (Size::Word, Register::AX),
        _ => (Size::Double, Register::EAX),
    };
    let before = step.cpu.general;
    for number in (0..8).rev() {
        match step.top(size) {
            // The stack pointer's place is passed over.
            Ok(_) if number == RSP as u32 => {}
            Ok(value) => step.set_register(general + number, value),
            Err(exception) => {
                step.cpu.general = before;
                return Err(exception);
            }
        }
        step.drop_top(size.bytes().into());
    }
    Ok(())
}

fn pop_flags(step: &mut Step<'_>) -> Result<(), Exception> {
    let size = step.stack_size()?;
    let is_virtual = step.virtual_interrupts(size)?;
    let value = step.top(size)?;
    if is_virtual {
        step.pop_virtual_flags(value)?;
    } else {
        popped_flags(step, size, value, 0);
    }
    step.drop_top(size.bytes().into());
    Ok(())
}

/// Sets the flags that may be popped here, and `more`.
pub(super) fn popped_flags(step: &mut Step<'_>, size: Size, value: u64, more: u64) {
    let level = u64::from(step.cpu.level());
    let flags = step.cpu.rflags();
    let mut popped = POPPED | more;
    if level <= (flags & LEVEL) >> 12 {
        popped |= INTERRUPT;
    }
    if step.is_system() {
        popped |= LEVEL;
    }
    popped &= size.mask();
    step.cpu.set_rflags(flags & !popped | value & popped);
}

/// `ENTER`, with up to 31 frames of enclosing procedures.
fn enter(step: &mut Step<'_>) -> Result<(), Exception> {
    use iced_x86::Code;
    let size = match step.instruction.code() {
        Code::Enterw_imm16_imm8 => Size::Word,
        Code::Enterd_imm16_imm8 => Size::Double,
        _ => Size::Quad,
    };
    let before = step.cpu.general;
    let done = enter_frames(step, size);
    if done.is_err() {
        step.cpu.general = before;
    }
    done
}

fn enter_frames(step: &mut Step<'_>, size: Size) -> Result<(), Exception> {
    let room = u64::from(step.instruction.immediate16());
    let depth = step.instruction.immediate8_2nd() & 31;
    let bytes = u64::from(size.bytes());
    let outer = step.cpu.general[RBP];
    step.push(size, outer)?;
    let frame = step.cpu.general[RSP];
    for at in 1..u64::from(depth) {
        let link = outer.wrapping_sub(at * bytes) & step.cpu.stack_mask();
        let address = step.linear(Register::SS, link, bytes, false)?;
        let value = step.read_at(address, size, false)?;
        step.push(size, value)?;
    }
    if depth > 0 {
        step.push(size, frame)?;
    }
    step.set_frame(size, frame);
    let top = step.stack().wrapping_sub(room);
    step.set_stack(top);
    // The last byte of the frame has to be there.
    let address = step.linear(Register::SS, step.stack(), bytes, true)?;
    step.read_at(address, size, true).map(|_| ())
}
