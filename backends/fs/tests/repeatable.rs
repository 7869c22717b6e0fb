//! Directories for machines whose runs are to be the same: copies of a tree look the same, byte by byte.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use backend_fs::testing::Client;
use backend_fs::{Access, DirectoryService, Export, Locks, Owner};
use guest_abi::fuse::*;
use zerocopy::{FromBytes, IntoBytes};

fn guest(root: &Path) -> Client<DirectoryService> {
    let export = Export {
        root: root.into(),
        access: Access::ReadOnly,
        owner: Owner::Monitor,
        locks: Locks::Host,
    };
    Client::new(DirectoryService::new(export).unwrap().repeatable())
}

/// The same files, made in this order.
fn tree(numbers: impl Iterator<Item = u32>) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for number in numbers {
        let path = root.path().join(format!("name-{number:03}"));
        let then = UNIX_EPOCH + Duration::from_secs(number.into());
        fs::write(&path, vec![1; number as usize * 100]).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(then)).unwrap();
    }
    fs::create_dir(root.path().join("folder")).unwrap();
    root
}

/// The answers to requests of `size` bytes until the end.
fn list(guest: &mut Client<DirectoryService>, opcode: Opcode, size: u32) -> Vec<Vec<u8>> {
    let open = OpenIn::default();
    let opened = guest.ask::<OpenOut>(Opcode::Opendir, ROOT_ID, &[open.as_bytes()]);
    let fh = opened.unwrap().fh;
    let (mut offset, mut answers) = (0, Vec::new());
    loop {
        let read = ReadIn {
            fh,
            offset,
            size,
            ..ReadIn::default()
        };
        let answer = guest.call(opcode, ROOT_ID, &[read.as_bytes()], size as usize);
        let answer = answer.unwrap();
        let Some((last, _)) = records(&answer, opcode).pop() else {
            return answers;
        };
        offset = last.off;
        answers.push(answer);
    }
}

fn records(mut rest: &[u8], opcode: Opcode) -> Vec<(Dirent, String)> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        if opcode == Opcode::Readdirplus {
            rest = EntryOut::read_from_prefix(rest).unwrap().1;
        }
        let (entry, tail) = Dirent::read_from_prefix(rest).unwrap();
        let name = &tail[..entry.namelen as usize];
        found.push((entry, String::from_utf8(name.to_vec()).unwrap()));
        rest = &tail[padded(name.len())..];
    }
    found
}

#[test]
fn copies_are_listed_alike_and_by_name() {
    let trees = [tree(0..100), tree((0..100).rev())];
    for (opcode, size) in [
        (Opcode::Readdir, 300),
        (Opcode::Readdir, 1 << 16),
        (Opcode::Readdirplus, 1000),
    ] {
        let [one, other] = trees.each_ref().map(|tree| {
            let mut guest = guest(tree.path());
            // Whatever was met before has its number.
            let entry = guest.lookup(ROOT_ID, "name-050").unwrap();
            (entry.attr.ino, list(&mut guest, opcode, size))
        });
        assert!(one == other, "{opcode:?} by {size}");
        let all: Vec<_> = one.1.iter().flat_map(|all| records(all, opcode)).collect();
        assert_eq!(all.len(), 103);
        assert!(all.is_sorted_by(|one, other| one.1 < other.1));
        let looked_up = all.iter().find(|(_, name)| name == "name-050");
        assert_eq!(looked_up.unwrap().0.ino, one.0);
    }
}

#[test]
fn attributes_and_room_are_alike() {
    let trees = [tree(0..3), tree((0..3).rev())];
    let [one, other] = trees.each_ref().map(|tree| {
        let mut guest = guest(tree.path());
        let names = ["folder", "name-002", "name-000"];
        let mut seen = names.map(|name| guest.lookup(ROOT_ID, name).unwrap().as_bytes().to_vec());
        // It is no other by being read.
        fs::read(tree.path().join("name-002")).unwrap();
        seen[2] = guest
            .lookup(ROOT_ID, "name-002")
            .unwrap()
            .as_bytes()
            .to_vec();
        let room: StatfsOut = guest.ask(Opcode::Statfs, ROOT_ID, &[]).unwrap();
        (seen, room.as_bytes().to_vec())
    });
    assert!(one == other);
    assert_eq!(one.0[1], one.0[2]);
}
