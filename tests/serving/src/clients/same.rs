//! Streams that must equal a file.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Write};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Takes bytes, and fails at the first that differs from the file's.
#[derive(Debug)]
pub struct Same {
    file: BufReader<File>,
    seen: u64,
    length: u64,
}

impl Same {
    /// # Errors
    /// When the file cannot be read.
    pub fn new(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            file: BufReader::with_capacity(1 << 16, file),
            seen: 0,
            length,
        })
    }

    /// # Errors
    /// When bytes are missing at the end.
    pub fn end(&self) -> Result<()> {
        let (seen, length) = (self.seen, self.length);
        ensure!(seen == length, "{seen} bytes of {length}");
        Ok(())
    }
}

impl Write for Same {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wanted = vec![0; bytes.len()];
        self.file.read_exact(&mut wanted)?;
        if let Some(at) = bytes.iter().zip(&wanted).position(|(a, b)| a != b) {
            let at = self.seen + at as u64;
            return Err(io::Error::other(format!("byte {at} differs")));
        }
        self.seen += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a file in which no two blocks are the same.
///
/// # Errors
/// When the host cannot.
pub fn make(path: &Path, length: u64) -> Result<()> {
    let mut file = io::BufWriter::new(File::create(path).context("a file")?);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..length / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_a_missing_and_a_further_byte_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        make(&path, 4096).expect("written");
        let right = std::fs::read(&path).expect("read");
        let compare = |bytes: &[u8]| -> Result<()> {
            let mut same = Same::new(&path)?;
            same.write_all(bytes)?;
            same.end()
        };
        compare(&right).expect("the same");
        compare(&right[1..]).expect_err("shifted");
        compare(&right[..4000]).expect_err("short");
        compare(&[&right[..], b"x"].concat()).expect_err("long");
    }
}
