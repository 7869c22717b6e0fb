//! What a system does with its tables, its interrupts and its processor (SDM vol. 3, chapter 2).

use iced_x86::{Code, Mnemonic};
use x86_state::Table;

use super::{Handler, Step, virtual_interrupts};
use crate::cpu::CodeSize;
use crate::descriptor::system;
use crate::processor::is_canonical;
use crate::tables::{error_code, is_null, unusable};
use crate::{Exception, Size};

/// `CR0.TS`, and what `LMSW` can write.
const TASK_SWITCHED: u64 = 1 << 3;
const MACHINE_STATUS: u64 = 0xf;
/// `CR4.UMIP`.
const PREVENTS_INSIGHT: u64 = 1 << 11;
/// In a selector: of the local table.
const LOCAL: u16 = 1 << 2;
/// Rights of a task state that is in use.
const BUSY: u16 = 1 << 1;

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Int => virtual_interrupts::INTERRUPTION,
        Mnemonic::Int1 => |_| Err(Exception::Trap),
        Mnemonic::Cli => virtual_interrupts::CLEAR,
        Mnemonic::Sti => virtual_interrupts::SET,
        Mnemonic::Hlt => |step| {
            step.demand_system()?;
            step.cpu.halted = true;
            Ok(())
        },
        Mnemonic::Clts => |step| {
            step.demand_system()?;
            step.cpu.control.cr0 &= !TASK_SWITCHED;
            Ok(())
        },
        Mnemonic::Lmsw => |step| {
            step.demand_system()?;
            let status = step.read(0)? & MACHINE_STATUS;
            // Protection cannot be left by it.
            let cr0 = &mut step.cpu.control.cr0;
            *cr0 = *cr0 & !MACHINE_STATUS | status | *cr0 & 1;
            Ok(())
        },
        Mnemonic::Smsw => |step| {
            step.demand_insight()?;
            let status = step.cpu.control.cr0;
            step.write(0, status)
        },
        Mnemonic::Lgdt => |step| {
            let table = table(step)?;
            step.cpu.gdt = table;
            Ok(())
        },
        Mnemonic::Lidt => |step| {
            let table = table(step)?;
            step.cpu.idt = table;
            Ok(())
        },
        Mnemonic::Sgdt => |step| store_table(step, step.cpu.gdt),
        Mnemonic::Sidt => |step| store_table(step, step.cpu.idt),
        Mnemonic::Sldt => |step| store_selector(step, step.cpu.segments.ldt.selector),
        Mnemonic::Str => |step| store_selector(step, step.cpu.segments.tr.selector),
        Mnemonic::Lldt => load_local_table,
        Mnemonic::Ltr => load_task,
        _ => return None,
    })
}

impl Step<'_> {
    pub(super) fn demand_system(&self) -> Result<(), Exception> {
        if self.cpu.level() == 0 {
            Ok(())
        } else {
            Err(Exception::Protection(0))
        }
    }

    /// Programs may be kept from looking at the system's tables.
    fn demand_insight(&self) -> Result<(), Exception> {
        if self.cpu.control.cr4 & PREVENTS_INSIGHT == 0 {
            return Ok(());
        }
        self.demand_system()
    }

    /// Where a table register is in memory, and how many bytes its address has there.
    fn table_operand(&self, writes: bool) -> Result<(u64, u64, Size), Exception> {
        let is_quad = self.cpu.code_size() == CodeSize::Quad;
        let size = if is_quad { Size::Quad } else { Size::Double };
        let (offset, name) = (self.offset(0)?, self.memory_segment());
        let limit = self.linear(name, offset, 2, writes)?;
        let behind = offset.wrapping_add(2) & self.address_mask();
        let base = self.linear(name, behind, size.bytes().into(), writes)?;
        Ok((limit, base, size))
    }
}

/// What `LGDT` and `LIDT` load.
fn table(step: &mut Step<'_>) -> Result<Table, Exception> {
    step.demand_system()?;
    let (limit, base, size) = step.table_operand(false)?;
    let limit = step.read_at(limit, Size::Word, false)? as u16;
    let mut base = step.read_at(base, size, false)?;
    let code = step.instruction.code();
    if matches!(code, Code::Lgdt_m1632_16 | Code::Lidt_m1632_16) {
        base &= 0xff_ffff;
    }
    if !is_canonical(base) && size == Size::Quad {
        return Err(Exception::Protection(0));
    }
    Ok(Table { base, limit })
}

/// `SGDT` and `SIDT`, which store the whole address whatever their size.
fn store_table(step: &mut Step<'_>, table: Table) -> Result<(), Exception> {
    step.demand_insight()?;
    let (limit, base, size) = step.table_operand(true)?;
    // Both places are looked at before one is written.
    step.read_at(base, size, true)?;
    step.write_at(limit, Size::Word, table.limit.into())?;
    step.write_at(base, size, size.cut(table.base))
}

fn store_selector(step: &mut Step<'_>, selector: u16) -> Result<(), Exception> {
    if !step.cpu.is_protected() {
        return Err(Exception::InvalidOpcode);
    }
    step.demand_insight()?;
    step.write(0, selector.into())
}

fn selector_of_table(step: &mut Step<'_>) -> Result<u16, Exception> {
    if !step.cpu.is_protected() {
        return Err(Exception::InvalidOpcode);
    }
    step.demand_system()?;
    Ok(step.read(0)? as u16)
}

fn load_local_table(step: &mut Step<'_>) -> Result<(), Exception> {
    let selector = selector_of_table(step)?;
    if is_null(selector) {
        step.cpu.segments.ldt = unusable(selector);
        return Ok(());
    }
    let code = error_code(selector);
    let refused = Exception::Protection(code);
    if selector & LOCAL != 0 {
        return Err(refused);
    }
    let found = step.needed_descriptor(selector)?;
    let rights = found.descriptor.rights();
    if !rights.is_system() || rights.kind() != system::LDT {
        return Err(refused);
    }
    let high = step.high_of_base(selector, found)?;
    if !rights.is_present() {
        return Err(Exception::NotPresent(code));
    }
    let mut segment = found.descriptor.segment(selector);
    segment.base |= high;
    step.cpu.segments.ldt = segment;
    Ok(())
}

fn load_task(step: &mut Step<'_>) -> Result<(), Exception> {
    let selector = selector_of_table(step)?;
    if is_null(selector) {
        return Err(Exception::Protection(0));
    }
    let code = error_code(selector);
    let refused = Exception::Protection(code);
    if selector & LOCAL != 0 {
        return Err(refused);
    }
    let found = step.needed_descriptor(selector)?;
    let rights = found.descriptor.rights();
    let is_task = match rights.kind() {
        system::TASK => true,
        system::TASK_16 => !step.cpu.is_long(),
        _ => false,
    };
    if !rights.is_system() || !is_task {
        return Err(refused);
    }
    let high = step.high_of_base(selector, found)?;
    if !rights.is_present() {
        return Err(Exception::NotPresent(code));
    }
    step.set_rights(found, BUSY)?;
    let mut segment = found.descriptor.segment(selector);
    segment.base |= high;
    segment.rights |= BUSY;
    step.cpu.segments.tr = segment;
    Ok(())
}
