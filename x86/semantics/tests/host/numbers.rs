//! Operands.

use x86_semantics::Size;

/// Numbers that look random; the same in each run.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, count: u64) -> u64 {
        (self.random() >> 8) % count
    }

    /// A value of this size, often one where something happens.
    pub(crate) fn value(&mut self, size: Size) -> u64 {
        let random = self.random();
        let special = [
            0,
            1,
            2,
            size.bits().into(),
            size.sign(),
            size.sign() - 1,
            size.mask(),
        ];
        let value = match random >> 60 {
            0..4 => special[(random >> 8) as usize % special.len()],
            4..8 => random & 0xff,
            8..10 => (random & 0xf).wrapping_neg(),
            10..12 => random >> (random >> 8 & 63),
            _ => self.random(),
        };
        size.cut(value)
    }

    /// A value of some size.
    pub(crate) fn any(&mut self) -> u64 {
        let size = Size::ALL[self.below(4) as usize];
        self.value(size)
    }
}

/// How often each is tried: `usual` times, unless `HUSK_CASES` says otherwise.
pub(crate) fn cases(usual: u64) -> u64 {
    let wanted = std::env::var("HUSK_CASES").ok();
    wanted.map_or(usual, |count| {
        count.parse().expect("HUSK_CASES is a number")
    })
}
