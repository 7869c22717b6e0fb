//! The file system device behind a transport, with a directory of the host.

use std::fs;

use backend_fs::{Access as Mode, DirectoryService, Export, FuseService, Owner};
use device_virtio::fs::{FileSystem, QUEUE_REQUESTS, QUEUE_URGENT};
use guest_abi::fuse::{InHeader, InitIn, InitOut, Opcode, OutHeader};
use zerocopy::{FromBytes, IntoBytes};

use crate::driver::{Driver, EVENT_INDEX, INDIRECT};

fn service(root: &std::path::Path) -> Box<dyn FuseService> {
    let export = Export {
        root: root.to_owned(),
        access: Mode::ReadWrite,
        owner: Owner::Monitor,
    };
    Box::new(DirectoryService::new(export).expect("the directory is there"))
}

fn header(opcode: Opcode, body: usize) -> InHeader {
    InHeader {
        len: (size_of::<InHeader>() + body) as u32,
        opcode: opcode as u32,
        unique: 7,
        nodeid: 1,
        ..InHeader::default()
    }
}

#[test]
fn requests_are_answered_on_their_queues() {
    let root = tempfile::tempdir().expect("there is room");
    fs::write(root.path().join("file"), "content").expect("there is room");
    let device = FileSystem::new("tag", service(root.path()), vec![service(root.path())]);
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
    let head = header(Opcode::Init, size_of::<InitIn>());
    let room = size_of::<OutHeader>() + size_of::<InitOut>();
    let request = [head.as_bytes(), init.as_bytes()];
    let (bytes, length) = driver.call(QUEUE_REQUESTS, &request, &[16, room - 16]);
    let answer = OutHeader::read_from_prefix(&bytes)
        .expect("there is a header")
        .0;
    assert_eq!((answer.error, answer.unique, answer.len), (0, 7, length));
    let name = b"missing\0";
    let head = header(Opcode::Lookup, name.len());
    let (bytes, length) = driver.call(QUEUE_REQUESTS, &[head.as_bytes(), name], &[16, 128]);
    let answer = OutHeader::read_from_prefix(&bytes)
        .expect("there is a header")
        .0;
    assert!(answer.error == -2 || length == 16 + 128);
    // A request that wants no reply is given back all the same.
    let head = header(Opcode::Forget, 8);
    assert_eq!(
        driver
            .call(QUEUE_URGENT, &[head.as_bytes(), &[0; 8]], &[])
            .1,
        0
    );
}
