//! What a virtual CPU says it is: the answers to `cpuid`.
//!
//! An AMD processor of family 17h with what the engine executes. Vector instructions are the host's own, so those
//! that the host lacks are missing here, too. Leaves: APM vol. 3, appendix E; SDM vol. 2, CPUID; those of the
//! hypervisor as Linux has them, Documentation/virt/kvm/x86/cpuid.rst.

use engine_contract::VcpuId;
use iced_x86::CpuidFeature;
use x86_vector::Features;

use crate::xen::leaves;

/// Bits of a physical address, and of a linear one.
pub(crate) const PHYSICAL_BITS: u32 = 40;
const LINEAR_BITS: u32 = 48;

/// Family 17h, model 31h.
const VERSION: u32 = 0x0083_0f10;
const VENDOR: &[u8; 12] = b"AuthenticAMD";
const BRAND: &[u8; 48] = b"Husk, every instruction interpreted\0\0\0\0\0\0\0\0\0\0\0\0\0";
pub(crate) const HYPERVISOR: u32 = 0x4000_0000;
const HYPERVISOR_LAST: u32 = 0x4000_00ff;
const FEATURES: u32 = 0x4000_0001;
const FREQUENCIES: u32 = 0x4000_0010;
/// Its clock is KVM's, whose name guests look for.
const HYPERVISOR_NAME: &[u8; 12] = b"KVMKVMKVM\0\0\0";
/// The clock, that it is the same for all virtual CPUs, and that ports need no pause.
const OFFERED: u32 = bits(&[1, 3, 24]);
/// Frequency of the local timers before division.
const LOCAL_TIMER_KHZ: u32 = 1_000_000;

/// `CR4`: `VME`, `PVI`, `TSD` to `PAE`, `MCE`, `PGE`, `PCE`, `OSFXSR`, `OSXMMEXCPT`, `UMIP`, `FSGSBASE`, `PCIDE`, `OSXSAVE`, `SMEP`,
/// `SMAP`.
const CR4: u64 = 0x003f_0000 & !(1 << 19) | 0x0fff;
/// `EFER`: `SCE`, `LME`, `LMA`, `NXE`, `FFXSR` not.
const EFER: u64 = 0xd01;
/// A cache of 32 KiB: eight ways, lines of 64 bytes.
const FIRST_CACHE: u32 = 32 << 24 | 8 << 16 | 1 << 8 | 64;
/// A cache of 32 MiB: sixteen ways, lines of 64 bytes. Libraries copy what fits into it by string instructions, which
/// copy by pages here.
const SECOND_CACHE: u32 = 32 << 10 << 16 | 8 << 12 | 1 << 8 | 64;
/// Bytes of the extended state: with SSE, with AVX.
const STATE_SSE: u32 = 576;
const STATE_AVX: u32 = 832;

const fn bit(number: u32) -> u32 {
    1 << number
}

/// Sums bits.
const fn bits(numbers: &[u32]) -> u32 {
    let (mut all, mut at) = (0, 0);
    while at < numbers.len() {
        all |= 1 << numbers[at];
        at += 1;
    }
    all
}

/// Leaf 1: what there is in any case. x87, VME, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE, MCA, CMOV, PAT,
/// PSE36, CLFLUSH, MMX, FXSR, SSE, SSE2.
const BASIC_EDX: u32 = bits(&[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26,
]);
/// CX16, process contexts, MOVBE, POPCNT, deadline timer, XSAVE, RDRAND, a hypervisor.
const BASIC_ECX: u32 = bits(&[13, 17, 22, 23, 24, 26, 30, 31]);
/// Leaf 7: FSGSBASE, BMI1, SMEP, BMI2, fast strings, INVPCID, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB.
const SEVEN_EBX: u32 = bits(&[0, 3, 7, 8, 9, 10, 18, 19, 20, 23, 24]);
/// UMIP, RDPID.
const SEVEN_ECX: u32 = bits(&[2, 22]);
/// LAHF in 64-bit code, `CR8` in 32-bit code, LZCNT, PREFETCHW.
const EXTENDED_ECX: u32 = bits(&[0, 4, 5, 8]);
/// SYSCALL, NX, pages of a gibibyte, RDTSCP, long mode.
const EXTENDED_EDX: u32 = bits(&[11, 20, 26, 27, 29]);
/// What of leaf 1 AMD says again.
const REPEATED_EDX: u32 = 0x0183_f3ff;

