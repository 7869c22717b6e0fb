//! Kernels of some bytes: a Multiboot header (Multiboot 0.6.96, 3.1) and code in protected mode.

const MAGIC: u32 = 0x1bad_b002;
/// The header says where the file goes.
const FLAGS: u32 = 1 << 16;
const PLACE: u32 = 0x10_0000;
const HEADER: u32 = 32;

/// A kernel that runs this code.
pub(crate) fn kernel(code: &[u8]) -> Vec<u8> {
    let end = PLACE + HEADER + code.len() as u32;
    let sum = 0_u32.wrapping_sub(MAGIC).wrapping_sub(FLAGS);
    let fields = [MAGIC, FLAGS, sum, PLACE, PLACE, end, end, PLACE + HEADER];
    let header = fields.iter().flat_map(|field| field.to_le_bytes());
    header.chain(code.iter().copied()).collect()
}
