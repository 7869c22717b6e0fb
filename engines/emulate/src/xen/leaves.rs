//! What `cpuid` says of the Xen below (public/arch-x86/cpuid.h).

use engine_contract::VcpuId;

use crate::identity::{HYPERVISOR, text};
use crate::paravirtual_clock::scale;

/// The last leaf.
const LAST: u32 = HYPERVISOR + 4;
const NAME: &[u8; 12] = b"XenVMMXenVMM";
/// The register by which the guest names its page of calls.
pub(super) const PAGE_REGISTER: u32 = 0x4000_0000;
/// 4.17.
pub(super) const VERSION: u32 = 4 << 16 | 17;

/// In the leaf of time: the counter has one rate everywhere, and is read together with a number of the virtual CPU.
const TIME: u32 = 1 << 1 | 1 << 2;
/// In the leaf of HVM: it has the virtual CPU's number.
const VCPU_ID_PRESENT: u32 = 1 << 3;

/// `eax`, `ebx`, `ecx`, `edx`.
pub(crate) fn answer(vcpu: VcpuId, kilohertz: u32, leaf: u32, index: u32) -> [u32; 4] {
    match (leaf.wrapping_sub(HYPERVISOR), index) {
        (0, _) => [LAST, text(NAME, 0), text(NAME, 1), text(NAME, 2)],
        (1, _) => [VERSION, 0, 0, 0],
        // One page.
        (2, _) => [1, PAGE_REGISTER, 0, 0],
        (3, 0) => [TIME, 0, kilohertz, 0],
        (3, 1) => {
            let (shift, factor) = scale(kilohertz.into());
            [0, 0, factor, i32::from(shift) as u32]
        }
        (3, 2) => [kilohertz, 0, 0, 0],
        (4, 0) => [VCPU_ID_PRESENT, vcpu.0, 0, 0],
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xen_is_found_with_its_version_and_page() {
        let answer = |leaf, index| answer(VcpuId(3), 2_000_000, HYPERVISOR + leaf, index);
        let [last, b, c, d] = answer(0, 0);
        let name = [b, c, d].map(u32::to_le_bytes).concat();
        assert_eq!((last, name.as_slice()), (0x4000_0004, &b"XenVMMXenVMM"[..]));
        assert_eq!(answer(1, 0), [0x0004_0011, 0, 0, 0]);
        assert_eq!(answer(2, 0), [1, 0x4000_0000, 0, 0]);
        assert_eq!(answer(3, 0), [6, 0, 2_000_000, 0]);
        assert_eq!(answer(3, 1), [0, 0, 1 << 31, 0]);
        assert_eq!(answer(4, 0), [8, 3, 0, 0]);
        for (leaf, index) in [(3, 3), (4, 1), (5, 0), (0x10, 0)] {
            assert_eq!(answer(leaf, index), [0; 4], "{leaf} {index}");
        }
    }
}