/// Vector instructions that depend on the host, by their bits of leaf 1, `ecx`, and of leaf 7, `ebx`.
const BASIC_VECTORS: [(CpuidFeature, u32); 9] = [
    (CpuidFeature::SSE3, 0),
    (CpuidFeature::PCLMULQDQ, 1),
    (CpuidFeature::SSSE3, 9),
    (CpuidFeature::FMA, 12),
    (CpuidFeature::SSE4_1, 19),
    (CpuidFeature::SSE4_2, 20),
    (CpuidFeature::AES, 25),
    (CpuidFeature::AVX, 28),
    (CpuidFeature::F16C, 29),
];
const SEVEN_VECTORS: [(CpuidFeature, u32); 2] = [(CpuidFeature::AVX2, 5), (CpuidFeature::SHA, 29)];

fn sum(there: Features, features: &[(CpuidFeature, u32)]) -> u32 {
    let there = features.iter().filter(|(feature, _)| there.has(*feature));
    there.fold(0, |all, (_, number)| all | bit(*number))
}

/// The answers of a machine's virtual CPUs.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    vcpus: u32,
    /// Frequency of the time stamp counter.
    kilohertz: u32,
    vectors: Features,
    /// It names Xen as the hypervisor, not KVM.
    is_over_xen: bool,
}

/// A register from text, of which this is the part.
pub(crate) fn text(bytes: &[u8], part: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[4 * part..][..4]);
    u32::from_le_bytes(word)
}

impl Identity {
    pub(crate) fn new(vcpus: u32, kilohertz: u32) -> Self {
        Self {
            vcpus,
            kilohertz,
            vectors: Features::of_host(),
            is_over_xen: false,
        }
    }

    /// The same where Xen is what guests find below themselves, or not.
    pub(crate) const fn over_xen(self, is_over_xen: bool) -> Self {
        Self {
            is_over_xen,
            ..self
        }
    }

    /// The vector instructions that it shows.
    pub(crate) const fn vectors(&self) -> Features {
        self.vectors
    }

    fn has_avx(&self) -> bool {
        self.vectors.has(CpuidFeature::AVX)
    }

    /// What of the registers there is.
    pub(crate) fn features(&self) -> x86_semantics::Features {
        x86_semantics::Features {
            cr4: CR4,
            efer: EFER,
            xcr0: if self.has_avx() { 7 } else { 3 },
            physical_bits: PHYSICAL_BITS,
        }
    }

    /// `eax`, `ebx`, `ecx`, `edx`.
    pub(crate) fn answer(&self, vcpu: VcpuId, leaf: u32, index: u32) -> [u32; 4] {
        match leaf {
            0 => [0xd, text(VENDOR, 0), text(VENDOR, 2), text(VENDOR, 1)],
            1 => self.basic(vcpu),
            7 if index == 0 => [
                0,
                SEVEN_EBX | sum(self.vectors, &SEVEN_VECTORS),
                SEVEN_ECX,
                0,
            ],
            0xb => self.topology(vcpu, index),
            0xd => self.states(index),
            HYPERVISOR..=HYPERVISOR_LAST => self.hypervisor(vcpu, leaf, index),
            0x8000_0000 => [
                0x8000_0008,
                text(VENDOR, 0),
                text(VENDOR, 2),
                text(VENDOR, 1),
            ],
            0x8000_0001 => {
                let several = if self.vcpus > 1 { bit(1) } else { 0 };
                let edx = EXTENDED_EDX | BASIC_EDX & REPEATED_EDX;
                [VERSION, 0, EXTENDED_ECX | several, edx]
            }
            0x8000_0002..=0x8000_0004 => {
                let start = 4 * (leaf - 0x8000_0002) as usize;
                [0, 1, 2, 3].map(|part| text(BRAND, start + part))
            }
            // Without the translations that it keeps.
            0x8000_0005 => [0, 0, FIRST_CACHE, FIRST_CACHE],
            0x8000_0006 => [0, 0, SECOND_CACHE, 0],
            // The counter runs at the same rate always.
            0x8000_0007 => [0, 0, 0, bit(8)],
            0x8000_0008 => {
                let sizes = PHYSICAL_BITS | LINEAR_BITS << 8;
                let cores = (self.vcpus - 1) & 0xff | self.id_bits() << 12;
                [sizes, 0, cores, 0]
            }
            _ => [0; 4],
        }
    }

    fn hypervisor(&self, vcpu: VcpuId, leaf: u32, index: u32) -> [u32; 4] {
        if self.is_over_xen {
            return leaves::answer(vcpu, self.kilohertz, leaf, index);
        }
        match leaf {
            HYPERVISOR => [
                FREQUENCIES,
                text(HYPERVISOR_NAME, 0),
                text(HYPERVISOR_NAME, 1),
                text(HYPERVISOR_NAME, 2),
            ],
            FEATURES => [OFFERED, 0, 0, 0],
            FREQUENCIES => [self.kilohertz, LOCAL_TIMER_KHZ, 0, 0],
            _ => [0; 4],
        }
    }

