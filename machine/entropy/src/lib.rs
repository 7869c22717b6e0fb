//! Random numbers that are the same in every run of a machine: what follows from a seed.
//!
//! Each of those who want some has a [`Source`] of its own, so that none depends on how much another took. The generator
//! is ChaCha with 20 rounds, whose numbers no version changes. They are no secret: whoever knows the seed knows them.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)
)]

use std::fmt;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// Bytes of a key.
const KEY: usize = 32;

/// Who wants random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// `RDRAND` and `RDSEED`.
    Instructions = 1,
    /// A device that gives them.
    Device = 2,
    /// What Husk's kernel begins with.
    Kernel = 3,
}

/// Random numbers for one of them.
pub struct Source(ChaCha20Rng);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Source {
    /// Those that follow from a seed.
    #[must_use]
    pub fn new(seed: u64, consumer: Consumer) -> Self {
        let mut key = [0; KEY];
        let words = [seed, consumer as u64].map(u64::to_le_bytes);
        for (to, from) in key.iter_mut().zip(words.as_flattened()) {
            *to = *from;
        }
        Self(ChaCha20Rng::from_seed(key))
    }

    /// Fills with the next ones.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, consumer: Consumer) -> u64 {
        Source::new(seed, consumer).number()
    }

    #[test]
    fn numbers_follow_from_seed_and_consumer() {
        let one = first(1, Consumer::Device);
        assert_eq!(one, first(1, Consumer::Device));
        assert_ne!(one, first(2, Consumer::Device));
        assert_ne!(one, first(1, Consumer::Kernel));
    }

    #[test]
    fn no_version_changes_them() {
        assert_eq!(first(0, Consumer::Instructions), 0x45ee_a7e1_dbc8_cda0);
    }
}
