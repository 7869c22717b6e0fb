//! Control and debug registers, and the translations that depend on them (SDM vol. 3, 2.5, 4.10.4 and 17.2).

use iced_x86::{Mnemonic, OpKind};

use super::{Handler, Step};
use crate::cpu::CodeSize;
use crate::processor::is_canonical;
use crate::{Exception, Forget, Size};

/// Bits of `CR0`: `PE`, `ET`, `WP`, `NW`, `CD`, `PG`; those that there are.
const PROTECTION: u64 = 1;
const EXTENSION_TYPE: u64 = 1 << 4;
const WRITE_PROTECT: u64 = 1 << 16;
const NOT_WRITE_THROUGH: u64 = 1 << 29;
const CACHE_DISABLE: u64 = 1 << 30;
const PAGING: u64 = 1 << 31;
const CR0_KNOWN: u64 = 0xe005_003f;
/// Bits of `CR4`: `DE`, `PSE`, `PAE`, `PGE`, `PCIDE`, `SMEP`, `SMAP`.
const DEBUGGING: u64 = 1 << 3;
const PAGE_SIZE: u64 = 1 << 4;
const ADDRESS_EXTENSION: u64 = 1 << 5;
const GLOBAL_PAGES: u64 = 1 << 7;
const PROCESS_CONTEXTS: u64 = 1 << 17;
const SMEP: u64 = 1 << 20;
const SMAP: u64 = 1 << 21;
/// Bits of `EFER`: `LME`, `LMA`.
const LONG_MODE: u64 = 1 << 8;
const LONG_MODE_ACTIVE: u64 = 1 << 10;
/// In what is loaded into `CR3` with process contexts: translations stay.
const KEEP: u64 = 1 << 63;
const CONTEXT: u64 = 0xfff;
/// `DR6.BD`, those of its bits that can be written, and those that are always set.
const ACCESS_DETECTED: u64 = 1 << 13;
const STATUS_WRITABLE: u64 = 0xe00f;
const STATUS_FIXED: u64 = 0xffff_0ff0;
/// `DR7.GD`, the bits that can be written, and the one that is always set.
const GENERAL_DETECT: u64 = 1 << 13;
const DEBUG_WRITABLE: u64 = 0xffff_23ff;
const DEBUG_FIXED: u64 = 1 << 10;

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Invlpg => |step| {
            step.demand_system()?;
            let offset = step.offset(0)?;
            let address = step.unchecked(step.memory_segment(), offset);
            step.forget(Forget::Page(address))?;
            Ok(())
        },
        Mnemonic::Invpcid => invalidate_contexts,
        _ => return None,
    })
}

/// Whether a `MOV` is from or to a control or debug register.
pub(super) fn is_concerned(step: &Step<'_>) -> bool {
    let is_one = |operand: u32| {
        let register = step.instruction.op_register(operand);
        register.is_cr() || register.is_dr()
    };
    (0..2).any(|operand| step.instruction.op_kind(operand) == OpKind::Register && is_one(operand))
}

/// `MOV` from or to such a register.
pub(super) fn copy(step: &mut Step<'_>) -> Result<(), Exception> {
    let (to, from) = (
        step.instruction.op_register(0),
        step.instruction.op_register(1),
    );
    let is_write = to.is_cr() || to.is_dr();
    let named = if is_write { to } else { from };
    let number = named.number();
    if named.is_cr() && !matches!(number, 0 | 2 | 3 | 4 | 8) {
        return Err(Exception::InvalidOpcode);
    }
    let debug = if named.is_dr() {
        debug_register(step, number)?
    } else {
        0
    };
    step.demand_system()?;
    match (named.is_cr(), is_write) {
        (true, true) => {
            let value = step.register(from);
            write_control(step, number, value)
        }
        (true, false) => {
            let value = read_control(step, number)?;
            step.set_register(to, value);
            Ok(())
        }
        (false, true) => {
            detect(step)?;
            let value = step.register(from);
            write_debug(step, debug, value)
        }
        (false, false) => {
            detect(step)?;
            step.set_register(to, step.cpu.debug[debug]);
            Ok(())
        }
    }
}

