//! Raw and qcow2 disks on files of the host.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use backend_block::testing::{SliceSource, VecSink};
use backend_block::{Backing, Disk, DiskError, Format, OpenError, Options, open};
use imago::file::File as Storage;
use imago::format::builder::FormatCreateBuilder;
use imago::qcow2::Qcow2;
use proptest::prelude::*;
use tempfile::TempDir;

const SIZE: u64 = 4 << 20;

struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn raw(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("there is room");
        path
    }

    fn qcow2(&self, name: &str, backing: Option<(&str, &str)>) -> PathBuf {
        let path = self.path(name);
        let mut made = File::options();
        let made = made
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path);
        let storage = Storage::try_from(made.expect("there is room")).expect("it is a file");
        let mut builder = Qcow2::<Storage>::create_builder(storage).size(SIZE);
        if let Some((file, format)) = backing {
            builder = builder.backing(file.to_owned(), format.to_owned());
        }
        builder.create().expect("there is room");
        path
    }
}

fn opened(path: &Path, format: Format, read_only: bool) -> Result<Box<dyn Disk>, OpenError> {
    open(&Options {
        path: path.to_owned(),
        format,
        read_only,
        backing: Backing::Beside,
    })
}

fn read(disk: &dyn Disk, offset: u64, length: usize) -> Vec<u8> {
    let mut sink = VecSink::new(length);
    disk.read_at(offset, &mut sink).expect("it can be read");
    sink.bytes
}

fn write(disk: &dyn Disk, offset: u64, bytes: &[u8]) {
    disk.write_at(offset, &mut SliceSource(bytes))
        .expect("it can be written");
}

fn sentence(path: &Path, format: Format, read_only: bool) -> String {
    let error = opened(path, format, read_only)
        .err()
        .expect("it is refused");
    error
        .to_string()
        .replace(&path.display().to_string(), "PATH")
}

#[test]
fn what_was_written_is_there_after_opening_again() {
    let bench = Bench::new();
    let images = [
        (bench.raw("raw", &[0; SIZE as usize]), Format::Raw),
        (bench.qcow2("qcow2", None), Format::Qcow2),
    ];
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for (path, format) in images {
        assert_eq!(Format::guess(&path).expect("it can be read"), format);
        let disk = opened(&path, format, false).expect("it is fine");
        assert_eq!((disk.size(), disk.is_read_only()), (SIZE, false));
        write(&*disk, 65_536 - 512, &bytes);
        disk.flush().expect("it can be flushed");
        drop(disk);
        let disk = opened(&path, format, true).expect("it is fine");
        assert_eq!(read(&*disk, 65_536 - 512, bytes.len()), bytes);
        assert_eq!(read(&*disk, SIZE - 512, 512), [0; 512]);
        let refused = disk.write_at(0, &mut SliceSource(&[1; 512]));
        assert!(matches!(refused, Err(DiskError::ReadOnly)));
        let past = disk.read_at(SIZE - 512, &mut VecSink::new(1024));
        assert!(matches!(past, Err(DiskError::Range)));
        let past = disk.read_at(u64::MAX, &mut VecSink::new(1024));
        assert!(matches!(past, Err(DiskError::Range)));
    }
}

#[test]
fn zeroes_and_discards_do_what_they_say() {
    let bench = Bench::new();
    let images = [
        (bench.raw("raw", &[0; SIZE as usize]), Format::Raw),
        (bench.qcow2("qcow2", None), Format::Qcow2),
    ];
    for (path, format) in images {
        let disk = opened(&path, format, false).expect("it is fine");
        for unmap in [false, true] {
            write(&*disk, 0, &[7; 256 << 10]);
            disk.write_zeroes(512, 200 << 10, unmap)
                .expect("it can be zeroed");
            let bytes = read(&*disk, 0, 256 << 10);
            let end = 512 + (200 << 10);
            assert!(bytes[..512].iter().all(|&byte| byte == 7));
            assert!(bytes[512..end].iter().all(|&byte| byte == 0));
            assert!(bytes[end..].iter().all(|&byte| byte == 7));
        }
        disk.discard(64 << 10, 64 << 10)
            .expect("it can be discarded");
        assert_eq!(read(&*disk, 0, 512), [7; 512]);
        assert!(matches!(disk.discard(SIZE, 512), Err(DiskError::Range)));
        assert!(matches!(
            disk.write_zeroes(1, u64::MAX, true),
            Err(DiskError::Range)
        ));
    }
}

