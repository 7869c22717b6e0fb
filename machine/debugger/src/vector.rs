//! Registers of x87 and SSE, in the standard form of `XSAVE` (SDM vol. 1, 10.5.1 and 13.4).
//!
//! What the header says is as after reset is shown so, whatever lies there.

/// Bytes of the legacy region and the header.
const SIZE: usize = 576;
/// In the header: which parts are not as after reset.
const PARTS: usize = 512;
const X87: u8 = 1;
const SSE: u8 = 2;
const STACK: usize = 32;
const REGISTERS: usize = 160;
const VECTOR_CONTROL: usize = 24;
/// After reset.
const WORD: u16 = 0x37f;
const MXCSR: u32 = 0x1f80;

/// Registers of x87 beside its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Word,
    Status,
    /// Two bits a register, as `FSTENV` has them.
    Tags,
    CodeSelector,
    CodeOffset,
    DataSelector,
    DataOffset,
    Opcode,
}

impl Control {
    /// Where, and how many bytes.
    const fn place(self) -> (usize, usize) {
        match self {
            Self::Word => (0, 2),
            Self::Status => (2, 2),
            Self::Tags => (4, 1),
            Self::Opcode => (6, 2),
            Self::CodeOffset => (8, 4),
            Self::CodeSelector => (12, 2),
            Self::DataOffset => (16, 4),
            Self::DataSelector => (20, 2),
        }
    }
}

fn bytes<const N: usize>(area: &[u8], at: usize) -> [u8; N] {
    let found = area.get(at..at + N);
    found
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or([0; N])
}

fn has(area: &[u8], part: u8) -> bool {
    area.get(PARTS).is_some_and(|parts| parts & part != 0)
}

/// The area with a part in it that can be changed.
fn with(area: &mut Vec<u8>, part: u8) {
    if area.len() < SIZE {
        area.resize(SIZE, 0);
        put(area, VECTOR_CONTROL, &MXCSR.to_le_bytes());
    }
    if !has(area, part) {
        if part == X87 {
            put(area, 0, &[0; VECTOR_CONTROL]);
            put(area, 0, &WORD.to_le_bytes());
            put(area, STACK, &[0; REGISTERS - STACK]);
        } else {
            put(area, REGISTERS, &[0; 256]);
        }
        let parts = area.get(PARTS).copied().unwrap_or(0);
        put(area, PARTS, &[parts | part]);
    }
}

fn put(area: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = area.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// A register of x87, counted from the top of the stack.
pub(crate) fn stack(area: &[u8], number: usize) -> [u8; 10] {
    if has(area, X87) {
        bytes(area, STACK + 16 * number)
    } else {
        [0; 10]
    }
}

pub(crate) fn set_stack(area: &mut Vec<u8>, number: usize, value: &[u8]) -> bool {
    with(area, X87);
    put(area, STACK + 16 * number, value);
    true
}

/// A register of SSE.
pub(crate) fn register(area: &[u8], number: usize) -> [u8; 16] {
    if has(area, SSE) {
        bytes(area, REGISTERS + 16 * number)
    } else {
        [0; 16]
    }
}

pub(crate) fn set_register(area: &mut Vec<u8>, number: usize, value: &[u8]) -> bool {
    with(area, SSE);
    put(area, REGISTERS + 16 * number, value);
    true
}

pub(crate) fn vector_control(area: &[u8]) -> u32 {
    if area.len() < SIZE {
        return MXCSR;
    }
    u32::from_le_bytes(bytes(area, VECTOR_CONTROL))
}

pub(crate) fn set_vector_control(area: &mut Vec<u8>, value: u32) -> bool {
    with(area, SSE);
    put(area, VECTOR_CONTROL, &value.to_le_bytes());
    true
}

pub(crate) fn control(area: &[u8], which: Control) -> u32 {
    if !has(area, X87) {
        return match which {
            Control::Word => WORD.into(),
            Control::Tags => 0xffff,
            _ => 0,
        };
    }
    if which == Control::Tags {
        return tags(area);
    }
    let (at, length) = which.place();
    let value = u32::from_le_bytes(bytes(area, at));
    if length == 2 { value & 0xffff } else { value }
}

pub(crate) fn set_control(area: &mut Vec<u8>, which: Control, value: u32) -> bool {
    with(area, X87);
    let (at, length) = which.place();
    let value = match which {
        Control::Tags => used(value).into(),
        Control::Opcode => value & 0x7ff,
        _ => value,
    };
    let bytes = value.to_le_bytes();
    put(area, at, bytes.get(..length).unwrap_or_default());
    true
}

/// The tags of all registers, from one bit each and what they hold (SDM vol. 1, 10.5.1.1).
fn tags(area: &[u8]) -> u32 {
    let [used] = bytes(area, 4);
    let status = u16::from_le_bytes(bytes(area, 2));
    let top = usize::from(status >> 11 & 7);
    (0..8).fold(0, |tags, register: usize| {
        let value = stack(area, (register + 8 - top) % 8);
        let tag = if used >> register & 1 == 0 {
            3
        } else {
            tag(value)
        };
        tags | tag << (2 * register)
    })
}

/// Valid, zero or special.
fn tag(value: [u8; 10]) -> u32 {
    let [m0, m1, m2, m3, m4, m5, m6, m7, e0, e1] = value;
    let mantissa = u64::from_le_bytes([m0, m1, m2, m3, m4, m5, m6, m7]);
    match u16::from_le_bytes([e0, e1]) & 0x7fff {
        0 if mantissa == 0 => 1,
        0 | 0x7fff => 2,
        _ if mantissa >> 63 == 0 => 2,
        _ => 0,
    }
}

/// One bit for each register whose tag does not say that it is empty.
fn used(tags: u32) -> u8 {
    (0..8).fold(0, |used, register| {
        let is_used = tags >> (2 * register) & 3 != 3;
        used | u8::from(is_used) << register
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_area_is_as_after_reset() {
        assert_eq!(control(&[], Control::Word), 0x37f);
        assert_eq!(control(&[], Control::Tags), 0xffff);
        assert_eq!(vector_control(&[]), 0x1f80);
        let mut area = Vec::new();
        assert!(set_register(&mut area, 15, &[7; 16]));
        assert_eq!(
            (register(&area, 15), register(&area, 14)),
            ([7; 16], [0; 16])
        );
        assert_eq!(
            (control(&area, Control::Word), vector_control(&area)),
            (0x37f, 0x1f80)
        );
    }

    #[test]
    fn tags_say_what_registers_hold() {
        let mut area = Vec::new();
        // One, zero, infinity, at the top of a stack that begins at 5.
        let one = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f];
        let infinity = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f];
        set_stack(&mut area, 0, &one);
        set_stack(&mut area, 2, &infinity);
        set_control(&mut area, Control::Status, 5 << 11);
        set_control(&mut area, Control::Tags, 0b00_00_00_11_11_11_11_11);
        assert_eq!(control(&area, Control::Tags), 0b10_01_00_11_11_11_11_11);
    }
}
