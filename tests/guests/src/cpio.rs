//! Writes a cpio archive in the `newc` format (Linux, "initramfs buffer format").

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive in memory.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub(crate) fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, &[]);
    }

    pub(crate) fn file(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, FILE, contents);
    }

    pub(crate) fn link(&mut self, name: &str, target: &str) {
        self.entry(name, LINK, target.as_bytes());
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            contents.len() as u32,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_start_at_multiples_of_four() {
        for length in 0..9 {
            let mut archive = Archive::default();
            archive.file("name", &vec![7; length]);
            let bytes = archive.finish();
            assert_eq!(&bytes[110..115], b"name\0");
            assert_eq!(bytes[116..116 + length], vec![7; length]);
            assert_eq!(bytes[(116 + length).next_multiple_of(4)..][..6], *b"070701");
        }
    }
}
