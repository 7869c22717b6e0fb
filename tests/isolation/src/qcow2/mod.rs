//! qcow2 images of somebody who means ill, opened and used as disks.
//!
//! The target makes a right image, with or without files below it, changes it as the input says,
//! and does what a guest can do. What is only read must stay as it is.

mod image;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use backend_block::testing::{SliceSource, VecSink};
use backend_block::{Backing, Disk, DiskError, Format, Options, SECTOR, open};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::script::Script;
use image::{Below, CLUSTER, image};

/// The image that is opened.
const OWN: &str = "own";
/// The external data file of some, which are refused.
const DATA: &str = "data";
/// Most sectors of a request without data. The block device lets longer ones through, which do the
/// same for more clusters.
const LONG_MAX: u64 = 1 << 12;
/// How often an image is opened at most: each time all of its tables are looked at.
const OPENED_MAX: usize = 5;

/// What lies below an image, by number.
fn below(number: u8) -> Below {
    let backing = [
        None,
        Some(("base", "raw")),
        Some(("middle", "qcow2")),
        Some(("middle", "")),
        Some((OWN, "qcow2")),
        Some(("pipe", "raw")),
        Some(("..", "raw")),
    ];
    match backing.get(usize::from(number & 7)) {
        Some(&backing) => Below {
            backing,
            data_file: None,
        },
        None => Below {
            backing: None,
            data_file: Some(DATA),
        },
    }
}

