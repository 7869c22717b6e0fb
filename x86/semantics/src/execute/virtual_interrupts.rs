//! The interrupt flag of programs that may not have it: virtual-8086 mode's extensions and protected mode's virtual
//! interrupts (SDM vol. 3, 21.3 and 21.4).

use iced_x86::Register;

use super::stack::popped_flags;
use super::{Handler, Step};
use crate::descriptor::{Rights, system};
use crate::{Exception, Size};

/// `CR4.VME` and `CR4.PVI`.
const EXTENSIONS: u64 = 1;
const VIRTUAL: u64 = 1 << 1;
/// Flags: `TF`, `IF`, `IOPL`, `RF`, `VIF`, `VIP`.
const TRAP: u64 = 1 << 8;
const INTERRUPT: u64 = 1 << 9;
const LEVEL: u64 = 3 << 12;
const RESUME: u64 = 1 << 16;
const VIRTUAL_INTERRUPT: u64 = 1 << 19;
const PENDING: u64 = 1 << 20;
/// Where a task state says where its map of ports begins, which that of interrupts precedes, and its length.
const MAP: u64 = 0x66;
const MAP_BYTES: u64 = 32;

/// `CLI` and `STI`.
pub(super) const CLEAR: Handler = |step| {
    if step.demand_interrupt_flag()? {
        step.cpu.system_flags &= !VIRTUAL_INTERRUPT;
    } else {
        step.cpu.system_flags &= !INTERRUPT;
    }
    Ok(())
};
pub(super) const SET: Handler = |step| {
    if step.demand_interrupt_flag()? {
        if step.cpu.system_flags & PENDING != 0 {
            return Err(Exception::Protection(0));
        }
        step.cpu.system_flags |= VIRTUAL_INTERRUPT;
        return Ok(());
    }
    step.cpu.interrupt_shadow = step.cpu.system_flags & INTERRUPT == 0;
    step.cpu.system_flags |= INTERRUPT;
    Ok(())
};

/// `INT n`.
pub(super) const INTERRUPTION: Handler = |step| {
    let vector = step.instruction.immediate8();
    if !step.cpu.is_virtual_8086() {
        return Err(Exception::Interrupt(vector));
    }
    if step.has_extensions() && step.is_kept(vector)? {
        return step.interrupt_within(vector);
    }
    if !step.may_use_ports() {
        return Err(Exception::Protection(0));
    }
    Err(Exception::Interrupt(vector))
};

impl Step<'_> {
    fn has_extensions(&self) -> bool {
        self.cpu.control.cr4 & EXTENSIONS != 0
    }

    /// Whether the program's own interrupt flag is meant, and not the processor's, which it may not have.
    fn demand_interrupt_flag(&self) -> Result<bool, Exception> {
        if self.may_use_ports() {
            return Ok(false);
        }
        let (is_8086, control) = (self.cpu.is_virtual_8086(), self.cpu.control.cr4);
        let is_virtual = if is_8086 {
            control & EXTENSIONS != 0
        } else {
            control & VIRTUAL != 0 && self.cpu.level() == 3
        };
        if is_virtual {
            Ok(true)
        } else {
            Err(Exception::Protection(0))
        }
    }

    /// Whether flags that a program in virtual-8086 mode pushes or pops, of this size, have its own interrupt flag.
    pub(super) fn virtual_interrupts(&self, size: Size) -> Result<bool, Exception> {
        if !self.cpu.is_virtual_8086() || self.may_use_ports() {
            return Ok(false);
        }
        if self.has_extensions() && size == Size::Word {
            Ok(true)
        } else {
            Err(Exception::Protection(0))
        }
    }

    /// The flags as the program sees them, whose level seems to be the highest.
    pub(super) fn virtual_flags(&self) -> u64 {
        let flags = self.cpu.rflags();
        let interrupt = if flags & VIRTUAL_INTERRUPT != 0 {
            INTERRUPT
        } else {
            0
        };
        flags & !INTERRUPT | LEVEL | interrupt
    }

    /// Sets the flags that the program popped.
    pub(super) fn pop_virtual_flags(&mut self, value: u64) -> Result<(), Exception> {
        let is_pending = self.cpu.system_flags & PENDING != 0;
        if value & TRAP != 0 || is_pending && value & INTERRUPT != 0 {
            return Err(Exception::Protection(0));
        }
        popped_flags(self, Size::Word, value, 0);
        self.set_virtual(value & INTERRUPT != 0);
        Ok(())
    }

    fn set_virtual(&mut self, on: bool) {
        let flags = &mut self.cpu.system_flags;
        *flags &= !VIRTUAL_INTERRUPT;
        if on {
            *flags |= VIRTUAL_INTERRUPT;
        }
    }

    /// Whether the task's map leaves an interrupt to the program.
    fn is_kept(&mut self, vector: u8) -> Result<bool, Exception> {
        let refused = Exception::Protection(0);
        let task = self.cpu.segments.tr;
        let kind = Rights(task.rights).kind();
        if !matches!(kind, system::TASK | system::TASK_BUSY) || task.limit < 0x67 {
            return Err(refused);
        }
        let ports = self.read_table(task.base.wrapping_add(MAP), Size::Word)?;
        let at = ports
            .checked_sub(MAP_BYTES)
            .ok_or(refused)?
            .wrapping_add(u64::from(vector / 8));
        if at > task.limit.into() {
            return Err(refused);
        }
        let bits = self.read_table(task.base.wrapping_add(at), Size::Byte)?;
        Ok(bits >> (vector % 8) & 1 == 0)
    }

    /// Has the program's own handler go on.
    fn interrupt_within(&mut self, vector: u8) -> Result<(), Exception> {
        let entry = self.read_at(u64::from(vector) * 4, Size::Double, false)?;
        let is_virtual = !self.may_use_ports();
        let flags = if is_virtual {
            self.virtual_flags()
        } else {
            self.cpu.rflags()
        };
        let (caller, back) = (self.selector(Register::CS)?, self.next);
        let before = self.cpu.general;
        for value in [flags, caller, back] {
            if let Err(exception) = self.push(Size::Word, value) {
                self.cpu.general = before;
                return Err(exception);
            }
        }
        self.cpu.segments.cs = self.paragraph(Register::CS, (entry >> 16) as u16)?;
        self.next = entry & 0xffff;
        self.cpu.system_flags &= !(TRAP | RESUME);
        if is_virtual {
            self.set_virtual(false);
        } else {
            self.cpu.system_flags &= !INTERRUPT;
        }
        Ok(())
    }
}
