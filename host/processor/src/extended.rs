//! x87, SSE and AVX state.

/// Bytes of an [`Extended`]: what XSAVE writes of the three.
pub const EXTENDED_SIZE: usize = 832;

/// Where the set of what is kept is said, and how long that header is (SDM vol. 1, 13.4.2).
const HEADER: usize = 512;
const HEADER_SIZE: usize = 64;
/// x87 and SSE; AVX.
const LEGACY: u8 = 3;
const AVX: u8 = 4;
/// Control word of x87, with all exceptions masked, and MXCSR likewise (SDM vol. 1, 13.6).
const CONTROL: [u8; 2] = 0x037f_u16.to_le_bytes();
const MXCSR: [u8; 4] = 0x1f80_u32.to_le_bytes();
const MXCSR_AT: usize = 24;
const XMM_AT: usize = 160;
const YMM_HIGH_AT: usize = 576;
const HALF: usize = 16;

/// x87, SSE and AVX state in the standard form of XSAVE (SDM vol. 1, 13.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Extended {
    /// The form itself. What its header says is not looked at.
    pub bytes: [u8; EXTENDED_SIZE],
}

impl Default for Extended {
    /// As after reset.
    fn default() -> Self {
        let mut bytes = [0; EXTENDED_SIZE];
        bytes[..CONTROL.len()].copy_from_slice(&CONTROL);
        bytes[MXCSR_AT..][..MXCSR.len()].copy_from_slice(&MXCSR);
        Self { bytes }
    }
}

impl Extended {
    /// A vector register's 32 bytes.
    #[must_use]
    pub fn vector(&self, number: usize) -> [u8; 2 * HALF] {
        let [low, high] = places(number);
        let mut vector = [0; 2 * HALF];
        vector[..HALF].copy_from_slice(&self.bytes[low..][..HALF]);
        vector[HALF..].copy_from_slice(&self.bytes[high..][..HALF]);
        vector
    }

    /// Sets a vector register.
    pub fn set_vector(&mut self, number: usize, vector: [u8; 2 * HALF]) {
        let [low, high] = places(number);
        self.bytes[low..][..HALF].copy_from_slice(&vector[..HALF]);
        self.bytes[high..][..HALF].copy_from_slice(&vector[HALF..]);
    }

    /// With a header that has the processor load all that this host has.
    pub(crate) fn loadable(&self) -> Self {
        let mut whole = *self;
        let avx = is_x86_feature_detected!("avx");
        whole.bytes[HEADER..][..HEADER_SIZE].fill(0);
        whole.bytes[HEADER] = LEGACY | if avx { AVX } else { 0 };
        whole
    }
}

/// Where the halves of a vector register lie.
fn places(number: usize) -> [usize; 2] {
    assert!(number < 16, "there is no vector register {number}");
    [XMM_AT, YMM_HIGH_AT].map(|start| start + HALF * number)
}