#[test]
fn a_backing_file_is_read_and_never_written() {
    let bench = Bench::new();
    let base = bench.raw("base", &[5; SIZE as usize]);
    bench.qcow2("middle", Some(("base", "raw")));
    let top = bench.qcow2("top", Some(("middle", "qcow2")));
    let disk = opened(&top, Format::Qcow2, false).expect("it is fine");
    assert_eq!(read(&*disk, 1024, 512), [5; 512]);
    write(&*disk, 1024, &[6; 512]);
    assert_eq!(
        read(&*disk, 512, 1536),
        [[5; 512], [6; 512], [5; 512]].concat()
    );
    disk.flush().expect("it can be flushed");
    // While the disk is open, nobody can write its backing file, and anybody can read it.
    assert!(sentence(&base, Format::Raw, false).contains("another machine"));
    assert!(opened(&base, Format::Raw, true).is_ok());
    drop(disk);
    assert_eq!(fs::read(&base).expect("it is there"), [5; SIZE as usize]);
}

#[test]
fn two_machines_cannot_write_one_disk() {
    let bench = Bench::new();
    let path = bench.raw("raw", &[0; 4096]);
    let first = opened(&path, Format::Raw, false).expect("it is fine");
    assert_eq!(
        sentence(&path, Format::Raw, false),
        "disk PATH is in use by another machine"
    );
    assert_eq!(
        sentence(&path, Format::Raw, true),
        "disk PATH is in use by another machine"
    );
    drop(first);
    let _readers = [1, 2].map(|_| opened(&path, Format::Raw, true).expect("it is fine"));
    assert_eq!(
        sentence(&path, Format::Raw, false),
        "disk PATH is in use by another machine"
    );
}

#[test]
fn what_cannot_be_opened_is_said_in_one_sentence() {
    let bench = Bench::new();
    let missing = bench.path("missing");
    assert_eq!(
        sentence(&missing, Format::Raw, false),
        "disk PATH does not exist"
    );
    let directory = bench.0.path();
    for read_only in [false, true] {
        let said = sentence(directory, Format::Raw, read_only);
        assert_eq!(said, "disk PATH is a directory, not a disk image");
    }
    let empty = bench.raw("empty", &[]);
    assert_eq!(sentence(&empty, Format::Raw, false), "disk PATH is empty");
    let said = sentence(Path::new("/dev/null"), Format::Raw, true);
    assert_eq!(said, "disk PATH is neither a file nor a block device");
    let garbage = bench.raw("garbage", &[0x41; 4096]);
    let said = sentence(&garbage, Format::Qcow2, true);
    assert!(
        said.starts_with("disk PATH cannot be used as a qcow2 image: "),
        "{said}"
    );
    let orphan = bench.qcow2("orphan", Some(("gone", "raw")));
    let said = sentence(&orphan, Format::Qcow2, true);
    assert!(said.contains("gone does not exist"), "{said}");
    let own = bench.qcow2("own", Some(("own", "qcow2")));
    let said = sentence(&own, Format::Qcow2, true);
    assert!(said.contains("too many backing files"), "{said}");
}

/// Opens on a thread, since what it must not do is wait.
fn sentence_soon(path: &Path, format: Format) -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        Format::guess(&path).expect("it can be read");
        sender.send(sentence(&path, format, true))
    });
    let said = receiver.recv_timeout(std::time::Duration::from_secs(20));
    said.expect("it does not wait")
}

#[test]
fn a_pipe_is_refused_and_nobody_waits_for_its_other_end() {
    let bench = Bench::new();
    let pipe = bench.path("pipe");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
        .expect("there is room");
    let said = sentence_soon(&pipe, Format::Raw);
    assert_eq!(said, "disk PATH is neither a file nor a block device");
    let above = bench.qcow2("above", Some(("pipe", "raw")));
    let said = sentence_soon(&above, Format::Qcow2);
    assert!(said.contains("pipe is neither a file"), "{said}");
}

#[test]
fn an_external_data_file_is_refused_and_not_touched() {
    let bench = Bench::new();
    let path = bench.path("image");
    let created = |path: &Path| {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        Storage::try_from(options.open(path).expect("there is room")).expect("it is a file")
    };
    let data = created(&bench.path("data"));
    let builder = Qcow2::<Storage>::create_builder(created(&path)).size(SIZE);
    let builder = builder.data_file("data".to_owned(), data);
    builder.create().expect("there is room");
    let top = bench.qcow2("top", Some(("image", "qcow2")));
    for (image, read_only) in [(&path, false), (&path, true), (&top, false)] {
        let said = sentence(image, Format::Qcow2, read_only);
        assert!(said.contains("external data file"), "{said}");
    }
}

