//! Random numbers: a ChaCha20 generator seeded by the monitor, with fast key erasure.

use guest_hal::boot;
use guest_hal::sync::Mutex;

static STATE: Mutex<Option<Generator>> = Mutex::new(None);

struct Generator {
    key: [u32; 8],
    block: [u8; 64],
    used: usize,
}

/// Fills `bytes` with random ones.
pub fn fill(bytes: &mut [u8]) {
    let mut state = STATE.lock();
    let generator = state.get_or_insert_with(|| {
        let mut seed = [0u8; 32];
        seed.iter_mut()
            .zip(boot::info().entropy)
            .for_each(|(to, from)| *to = from);
        Generator::new(&seed)
    });
    for byte in bytes {
        *byte = generator.next();
    }
}

/// A random 64-bit number.
#[must_use]
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

impl Generator {
    fn new(seed: &[u8; 32]) -> Self {
        let mut key = [0; 8];
        for (word, bytes) in key.iter_mut().zip(seed.chunks_exact(4)) {
            *word = u32::from_le_bytes(bytes.try_into().expect("chunks of four"));
        }
        Self {
            key,
            block: [0; 64],
            used: 64,
        }
    }

    fn next(&mut self) -> u8 {
        if self.used >= 64 {
            // The first half of each block is the next key, so that earlier output
            // cannot be computed from what is in memory.
            let block = chacha20_block(&self.key, 0);
            *self = Self::new(&block.first_chunk::<32>().copied().expect("64 bytes"));
            self.block = block;
            self.used = 32;
        }
        let byte = self.block.get(self.used).copied().unwrap_or_default();
        if let Some(slot) = self.block.get_mut(self.used) {
            *slot = 0;
        }
        self.used += 1;
        byte
    }
}

/// One block of ChaCha20 with a zero nonce (RFC 8439, 2.3).
fn chacha20_block(key: &[u32; 8], counter: u32) -> [u8; 64] {
    let [a, b, c, d, e, f, g, h] = *key;
    let initial = [
        0x6170_7865,
        0x3320_646e,
        0x7962_2d32,
        0x6b20_6574,
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        counter,
        0,
        0,
        0,
    ];
    let mut state = initial;
    for _ in 0..10 {
        for [a, b, c, d] in ROUNDS {
            quarter_round(&mut state, a, b, c, d);
        }
    }
    let mut bytes = [0; 64];
    for ((out, word), start) in bytes.chunks_exact_mut(4).zip(state).zip(initial) {
        out.copy_from_slice(&word.wrapping_add(start).to_le_bytes());
    }
    bytes
}

const ROUNDS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

fn quarter_round(state: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    for (x, y, z, turn) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        state[x] = state[x].wrapping_add(state[y]);
        state[z] = (state[z] ^ state[x]).rotate_left(turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_function_gives_the_known_keystream() {
        // RFC 8439, appendix A.1, test vector 1: zero key, counter and nonce.
        let block = chacha20_block(&[0; 8], 0);
        assert_eq!(block[..8], [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
    }

    #[test]
    fn a_generator_does_not_repeat_itself() {
        let mut generator = Generator::new(&[7; 32]);
        let one: alloc::vec::Vec<u8> = (0..64).map(|_| generator.next()).collect();
        let two: alloc::vec::Vec<u8> = (0..64).map(|_| generator.next()).collect();
        assert_ne!(one, two);
    }
}
