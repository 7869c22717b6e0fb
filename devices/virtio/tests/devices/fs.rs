//! The file system device behind a transport, with a directory of the host.

use std::fs;

use backend_fs::{Access as Mode, DirectoryService, Export, FuseService, Locks, Owner};
use device_virtio::fs::{FileSystem, QUEUE_REQUESTS, QUEUE_URGENT};
use guest_abi::fuse::{EntryOut, InHeader, InitIn, InitOut, Opcode, OutHeader};
use zerocopy::{FromBytes, IntoBytes};

use crate::driver::{Driver, EVENT_INDEX, INDIRECT};

fn service(root: &std::path::Path) -> Box<dyn FuseService> {
    let export = Export {
        root: root.to_owned(),
        access: Mode::ReadWrite,
        owner: Owner::Monitor,
        locks: Locks::Host,
    };
    Box::new(DirectoryService::new(export).expect("the directory is there"))
}

fn header(opcode: Opcode, nodeid: u64, body: usize) -> InHeader {
    InHeader {
        len: (size_of::<InHeader>() + body) as u32,
        opcode: opcode as u32,
        unique: 7,
        nodeid,
        ..InHeader::default()
    }
}

#[test]
fn requests_are_answered_on_their_queues() {
    let root = tempfile::tempdir().expect("there is room");
    fs::write(root.path().join("file"), "content").expect("there is room");
    let device = FileSystem::new("tag", service(root.path()));
    let mut driver = Driver::pci(device, INDIRECT | EVENT_INDEX, true);
    assert_eq!(&driver.config_bytes::<4>(0), b"tag\0");
    assert_eq!(driver.config_bytes(36), 1_u32.to_le_bytes());
    let init = InitIn {
        major: 7,
        minor: 36,
        max_readahead: 0,
        flags: 0,
        ..InitIn::default()
    };
    let head = header(Opcode::Init, 0, size_of::<InitIn>());
    let room = size_of::<OutHeader>() + size_of::<InitOut>();
    let request = [head.as_bytes(), init.as_bytes()];
    let (bytes, length) = driver.call(QUEUE_REQUESTS, &request, &[16, room - 16]);
    let answer = OutHeader::read_from_prefix(&bytes)
        .expect("there is a header")
        .0;
    assert_eq!((answer.error, answer.unique, answer.len), (0, 7, length));
    let name = b"file\0";
    let head = header(Opcode::Lookup, 1, name.len());
    let request = [head.as_bytes(), name];
    let (bytes, _) = driver.call(QUEUE_REQUESTS, &request, &[16, size_of::<EntryOut>()]);
    let (entry, _) = EntryOut::read_from_prefix(&bytes[16..]).expect("it was found");
    assert_eq!((error_of(&bytes), entry.attr.size), (0, 7));
    // Forgotten urgently, which wants no reply, it is gone for the other queue.
    let getattr = header(Opcode::Getattr, entry.nodeid, 16);
    let ask = |driver: &mut Driver<_>| {
        let request = [getattr.as_bytes(), &[0; 16]];
        error_of(&driver.call(QUEUE_REQUESTS, &request, &[16, 104]).0)
    };
    assert_eq!(ask(&mut driver), 0);
    let head = header(Opcode::Forget, entry.nodeid, 8);
    let forget = [head.as_bytes(), &1_u64.to_le_bytes()];
    assert_eq!(driver.call(QUEUE_URGENT, &forget, &[]).1, 0);
    assert_ne!(ask(&mut driver), 0);
}

fn error_of(reply: &[u8]) -> i32 {
    OutHeader::read_from_prefix(reply)
        .expect("there is a header")
        .0
        .error
}
