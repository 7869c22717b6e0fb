//! Model-specific registers, and what a processor says of itself (SDM vol. 4; vol. 2, CPUID; APM vol. 2, 3.2).

use iced_x86::{Mnemonic, Register};

use super::{Handler, Step};
use crate::cpu::CodeSize;
use crate::processor::is_canonical;
use crate::{Exception, Size};

/// Bits of `CR4`: `TSD`, `PCE`, `FSGSBASE`, `OSXSAVE`, `SMAP`.
const NO_TIME: u64 = 1 << 2;
const COUNTERS: u64 = 1 << 8;
const BASES: u64 = 1 << 16;
const EXTENDED_STATES: u64 = 1 << 18;
const SMAP: u64 = 1 << 21;
/// `CR0.PG`, `EFER.LME` and `EFER.LMA`.
const PAGING: u64 = 1 << 31;
const LONG_MODE: u64 = 1 << 8;
const LONG_MODE_ACTIVE: u64 = 1 << 10;
/// `RFLAGS.AC`.
const ALIGNMENT_CHECK: u64 = 1 << 18;
/// In leaf 1 of `CPUID`, `ecx`: the system has extended states.
const LEAF_EXTENDED_STATES: u32 = 1 << 27;
/// Parts of `XCR0`: x87, SSE, AVX.
const X87: u64 = 1;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
/// Places of registers, in the order of encoding.
const RAX: usize = 0;
const RCX: usize = 1;
const RDX: usize = 2;
const RBX: usize = 3;

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::Rdmsr => read,
        Mnemonic::Wrmsr => write,
        Mnemonic::Cpuid => identify,
        Mnemonic::Rdtsc => |step| {
            let now = time_stamp(step)?;
            step.set_pair(now);
            Ok(())
        },
        Mnemonic::Rdtscp => |step| {
            let now = time_stamp(step)?;
            step.set_pair(now);
            step.cpu.general[RCX] = step.cpu.model_specific.tsc_aux & 0xffff_ffff;
            Ok(())
        },
        Mnemonic::Rdpid => |step| {
            let number = step.cpu.model_specific.tsc_aux;
            step.set_register(step.instruction.op_register(0), number);
            Ok(())
        },
        Mnemonic::Rdpmc => |step| {
            if step.cpu.control.cr4 & COUNTERS == 0 {
                step.demand_system()?;
            }
            // There is none.
            Err(Exception::Protection(0))
        },
        Mnemonic::Swapgs => |step| {
            demand_quad(step)?;
            step.demand_system()?;
            let cpu = &mut *step.cpu;
            let (base, other) = (&mut cpu.segments.gs.base, &mut cpu.model_specific);
            std::mem::swap(base, &mut other.kernel_gs_base);
            Ok(())
        },
        Mnemonic::Rdfsbase | Mnemonic::Rdgsbase | Mnemonic::Wrfsbase | Mnemonic::Wrgsbase => base,
        Mnemonic::Xgetbv => |step| {
            demand_extended_states(step)?;
            let number = step.cpu.general[RCX] as u32;
            let value = step.cpu.control.xcr0;
            if number > 0 {
                return Err(Exception::Protection(0));
            }
            step.set_pair(value);
            Ok(())
        },
        Mnemonic::Xsetbv => set_states,
        Mnemonic::Rdrand | Mnemonic::Rdseed => random,
        Mnemonic::Stac | Mnemonic::Clac => |step| {
            let is_there = step.system()?.features().cr4 & SMAP != 0;
            if !is_there || step.cpu.level() != 0 {
                return Err(Exception::InvalidOpcode);
            }
            if step.instruction.mnemonic() == Mnemonic::Stac {
                step.cpu.system_flags |= ALIGNMENT_CHECK;
            } else {
                step.cpu.system_flags &= !ALIGNMENT_CHECK;
            }
            Ok(())
        },
        // Waiting for a store may end at any time, so it ends at once.
        Mnemonic::Monitor => |step| {
            demand_monitor(step)?;
            let offset = step.register(step.instruction.op_register(0));
            let segment = match step.instruction.segment_prefix() {
                Register::None => Register::DS,
                named => named,
            };
            let address = step.linear(segment, offset, 1, false)?;
            step.read_at(address, Size::Byte, false)?;
            Ok(())
        },
        Mnemonic::Mwait => demand_monitor,
        // There are no caches to be seen.
        Mnemonic::Invd | Mnemonic::Wbinvd | Mnemonic::Wbnoinvd => |step| step.demand_system(),
        Mnemonic::Clflush | Mnemonic::Clflushopt | Mnemonic::Clwb => |step| {
            let offset = step.offset(0)?;
            let segment = step.memory_segment();
            let address = step.linear(segment, offset, 1, false)?;
            step.read_at(address, Size::Byte, false)?;
            Ok(())
        },
        _ => return None,
    })
}

