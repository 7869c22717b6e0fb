//! Memory type range registers (SDM vol. 3, 12.11): kept as they are written, since nothing is cached here.

/// What there is: eight variable ranges, fixed ranges, write combining.
const CAPABILITIES: u32 = 0xfe;
const CAPABILITIES_VALUE: u64 = 1 << 10 | 1 << 8 | VARIABLE as u64;
const DEFAULT: u32 = 0x2ff;
const VARIABLE_FIRST: u32 = 0x200;
const VARIABLE: usize = 8;
const FIXED: [u32; 11] = [
    0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f,
];

const WRITE_PROTECTED: u8 = 5;
const WRITE_BACK: u8 = 6;
/// In the default type's register: fixed ranges count, any of them counts.
const FIXED_COUNT: u64 = 1 << 10;
const ALL_COUNT: u64 = 1 << 11;
/// In a variable range's mask: it counts.
const VALID: u64 = 1 << 11;
/// Addresses of a variable range.
const ADDRESS: u64 = (1 << crate::identity::PHYSICAL_BITS) - 0x1000;

/// The registers of a virtual CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryTypes {
    default: u64,
    fixed: [u64; FIXED.len()],
    /// Base and mask of each range.
    variable: [u64; 2 * VARIABLE],
}

/// The same type in all eight parts of a fixed range.
const fn everywhere(kind: u8) -> u64 {
    u64::from_le_bytes([kind; 8])
}

/// Whether there is such a type.
const fn is_kind(kind: u8) -> bool {
    matches!(kind, 0 | 1 | 4..=6)
}

impl MemoryTypes {
    /// As firmware leaves them: what is memory is write-back, the screen's memory is not cached.
    pub(crate) const fn new() -> Self {
        let mut fixed = [everywhere(WRITE_PROTECTED); FIXED.len()];
        fixed[0] = everywhere(WRITE_BACK);
        fixed[1] = everywhere(WRITE_BACK);
        fixed[2] = 0;
        Self {
            default: ALL_COUNT | FIXED_COUNT | WRITE_BACK as u64,
            fixed,
            variable: [0; 2 * VARIABLE],
        }
    }

    /// Numbers of those that can be written, in ascending order.
    pub(crate) fn numbers() -> impl Iterator<Item = u32> {
        let variable = VARIABLE_FIRST..VARIABLE_FIRST + 2 * VARIABLE as u32;
        variable.chain(FIXED).chain([DEFAULT])
    }

    pub(crate) fn read(&self, number: u32) -> Option<u64> {
        let mut copy = *self;
        match number {
            CAPABILITIES => Some(CAPABILITIES_VALUE),
            _ => copy.register(number).map(|register| *register),
        }
    }

    /// Whether it may be written, with that.
    pub(crate) fn write(&mut self, number: u32, value: u64) -> bool {
        let kind = value as u8;
        let is_valid = match number {
            DEFAULT => value & !(ALL_COUNT | FIXED_COUNT | 0xff) == 0 && is_kind(kind),
            _ if FIXED.contains(&number) => value.to_le_bytes().into_iter().all(is_kind),
            // Bases are even.
            _ if number.is_multiple_of(2) => value & !(ADDRESS | 0xff) == 0 && is_kind(kind),
            _ => value & !(ADDRESS | VALID) == 0,
        };
        match self.register(number) {
            Some(register) if is_valid => *register = value,
            _ => return false,
        }
        true
    }

    fn register(&mut self, number: u32) -> Option<&mut u64> {
        if number == DEFAULT {
            return Some(&mut self.default);
        }
        if let Some(place) = FIXED.iter().position(|other| *other == number) {
            return self.fixed.get_mut(place);
        }
        let place = number.checked_sub(VARIABLE_FIRST)?;
        self.variable.get_mut(usize::try_from(place).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_unless_it_is_reserved() {
        let check = |number, value, expected| {
            let mut types = MemoryTypes::new();
            let before = types.read(number);
            assert_eq!(
                types.write(number, value),
                expected,
                "{number:#x} {value:#x}"
            );
            let wanted = if expected { Some(value) } else { before };
            assert_eq!(types.read(number), wanted, "{number:#x} {value:#x}");
        };
        check(DEFAULT, 0xc06, true);
        check(DEFAULT, 2, false);
        check(DEFAULT, 1 << 9, false);
        check(0x250, 0x0605_0401_0000_0606, true);
        check(0x26f, 0x0300_0000_0000_0000, false);
        check(0x200, 0xff_ffff_f006, true);
        check(0x200, 0x100_0000_0000, false);
        check(0x20e, 0x806, false);
        check(0x20f, 0xff_8000_0800, true);
        check(0x20f, 1, false);
        check(0x210, 0, false);
        check(0x251, 0, false);
        check(CAPABILITIES, CAPABILITIES_VALUE, false);
    }

    #[test]
    fn each_number_is_a_register() {
        let types = MemoryTypes::new();
        let numbers: Vec<u32> = MemoryTypes::numbers().collect();
        assert!(numbers.is_sorted());
        assert!(numbers.iter().all(|number| types.read(*number).is_some()));
    }
}
