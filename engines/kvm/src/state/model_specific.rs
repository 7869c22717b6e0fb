//! The model-specific registers that are part of a virtual CPU's state.
//!
//! Those a guest of ours can use: what configures machines that nobody emulates (counters,
//! machine checks, guests inside of guests) is left out, as are the features that
//! `cpuid` hides. The base of the local APIC is one of them though KVM has it elsewhere.

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

use crate::error::{KvmError, call};

const APIC_BASE: u32 = 0x1b;
/// The kind of memory where nothing else is said, and whether any of that counts.
const MEMORY_KIND: u32 = 0x2ff;
/// Ranges count, those of the lowest MiB too; write-back.
const WRITE_BACK: u64 = 1 << 11 | 1 << 10 | 6;

/// Single registers and ranges of them, both ends included; ascending (SDM vol. 4; AMD APM vol. 2,
/// appendix A; Linux, Documentation/virt/kvm/x86/msr.rst).
const WANTED: [(u32, u32); 18] = [
    // Time-stamp counter; KVM's clock as it was at first.
    (0x10, 0x12),
    // Adjustment of the counter.
    (0x3b, 0x3b),
    // Speculation control; transactions.
    (0x48, 0x48),
    (0x122, 0x122),
    // `sysenter`.
    (0x174, 0x176),
    // Miscellaneous features.
    (0x1a0, 0x1a0),
    // Features of `xsave` that fault at first use.
    (0x1c4, 0x1c5),
    // Debug control.
    (0x1d9, 0x1d9),
    // Kinds of memory by range, and by page.
    (0x200, 0x20f),
    (0x250, 0x26f),
    (0x277, 0x277),
    (0x2ff, 0x2ff),
    // Deadline of the local timer: after the counter.
    (0x6e0, 0x6e0),
    // Supervisor's vector state.
    (0xda0, 0xda0),
    // KVM's clocks, stolen time, end of interrupts.
    (0x4b56_4d00, 0x4b56_4d05),
    // `syscall`; base of `gs` that `swapgs` brings; number for `rdtscp`.
    (0xc000_0081, 0xc000_0084),
    (0xc000_0102, 0xc000_0103),
    // AMD's speculation control for guests.
    (0xc001_011f, 0xc001_011f),
];
/// KVM has these though older ones do not list them: kinds of memory by range.
const UNLISTED: [(u32, u32); 6] = [
    (0x200, 0x20f),
    (0x250, 0x250),
    (0x258, 0x259),
    (0x268, 0x26f),
    (0x277, 0x277),
    (0x2ff, 0x2ff),
];

fn is_in(ranges: &[(u32, u32)], number: u32) -> bool {
    ranges
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&number))
}