#[test]
fn an_image_names_files_of_its_own_folder_unless_it_is_trusted() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("folder")).expect("there is room");
    std::fs::write(bench.path("outside"), vec![3; SIZE as usize]).expect("there is room");
    std::fs::write(bench.path("folder/inside"), vec![4; SIZE as usize]).expect("there is room");
    let link = bench.path("folder/link");
    std::os::unix::fs::symlink("../outside", link).expect("there is room");
    for (name, byte, beside) in [
        ("inside", 4, true),
        ("../outside", 3, false),
        ("link", 3, false),
    ] {
        let path = bench.qcow2("folder/image", Some((name, "raw")));
        let options = |backing| Options {
            path: path.clone(),
            format: Format::Qcow2,
            read_only: false,
            backing,
        };
        match open(&options(Backing::Beside)) {
            Ok(disk) => assert_eq!((beside, read(&*disk, 0, 8)), (true, vec![byte; 8])),
            Err(error) => {
                let said = error.to_string();
                assert!(!beside && said.contains("backing=anywhere"), "{said}");
            }
        }
        let disk = open(&options(Backing::Anywhere)).expect("it is trusted");
        assert_eq!(read(&*disk, 0, 8), vec![byte; 8]);
        drop(disk);
        std::fs::remove_file(&path).expect("it is there");
    }
}

#[test]
fn a_file_that_shrinks_fails_to_be_read() {
    let bench = Bench::new();
    let path = bench.raw("raw", &[1; 4096]);
    let disk = opened(&path, Format::Raw, true).expect("it is fine");
    File::options()
        .write(true)
        .open(&path)
        .expect("it is there")
        .set_len(1024)
        .expect("it can");
    assert!(disk.read_at(512, &mut VecSink::new(1024)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 16, ..ProptestConfig::default() })]

    /// Both formats do the same as a vector.
    #[test]
    fn formats_agree_with_a_vector(steps in prop::collection::vec((0..4_u8, 0..900_u64, 1..300_u64, any::<u8>()), 1..40)) {
        let bench = Bench::new();
        let mut model = vec![9_u8; SIZE as usize];
        bench.raw("base", &model);
        let overlay = bench.qcow2("overlay", Some(("base", "raw")));
        let disks = [
            opened(&bench.raw("raw", &model), Format::Raw, false).expect("it is fine"),
            opened(&overlay, Format::Qcow2, false).expect("it is fine"),
        ];
        for (kind, sector, count, value) in steps {
            let (offset, length) = (sector * 512, count * 512);
            let range = offset as usize..(offset + length) as usize;
            match kind {
                0 => model[range.clone()].fill(value),
                1 | 2 => model[range.clone()].fill(0),
                _ => {}
            }
            for disk in &disks {
                match kind {
                    0 => write(&**disk, offset, &vec![value; length as usize]),
                    1 | 2 => disk.write_zeroes(offset, length, kind == 2).expect("it can be zeroed"),
                    _ => disk.flush().expect("it can be flushed"),
                }
                prop_assert!(read(&**disk, offset, length as usize) == model[range.clone()]);
            }
        }
        for disk in &disks {
            prop_assert!(read(&**disk, 0, SIZE as usize) == model);
        }
    }

    /// Images with wrong bytes in their tables are refused or fail, and end nothing.
    #[test]
    fn damaged_images_are_survived(
        changes in prop::collection::vec((0..5_u64, 0..112_u64, any::<u8>()), 1..4),
        length in prop::option::weighted(0.3, 0..400_000_u64),
    ) {
        let bench = Bench::new();
        let path = bench.qcow2("image", None);
        let disk = opened(&path, Format::Qcow2, false).expect("it is fine");
        write(&*disk, 1 << 20, &[3; 100_352]);
        disk.flush().expect("it can be flushed");
        drop(disk);
        let mut bytes = fs::read(&path).expect("it is there");
        for (cluster, at, value) in changes {
            let at = (cluster * 65_536 + at) as usize % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(length.map_or(bytes.len(), |length| length as usize));
        fs::write(&path, bytes).expect("there is room");
        if let Ok(disk) = opened(&path, Format::Qcow2, false) {
            for offset in [0, 1 << 20, 2 << 20] {
                let _ = disk.read_at(offset, &mut VecSink::new(70_144));
                let _ = disk.write_at(offset, &mut SliceSource(&[1; 70_144]));
            }
            let _ = disk.write_zeroes(0, 4096, true);
            let _ = disk.flush();
        }
    }

    /// Reference counts of every width cover an image's own tables.
    #[test]
    fn fine_images_are_not_refused(order in 0..7_u32, cluster in 9..17_u32) {
        let bench = Bench::new();
        let path = bench.path("image");
        let mut made = File::options();
        let made = made.read(true).write(true).create(true).truncate(true).open(&path);
        let storage = Storage::try_from(made.expect("there is room")).expect("it is a file");
        let builder = Qcow2::<Storage>::create_builder(storage).size(SIZE);
        let builder = builder.cluster_size(1 << cluster).refcount_width(1 << order);
        builder.create().expect("there is room");
        for round in 0..3 {
            let disk = opened(&path, Format::Qcow2, false).expect("it is fine");
            write(&*disk, round << 20, &[3; 300 << 10]);
            disk.flush().expect("it can be flushed");
        }
    }
}