impl Step<'_> {
    /// Has translations forgotten that no longer hold.
    pub(super) fn forget(&mut self, which: Forget) -> Result<(), Exception> {
        let control = self.cpu.control;
        self.system()?.forget(which, &control);
        Ok(())
    }
}

fn read_control(step: &mut Step<'_>, number: usize) -> Result<u64, Exception> {
    let control = &step.cpu.control;
    Ok(match number {
        0 => control.cr0,
        2 => control.cr2,
        3 => control.cr3,
        4 => control.cr4,
        _ => step.system()?.task_priority().into(),
    })
}

fn write_control(step: &mut Step<'_>, number: usize, value: u64) -> Result<(), Exception> {
    match number {
        0 => write_cr0(step, value),
        2 => {
            step.cpu.control.cr2 = value;
            Ok(())
        }
        3 => write_cr3(step, value),
        4 => write_cr4(step, value),
        _ => {
            demand(value <= 15)?;
            step.system()?.set_task_priority(value as u8);
            Ok(())
        }
    }
}

fn demand(holds: bool) -> Result<(), Exception> {
    if holds {
        Ok(())
    } else {
        Err(Exception::Protection(0))
    }
}

fn write_cr0(step: &mut Step<'_>, value: u64) -> Result<(), Exception> {
    let control = step.cpu.control;
    let has = |bit: u64| value & bit != 0;
    demand(value >> 32 == 0)?;
    demand(has(CACHE_DISABLE) || !has(NOT_WRITE_THROUGH))?;
    demand(has(PROTECTION) || !has(PAGING))?;
    let begins = has(PAGING) && control.cr0 & PAGING == 0;
    let ends = !has(PAGING) && control.cr0 & PAGING != 0;
    if begins && control.efer & LONG_MODE != 0 {
        demand(control.cr4 & ADDRESS_EXTENSION != 0)?;
        // 64-bit code cannot begin before there is paging.
        demand(step.cpu.segments.cs.rights & 1 << 13 == 0)?;
        demand(step.cpu.segments.tr.rights & 15 > 8)?;
        step.cpu.control.efer |= LONG_MODE_ACTIVE;
    } else if begins && control.cr4 & ADDRESS_EXTENSION != 0 {
        check_pointers(step, control.cr3)?;
    }
    if ends {
        demand(step.cpu.code_size() != CodeSize::Quad)?;
        demand(control.cr4 & PROCESS_CONTEXTS == 0)?;
        step.cpu.control.efer &= !LONG_MODE_ACTIVE;
    }
    let value = value & CR0_KNOWN | EXTENSION_TYPE;
    step.cpu.control.cr0 = value;
    if (value ^ control.cr0) & (PROTECTION | WRITE_PROTECT | PAGING) != 0 {
        step.forget(Forget::All)?;
    }
    Ok(())
}

fn write_cr3(step: &mut Step<'_>, value: u64) -> Result<(), Exception> {
    let control = step.cpu.control;
    let physical_bits = step.system()?.features().physical_bits;
    let has_contexts = control.cr4 & PROCESS_CONTEXTS != 0;
    let keeps = has_contexts && value & KEEP != 0;
    let value = if has_contexts { value & !KEEP } else { value };
    if step.cpu.is_long() {
        demand(value >> physical_bits == 0)?;
    } else if control.cr0 & PAGING != 0 && control.cr4 & ADDRESS_EXTENSION != 0 {
        check_pointers(step, value)?;
    }
    step.cpu.control.cr3 = value;
    let context = step.cpu.control.context();
    step.forget(if keeps {
        Forget::Nothing
    } else {
        Forget::Context(context)
    })
}

