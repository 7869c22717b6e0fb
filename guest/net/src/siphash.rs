//! SipHash-1-3 (Aumasson and Bernstein, 2012): keyed hashes that a peer cannot foresee, of which
//! are made the tables' hashes, sequence numbers, cookies, ports and random numbers.

use core::hash::{BuildHasher, Hasher};

/// A secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64, pub(crate) u64);

impl Key {
    /// The hash of some words.
    pub(crate) fn hash(self, words: &[u64]) -> u64 {
        let mut state = State::new(self);
        for word in words {
            state.absorb(*word);
        }
        state.finish(words.len())
    }
}

impl BuildHasher for Key {
    type Hasher = State;

    fn build_hasher(&self) -> State {
        State::new(*self)
    }
}

/// A hash in the making. Values are taken by whole words, which is all the tables' keys need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State([u64; 4]);

impl State {
    const fn new(Key(one, other): Key) -> Self {
        Self([
            one ^ 0x736f_6d65_7073_6575,
            other ^ 0x646f_7261_6e64_6f6d,
            one ^ 0x6c79_6765_6e65_7261,
            other ^ 0x7465_6462_7974_6573,
        ])
    }

    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    const fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    fn finish(mut self, words: usize) -> u64 {
        self.absorb((words as u64) << 59);
        self.0[2] ^= 0xff;
        for _ in 0..3 {
            self.round();
        }
        let [a, b, c, d] = self.0;
        a ^ b ^ c ^ d
    }
}

impl Hasher for State {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.absorb(u64::from_le_bytes(word));
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.absorb(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.absorb(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.absorb(value);
    }

    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    fn write_u128(&mut self, value: u128) {
        self.absorb(value as u64);
        self.absorb((value >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        (*self).finish(0)
    }
}

/// Random numbers that nobody else can foresee: a keyed hash of a counter.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    key: Key,
    count: u64,
}

impl Random {
    pub(crate) const fn new(key: Key) -> Self {
        Self { key, count: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.count = self.count.wrapping_add(1);
        self.key.hash(&[self.count])
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low half is as random")]
    pub(crate) fn next_u32(&mut self) -> u32 {
        self.next() as u32
    }

    /// A key that does not tell its parent.
    pub(crate) fn next_key(&mut self) -> Key {
        Key(self.next(), self.next())
    }

    /// A number below `limit`; 0 if that is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_inputs_agree_and_others_do_not() {
        let key = Key(1, 2);
        assert_eq!(key.hash(&[1, 2]), key.hash(&[1, 2]));
        assert_ne!(key.hash(&[1, 2]), key.hash(&[2, 1]));
        assert_ne!(key.hash(&[0]), key.hash(&[0, 0]));
        assert_ne!(key.hash(&[1]), Key(2, 1).hash(&[1]));
    }

    #[test]
    fn bits_are_even() {
        let mut random = Random::new(Key(3, 4));
        let ones: u32 = (0..1_000).map(|_| random.next().count_ones()).sum();
        assert!((31_000..33_000).contains(&ones), "{ones}");
    }
}
