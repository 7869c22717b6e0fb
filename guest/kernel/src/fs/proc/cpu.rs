//! `/proc/cpuinfo`: what `cpuid` says.

use alloc::string::String;
use alloc::vec::Vec;
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use core::fmt::Write;

use guest_hal::sync::Once;
use guest_hal::time;

use super::system::cpus;

const WRITES: &str = "a string takes everything";
/// How long the counter is watched, in nanoseconds.
const MEASURE: u64 = 100_000;

static RATE: Once<u64> = Once::new();

/// Bits by name as Linux prints them, least significant first; empty: not printed.
struct Word {
    leaf: u32,
    sub_leaf: u32,
    register: fn(CpuidResult) -> u32,
    names: &'static str,
}

/// Names of the feature bits, "-" for bits that are not printed (SDM vol. 2, CPUID; APM vol. 3,
/// appendix E; Linux' `cpufeatures.h`).
const WORDS: [Word; 9] = [
    Word {
        leaf: 1,
        sub_leaf: 0,
        register: |leaf| leaf.edx,
        names: "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn \
                clflush - dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe",
    },
    Word {
        leaf: 0x8000_0001,
        sub_leaf: 0,
        register: |leaf| leaf.edx,
        names: "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb \
                rdtscp - lm 3dnowext 3dnow",
    },
    Word {
        leaf: 1,
        sub_leaf: 0,
        register: |leaf| leaf.ecx,
        names: "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr \
                pdcm - pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave - \
                avx f16c rdrand hypervisor",
    },
    Word {
        leaf: 0x8000_0001,
        sub_leaf: 0,
        register: |leaf| leaf.ecx,
        names: "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch \
                osvw ibs xop skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core \
                perfctr_nb - bpext ptsc perfctr_llc mwaitx - -",
    },
    Word {
        leaf: 7,
        sub_leaf: 0,
        register: |leaf| leaf.ebx,
        names: "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx \
                rdt_a avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt \
                avx512pf avx512er avx512cd sha_ni avx512bw avx512vl",
    },
    Word {
        leaf: 0xd,
        sub_leaf: 1,
        register: |leaf| leaf.eax,
        names: "xsaveopt xsavec xgetbv1 xsaves",
    },
    Word {
        leaf: 7,
        sub_leaf: 1,
        register: |leaf| leaf.eax,
        names: "- - - - avx_vnni avx512_bf16",
    },
    Word {
        leaf: 7,
        sub_leaf: 0,
        register: |leaf| leaf.ecx,
        names: "- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq \
                avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid - \
                bus_lock_detect cldemote - movdiri movdir64b enqcmd - -",
    },
    Word {
        leaf: 7,
        sub_leaf: 0,
        register: |leaf| leaf.edx,
        names: "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - \
                serialize - tsxldtrk pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile \
                amx_int8 - - - flush_l1d arch_capabilities - -",
    },
];

impl Word {
    fn show(&self, highest: u32, out: &mut String) {
        if self.leaf & 0x8000_0000 == 0 && self.leaf > highest {
            return;
        }
        let bits = (self.register)(__cpuid_count(self.leaf, self.sub_leaf));
        let names = self.names.split_whitespace().enumerate();
        for (_, name) in names.filter(|(bit, name)| bits >> bit & 1 != 0 && *name != "-") {
            out.push(' ');
            out.push_str(name);
        }
    }
}

fn push_register(out: &mut Vec<u8>, registers: &[u32]) {
    registers
        .iter()
        .for_each(|register| out.extend_from_slice(&register.to_le_bytes()));
}

fn text(bytes: &[u8]) -> String {
    let text: String = bytes
        .iter()
        .take_while(|&&byte| byte != 0)
        .map(|&byte| char::from(byte))
        .collect();
    String::from(text.trim())
}

fn vendor() -> String {
    let leaf = __cpuid(0);
    let mut bytes = Vec::new();
    push_register(&mut bytes, &[leaf.ebx, leaf.edx, leaf.ecx]);
    text(&bytes)
}

fn model_name() -> String {
    let mut bytes = Vec::new();
    for leaf in 0x8000_0002..=0x8000_0004 {
        let CpuidResult { eax, ebx, ecx, edx } = __cpuid(leaf);
        push_register(&mut bytes, &[eax, ebx, ecx, edx]);
    }
    text(&bytes)
}

/// Family, model and stepping (SDM vol. 2, CPUID leaf 1).
const fn signature(eax: u32) -> (u32, u32, u32) {
    let base = eax >> 8 & 0xf;
    let family = if base == 0xf {
        base + (eax >> 20 & 0xff)
    } else {
        base
    };
    let model = eax >> 4 & 0xf;
    let model = if base == 6 || base == 0xf {
        model | eax >> 12 & 0xf0
    } else {
        model
    };
    (family, model, eax & 0xf)
}

/// The time-stamp counter's rate in kHz, measured against the clock.
fn tsc_khz() -> u64 {
    let (ticks, clock) = (time::tsc(), time::monotonic().0);
    let mut now = time::monotonic().0;
    while now.saturating_sub(clock) < MEASURE {
        now = time::monotonic().0;
    }
    let passed = time::tsc().saturating_sub(ticks);
    passed.saturating_mul(1_000_000) / now.saturating_sub(clock).max(1)
}

/// All of `/proc/cpuinfo`.
pub(super) fn information() -> Vec<u8> {
    let highest = __cpuid(0).eax;
    let (family, model, stepping) = signature(__cpuid(1).eax);
    let mut flags = String::new();
    WORDS.iter().for_each(|word| word.show(highest, &mut flags));
    let flush = __cpuid(1).ebx >> 8 & 0xff;
    let sizes = __cpuid(0x8000_0008).eax;
    let cache = __cpuid(0x8000_0006).ecx >> 16;
    let khz = *RATE.call_once(tsc_khz);
    let (mhz, fraction) = (khz / 1000, khz % 1000);
    let (bogomips, bogo_fraction) = (khz / 500, khz % 500 / 5);
    let count = cpus();
    let (vendor, name) = (vendor(), model_name());
    let mut out = String::new();
    for cpu in 0..count {
        write!(
            out,
            "processor\t: {cpu}\nvendor_id\t: {vendor}\ncpu family\t: {family}\n\
             model\t\t: {model}\nmodel name\t: {name}\nstepping\t: {stepping}\n\
             microcode\t: 0xffffffff\ncpu MHz\t\t: {mhz}.{fraction:03}\n\
             cache size\t: {cache} KB\nphysical id\t: 0\nsiblings\t: {count}\n\
             core id\t\t: {cpu}\ncpu cores\t: {count}\napicid\t\t: {cpu}\n\
             initial apicid\t: {cpu}\nfpu\t\t: yes\nfpu_exception\t: yes\n\
             cpuid level\t: {highest}\nwp\t\t: yes\nflags\t\t:{flags}\nbugs\t\t:\n\
             bogomips\t: {bogomips}.{bogo_fraction:02}\nclflush size\t: {}\n\
             cache_alignment\t: {}\naddress sizes\t: {} bits physical, {} bits virtual\n\
             power management:\n\n",
            flush * 8,
            flush * 8,
            sizes & 0xff,
            sizes >> 8 & 0xff,
        )
        .expect(WRITES);
    }
    out.into_bytes()
}
