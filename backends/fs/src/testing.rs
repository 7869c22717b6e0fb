//! A small FUSE client over memory, for tests and fuzzing.
//!
//! What: [`Client`] sends requests to a service and takes its replies apart; [`drive`] lets a
//! byte string act as a hostile guest, and [`fuzz_one`] does so against a directory.
//!
//! Neighbours: the tests of both backends use it, and so does the workspace's `fuzz` package.
//!
//! What it does not do: no caching and no resolution of links; it is not the kernel's client.

use std::path::PathBuf;
use std::sync::OnceLock;

use guest_abi::fuse::{EntryOut, InHeader, Opcode, OpenIn, OpenOut, ReadIn, WriteIn, WriteOut};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::memory::{MemoryReply, MemoryRequest};
use crate::service::FuseService;
use crate::{Access, DirectoryService, Export, Limits, Locks, Owner};

/// An errno as a positive number, as in a reply.
pub type Code = i32;

/// A client that calls a service directly.
#[derive(Debug)]
pub struct Client<S> {
    /// The service.
    pub service: S,
    /// The user and group in whose name requests are sent.
    pub identity: (u32, u32),
    unique: u64,
}

impl<S: FuseService> Client<S> {
    /// A client in the name of user and group 0.
    pub fn new(service: S) -> Self {
        Self {
            service,
            identity: (0, 0),
            unique: 0,
        }
    }

    /// The number of the request that will be sent next.
    pub fn next_unique(&self) -> u64 {
        self.unique + 1
    }

    /// Sends one request whose body is `parts`, with room for `room` bytes of payload.
    ///
    /// # Errors
    /// The reply's errno.
    pub fn call(
        &mut self,
        opcode: Opcode,
        nodeid: u64,
        parts: &[&[u8]],
        room: usize,
    ) -> Result<Vec<u8>, Code> {
        self.unique += 1;
        let body = parts.concat();
        let header = InHeader {
            len: (size_of::<InHeader>() + body.len()) as u32,
            opcode: opcode as u32,
            unique: self.unique,
            nodeid,
            uid: self.identity.0,
            gid: self.identity.1,
            ..InHeader::default()
        };
        let mut request = MemoryRequest::new([header.as_bytes(), &body].concat());
        let mut reply = MemoryReply::new(room + crate::wire::HEADER_LEN);
        let len = self.service.serve(&mut request, &mut reply);
        match reply.header() {
            Some(header) if header.error != 0 => Err(-header.error),
            _ => Ok(reply
                .bytes()
                .get(16..len as usize)
                .unwrap_or_default()
                .to_vec()),
        }
    }

    /// Sends a request whose reply is one structure.
    ///
    /// # Errors
    /// The reply's errno; `EPROTO` for a reply of another length.
    pub fn ask<T: FromBytes>(
        &mut self,
        opcode: Opcode,
        nodeid: u64,
        parts: &[&[u8]],
    ) -> Result<T, Code> {
        let reply = self.call(opcode, nodeid, parts, 4096)?;
        T::read_from_bytes(&reply).map_err(|_| 71)
    }

    /// Sends a request whose reply is empty.
    ///
    /// # Errors
    /// The reply's errno.
    pub fn tell<T: IntoBytes + Immutable>(
        &mut self,
        opcode: Opcode,
        nodeid: u64,
        body: &T,
    ) -> Result<(), Code> {
        self.call(opcode, nodeid, &[body.as_bytes()], 0).map(drop)
    }

    /// Finds a name; node id 0 is `ENOENT`.
    ///
    /// # Errors
    /// The reply's errno.
    pub fn lookup(&mut self, parent: u64, name: &str) -> Result<EntryOut, Code> {
        let entry: EntryOut = self.ask(Opcode::Lookup, parent, &[name.as_bytes(), b"\0"])?;
        if entry.nodeid == 0 { Err(2) } else { Ok(entry) }
    }

    /// Opens a node; returns the handle.
    ///
    /// # Errors
    /// The reply's errno.
    pub fn open(&mut self, nodeid: u64, flags: u32) -> Result<u64, Code> {
        let open = OpenIn {
            flags,
            open_flags: 0,
        };
        self.ask::<OpenOut>(Opcode::Open, nodeid, &[open.as_bytes()])
            .map(|out| out.fh)
    }

    /// Reads up to `size` bytes.
    ///
    /// # Errors
    /// The reply's errno.
    pub fn read(&mut self, node: u64, fh: u64, offset: u64, size: u32) -> Result<Vec<u8>, Code> {
        let read = ReadIn {
            fh,
            offset,
            size,
            ..ReadIn::default()
        };
        self.call(Opcode::Read, node, &[read.as_bytes()], size as usize)
    }

    /// Writes; returns how much.
    ///
    /// # Errors
    /// The reply's errno.
    pub fn write(&mut self, node: u64, fh: u64, offset: u64, data: &[u8]) -> Result<u32, Code> {
        let write = WriteIn {
            fh,
            offset,
            size: data.len() as u32,
            ..WriteIn::default()
        };
        let out: WriteOut = self.ask(Opcode::Write, node, &[write.as_bytes(), data])?;
        Ok(out.size)
    }
}

/// Lets `data` act as a guest: a sequence of requests, each with a valid header whose opcode,
/// node and body `data` chooses, or wholly raw. Checks that every reply's length is right.
/// FALLOCATE is left out: a lucky one would fill the host's disk.
///
/// # Panics
/// When a service breaks the seam's contract; that is what a fuzzer looks for.
pub fn drive(service: &mut dyn FuseService, data: &[u8]) {
    let mut rest = data;
    while let Some((&[shape, opcode, node, len], tail)) = rest.split_first_chunk() {
        let len = usize::from(len).min(tail.len());
        let (body, tail) = tail.split_at(len);
        rest = tail;
        let room = [0, 16, 120, 200, 4096, 70_000][usize::from(shape >> 1) % 6];
        let header = InHeader {
            opcode: Some(u32::from(opcode) % 56)
                .filter(|&code| code != 43)
                .unwrap_or(1),
            unique: 1,
            nodeid: u64::from(node) % 8,
            ..InHeader::default()
        };
        let raw = shape & 1 == 1;
        let bytes = if raw {
            body.to_vec()
        } else {
            [header.as_bytes(), body].concat()
        };
        let mut reply = MemoryReply::new(room);
        let returned = service.serve(&mut MemoryRequest::new(bytes), &mut reply);
        let said = reply.header().map_or(0, |header| header.len);
        assert_eq!(returned, said, "the length returned is the header's");
        assert!(
            returned as usize <= 16 + reply.payload().len(),
            "no more than was written"
        );
    }
}

/// One input of a fuzzer against a [`DirectoryService`] on a directory of its own.
///
/// # Panics
/// As [`drive`], or when the directory cannot be made.
pub fn fuzz_one(data: &[u8]) {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let root = std::env::temp_dir().join(format!("husk-fuzz-fs-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).expect("the temporary directory is writable");
        root
    });
    std::fs::write(root.join("a/file"), b"content").ok();
    let export = Export {
        root: root.clone(),
        access: Access::ReadWrite,
        owner: Owner::Monitor,
        locks: Locks::Host,
    };
    let limits = Limits {
        nodes: 16,
        handles: 8,
        lock_owners: 4,
    };
    let service = DirectoryService::with_limits(export, limits).expect("the root was made");
    let mut service = service.handing_over(Box::new(|_, _| Ok(())));
    drive(&mut service, data);
}
