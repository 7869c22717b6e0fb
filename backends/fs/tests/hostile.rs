//! Attacks: a host program that races the walk, a guest that sends anything.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use backend_fs::testing::{Client, drive, fuzz_one};
use backend_fs::{Access, DirectoryService, Export, Limits, Locks, Owner};
use guest_abi::fuse::{CreateIn, Opcode, OpenIn, ROOT_ID, ReadIn, SetattrIn, WriteIn, setattr};
use proptest::prelude::*;
use zerocopy::IntoBytes;

const SECRET: &[u8] = b"the secret";

fn service(root: &Path) -> DirectoryService {
    let export = Export {
        root: root.into(),
        access: Access::ReadWrite,
        owner: Owner::of_process(),
        locks: Locks::Host,
    };
    let limits = Limits {
        nodes: 64,
        handles: 8,
        lock_owners: 4,
    };
    DirectoryService::with_limits(export, limits).unwrap()
}

/// Renames `b` away and puts a link to the secret's directory in its place, over and over; and
/// the same with the file itself.
fn attack(root: &Path, outside: &Path, stop: &AtomicBool) {
    let (b, away) = (root.join("a/b"), root.join("away"));
    while !stop.load(Ordering::Relaxed) {
        std::fs::rename(&b, &away).unwrap();
        symlink(outside, &b).unwrap();
        std::thread::yield_now();
        std::fs::remove_file(&b).unwrap();
        std::fs::rename(&away, &b).unwrap();
        let (file, kept) = (b.join("c/secret"), b.join("c/kept"));
        std::fs::rename(&file, &kept).unwrap();
        symlink(outside.join("c/secret"), &file).unwrap();
        std::thread::yield_now();
        std::fs::rename(&kept, &file).unwrap();
    }
}

/// Ends the attack even when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Walks to `a/b/c/secret` as a careless guest: opens whatever it finds, and writes to it.
fn walk(guest: &mut Client<DirectoryService>, writes: bool) -> Result<Vec<u8>, i32> {
    let mut at = ROOT_ID;
    for name in ["a", "b", "c", "secret"] {
        at = guest.lookup(at, name)?.nodeid;
    }
    let fh = guest.open(at, if writes { 0o1002 } else { 0 })?;
    let read = guest.read(at, fh, 0, 100);
    let release = guest_abi::fuse::ReleaseIn {
        fh,
        ..Default::default()
    };
    guest.tell(Opcode::Release, at, &release)?;
    read
}

#[test]
fn a_racing_host_program_cannot_lead_the_guest_out() {
    let inside = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(inside.path().join("a/b/c")).unwrap();
    std::fs::create_dir(outside.path().join("c")).unwrap();
    std::fs::write(inside.path().join("a/b/c/secret"), "decoy").unwrap();
    std::fs::write(outside.path().join("c/secret"), SECRET).unwrap();
    let stop = AtomicBool::new(false);
    let (mut reached, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| attack(inside.path(), outside.path(), &stop));
        let _stop = Stop(&stop);
        let mut guest = Client::new(service(inside.path()));
        for round in 0..20_000 {
            match walk(&mut guest, round % 2 == 1) {
                Ok(content) => {
                    assert_ne!(content, SECRET);
                    reached += 1;
                }
                Err(_) => refused += 1,
            }
        }
    });
    assert_eq!(
        std::fs::read(outside.path().join("c/secret")).unwrap(),
        SECRET
    );
    assert!(
        reached > 0 && refused > 0,
        "the race was run: {reached} reached, {refused} refused"
    );
}

#[test]
fn a_directory_moved_away_stays_usable_but_leads_nowhere_else() {
    let inside = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(inside.path().join("a/b")).unwrap();
    let mut guest = Client::new(service(inside.path()));
    let a = guest.lookup(ROOT_ID, "a").unwrap().nodeid;
    std::fs::rename(inside.path().join("a"), inside.path().join("z")).unwrap();
    guest.lookup(a, "b").unwrap();
    assert_eq!(guest.lookup(a, ".."), Err(22));
}

/// A valid request, to be mutated: opcode and body.
fn valid() -> impl Strategy<Value = (Opcode, Vec<u8>)> {
    let fh = 0..4_u64;
    let numbers = (fh, any::<u64>(), 0..5000_u32);
    prop_oneof![
        Just((Opcode::Lookup, b"file\0".to_vec())),
        Just((Opcode::Lookup, b"dir\0".to_vec())),
        Just((
            Opcode::Open,
            OpenIn {
                flags: 2,
                open_flags: 0
            }
            .as_bytes()
            .to_vec()
        )),
        Just((Opcode::Opendir, OpenIn::default().as_bytes().to_vec())),
        Just((
            Opcode::Create,
            [
                CreateIn {
                    flags: 2,
                    mode: 0o644,
                    ..CreateIn::default()
                }
                .as_bytes(),
                b"new\0"
            ]
            .concat()
        )),
        Just((
            Opcode::Rename2,
            [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8], b"new\0n\0"].concat()
        )),
        Just((Opcode::Setattr, {
            let valid = setattr::SIZE | setattr::MTIME;
            SetattrIn {
                valid,
                size: 100,
                ..SetattrIn::default()
            }
            .as_bytes()
            .to_vec()
        })),
        (
            prop_oneof![
                Just(Opcode::Read),
                Just(Opcode::Write),
                Just(Opcode::Readdir),
                Just(Opcode::Readdirplus),
                Just(Opcode::Setlk),
                Just(Opcode::Release),
                Just(Opcode::Lseek),
            ],
            numbers
        )
            .prop_map(|(opcode, (fh, offset, size))| {
                let offset = if size % 2 == 0 { offset % 9000 } else { offset };
                let body = match opcode {
                    Opcode::Write => WriteIn {
                        fh,
                        offset,
                        size: 50,
                        ..WriteIn::default()
                    }
                    .as_bytes()
                    .to_vec(),
                    _ => ReadIn {
                        fh,
                        offset,
                        size,
                        ..ReadIn::default()
                    }
                    .as_bytes()
                    .to_vec(),
                };
                (opcode, [body, vec![0x55; 50]].concat())
            }),
    ]
}

proptest! {
    #[test]
    fn random_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..800)) {
        fuzz_one(&data);
    }

    #[test]
    fn mutated_requests_never_panic(
        requests in proptest::collection::vec((valid(), 0..6_u8, any::<(u8, u8)>(), 0..5_u8), 1..24)
    ) {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "content").unwrap();
        std::fs::create_dir(root.path().join("dir")).unwrap();
        let mut service = service(root.path());
        let mut data = Vec::new();
        for ((opcode, mut body), node, (at, value), mutate) in requests {
            if mutate == 0 && let Some(byte) = body.get_mut(usize::from(at) % 128) {
                *byte = value;
            }
            if mutate == 1 {
                body.truncate(usize::from(at));
            }
            data.extend([8, opcode as u8, node, body.len() as u8]);
            data.extend(body);
        }
        drive(&mut service, &data);
    }
}