    const fn id_bits(&self) -> u32 {
        self.vcpus.next_power_of_two().trailing_zeros()
    }

    fn basic(&self, vcpu: VcpuId) -> [u32; 4] {
        let numbers = 1_u32 << self.id_bits();
        // Lines of 64 bytes, in eights.
        let ebx = vcpu.0 << 24 | numbers << 16 | 8 << 8;
        let several = if self.vcpus > 1 { bit(28) } else { 0 };
        [
            VERSION,
            ebx,
            BASIC_ECX | sum(self.vectors, &BASIC_VECTORS),
            BASIC_EDX | several,
        ]
    }

    /// One thread a core, all cores in one package.
    const fn topology(&self, vcpu: VcpuId, index: u32) -> [u32; 4] {
        match index {
            0 => [0, 1, 1 << 8, vcpu.0],
            1 => [self.id_bits(), self.vcpus, 2 << 8 | 1, vcpu.0],
            _ => [0, 0, index, vcpu.0],
        }
    }

    /// The extended states: x87 and SSE, AVX; `XSAVEOPT`, `XSAVEC`, `XGETBV` of what is in use not.
    fn states(&self, index: u32) -> [u32; 4] {
        let (known, size) = if self.has_avx() {
            (7, STATE_AVX)
        } else {
            (3, STATE_SSE)
        };
        match index {
            0 => [known, size, size, 0],
            1 => [3, size, 0, 0],
            2 if self.has_avx() => [STATE_AVX - STATE_SSE, STATE_SSE, 0, 0],
            _ => [0; 4],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: VcpuId = VcpuId(0);

    #[test]
    fn each_virtual_cpu_has_its_number() {
        let identity = Identity::new(4, 2_000_000);
        for id in 0..4 {
            let [_, ebx, _, edx] = identity.answer(VcpuId(id), 1, 0);
            assert_eq!((ebx >> 24, ebx >> 16 & 0xff, edx >> 28 & 1), (id, 4, 1));
            assert_eq!(identity.answer(VcpuId(id), 0xb, 1), [2, 4, 0x201, id]);
        }
        let [_, ebx, _, edx] = Identity::new(1, 1).answer(FIRST, 1, 0);
        assert_eq!((ebx >> 16 & 0xff, edx >> 28 & 1), (1, 0));
    }

    #[test]
    fn names_and_frequencies_are_told() {
        let identity = Identity::new(1, 2_894_561);
        let [max, first, ..] = identity.answer(FIRST, HYPERVISOR, 0);
        assert_eq!((max, &first.to_le_bytes()), (FREQUENCIES, b"KVMK"));
        let frequencies = identity.answer(FIRST, FREQUENCIES, 0);
        assert_eq!(frequencies, [2_894_561, 1_000_000, 0, 0]);
        let brand =
            (0x8000_0002..=0x8000_0004_u32).flat_map(|leaf| identity.answer(FIRST, leaf, 0));
        let brand: Vec<u8> = brand.flat_map(u32::to_le_bytes).collect();
        assert!(brand.starts_with(b"Husk, every"));
        assert_eq!(identity.answer(FIRST, 0x7fff_ffff, 0), [0; 4]);
    }

    #[test]
    fn xen_is_named_instead_of_kvm_where_it_is_below() {
        let identity = Identity::new(2, 1_000_000).over_xen(true);
        let [last, first, ..] = identity.answer(FIRST, HYPERVISOR, 0);
        assert_eq!((last, &first.to_le_bytes()), (0x4000_0004, b"XenV"));
        let features = identity.answer(FIRST, FEATURES, 0);
        assert_eq!(features, [0x0004_0011, 0, 0, 0]);
        assert_eq!(identity.answer(FIRST, FREQUENCIES, 0), [0; 4]);
        let [flags, number, ..] = identity.answer(VcpuId(1), HYPERVISOR + 4, 0);
        assert_eq!((flags, number), (8, 1));
    }

    #[test]
    fn there_are_no_features_beyond_those_of_the_registers() {
        let features = Identity::new(1, 1).features();
        // LA57, VMXE, SMXE, PKE are not there.
        for number in [12, 13, 14, 22] {
            assert_eq!(features.cr4 >> number & 1, 0, "{number}");
        }
        for number in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 20, 21] {
            assert_eq!(features.cr4 >> number & 1, 1, "{number}");
        }
    }
}
