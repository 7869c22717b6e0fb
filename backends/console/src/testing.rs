//! An entry for fuzzers.
//!
//! What: [`fuzz_one`] lets a byte string act as a hostile guest of a console whose streams are
//! pipes and a file in memory.
//!
//! Neighbours: `backend_fs::testing` does the driving.
//!
//! What it does not do: no terminal; a fuzzer may have none.

use std::io::{Seek, Write};

use backend_fs::testing::drive;

use crate::{ConsoleService, Streams};

/// One input of a fuzzer.
///
/// # Panics
/// When the service breaks the seam's contract, or the host has no descriptors left.
pub fn fuzz_one(data: &[u8]) {
    let (stdin, mut feed) = std::io::pipe().expect("the host has pipes");
    let (sink, stdout) = std::io::pipe().expect("the host has pipes");
    feed.write_all(b"some input")
        .expect("an empty pipe has room");
    drop(feed);
    drop(sink);
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let log = rustix::fs::memfd_create(c"husk-fuzz-console", flags);
    let mut log = std::fs::File::from(log.expect("the host has memory files"));
    log.write_all(b"log")
        .and_then(|()| log.rewind())
        .expect("a file can be written");
    let streams = Streams {
        stdin: Some(stdin.into()),
        stdout: Some(stdout.into()),
        stderr: None,
        log: Some(log.into()),
    };
    let mut service = ConsoleService::new(streams).expect("the host has an eventfd");
    service.interrupter().shut_down(); // nothing may block a fuzzer
    drive(&mut service, data);
}