/// Those of KVM's list that are wanted, ascending.
pub(super) fn wanted(listed: &[u32]) -> Vec<u32> {
    let unlisted = UNLISTED.iter().flat_map(|(first, last)| *first..=*last);
    let mut numbers: Vec<u32> = listed.iter().copied().chain(unlisted).collect();
    numbers.retain(|number| is_in(&WANTED, *number));
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Those that a virtual CPU really has.
pub(super) fn readable(fd: &VcpuFd, mut numbers: Vec<u32>) -> Result<Vec<u32>, KvmError> {
    loop {
        // KVM stops at the first that it cannot read.
        let count = fetch(fd, &mut list(numbers.iter().map(|number| (*number, 0)))?)?;
        if count >= numbers.len() {
            return Ok(numbers);
        }
        numbers.remove(count);
    }
}

/// All memory is write-back, as firmware leaves it on every processor. Without, Linux
/// believes that there are no kinds of memory, by page neither.
pub(crate) fn make_write_back(fd: &VcpuFd) -> Result<(), KvmError> {
    write(fd, &[(MEMORY_KIND, WRITE_BACK)])
}

pub(super) fn read(fd: &VcpuFd, numbers: &[u32]) -> Result<Vec<(u32, u64)>, KvmError> {
    let mut registers = list(numbers.iter().map(|number| (*number, 0)))?;
    let count = fetch(fd, &mut registers)?;
    match numbers.get(count) {
        Some(number) => Err(KvmError::Call(
            "KVM_GET_MSRS",
            format!("register {number:#x} cannot be read any more"),
        )),
        None => {
            let registers = registers.as_slice().iter();
            Ok(registers.map(|entry| (entry.index, entry.data)).collect())
        }
    }
}

pub(super) fn write(fd: &VcpuFd, registers: &[(u32, u64)]) -> Result<(), KvmError> {
    // The base of the local APIC is set elsewhere.
    let rest = registers.iter().filter(|(number, _)| *number != APIC_BASE);
    let mut rest: Vec<_> = rest.copied().collect();
    rest.sort_unstable_by_key(|(number, _)| *number);
    let set = fd.set_msrs(&list(rest.iter().copied())?);
    let count = set.map_err(call("KVM_SET_MSRS"))?;
    match rest.get(count) {
        Some((number, value)) => Err(KvmError::State(format!(
            "model-specific register {number:#x} cannot be {value:#x} on this host"
        ))),
        None => Ok(()),
    }
}

fn fetch(fd: &VcpuFd, registers: &mut Msrs) -> Result<usize, KvmError> {
    fd.get_msrs(registers).map_err(call("KVM_GET_MSRS"))
}

fn list(registers: impl Iterator<Item = (u32, u64)>) -> Result<Msrs, KvmError> {
    let entry = |(index, data)| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    };
    let entries: Vec<_> = registers.map(entry).collect();
    let list = Msrs::from_entries(&entries);
    list.map_err(|_| KvmError::State("there are too many model-specific registers".to_owned()))
}

/// Puts the base of the local APIC in its place.
pub(super) fn insert_apic_base(registers: &mut Vec<(u32, u64)>, base: u64) {
    let place = registers.partition_point(|(number, _)| *number < APIC_BASE);
    registers.insert(place, (APIC_BASE, base));
}

pub(super) fn apic_base(registers: &[(u32, u64)]) -> Option<u64> {
    let mut registers = registers.iter();
    let found = registers.find(|(number, _)| *number == APIC_BASE);
    found.map(|(_, base)| *base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_ascend() {
        for ranges in [&WANTED[..], &UNLISTED[..]] {
            assert!(ranges.iter().all(|(first, last)| first <= last));
            assert!(ranges.is_sorted_by(|one, next| one.1 < next.0));
        }
        assert!(UNLISTED.iter().all(|(first, _)| is_in(&WANTED, *first)));
    }

    #[test]
    fn what_is_listed_and_wanted_is_kept_in_order() {
        // A counter (0xc1) and KVM's asynchronous faults are not wanted.
        let found = wanted(&[0xc000_0082, 0xc1, 0x10, 0x4b56_4d01, 0x4b56_4d06, 0x277]);
        assert_eq!(
            (found.first(), found.last()),
            (Some(&0x10), Some(&0xc000_0082))
        );
        assert!(found.is_sorted_by(|one, next| one < next));
        for (number, is_there) in [(0x277, true), (0x4b56_4d01, true), (0xc1, false)] {
            assert_eq!(found.contains(&number), is_there, "{number:#x}");
        }
        assert!(!found.contains(&0x4b56_4d06));
    }

    #[test]
    fn the_base_of_the_local_controller_has_its_place() {
        let mut registers = vec![(0x10, 1), (0x3b, 2)];
        insert_apic_base(&mut registers, 0xfee0_0900);
        assert_eq!(registers, [(0x10, 1), (0x1b, 0xfee0_0900), (0x3b, 2)]);
        assert_eq!(apic_base(&registers), Some(0xfee0_0900));
        assert_eq!(apic_base(&[(0x10, 1)]), None);
    }
}
