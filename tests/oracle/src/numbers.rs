//! Random operands that are likely to show something.

/// Numbers that look random; the same in each run.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Starts from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed << 20)
    }

    /// Any 64 bits.
    pub fn random(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `count`, which is not zero.
    pub fn below(&mut self, count: u64) -> u64 {
        (self.random() >> 8) % count
    }

    /// One of some, of which there is one at least.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A general register's value: often a small or a special one.
    pub fn general(&mut self) -> u64 {
        let special = [
            0,
            1,
            u64::MAX,
            1 << 63,
            i64::MAX as u64,
            1 << 31,
            0x7fff_ffff,
            0xffff_ffff,
        ];
        match self.below(4) {
            0 => self.one_of(&special),
            1 => self.below(40),
            2 => self.below(40).wrapping_neg(),
            _ => self.random(),
        }
    }

    /// 32 bits, often a special number of single precision.
    pub fn single(&mut self) -> u32 {
        const SPECIAL: [u32; 24] = [
            0,
            0x8000_0000,
            0x3f80_0000,
            0xbf80_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0000,
            0xffc0_0000,
            0x7f80_0001,
            0xffa1_2345,
            0x7fff_ffff,
            0x0000_0001,
            0x007f_ffff,
            0x8040_0000,
            0x0080_0000,
            0x7f7f_ffff,
            0x4f00_0000,
            0xcf00_0000,
            0x5f00_0000,
            0x3f00_0000,
            0x3fc0_0000,
            0xffff_ffff,
            0x4b00_0001,
            0x3380_0000,
        ];
        let random = self.random();
        match self.below(5) {
            0 | 1 => self.one_of(&SPECIAL),
            2 => ((random % 2001) as f32 - 1000.0).to_bits(),
            3 => (random as u32 & 0x807f_ffff) | (0x70 + self.below(0x20) as u32) << 23,
            _ => random as u32,
        }
    }

    /// 64 bits, often a special number of double precision, or two of single.
    pub fn double(&mut self) -> u64 {
        const SPECIAL: [u64; 22] = [
            0,
            1 << 63,
            0x3ff0_0000_0000_0000,
            0xbff0_0000_0000_0000,
            0x7ff0_0000_0000_0000,
            0xfff0_0000_0000_0000,
            0x7ff8_0000_0000_0000,
            0xfff8_0000_0000_0000,
            0x7ff0_0000_0000_0001,
            0xfff4_1234_5678_9abc,
            1,
            0x000f_ffff_ffff_ffff,
            0x8008_0000_0000_0000,
            0x0010_0000_0000_0000,
            0x7fef_ffff_ffff_ffff,
            0x41e0_0000_0000_0000,
            0xc1e0_0000_0000_0000,
            0x43e0_0000_0000_0000,
            0xc3e0_0000_0000_0000,
            0x380f_ffff_ffff_ffff,
            0x47f0_0000_0000_0000,
            0x3fe0_0000_0000_0000,
        ];
        let random = self.random();
        match self.below(6) {
            0 | 1 => self.one_of(&SPECIAL),
            2 => u64::from(self.single()) << 32 | u64::from(self.single()),
            3 => ((random % 2001) as f64 - 1000.0).to_bits(),
            4 => (random & 0x800f_ffff_ffff_ffff) | (0x3f0 + self.below(0x20)) << 52,
            _ => random,
        }
    }

    /// 16 bytes: numbers of one kind, or anything.
    pub fn half(&mut self) -> [u8; 16] {
        let value = match self.below(4) {
            0 | 1 => {
                let lane = |numbers: &mut Self| u128::from(numbers.single());
                (0..4).fold(0, |value, at| value | lane(self) << (32 * at))
            }
            2 => u128::from(self.double()) << 64 | u128::from(self.double()),
            _ => self.bytes(),
        };
        value.to_le_bytes()
    }

    /// 16 bytes, many of which are small or at an end of their range.
    fn bytes(&mut self) -> u128 {
        let byte = |numbers: &mut Self| match numbers.below(3) {
            0 => numbers.one_of(&[0_u8, 1, 0x7f, 0x80, 0xff]),
            1 => b'a' + numbers.below(3) as u8,
            _ => numbers.random() as u8,
        };
        (0..16).fold(0, |value, at| value | u128::from(byte(self)) << (8 * at))
    }

    /// An x87 number of any class, those that later units do not support among them.
    pub fn extended(&mut self) -> [u8; 10] {
        let sign = self.below(2) << 15;
        let random = self.random();
        let (exponent, fraction) = match self.below(12) {
            0 => (0, 0),
            1 => (0, random >> 1),
            2 => (0x7fff, 1 << 63),
            3 => (0x7fff, random | 3 << 62),
            4 => (0x7fff, (random | 1 << 63) & !(1 << 62) | 1),
            5 => (random & 0x7fff, self.random()),
            6 => (0, random | 1 << 63),
            7 => (0x3fff + self.below(70) - 4, random | 1 << 63),
            8 => (0x3fff + self.below(64), (1 << 63) | (random & 7) << 60),
            9 => (
                self.one_of(&[1, 0x7ffe, 0x3f81, 0x407e, 0x3c01, 0x43fe]),
                random | 1 << 63,
            ),
            _ => (0x3ff0 + self.below(0x20), random | 1 << 63),
        };
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&u64::to_le_bytes(fraction));
        bytes[8..].copy_from_slice(&((exponent | sign) as u16).to_le_bytes());
        bytes
    }
}
