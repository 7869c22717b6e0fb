//! Segment descriptors, gates and task state segments as bytes (SDM vol. 3, 3.4.5, 6.11, 7.2).

/// Access byte: read/write data, accessed.
pub(crate) const DATA: u8 = 0x93;
/// Access byte: execute/read code, accessed.
pub(crate) const CODE: u8 = 0x9b;
/// Access byte: execute/read conforming code, accessed.
pub(crate) const CONFORMING: u8 = 0x9f;
/// System type: LDT.
pub(crate) const LDT: u8 = 0x82;
/// System type: available 16-bit TSS.
pub(crate) const TSS_16: u8 = 0x81;
/// System type: available 32-bit TSS; in long mode the 64-bit TSS.
pub(crate) const TSS: u8 = 0x89;
/// System type: 16-bit call gate.
pub(crate) const CALL_16: u8 = 0x84;
/// System type: task gate.
pub(crate) const TASK: u8 = 0x85;
/// System type: 16-bit interrupt gate.
pub(crate) const INTERRUPT_16: u8 = 0x86;
/// System type: 16-bit trap gate.
pub(crate) const TRAP_16: u8 = 0x87;
/// System type: 32-bit call gate; in long mode the 64-bit one.
pub(crate) const CALL: u8 = 0x8c;
/// System type: 32-bit interrupt gate; in long mode the 64-bit one.
pub(crate) const INTERRUPT: u8 = 0x8e;
/// System type: 32-bit trap gate; in long mode the 64-bit one.
pub(crate) const TRAP: u8 = 0x8f;

/// Flag: the limit counts pages.
pub(crate) const PAGES: u8 = 0x80;
/// Flag: 32-bit default operand size, or a big stack.
pub(crate) const BIG: u8 = 0x40;
/// Flag: 64-bit code.
pub(crate) const LONG: u8 = 0x20;

/// A descriptor of a segment: `limit` in its own unit, of 20 bits.
pub(crate) const fn segment(base: u32, limit: u32, access: u8, flags: u8) -> u64 {
    let (base, limit) = (base as u64, limit as u64);
    let low = (limit & 0xffff) | (base & 0xff_ffff) << 16 | (access as u64) << 40;
    low | (limit >> 16 & 0xf) << 48 | ((flags & 0xf0) as u64) << 48 | (base >> 24) << 56
}

/// An access byte with the descriptor's privilege level.
pub(crate) const fn at_level(access: u8, level: u8) -> u8 {
    access & !0x60 | level << 5
}

/// A flat 32-bit segment.
pub(crate) const fn flat(access: u8, level: u8) -> u64 {
    segment(0, 0xf_ffff, at_level(access, level), PAGES | BIG)
}

/// A 64-bit code segment.
pub(crate) const fn long_code(access: u8, level: u8) -> u64 {
    segment(0, 0xf_ffff, at_level(access, level), PAGES | LONG)
}

/// A gate of protected mode; `count` is the number of parameters of a call gate.
pub(crate) const fn gate(selector: u16, offset: u32, access: u8, count: u8) -> u64 {
    let (selector, offset) = (selector as u64, offset as u64);
    let low = (offset & 0xffff) | selector << 16 | (count as u64) << 32;
    low | (access as u64) << 40 | (offset >> 16) << 48
}

/// A gate of long mode; `stack` is the index into the interrupt stack table.
pub(crate) fn long_gate(selector: u16, offset: u64, access: u8, stack: u8) -> [u8; 16] {
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the offset")]
    let low = gate(selector, offset as u32, access, stack);
    pair(low, offset >> 32)
}

/// A system descriptor of long mode, whose second half has the base's upper half.
pub(crate) fn pair(low: u64, high: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&low.to_le_bytes());
    bytes[8..].copy_from_slice(&high.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_segment_has_the_well_known_bits() {
        assert_eq!(flat(CODE, 0), 0x00cf_9b00_0000_ffff);
        assert_eq!(flat(DATA, 3), 0x00cf_f300_0000_ffff);
        assert_eq!(long_code(CODE, 0), 0x00af_9b00_0000_ffff);
    }

    #[test]
    fn bases_and_offsets_are_split() {
        let expected = 0x1200_9334_5678_ffff;
        assert_eq!(segment(0x1234_5678, 0xffff, DATA, 0), expected);
        assert_eq!(gate(8, 0x1234_5678, INTERRUPT, 0), 0x1234_8e00_0008_5678);
    }
}