/// The four top entries of PAE paging, which the processor looks at when `CR3` is loaded (4.4.1).
fn check_pointers(step: &mut Step<'_>, cr3: u64) -> Result<(), Exception> {
    const PRESENT: u64 = 1;
    let physical_bits = step.system()?.features().physical_bits;
    let above = u64::MAX << physical_bits;
    let reserved = above | 0x1e6;
    let at = cr3 & 0xffff_ffe0;
    for number in 0..4 {
        let entry = step.system()?.physical(at + 8 * number);
        demand(entry & PRESENT == 0 || entry & reserved == 0)?;
    }
    Ok(())
}

fn write_cr4(step: &mut Step<'_>, value: u64) -> Result<(), Exception> {
    let control = step.cpu.control;
    let features = step.system()?.features();
    let has = |bit: u64| value & bit != 0;
    demand(value & !features.cr4 == 0)?;
    let is_long = step.cpu.is_long();
    demand(!is_long || has(ADDRESS_EXTENSION))?;
    let changed = value ^ control.cr4;
    if changed & value & PROCESS_CONTEXTS != 0 {
        demand(is_long && control.cr3 & CONTEXT == 0)?;
    }
    let of_pointers = changed & (ADDRESS_EXTENSION | PAGE_SIZE | GLOBAL_PAGES | SMEP) != 0;
    let has_pointers = has(ADDRESS_EXTENSION) && control.cr0 & PAGING != 0 && !is_long;
    if of_pointers && has_pointers {
        check_pointers(step, control.cr3)?;
    }
    step.cpu.control.cr4 = value;
    let translating = PAGE_SIZE | ADDRESS_EXTENSION | GLOBAL_PAGES | PROCESS_CONTEXTS | SMEP | SMAP;
    if changed & translating != 0 {
        step.forget(Forget::All)?;
    }
    Ok(())
}

/// The place of a debug register; `dr4` and `dr5` are `dr6` and `dr7` where debugging is not extended.
fn debug_register(step: &Step<'_>, number: usize) -> Result<usize, Exception> {
    match number {
        0..4 => Ok(number),
        4 | 5 if step.cpu.control.cr4 & DEBUGGING == 0 => Ok(number),
        6 | 7 => Ok(number - 2),
        _ => Err(Exception::InvalidOpcode),
    }
}

/// A debugger may ask to be told of accesses to its registers.
fn detect(step: &mut Step<'_>) -> Result<(), Exception> {
    let [.., status, control] = &mut step.cpu.debug;
    if *control & GENERAL_DETECT == 0 {
        return Ok(());
    }
    *status |= ACCESS_DETECTED;
    *control &= !GENERAL_DETECT;
    Err(Exception::Debug)
}

fn write_debug(step: &mut Step<'_>, place: usize, value: u64) -> Result<(), Exception> {
    step.cpu.debug[place] = match place {
        0..4 => value,
        _ if value >> 32 != 0 => return Err(Exception::Protection(0)),
        4 => value & STATUS_WRITABLE | STATUS_FIXED,
        _ => value & DEBUG_WRITABLE | DEBUG_FIXED,
    };
    Ok(())
}

/// `INVPCID`.
fn invalidate_contexts(step: &mut Step<'_>) -> Result<(), Exception> {
    step.demand_system()?;
    let offset = step.offset(1)?;
    let address = step.linear(step.memory_segment(), offset, 16, false)?;
    let context = step.read_at(address, Size::Quad, false)?;
    let linear = step.read_at(address.wrapping_add(8), Size::Quad, false)?;
    let kind = step.register(step.instruction.op_register(0));
    demand(kind <= 3)?;
    let has_contexts = step.cpu.control.cr4 & PROCESS_CONTEXTS != 0;
    if kind <= 1 {
        demand(context >> 12 == 0)?;
        demand(has_contexts || context == 0)?;
    }
    demand(kind != 0 || is_canonical(linear))?;
    let which = match kind {
        0 => Forget::Page(linear),
        1 => Forget::Context(context as u16),
        // Of all contexts, with the global ones or without.
        _ => Forget::All,
    };
    step.forget(which)?;
    Ok(())
}
