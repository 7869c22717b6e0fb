//! What a virtual CPU says it is: the answers to `cpuid`.
//!
//! They start from what KVM supports on this host. To that is added what only the machine
//! knows (numbers, topology, the frequency of the time-stamp counter), and taken away what is not
//! offered: guests inside of guests, counters, tracing, enclaves, shadow stacks, and paravirtual
//! ways whose state is not part of a virtual CPU's registers here.
//!
//! Frequency: leaf 0x4000_0010 has it exactly, with that of the local timer, on every processor;
//! leaf 0x16 in whole megahertz where there is such a leaf. Leaf 0x15 stays empty: guests compute
//! with it in 32 bits, where a ratio to KVM's 1 GHz local timer is only exact to 1 in 1000.
//!
//! Numbers of leaves and bits: SDM vol. 2, CPUID; AMD APM vol. 3, appendix E; Linux,
//! Documentation/virt/kvm/x86/cpuid.rst.

use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

const HYPERVISOR: u32 = 0x4000_0000;
const FREQUENCIES: u32 = 0x4000_0010;
const SIGNATURE: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x4d];
/// Frequency of KVM's local timers before division.
const LOCAL_TIMER_KHZ: u32 = 1_000_000;

/// Which processor of a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processor {
    pub(crate) id: u32,
    pub(crate) count: u32,
    /// Of its time-stamp counter, if that is a clock.
    pub(crate) frequency_khz: Option<u32>,
    /// KVM's local timers have the deadline mode.
    pub(crate) deadline_timer: bool,
}

impl Processor {
    /// Bits of a processor's number.
    const fn id_bits(&self) -> u32 {
        self.count.next_power_of_two().trailing_zeros()
    }
}

/// The answers of this processor, given those that KVM supports.
pub(crate) fn adjusted(
    supported: &[kvm_cpuid_entry2],
    processor: &Processor,
) -> Vec<kvm_cpuid_entry2> {
    // These are made anew.
    let is_kept = |entry: &&kvm_cpuid_entry2| {
        !matches!(entry.function, 0xb | 0x1f | HYPERVISOR..=FREQUENCIES)
    };
    let mut entries: Vec<_> = supported.iter().filter(is_kept).copied().collect();
    let max = leaf(supported, 0).map_or(0, |entry| entry.eax);
    for entry in &mut entries {
        hide(entry);
        number(entry, processor);
        if entry.function == 0x16 {
            tell_megahertz(entry, processor);
        }
    }
    for function in [0xb, 0x1f] {
        if max >= function {
            entries.extend(topology(function, processor));
        }
    }
    entries.extend(hypervisor(supported, processor));
    entries.sort_by_key(|entry| (entry.function, entry.index));
    entries
}

fn leaf(entries: &[kvm_cpuid_entry2], function: u32) -> Option<&kvm_cpuid_entry2> {
    entries.iter().find(|entry| entry.function == function)
}

const fn bit(number: u32) -> u32 {
    1 << number
}

/// Takes away what is not offered.
fn hide(entry: &mut kvm_cpuid_entry2) {
    match (entry.function, entry.index) {
        // MONITOR, VMX, SMX, performance capabilities.
        (1, _) => entry.ecx &= !(bit(3) | bit(5) | bit(6) | bit(15)),
        (7, 0) => {
            // SGX, processor trace; shadow stacks, SGX launch control; indirect branch tracking.
            entry.ebx &= !(bit(2) | bit(25));
            entry.ecx &= !(bit(7) | bit(30));
            entry.edx &= !bit(20);
        }
        // The supervisor's part of `xsaves` is shadow stacks.
        (0xd, 1) => (entry.ecx, entry.edx) = (0, 0),
        (0xd, 11 | 12) => clear(entry),
        // SVM, performance counters of the core and the north bridge.
        (0x8000_0001, _) => entry.ecx &= !(bit(2) | bit(23) | bit(24)),
        // MONITOR; performance counters; SGX; trace; crystal; SVM; memory encryption; counters.
        (5 | 0xa | 0x12 | 0x14 | 0x15 | 0x8000_000a | 0x8000_001f | 0x8000_0022, _) => clear(entry),
        _ => {}
    }
}

