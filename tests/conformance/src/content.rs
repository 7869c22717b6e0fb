//! Bytes for files and standard input: given, or generated, the same ones every time.

use std::io::{self, Write};

/// What a file or a stream holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// These bytes.
    Text(&'static str),
    /// This many lines, each a decimal number below 2^40.
    Numbers(u64),
    /// This many lines of a few lower-case words.
    Words(u64),
    /// This many bytes that do not compress.
    Noise(u64),
    /// This many bytes that compress about as source code does.
    Mixed(u64),
}

impl Content {
    /// Writes everything.
    pub(crate) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        match *self {
            Self::Text(text) => out.write_all(text.as_bytes()),
            Self::Numbers(lines) => {
                (0..lines).try_for_each(|_| writeln!(out, "{}", random.next() >> 24))
            }
            Self::Words(lines) => (0..lines).try_for_each(|_| writeln!(out, "{}", random.line())),
            Self::Noise(bytes) => fill(out, bytes, || random.next().to_le_bytes().to_vec()),
            Self::Mixed(bytes) => mix(out, bytes, &mut random),
        }
    }
}

/// Pieces of different length from one page of lines, in random order: quick to make.
fn mix(out: &mut dyn Write, bytes: u64, random: &mut Random) -> io::Result<()> {
    let page: String = (0..4000).map(|_| random.line() + "\n").collect();
    let mut below = |limit: usize| usize::try_from(random.next() >> 33).unwrap_or(0) % limit;
    let half = page.len() / 2;
    fill(out, bytes, || {
        let (start, length) = (below(half), 1 + below(400));
        page.as_bytes()[start..start + length].to_vec()
    })
}

fn fill(out: &mut dyn Write, bytes: u64, mut piece: impl FnMut() -> Vec<u8>) -> io::Result<()> {
    let mut left = usize::try_from(bytes).map_err(io::Error::other)?;
    while left > 0 {
        let piece = piece();
        let part = &piece[..piece.len().min(left)];
        out.write_all(part)?;
        left -= part.len();
    }
    Ok(())
}

const WORDS: [&str; 24] = [
    "page", "ring", "guest", "clock", "vector", "frame", "table", "engine", "board", "queue",
    "signal", "stack", "heap", "fault", "entry", "mask", "level", "edge", "probe", "cache",
    "image", "root", "volume", "husk",
];

/// Marsaglia's xorshift generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn word(&mut self) -> &'static str {
        let at = usize::try_from(self.next() >> 33).unwrap_or(0) % WORDS.len();
        WORDS[at]
    }

    fn line(&mut self) -> String {
        let (first, second, third) = (self.word(), self.word(), self.word());
        format!("{first} {second} {third} {}", self.next() >> 52)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        content
            .write_to(&mut bytes)
            .expect("memory takes everything");
        bytes
    }

    #[test]
    fn generated_content_has_the_asked_size_and_repeats() {
        assert_eq!(bytes(&Content::Noise(1001)).len(), 1001);
        assert_eq!(bytes(&Content::Mixed(5000)).len(), 5000);
        let words = bytes(&Content::Words(7));
        assert_eq!(words.iter().filter(|byte| **byte == b'\n').count(), 7);
        assert_eq!(words, bytes(&Content::Words(7)));
    }
}
