//! What may differ, and why: all that is excused on any host.

use iced_x86::{Code, Mnemonic};
use machine_debugger::memory;
use machine_memory::GuestMemory;
use x86_state::CpuState;

use crate::compare::TIME;
use crate::instruction::{Here, reads_register};

const RCX: usize = 1;
/// KVM's clock is on the page that this register names (Linux, Documentation/virt/kvm/x86/msr.rst).
const CLOCK: u32 = 0x4b56_4d01;
const PAGE: u64 = !0xfff;

/// A kind of difference that is excused, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Counter,
    TimeRegister,
    TimePage,
    Processor,
    Random,
    Port,
    Device,
    Undefined,
    InUse,
}

/// What is excused: by kind, what it is called, and why.
pub(crate) const TABLE: [(Kind, &str, &str); 9] = [
    (
        Kind::Counter,
        "the time-stamp counter",
        "RDTSC and RDTSCP read the time (SDM vol. 3, 18.17); both get KVM's",
    ),
    (
        Kind::TimeRegister,
        "registers that tell time",
        "RDMSR of the counter, the deadline, KVM's clocks; both get KVM's",
    ),
    (
        Kind::TimePage,
        "KVM's clock in memory",
        "the page changes with time (Linux, Documentation/virt/kvm/x86/msr.rst); both get KVM's",
    ),
    (
        Kind::Processor,
        "the processor's identity",
        "CPUID: the interpreter is a processor of its own; both get its answers, of features those that both have",
    ),
    (
        Kind::Random,
        "random numbers",
        "RDRAND and RDSEED (SDM vol. 1, 7.3.17); both get KVM's",
    ),
    (
        Kind::Port,
        "ports",
        "IN reads devices, which have a time and a state of their own; both get KVM's",
    ),
    (
        Kind::Device,
        "registers of devices in memory",
        "a load from where there is no memory; KVM's own controllers have a state of their own; both get KVM's",
    ),
    (
        Kind::Undefined,
        "flags and results that are undefined",
        "by each instruction's page (SDM vol. 2, \"Flags Affected\"; see undefined.rs); both get KVM's",
    ),
    (
        Kind::InUse,
        "which states a saved image calls in use",
        "a processor may call a state that is as after reset in use or not (SDM vol. 1, 13.6); both get KVM's",
    ),
];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        let found = TABLE.iter().find(|(kind, _, _)| *kind == self);
        found.map_or("", |(_, name, _)| name)
    }
}

/// Why general registers and flags may differ after this instruction.
pub(crate) fn kind(here: &Here, before: &CpuState, machine: &GuestMemory) -> Option<Kind> {
    match here.mnemonic() {
        Mnemonic::Rdtsc | Mnemonic::Rdtscp => return Some(Kind::Counter),
        Mnemonic::Cpuid => return Some(Kind::Processor),
        Mnemonic::Rdrand | Mnemonic::Rdseed => return Some(Kind::Random),
        Mnemonic::In | Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => return Some(Kind::Port),
        _ => {}
    }
    let number = before.general[RCX] as u32;
    if reads_register(here.instruction.code()) && is_time(number) {
        return Some(Kind::TimeRegister);
    }
    if here.instruction.code() == Code::Rdmsr && is_controller(number) {
        return Some(Kind::Device);
    }
    let operands = here.operands(before);
    let mut places = operands
        .iter()
        .filter_map(|address| memory::translate(machine, before, *address));
    places.find_map(|mapping| place_kind(mapping.physical, before, machine))
}

fn is_time(number: u32) -> bool {
    // The local timer's current count is time, too.
    TIME.contains(&number) || number == 0x839
}

/// The local controller's registers (SDM vol. 3, 11.12.1.2).
fn is_controller(number: u32) -> bool {
    (0x800..0x900).contains(&number)
}

fn place_kind(physical: u64, state: &CpuState, machine: &GuestMemory) -> Option<Kind> {
    if machine.file_offset(physical).is_none() {
        return Some(Kind::Device);
    }
    let clock = clock_page(state)?;
    (physical & PAGE == clock).then_some(Kind::TimePage)
}

/// The page of KVM's clock, if the guest has it.
pub(crate) fn clock_page(state: &CpuState) -> Option<u64> {
    let mut registers = state.model_specific.iter();
    let (_, value) = registers.find(|(number, _)| *number == CLOCK)?;
    (value & 1 != 0).then_some(value & PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_line_and_its_reason() {
        let kinds: std::collections::BTreeSet<Kind> =
            TABLE.iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(kinds.len(), TABLE.len());
        assert!(
            TABLE
                .iter()
                .all(|(kind, name, why)| kind.name() == *name && why.len() > 20)
        );
    }

    #[test]
    fn memory_is_no_exception() {
        let memory = machine_memory::create(0x10000).unwrap();
        let mut state = CpuState::default();
        let check =
            |state: &CpuState, code: &[u8]| kind(&Here::decode(state, code), state, &memory);
        // mov ax, [0x100]; rdtsc; in al, 0x60; mov al, [bx + 0x10] beyond the memory
        assert_eq!(check(&state, &[0xa1, 0, 1]), None);
        assert_eq!(check(&state, &[0x0f, 0x31]), Some(Kind::Counter));
        assert_eq!(check(&state, &[0xe4, 0x60]), Some(Kind::Port));
        state.segments.ds.base = 0xf_0000;
        assert_eq!(check(&state, &[0x8a, 0x47, 0x10]), Some(Kind::Device));
        state.general[RCX] = 0x10;
        assert_eq!(check(&state, &[0x0f, 0x32]), Some(Kind::TimeRegister));
        state.general[RCX] = 0x277;
        assert_eq!(check(&state, &[0x0f, 0x32]), None);
    }
}
