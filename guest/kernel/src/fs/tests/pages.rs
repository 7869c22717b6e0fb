//! Pages: shared mappings and what they share.

use linux_raw_sys::general as raw;

use super::lower::{BIG, byte_at};
use super::{machine, open, read_all};
use crate::fs::file::{File, Io, Position};
use crate::fs::{Destination, Origin};

#[test]
fn a_mapping_of_a_file_is_its_pages() {
    let caller = machine();
    let file = open(&caller, "/big", raw::O_RDWR).unwrap();
    let pages = file.regular().unwrap().pages().unwrap();
    let runs = pages.runs(4096, 8192).unwrap();
    let total: u64 = runs.iter().map(|(_, length)| length).sum();
    assert_eq!(total, 8192);
    file.write_at(4096, &mut Origin::kernel(b"seen")).unwrap();
    assert_eq!(pages.runs(4096, 8192).unwrap(), runs, "pages never move");
    let bytes = read_all(&file);
    assert_eq!(&bytes[4096..4100], b"seen");
    assert_eq!(bytes[4100], byte_at(4100));
}

#[test]
fn neighbouring_segments_of_a_mapping_are_complete() {
    let caller = machine();
    let file = open(&caller, "/new", raw::O_RDWR | raw::O_CREAT).unwrap();
    file.regular().unwrap().truncate(3 << 20).unwrap();
    let pages = file.regular().unwrap().pages().unwrap();
    let runs = pages.runs(0, 3 << 20).unwrap();
    assert_eq!(runs.iter().map(|(_, length)| length).sum::<u64>(), 3 << 20);
    assert!(file.regular().unwrap().size().unwrap() == 3 << 20);
}

#[test]
fn holes_and_data_are_told_apart() {
    let caller = machine();
    let file = open(&caller, "/sparse", raw::O_RDWR | raw::O_CREAT).unwrap();
    file.write_at(1 << 20, &mut Origin::kernel(b"x")).unwrap();
    let object = file.file().unwrap();
    assert_eq!(object.seek(0, raw::SEEK_DATA).unwrap(), 1 << 20);
    assert_eq!(object.seek(0, raw::SEEK_HOLE).unwrap(), 0);
    assert_eq!(object.seek(1 << 20, raw::SEEK_HOLE).unwrap(), (1 << 20) + 1);
    let lower = open(&caller, "/big", raw::O_RDWR).unwrap();
    lower.write_at(0, &mut Origin::kernel(b"x")).unwrap();
    assert_eq!(lower.file().unwrap().seek(0, raw::SEEK_HOLE).unwrap(), BIG);
}

#[test]
fn a_pipe_gives_back_what_was_put_in_whatever_the_pieces() {
    guest_hal::initialize_hosted();
    let pipe = crate::fs::pipe::Pipe::new();
    let (reader, writer) = (pipe.end(raw::O_RDONLY), pipe.end(raw::O_WRONLY));
    let io = Io {
        position: Position::Current,
        flags: raw::O_NONBLOCK,
    };
    let (mut put, mut got) = (0u64, 0u64);
    for round in 0..3000u64 {
        let length = (round * 7919 % 30_000) as usize + 1;
        let bytes: alloc::vec::Vec<u8> = (put..put + length as u64).map(byte_at).collect();
        let mut from = Origin::kernel(&bytes);
        let _ = writer.write(io, &mut from);
        put += from.done();
        let mut into = alloc::vec![0; (round * 104_729 % 40_000) as usize + 1];
        let mut destination = Destination::kernel(&mut into);
        let _ = reader.read(io, &mut destination);
        let count = destination.done();
        assert!(
            (got..)
                .zip(&into[..count as usize])
                .all(|(at, &byte)| byte == byte_at(at))
        );
        got += count;
        assert_eq!(pipe.len() as u64, put - got);
    }
    drop(writer);
    assert!(got > 1 << 20);
}