impl Step<'_> {
    /// Sets `edx:eax`.
    fn set_pair(&mut self, value: u64) {
        self.cpu.general[RAX] = value & 0xffff_ffff;
        self.cpu.general[RDX] = value >> 32;
    }

    /// `edx:eax`.
    fn pair(&self) -> u64 {
        self.cpu.general[RDX] << 32 | self.cpu.general[RAX] & 0xffff_ffff
    }
}

fn demand_quad(step: &Step<'_>) -> Result<(), Exception> {
    if step.cpu.code_size() == CodeSize::Quad {
        Ok(())
    } else {
        Err(Exception::InvalidOpcode)
    }
}

/// `MONITOR` and `MWAIT` are a system's, and have no extensions here.
fn demand_monitor(step: &mut Step<'_>) -> Result<(), Exception> {
    if step.cpu.level() != 0 {
        return Err(Exception::InvalidOpcode);
    }
    if step.cpu.general[RCX] & 0xffff_ffff != 0 {
        return Err(Exception::Protection(0));
    }
    Ok(())
}

fn demand_extended_states(step: &Step<'_>) -> Result<(), Exception> {
    if step.cpu.control.cr4 & EXTENDED_STATES == 0 {
        return Err(Exception::InvalidOpcode);
    }
    Ok(())
}

fn time_stamp(step: &mut Step<'_>) -> Result<u64, Exception> {
    if step.cpu.control.cr4 & NO_TIME != 0 {
        step.demand_system()?;
    }
    Ok(step.system()?.time_stamp())
}

/// A register that instructions use, by its number.
fn register<'s>(step: &'s mut Step<'_>, number: u32) -> Option<&'s mut u64> {
    let cpu = &mut *step.cpu;
    let registers = &mut cpu.model_specific;
    Some(match number {
        0x174 => &mut registers.sysenter_cs,
        0x175 => &mut registers.sysenter_esp,
        0x176 => &mut registers.sysenter_eip,
        0x277 => &mut registers.pat,
        0xc000_0080 => &mut cpu.control.efer,
        0xc000_0081 => &mut registers.star,
        0xc000_0082 => &mut registers.lstar,
        0xc000_0083 => &mut registers.cstar,
        0xc000_0084 => &mut registers.flag_mask,
        0xc000_0100 => &mut cpu.segments.fs.base,
        0xc000_0101 => &mut cpu.segments.gs.base,
        0xc000_0102 => &mut registers.kernel_gs_base,
        0xc000_0103 => &mut registers.tsc_aux,
        _ => return None,
    })
}

fn read(step: &mut Step<'_>) -> Result<(), Exception> {
    step.demand_system()?;
    let number = step.cpu.general[RCX] as u32;
    let value = match register(step, number) {
        Some(value) => *value,
        None => {
            let value = step.system()?.model_specific(number);
            value.ok_or(Exception::Protection(0))?
        }
    };
    step.set_pair(value);
    Ok(())
}

