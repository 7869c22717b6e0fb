//! The commands of gdb's `monitor`.

use engine_contract::VcpuId;
use machine_memory::GuestMemory;
use x86_listing::{BYTES_WANTED, bitness, code_address, describe};
use x86_paging::Rights;
use x86_state::CpuState;

use crate::gate::Gate;
use crate::memory;

/// Most bytes that are shown.
const SHOWN_MAX: u64 = 4096;
const LINE: usize = 16;
const HELP: &str = "\
monitor help                  this
monitor registers [CPU]       all registers of a virtual CPU, and where it is
monitor translate ADDRESS     where an address leads, by the current virtual CPU's page tables
monitor physical ADDRESS LEN  memory by physical address
monitor interrupts            whether interrupts wait while one steps
monitor interrupts hold       they do
monitor interrupts deliver    a step may be the delivery of one
Numbers are as in C: 0x1000 or 4096. CPU counts from 0. The current virtual CPU is the one that gdb last asked about.";

/// Where commands look.
pub(crate) struct Monitor<'g> {
    pub(crate) gate: &'g Gate,
    pub(crate) memory: &'g GuestMemory,
    /// The virtual CPU that was asked about last.
    pub(crate) current: VcpuId,
}

impl Monitor<'_> {
    /// What a command answers: some lines.
    pub(crate) fn answer(&self, command: &[u8]) -> String {
        let text = String::from_utf8_lossy(command);
        let words: Vec<&str> = text.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["registers"] => self.registers(self.current),
            ["registers", cpu] => number(cpu)
                .and_then(|cpu| u32::try_from(cpu).map_err(|_| format!("no virtual CPU {cpu}")))
                .and_then(|cpu| self.registers(VcpuId(cpu))),
            ["translate", address] => number(address).and_then(|address| self.translate(address)),
            ["physical", address, length] => number(address)
                .and_then(|address| Ok((address, number(length)?)))
                .and_then(|(address, length)| self.physical(address, length)),
            ["interrupts"] => Ok(self.interrupts()),
            ["interrupts", "hold"] => {
                self.gate.hold_interrupts(true);
                Ok(self.interrupts())
            }
            ["interrupts", "deliver"] => {
                self.gate.hold_interrupts(false);
                Ok(self.interrupts())
            }
            [] | ["help"] => Ok(HELP.to_owned()),
            _ => Err("no such command; `monitor help` says what there is".to_owned()),
        };
        answer.unwrap_or_else(|why| why)
    }

    fn state(&self, id: VcpuId) -> Result<CpuState, String> {
        let state = self.gate.state(id);
        state.ok_or_else(|| format!("virtual CPU {} does not wait here", id.0))
    }

    fn registers(&self, id: VcpuId) -> Result<String, String> {
        let state = self.state(id)?;
        let mut bytes = vec![0; BYTES_WANTED];
        let count = memory::read(self.memory, &state, code_address(&state), &mut bytes);
        bytes.truncate(count);
        let (number, bits) = (id.0, bitness(&state));
        let shown = describe(&state, &bytes);
        Ok(format!("virtual CPU {number}, {bits} bits\n{shown}"))
    }

    fn interrupts(&self) -> String {
        let text = if self.gate.holds_interrupts() {
            "interrupts wait while one steps"
        } else {
            "a step may be the delivery of an interrupt"
        };
        text.to_owned()
    }

    fn translate(&self, address: u64) -> Result<String, String> {
        let state = self.state(self.current)?;
        let mapping = memory::translate(self.memory, &state, address);
        let mapping = mapping.ok_or_else(|| format!("{address:#x} leads nowhere"))?;
        let mut rights = vec!["read"];
        let named = [
            (Rights::WRITE, "write"),
            (Rights::EXECUTE, "execute"),
            (Rights::USER, "also by programs"),
        ];
        let given = named
            .iter()
            .filter(|(right, _)| mapping.rights.contains(*right));
        rights.extend(given.map(|(_, name)| *name));
        Ok(format!(
            "{address:#x} is physical {:#x}, in a page of {} KiB: {}",
            mapping.physical,
            (1_u64 << mapping.page_shift) >> 10,
            rights.join(", ")
        ))
    }

    fn physical(&self, address: u64, length: u64) -> Result<String, String> {
        if length > SHOWN_MAX {
            return Err(format!(
                "{length} bytes are more than {SHOWN_MAX}, which are shown at most"
            ));
        }
        let mut bytes = vec![0; length as usize];
        let read = self.memory.read(address, &mut bytes);
        read.map_err(|_| format!("{address:#x} and {length} bytes from there are not all memory"))?;
        let line = |(number, bytes): (usize, &[u8])| {
            let at = address.wrapping_add((number * LINE) as u64);
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{at:016x}: {}", bytes.join(" "))
        };
        let lines: Vec<String> = bytes.chunks(LINE).enumerate().map(line).collect();
        Ok(lines.join("\n"))
    }
}

/// A number as C writes it.
fn number(text: &str) -> Result<u64, String> {
    let read = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    read.map_err(|_| format!("'{text}' is no number (write it as 0x1000 or 4096)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_is_answered() {
        let memory = machine_memory::create(0x2000).unwrap();
        memory.write(0x1ffc, b"\x01\xab\x00\xff").unwrap();
        let gate = Gate::new(Vec::new()).unwrap();
        let monitor = Monitor {
            gate: &gate,
            memory: &memory,
            current: VcpuId(0),
        };
        let check = |command: &str, says: &str| {
            let answer = monitor.answer(command.as_bytes());
            assert!(answer.contains(says), "{command}: {answer}");
        };
        check("", "monitor help");
        check("physical 0x1ffc 4", "0000000000001ffc: 01 ab 00 ff");
        check("physical 0x1ffc 5", "not all memory");
        check("physical 0 0", "");
        check("physical 0 4097", "more than 4096");
        check("physical 1ffc 4", "no number");
        check("physical -1 4", "no number");
        check("registers 7", "virtual CPU 7 does not wait");
        check("registers 99999999999", "no virtual CPU");
        check("translate 0xffffffffffffffff", "does not wait");
        check("interrupts", "interrupts wait");
        check("interrupts deliver", "may be the delivery");
        check("interrupts", "may be the delivery");
        check("interrupts hold", "interrupts wait");
        check("quit", "no such command");
        assert!(monitor.answer(&[0xff, 0xfe, 0]).contains("no such command"));
    }
}
