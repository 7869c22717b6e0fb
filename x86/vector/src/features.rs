//! Which extensions a virtual CPU shows.

use host_processor::stub::host_has;
use iced_x86::{Code, CpuidFeature};

/// Extensions, by the bits of CPUID that say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u32);

/// Those that are known here, each with an opcode that needs it.
const KNOWN: [(CpuidFeature, Code); 22] = [
    (CpuidFeature::FPU, Code::Fadd_m32fp),
    (CpuidFeature::CMOV, Code::Fcmovb_st0_sti),
    (CpuidFeature::MMX, Code::Emms),
    (CpuidFeature::FXSR, Code::Fxsave_m512byte),
    (CpuidFeature::SSE, Code::Addps_xmm_xmmm128),
    (CpuidFeature::SSE2, Code::Addpd_xmm_xmmm128),
    (CpuidFeature::SSE3, Code::Haddps_xmm_xmmm128),
    (CpuidFeature::SSSE3, Code::Pshufb_xmm_xmmm128),
    (CpuidFeature::SSE4_1, Code::Ptest_xmm_xmmm128),
    (CpuidFeature::SSE4_2, Code::Pcmpgtq_xmm_xmmm128),
    (CpuidFeature::AES, Code::Aesenc_xmm_xmmm128),
    (CpuidFeature::PCLMULQDQ, Code::Pclmulqdq_xmm_xmmm128_imm8),
    (CpuidFeature::SHA, Code::Sha1msg1_xmm_xmmm128),
    (CpuidFeature::AVX, Code::VEX_Vaddps_ymm_ymm_ymmm256),
    (CpuidFeature::AVX2, Code::VEX_Vpaddb_ymm_ymm_ymmm256),
    (CpuidFeature::FMA, Code::VEX_Vfmadd132ps_xmm_xmm_xmmm128),
    (CpuidFeature::F16C, Code::VEX_Vcvtph2ps_xmm_xmmm64),
    (CpuidFeature::VAES, Code::VEX_Vaesenc_ymm_ymm_ymmm256),
    (
        CpuidFeature::VPCLMULQDQ,
        Code::VEX_Vpclmulqdq_ymm_ymm_ymmm256_imm8,
    ),
    (CpuidFeature::XSAVE, Code::Xsave_mem),
    (CpuidFeature::XSAVEOPT, Code::Xsaveopt_mem),
    (CpuidFeature::XSAVEC, Code::Xsavec_mem),
];

impl Features {
    /// All that is known here and that the host has.
    #[must_use]
    pub fn of_host() -> Self {
        let has = |(at, (_, code)): (usize, &(CpuidFeature, Code))| {
            let is_done_here = matches!(
                code,
                Code::Xsave_mem | Code::Xsaveopt_mem | Code::Xsavec_mem | Code::Fxsave_m512byte
            );
            u32::from(is_done_here || host_has(*code)) << at
        };
        Self(KNOWN.iter().enumerate().map(has).sum())
    }

    /// These without one.
    #[must_use]
    pub fn without(self, feature: CpuidFeature) -> Self {
        Self(self.0 & !bit(feature))
    }

    /// Whether one is among them.
    #[must_use]
    pub fn has(self, feature: CpuidFeature) -> bool {
        self.0 & bit(feature) != 0
    }

    /// Whether there is all that an opcode needs.
    pub(crate) fn allow(self, code: Code) -> bool {
        let needed = match code {
            // By the manual older than x87, for which it waits.
            Code::Wait => &[CpuidFeature::FPU],
            code => code.cpuid_features(),
        };
        needed.iter().all(|needed| self.has(*needed))
    }
}

/// The bit that is kept for one; none for those that are not known.
fn bit(feature: CpuidFeature) -> u32 {
    // Later x87 units are told apart by nobody any more.
    let feature = match feature {
        CpuidFeature::FPU287 | CpuidFeature::FPU387 => CpuidFeature::FPU,
        feature => feature,
    };
    let at = KNOWN.iter().position(|(known, _)| *known == feature);
    at.map_or(0, |at| 1 << at)
}
