//! Ports, and who may use them (SDM vol. 1, chapter 18).

use iced_x86::{Mnemonic, OpKind};

use super::{Handler, Step};
use crate::descriptor::{Rights, system};
use crate::{Exception, Size};

/// Where a task state says where its map of ports begins.
const MAP: u64 = 0x66;

pub(super) fn handler(mnemonic: Mnemonic) -> Option<Handler> {
    Some(match mnemonic {
        Mnemonic::In => |step| {
            let size = step.size(0);
            let port = port_operand(step, 1);
            step.demand_port(port, size)?;
            let value = step.system()?.port_read(port, size);
            step.write(0, size.cut(value))
        },
        Mnemonic::Out => |step| {
            let (size, value) = (step.size(1), step.read(1)?);
            let port = port_operand(step, 0);
            step.demand_port(port, size)?;
            step.system()?.port_write(port, size, size.cut(value));
            Ok(())
        },
        Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => |step| {
            let size = string_size(step)?;
            let port = step.cpu.general[2] as u16;
            step.demand_port(port, size)?;
            super::string::repeat_counted(step, size, |step, size| {
                let address = step.string_address(0, size, true)?;
                // What cannot be stored must not be taken from the device.
                step.read_at(address, size, true)?;
                let value = step.system()?.port_read(port, size);
                step.write_at(address, size, size.cut(value))?;
                step.advance(&[0], size);
                Ok(())
            })
        },
        Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => |step| {
            let size = string_size(step)?;
            let port = step.cpu.general[2] as u16;
            step.demand_port(port, size)?;
            super::string::repeat_counted(step, size, |step, size| {
                let value = step.load_string(1, size)?;
                step.system()?.port_write(port, size, value);
                step.advance(&[1], size);
                Ok(())
            })
        },
        _ => return None,
    })
}

fn string_size(step: &Step<'_>) -> Result<Size, Exception> {
    let bytes = step.instruction.memory_size().size();
    super::operand::size_of(bytes).ok_or(Exception::InvalidOpcode)
}

/// A port that an operand names: a constant, or `DX`.
fn port_operand(step: &Step<'_>, operand: u32) -> u16 {
    if step.instruction.op_kind(operand) == OpKind::Register {
        step.cpu.general[2] as u16
    } else {
        step.instruction.immediate8().into()
    }
}

impl Step<'_> {
    /// Whether the program may use so many ports from this one on: by its level, or by the task's map.
    fn demand_port(&mut self, port: u16, size: Size) -> Result<(), Exception> {
        let is_free = !self.cpu.is_virtual_8086() && self.may_use_ports();
        if !self.cpu.is_protected() && !self.cpu.is_virtual_8086() || is_free {
            return Ok(());
        }
        let refused = Exception::Protection(0);
        let task = self.cpu.segments.tr;
        let kind = Rights(task.rights).kind();
        if !matches!(kind, system::TASK | system::TASK_BUSY) || task.limit < 0x67 {
            return Err(refused);
        }
        let map = self.read_table(task.base.wrapping_add(MAP), Size::Word)?;
        let at = map + u64::from(port / 8);
        if at + 1 > task.limit.into() {
            return Err(refused);
        }
        let bits = self.read_table(task.base.wrapping_add(at), Size::Word)?;
        let mask = (1 << size.bytes()) - 1;
        if bits >> (port % 8) & mask != 0 {
            return Err(refused);
        }
        Ok(())
    }
}