fn clear(entry: &mut kvm_cpuid_entry2) {
    (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
}

/// Puts in the processor's number, and how many there are.
fn number(entry: &mut kvm_cpuid_entry2, processor: &Processor) {
    let &Processor { id, count, .. } = processor;
    let several = u32::from(count > 1);
    let numbers = 1_u32 << processor.id_bits();
    match entry.function {
        1 => {
            entry.ebx = entry.ebx & 0xffff | numbers.min(255) << 16 | id.min(255) << 24;
            entry.edx = entry.edx & !bit(28) | several << 28;
            // A hypervisor, x2APIC: KVM has it whatever the host has.
            entry.ecx |= bit(31) | bit(21);
            entry.ecx = entry.ecx & !bit(24) | u32::from(processor.deadline_timer) << 24;
        }
        4 | 0x8000_001d => share_cache(entry, numbers),
        // Several processors without multithreading are cores.
        0x8000_0001 => entry.ecx = entry.ecx & !bit(1) | several << 1,
        0x8000_0008 => {
            entry.ecx = entry.ecx & !0xf0ff | count.saturating_sub(1) & 0xff;
            entry.ecx |= processor.id_bits() << 12;
        }
        0x8000_001e => {
            entry.eax = id;
            entry.ebx = id & 0xff;
            entry.ecx = 0;
        }
        _ => {}
    }
}

/// Caches of levels 1 and 2 are a core's own, others the package's (leaf 4; AMD has the same
/// fields without the count of cores).
fn share_cache(entry: &mut kvm_cpuid_entry2, numbers: u32) {
    let (kind, level) = (entry.eax & 0x1f, entry.eax >> 5 & 7);
    if kind == 0 {
        return;
    }
    let sharing = if level < 3 { 0 } else { numbers - 1 };
    let cores = if entry.function == 4 {
        (numbers - 1).min(63)
    } else {
        0
    };
    entry.eax = entry.eax & 0x3fff | sharing << 14 | cores << 26;
}

/// Leaves 0xb and 0x1f: one thread a core, all cores in one package.
fn topology(function: u32, processor: &Processor) -> [kvm_cpuid_entry2; 3] {
    /// Kinds of levels.
    const THREAD: u32 = 1;
    const CORE: u32 = 2;
    let level = |index: u32, shift: u32, count: u32, kind: u32| kvm_cpuid_entry2 {
        function,
        index,
        flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
        eax: shift,
        ebx: count,
        ecx: kind << 8 | index,
        edx: processor.id,
        ..Default::default()
    };
    [
        level(0, 0, 1, THREAD),
        level(1, processor.id_bits(), processor.count, CORE),
        level(2, 0, 0, 0),
    ]
}

/// Base, maximum and bus in megahertz.
fn tell_megahertz(entry: &mut kvm_cpuid_entry2, processor: &Processor) {
    let megahertz = processor.frequency_khz.map_or(0, |khz| khz / 1000) & 0xffff;
    (entry.eax, entry.ebx, entry.ecx, entry.edx) = (megahertz, megahertz, 0, 0);
}

/// KVM's own leaves: the signature, the paravirtual ways that are offered, the frequencies.
fn hypervisor(
    supported: &[kvm_cpuid_entry2],
    processor: &Processor,
) -> impl Iterator<Item = kvm_cpuid_entry2> {
    /// Clocks (0, 3, 24), port 0x80 needs no pause (1), stolen time (5), end of interrupt in
    /// memory (6), spinning without waste (7, 13), flushes and interrupts of several at once
    /// (9, 11), the host need not poll (12).
    const OFFERED: u32 = bit(0)
        | bit(1)
        | bit(3)
        | bit(5)
        | bit(6)
        | bit(7)
        | bit(9)
        | bit(11)
        | bit(12)
        | bit(13)
        | bit(24);
    let features = leaf(supported, HYPERVISOR + 1).map_or(0, |entry| entry.eax & OFFERED);
    let [ebx, ecx, edx] = SIGNATURE;
    let signature = kvm_cpuid_entry2 {
        function: HYPERVISOR,
        eax: FREQUENCIES,
        ebx,
        ecx,
        edx,
        ..Default::default()
    };
    let features = kvm_cpuid_entry2 {
        function: HYPERVISOR + 1,
        eax: features,
        ..Default::default()
    };
    let frequencies = processor.frequency_khz.map(|khz| kvm_cpuid_entry2 {
        function: FREQUENCIES,
        eax: khz,
        ebx: LOCAL_TIMER_KHZ,
        ..Default::default()
    });
    [signature, features].into_iter().chain(frequencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u32 = u32::MAX;

    fn entry(function: u32, index: u32, registers: [u32; 4]) -> kvm_cpuid_entry2 {
        let [eax, ebx, ecx, edx] = registers;
        kvm_cpuid_entry2 {
            function,
            index,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        }
    }

    const PROCESSOR: Processor = Processor {
        id: 5,
        count: 6,
        frequency_khz: Some(2_894_561),
        deadline_timer: true,
    };

    fn answer(
        supported: &[kvm_cpuid_entry2],
        processor: Processor,
        function: u32,
        index: u32,
    ) -> [u32; 4] {
        let entries = adjusted(supported, &processor);
        let mut found = entries
            .iter()
            .filter(|entry| (entry.function, entry.index) == (function, index));
        let first = found.next().expect("such a leaf");
        assert!(found.next().is_none(), "twice: {function:#x}");
        [first.eax, first.ebx, first.ecx, first.edx]
    }

    #[test]
    fn the_first_leaf_has_number_count_hypervisor_and_timer() {
        let supported = [entry(1, 0, [1, 0x0102_0800, 0, 0])];
        let [eax, ebx, ecx, edx] = answer(&supported, PROCESSOR, 1, 0);
        assert_eq!((eax, ebx), (1, 0x0508_0800));
        assert_eq!(ecx, bit(31) | bit(21) | bit(24));
        assert_eq!(edx, bit(28));
        let alone = Processor {
            id: 0,
            count: 1,
            deadline_timer: false,
            ..PROCESSOR
        };
        let supported = [entry(1, 0, [0, 0, bit(24), bit(28)])];
        let [_, ebx, ecx, edx] = answer(&supported, alone, 1, 0);
        assert_eq!((ebx, ecx, edx), (1 << 16, bit(31) | bit(21), 0));
    }

    #[test]
    fn what_is_not_offered_is_hidden() {
        let check = |function, index, mask: [u32; 4]| {
            let supported = [entry(function, index, [ALL; 4])];
            let found = answer(&supported, PROCESSOR, function, index);
            let shown = [0, 1, 2, 3].map(|at| found[at] & mask[at]);
            assert_eq!(shown, [0; 4], "{function:#x}.{index}");
        };
        check(1, 0, [0, 0, bit(3) | bit(5) | bit(6) | bit(15), 0]);
        let (ebx, ecx) = (bit(2) | bit(25), bit(7) | bit(30));
        check(7, 0, [0, ebx, ecx, bit(20)]);
        check(0x8000_0001, 0, [0, 0, bit(2) | bit(23) | bit(24), 0]);
        for function in [5, 0xa, 0x12, 0x14, 0x15, 0x8000_000a, 0x8000_001f] {
            check(function, 0, [ALL; 4]);
        }
        check(0xd, 1, [0, 0, ALL, ALL]);
        check(0xd, 12, [ALL; 4]);
    }

    #[test]
    fn everything_else_stays() {
        let supported = [entry(7, 1, [1, 2, 3, 4]), entry(0xd, 2, [5, 6, 7, 8])];
        assert_eq!(answer(&supported, PROCESSOR, 7, 1), [1, 2, 3, 4]);
        assert_eq!(answer(&supported, PROCESSOR, 0xd, 2), [5, 6, 7, 8]);
    }

    #[test]
    fn all_cores_are_in_one_package() {
        let host = [
            entry(0, 0, [0x1f, 0, 0, 0]),
            entry(0xb, 1, [4, 16, 0x201, 9]),
        ];
        for function in [0xb, 0x1f] {
            let level = |index| answer(&host, PROCESSOR, function, index);
            assert_eq!(level(0), [0, 1, 0x100, 5]);
            assert_eq!(level(1), [3, 6, 0x201, 5]);
            assert_eq!(level(2), [0, 0, 2, 5]);
        }
        let old = adjusted(&[entry(0, 0, [0xd, 0, 0, 0])], &PROCESSOR);
        assert!(leaf(&old, 0x1f).is_none() && leaf(&old, 0xb).is_some());
    }

    #[test]
    fn amd_says_the_same_in_its_own_leaves() {
        let host = [
            entry(0x8000_0001, 0, [0; 4]),
            entry(0x8000_0008, 0, [0x3030, 0, 0x1_500f, 0]),
            entry(0x8000_001e, 0, [77, 0x10b, 0x102, 0]),
        ];
        assert_eq!(answer(&host, PROCESSOR, 0x8000_0001, 0)[2], bit(1));
        let sizes = answer(&host, PROCESSOR, 0x8000_0008, 0);
        assert_eq!(sizes, [0x3030, 0, 0x1_3005, 0]);
        assert_eq!(answer(&host, PROCESSOR, 0x8000_001e, 0), [5, 5, 0, 0]);
    }

    #[test]
    fn only_the_last_cache_is_shared() {
        let cache = |level: u32| entry(4, level, [0xffff_c001 | level << 5, 1, 2, 3]);
        let host = [cache(1), cache(3), entry(4, 4, [0; 4])];
        let eax = |index| answer(&host, PROCESSOR, 4, index)[0];
        assert_eq!(eax(1), 7 << 26 | 1 | 1 << 5);
        assert_eq!(eax(3), 7 << 26 | 7 << 14 | 1 | 3 << 5);
        assert_eq!(eax(4), 0);
    }

    #[test]
    fn the_guest_is_told_the_frequency() {
        let host = [entry(0x16, 0, [0; 4]), entry(HYPERVISOR, 0, [0; 4])];
        let [max, signature @ ..] = answer(&host, PROCESSOR, HYPERVISOR, 0);
        assert_eq!((max, signature), (FREQUENCIES, SIGNATURE));
        let text: Vec<u8> = signature.into_iter().flat_map(u32::to_le_bytes).collect();
        assert_eq!(text, b"KVMKVMKVM\0\0\0");
        let exact = answer(&host, PROCESSOR, FREQUENCIES, 0);
        assert_eq!(exact, [2_894_561, 1_000_000, 0, 0]);
        assert_eq!(answer(&host, PROCESSOR, 0x16, 0), [2894, 2894, 0, 0]);
        let unknown = Processor {
            frequency_khz: None,
            ..PROCESSOR
        };
        assert!(leaf(&adjusted(&host, &unknown), FREQUENCIES).is_none());
    }

    #[test]
    fn the_clock_is_offered_and_asynchronous_faults_are_not() {
        let host = [entry(HYPERVISOR + 1, 0, [ALL, 0, 0, 0])];
        let [features, ..] = answer(&host, PROCESSOR, HYPERVISOR + 1, 0);
        assert_eq!(
            features & (bit(0) | bit(3) | bit(24)),
            bit(0) | bit(3) | bit(24)
        );
        assert_eq!(
            features & (bit(4) | bit(10) | bit(14) | bit(16) | bit(17)),
            0
        );
    }

    #[test]
    fn the_list_fits_what_kvm_takes() {
        let host: Vec<_> = (0..0x20).map(|leaf| entry(leaf, 0, [ALL; 4])).collect();
        let entries = adjusted(&host, &PROCESSOR);
        assert!(entries.len() < kvm_bindings::KVM_MAX_CPUID_ENTRIES);
        assert!(entries.is_sorted_by_key(|entry| (entry.function, entry.index)));
    }
}