/// A folder with images and other files.
struct Scratch {
    folder: tempfile::TempDir,
    /// What nobody may write, and what was in it.
    fixed: Vec<(&'static str, Vec<u8>)>,
}

impl Scratch {
    fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let over_base = Below {
            backing: Some(("base", "raw")),
            data_file: None,
        };
        let fixed = vec![
            ("base", vec![5; 20 * CLUSTER]),
            ("middle", image(3, over_base)),
            (DATA, vec![8; 4 * CLUSTER]),
        ];
        let scratch = Self { folder, fixed };
        for (name, bytes) in &scratch.fixed {
            fs::write(scratch.path(name), bytes)?;
        }
        mknodat(CWD, scratch.path("pipe"), FileType::Fifo, Mode::RWXU, 0)?;
        Ok(scratch)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Checks that nobody has written what is not the image's own.
    fn check(&self) -> io::Result<()> {
        for (name, bytes) in &self.fixed {
            assert!(fs::read(self.path(name))? == *bytes, "{name} was written");
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(self.folder.path())? {
            names.push(entry?.file_name());
        }
        names.sort();
        assert_eq!(names, ["base", DATA, "middle", OWN, "pipe"]);
        Ok(())
    }
}

/// A changed image as a disk.
///
/// # Panics
/// When opening or using it does, or anything is written that is not the image's own.
pub fn qcow2(data: &[u8]) {
    let mut script = Script::new(data);
    let shape = script.byte().unwrap_or(0);
    let read_only = shape & 1 != 0;
    let version = if shape & 2 == 0 { 3 } else { 2 };
    let mut bytes = image(version, below(shape >> 2));
    change(&mut bytes, &mut script);
    let scratch = Scratch::new().expect("the temporary directory has room");
    fs::write(scratch.path(OWN), &bytes).expect("the temporary directory has room");
    let options = Options {
        path: scratch.path(OWN),
        format: Format::Qcow2,
        read_only,
        backing: Backing::default(),
    };
    use_disk(&options, &mut script);
    if read_only {
        assert!(is(&scratch.path(OWN), &bytes), "it is only read");
    }
    scratch.check().expect("it can be read");
}

fn is(path: &Path, bytes: &[u8]) -> bool {
    fs::read(path).expect("it is there") == bytes
}

/// Changes some bytes and the length.
fn change(bytes: &mut Vec<u8>, script: &mut Script<'_>) {
    let shape = script.byte().unwrap_or(0);
    for _ in 0..shape & 0x1f {
        let at = usize::try_from(script.number::<2>()).unwrap_or(0) % bytes.len();
        let count = script.byte().unwrap_or(0) & 0xf;
        let changes = script.bytes(count.into());
        let places = bytes.iter_mut().skip(at);
        places
            .zip(changes)
            .for_each(|(byte, change)| *byte ^= change);
    }
    if shape & 0x80 != 0 {
        let length = script.number::<2>() as usize;
        bytes.resize(length % (4 * bytes.len()), 0);
    }
}

/// Opens a disk, and again when the script says so, and does what else that says.
fn use_disk(options: &Options, script: &mut Script<'_>) {
    for _ in 0..OPENED_MAX {
        let disk = match open(options) {
            Ok(disk) => disk,
            Err(error) => {
                assert!(error.to_string().len() > "disk ".len(), "a sentence");
                return;
            }
        };
        assert_eq!(disk.is_read_only(), options.read_only);
        assert!(disk.size() >= SECTOR && disk.size().is_multiple_of(SECTOR));
        loop {
            let Some(kind) = script.byte() else {
                return;
            };
            if kind & 7 == 7 {
                break;
            }
            check(disk.as_ref(), kind, script);
        }
    }
}

/// One request. Those that are wrong are refused; the others end well or with an error.
fn check(disk: &dyn Disk, kind: u8, script: &mut Script<'_>) {
    let (place, count) = (script.number::<2>(), script.number::<1>());
    // From the start, or as far from the end.
    let offset = if kind & 0x20 == 0 {
        place * SECTOR
    } else {
        disk.size().wrapping_sub(place * SECTOR)
    };
    // Requests without data may be longer.
    let more = count << (kind >> 6 << 2);
    let (data, length) = (count * SECTOR, more.min(LONG_MAX) * SECTOR);
    let (result, length) = match kind & 7 {
        0 | 1 => (disk.read_at(offset, &mut VecSink::new(data as usize)), data),
        2 | 3 => {
            let bytes = vec![place as u8; data as usize];
            (disk.write_at(offset, &mut SliceSource(&bytes)), data)
        }
        4 => (disk.discard(offset, length), length),
        5 => (disk.write_zeroes(offset, length, kind & 8 != 0), length),
        _ => {
            // An image that lies about its space may fail to be flushed.
            let _ = disk.flush();
            return;
        }
    };
    let end = offset.checked_add(length);
    let is_inside = end.is_some_and(|end| end <= disk.size());
    let is_refused = disk.is_read_only() && kind & 7 >= 2;
    match result {
        Err(DiskError::ReadOnly) => assert!(is_refused, "only then"),
        Err(DiskError::Range) => assert!(!is_inside, "only then"),
        _ => assert!(is_inside && !is_refused, "what is wrong is refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    fn opened(bytes: &[u8], read_only: bool) -> (Scratch, Result<Box<dyn Disk>, String>) {
        let scratch = Scratch::new().expect("there is room");
        fs::write(scratch.path(OWN), bytes).expect("there is room");
        let options = Options {
            path: scratch.path(OWN),
            format: Format::Qcow2,
            read_only,
            backing: Backing::default(),
        };
        let disk = open(&options).map_err(|error| error.to_string());
        (scratch, disk)
    }

    fn first_bytes(disk: &dyn Disk, clusters: usize) -> Vec<u8> {
        let each = (0..clusters).map(|cluster| {
            let mut sink = VecSink::new(CLUSTER);
            let offset = (cluster * CLUSTER) as u64;
            disk.read_at(offset, &mut sink).expect("it can be read");
            assert!(sink.bytes.iter().all(|byte| *byte == sink.bytes[0]));
            sink.bytes[0]
        });
        each.collect()
    }

    #[test]
    fn what_the_inputs_change_is_right() {
        for (version, number, expected) in [
            (2, 0, [7, 7, 0, 9, 0]),
            (3, 0, [7, 7, 0, 9, 0]),
            (2, 1, [7, 7, 0, 9, 5]),
            (3, 1, [7, 7, 0, 9, 5]),
            (3, 2, [7, 7, 0, 9, 5]),
        ] {
            for read_only in [false, true] {
                let (scratch, disk) = opened(&image(version, below(number)), read_only);
                let disk = disk.expect("it is right");
                assert_eq!(
                    first_bytes(disk.as_ref(), 5),
                    expected,
                    "{version} {number}"
                );
                if !read_only {
                    disk.write_at(2048, &mut SliceSource(&[1; 1024]))
                        .expect("it can be written");
                    disk.flush().expect("it can be flushed");
                    assert_eq!(first_bytes(disk.as_ref(), 6)[4..], [1, 1]);
                }
                scratch.check().expect("it can be read");
            }
        }
    }

    #[test]
    fn files_below_that_cannot_be_are_named() {
        for (number, said) in [
            (4, "too many backing files"),
            (5, "pipe is neither a file nor a block device"),
            (6, "lies outside of the image's folder"),
            (7, "external data file"),
        ] {
            let (_scratch, disk) = opened(&image(3, below(number)), true);
            let error = disk.err().expect("it is refused");
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn images_that_are_almost_right_are_survived() {
        let mut random = Random::new(6);
        for round in 0..1500 {
            let mut input = vec![round as u8, random.below(6) as u8];
            for _ in 0..input[1] {
                // Most of what matters is in the header and where tables begin.
                let cluster = random.below(5) * CLUSTER as u64;
                let at = (cluster + random.below(120)) as u16;
                input.extend(at.to_le_bytes());
                input.extend([1, random.below(256) as u8]);
            }
            input.extend((0..40).map(|_| random.below(256) as u8));
            qcow2(&input);
        }
    }
}
