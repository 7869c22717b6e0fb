//! Constants of the test kernel: texts and pointers to descriptor tables.

use super::Blob;
use crate::layout;

/// Where they lie: in the reach of real mode's segment.
const ADDRESS: u32 = 0x1_5000;

/// Constants as they are asked for.
#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
}

impl Texts {
    /// Adds bytes, and says where they are.
    pub(super) fn add(&mut self, bytes: &[u8]) -> u32 {
        let offset = u32::try_from(self.bytes.len()).expect("texts are short");
        self.bytes.extend_from_slice(bytes);
        ADDRESS + offset
    }

    /// A text that ends with a zero byte.
    pub(super) fn text(&mut self, text: &str) -> u32 {
        let address = self.add(text.as_bytes());
        self.bytes.push(0);
        address
    }

    /// What LGDT or LIDT loads, in protected mode or real mode.
    pub(super) fn pointer(&mut self, base: u32, length: u32) -> u32 {
        let limit = u16::try_from(length - 1).expect("tables have up to 64 KiB");
        let mut bytes = limit.to_le_bytes().to_vec();
        bytes.extend(base.to_le_bytes());
        self.add(&bytes)
    }

    pub(super) fn blob(self) -> Blob {
        assert!(ADDRESS + self.bytes.len() as u32 <= layout::RUNTIME_16);
        Blob {
            address: ADDRESS,
            bytes: self.bytes,
        }
    }
}
