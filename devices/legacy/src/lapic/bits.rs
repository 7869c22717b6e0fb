//! A bit for each vector.

/// A set of vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    /// 32 vectors each, the lowest first.
    pub words: [u32; 8],
}

impl Bits {
    /// Puts a vector in or takes it out.
    pub fn set(&mut self, vector: u8, value: bool) {
        let bit = 1 << (vector & 31);
        if let Some(word) = self.words.get_mut(usize::from(vector >> 5)) {
            *word = if value { *word | bit } else { *word & !bit };
        }
    }

    /// Whether a vector is in.
    pub fn has(&self, vector: u8) -> bool {
        let word = self.words.get(usize::from(vector >> 5));
        word.is_some_and(|word| word >> (vector & 31) & 1 != 0)
    }

    /// The highest vector.
    pub fn highest(&self) -> Option<u8> {
        let mut words = (0_u8..8).zip(self.words).rev();
        let (at, word) = words.find(|&(_, word)| word != 0)?;
        Some(at * 32 + word.ilog2() as u8)
    }

    /// The lowest vector.
    pub fn lowest(&self) -> Option<u8> {
        let mut words = (0_u8..8).zip(self.words);
        let (at, word) = words.find(|&(_, word)| word != 0)?;
        Some(at * 32 + word.trailing_zeros() as u8)
    }
}