fn write(step: &mut Step<'_>) -> Result<(), Exception> {
    step.demand_system()?;
    let (number, value) = (step.cpu.general[RCX] as u32, step.pair());
    let refused = Exception::Protection(0);
    let value = match number {
        0xc000_0080 => mode(step, value)?,
        0x175 | 0x176 | 0xc000_0082 | 0xc000_0083 | 0xc000_0100..=0xc000_0102
            if !is_canonical(value) =>
        {
            return Err(refused);
        }
        0x277 if !is_attribute_table(value) => return Err(refused),
        0x174 | 0xc000_0084 | 0xc000_0103 => value & 0xffff_ffff,
        _ => value,
    };
    if let Some(register) = register(step, number) {
        *register = value;
        return Ok(());
    }
    if step.system()?.set_model_specific(number, value) {
        Ok(())
    } else {
        Err(refused)
    }
}

/// What `EFER` becomes.
fn mode(step: &mut Step<'_>, value: u64) -> Result<u64, Exception> {
    let control = step.cpu.control;
    let known = step.system()?.features().efer;
    let changes = (value ^ control.efer) & LONG_MODE != 0;
    if value & !(known | LONG_MODE_ACTIVE) != 0 || changes && control.cr0 & PAGING != 0 {
        return Err(Exception::Protection(0));
    }
    let value = value & !LONG_MODE_ACTIVE | control.efer & LONG_MODE_ACTIVE;
    if value != control.efer {
        step.cpu.control.efer = value;
        step.forget(crate::Forget::All)?;
    }
    Ok(value)
}

/// Whether each of the eight memory types is one (SDM vol. 3, 11.12.2).
fn is_attribute_table(value: u64) -> bool {
    value
        .to_le_bytes()
        .iter()
        .all(|kind| matches!(kind, 0 | 1 | 4..=7))
}

fn identify(step: &mut Step<'_>) -> Result<(), Exception> {
    let (leaf, index) = (step.cpu.general[RAX] as u32, step.cpu.general[RCX] as u32);
    let [eax, ebx, mut ecx, edx] = step.system()?.identify(leaf, index);
    if leaf == 1 && step.cpu.control.cr4 & EXTENDED_STATES != 0 {
        ecx |= LEAF_EXTENDED_STATES;
    }
    step.cpu.general[RAX] = eax.into();
    step.cpu.general[RBX] = ebx.into();
    step.cpu.general[RCX] = ecx.into();
    step.cpu.general[RDX] = edx.into();
    Ok(())
}

/// `RDFSBASE` and its like.
fn base(step: &mut Step<'_>) -> Result<(), Exception> {
    demand_quad(step)?;
    if step.cpu.control.cr4 & BASES == 0 {
        return Err(Exception::InvalidOpcode);
    }
    let operand = step.instruction.op_register(0);
    let value = step.register(operand);
    let mnemonic = step.instruction.mnemonic();
    let is_write = matches!(mnemonic, Mnemonic::Wrfsbase | Mnemonic::Wrgsbase);
    let segments = &mut step.cpu.segments;
    let base = match mnemonic {
        Mnemonic::Rdfsbase | Mnemonic::Wrfsbase => &mut segments.fs.base,
        _ => &mut segments.gs.base,
    };
    if !is_write {
        let value = *base;
        step.set_register(operand, value);
    } else if is_canonical(value) {
        *base = value;
    } else {
        return Err(Exception::Protection(0));
    }
    Ok(())
}

/// `XSETBV`.
fn set_states(step: &mut Step<'_>) -> Result<(), Exception> {
    demand_extended_states(step)?;
    step.demand_system()?;
    let (number, value) = (step.cpu.general[RCX] as u32, step.pair());
    let known = step.system()?.features().xcr0;
    let is_whole = value & AVX == 0 || value & SSE != 0;
    if number != 0 || value & X87 == 0 || value & !known != 0 || !is_whole {
        return Err(Exception::Protection(0));
    }
    step.cpu.control.xcr0 = value;
    Ok(())
}

fn random(step: &mut Step<'_>) -> Result<(), Exception> {
    let number = step.system()?.random();
    let operand = step.instruction.op_register(0);
    step.set_register(operand, number.unwrap_or(0));
    step.cpu.flags = crate::Flags::from_bits(number.is_some().into());
    Ok(())
}
