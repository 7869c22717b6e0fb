//! One FUSE session: requests as bytes, replies checked.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_abi::fuse::{
    BatchForgetIn, ForgetOne, InHeader, InitIn, InitOut, MAJOR, MINOR, Opcode, OutHeader, init,
};
use guest_hal::sync::Mutex;
use guest_hal::virtio::{Source, Target};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{Errno, Result};

/// Most pieces of a request or a reply, the header among them.
const PIECES: usize = 8;
/// From how many forgotten nodes on the server is told.
const FORGET_BATCH: usize = 64;
/// The longest transfer, whatever the server offers.
const TRANSFER_MAX: u64 = 1 << 20;

/// Without what is behind the pointer: that would keep the code for it of every type there is.
impl fmt::Debug for dyn Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

/// What carries requests to a server.
pub trait Transport: Send + Sync {
    /// Sends a request and waits for the reply; returns the reply's length. `unique` is the
    /// request's number.
    ///
    /// # Errors
    /// `EIO` when the device is broken.
    fn exchange(
        &self,
        unique: u64,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
        waits: Waits,
    ) -> Result<usize>;
}

/// How long the answer to a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// As long as the server works at it.
    Work,
    /// Until somebody takes what is written. A signal for the program makes the server answer early.
    Output,
    /// Until something comes from outside; others are not to wait behind it. A signal, as before.
    Input,
}

/// A request: what is asked of which node, for whom.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What.
    pub opcode: Opcode,
    /// Of which node.
    pub node: u64,
    /// User and group that own what is made.
    pub owner: (u32, u32),
    /// How long the answer may take.
    pub waits: Waits,
}

impl Request {
    /// For the kernel.
    #[must_use]
    pub const fn new(opcode: Opcode, node: u64) -> Self {
        Self {
            opcode,
            node,
            owner: (0, 0),
            waits: Waits::Work,
        }
    }
}

/// A session with a server.
#[derive(Debug)]
pub struct Session {
    transport: Arc<dyn Transport>,
    unique: AtomicU64,
    transfer_max: u64,
    /// What both sides can: bits of [`init`].
    abilities: u32,
    forgotten: Mutex<Vec<ForgetOne>>,
}

impl Session {
    /// Opens a session.
    ///
    /// # Errors
    /// `EIO`; `EPROTO` for a server that speaks something else.
    pub fn open(transport: Arc<dyn Transport>) -> Result<Self> {
        let unique = AtomicU64::new(2);
        let forgotten = Mutex::new(Vec::new());
        let mut session = Self {
            transport,
            unique,
            transfer_max: 4096,
            abilities: 0,
            forgotten,
        };
        let flags = init::ASYNC_READ
            | init::POSIX_LOCKS
            | init::FLOCK_LOCKS
            | init::ATOMIC_O_TRUNC
            | init::BIG_WRITES
            | init::AUTO_INVAL_DATA
            | init::MAX_PAGES
            | init::CACHE_SYMLINKS
            | init::DO_READDIRPLUS
            | init::PARALLEL_DIROPS;
        let max_readahead = TRANSFER_MAX as u32;
        let ask = InitIn {
            major: MAJOR,
            minor: MINOR,
            max_readahead,
            flags,
            ..InitIn::default()
        };
        let reply: InitOut = session.ask(Request::new(Opcode::Init, 0), &ask, &[])?;
        if reply.major != MAJOR {
            return Err(Errno::EPROTO);
        }
        session.abilities = reply.flags & flags;
        session.transfer_max = u64::from(reply.max_write).clamp(4096, TRANSFER_MAX);
        Ok(session)
    }

    /// Whether the server has all of these abilities: bits of [`init`].
    #[must_use]
    pub const fn can(&self, abilities: u32) -> bool {
        self.abilities & abilities == abilities
    }

    /// The longest READ or WRITE in bytes.
    #[must_use]
    pub const fn transfer_max(&self) -> u64 {
        self.transfer_max
    }

    fn header(&self, request: Request, body: u64) -> InHeader {
        let (uid, gid) = request.owner;
        InHeader {
            len: (size_of::<InHeader>() as u64 + body) as u32,
            opcode: request.opcode as u32,
            unique: self.unique.fetch_add(2, Ordering::Relaxed),
            nodeid: request.node,
            uid,
            gid,
            pid: 1,
            ..InHeader::default()
        }
    }

    /// Sends a request; returns the length of the reply's body.
    ///
    /// # Errors
    /// The server's; `EIO` for a reply that is none.
    pub fn call(
        &self,
        request: Request,
        send: &[Source<'_>],
        receive: &mut [Target<'_>],
    ) -> Result<usize> {
        let header = self.header(request, send.iter().map(source_length).sum());
        let mut reply = [0u8; size_of::<OutHeader>()];
        let length = {
            let mut sources = Pieces::new(Source::Bytes(header.as_bytes()));
            send.iter()
                .for_each(|piece| sources.push(copy_source(piece)));
            let mut targets: [Target<'_>; PIECES] =
                core::array::from_fn(|_| Target::Bytes(&mut []));
            let count = receive.len() + 1;
            let head = core::iter::once(Target::Bytes(&mut reply));
            let all = head.chain(receive.iter_mut().map(borrow_target));
            targets
                .iter_mut()
                .zip(all)
                .for_each(|(slot, piece)| *slot = piece);
            let targets = targets.get_mut(..count).ok_or(Errno::EIO)?;
            let sources = sources.all().ok_or(Errno::EIO)?;
            self.transport
                .exchange(header.unique, sources, targets, request.waits)?
        };
        body_length(&reply, header.unique, length)
    }

    /// Sends a structure and names, each to be followed by a NUL, and gets a structure.
    ///
    /// # Errors
    /// The server's; `EIO` for a reply that is too short.
    pub fn ask<I, O>(&self, request: Request, input: &I, names: &[&[u8]]) -> Result<O>
    where
        I: IntoBytes + Immutable,
        O: FromBytes + IntoBytes,
    {
        let mut output = O::new_zeroed();
        let wanted = size_of::<O>();
        let mut send: [Source<'_>; PIECES] = [const { Source::Bytes(&[]) }; PIECES];
        let mut count = 0;
        let separated = names.iter().flat_map(|name| [*name, b"\0".as_slice()]);
        let pieces = core::iter::once(input.as_bytes()).chain(separated);
        for (slot, piece) in send
            .iter_mut()
            .zip(pieces.filter(|piece| !piece.is_empty()))
        {
            *slot = Source::Bytes(piece);
            count += 1;
        }
        let send = send.get(..count).ok_or(Errno::EIO)?;
        let mut into = [Target::Bytes(output.as_mut_bytes())];
        let into = into.get_mut(..usize::from(wanted > 0)).unwrap_or_default();
        let length = self.call(request, send, into)?;
        if length < wanted {
            Err(Errno::EIO)
        } else {
            Ok(output)
        }
    }

    /// Gives lookups of a node back, some time.
    pub fn forget(&self, nodeid: u64, nlookup: u64) {
        if nlookup == 0 {
            return;
        }
        let is_full = {
            let mut forgotten = self.forgotten.lock();
            forgotten.push(ForgetOne { nodeid, nlookup });
            forgotten.len() >= FORGET_BATCH
        };
        if is_full {
            self.send_forgotten();
        }
    }

    /// Tells the server what has been forgotten so far.
    pub fn send_forgotten(&self) {
        let batch = core::mem::take(&mut *self.forgotten.lock());
        if batch.is_empty() {
            return;
        }
        let head = BatchForgetIn {
            count: batch.len() as u32,
            dummy: 0,
        };
        let body = size_of::<BatchForgetIn>() + batch.as_bytes().len();
        let header = self.header(Request::new(Opcode::BatchForget, 0), body as u64);
        let send = [header.as_bytes(), head.as_bytes(), batch.as_bytes()].map(Source::Bytes);
        // There is no reply; a broken device shows at the next request.
        let _ = self
            .transport
            .exchange(header.unique, &send, &mut [], Waits::Work);
    }
}

/// A short list of what is sent.
struct Pieces<'a> {
    list: [Source<'a>; PIECES],
    count: usize,
}

impl<'a> Pieces<'a> {
    fn new(first: Source<'a>) -> Self {
        let mut pieces = Self {
            list: [const { Source::Bytes(&[]) }; PIECES],
            count: 0,
        };
        pieces.push(first);
        pieces
    }

    fn push(&mut self, piece: Source<'a>) {
        if let Some(slot) = self.list.get_mut(self.count) {
            *slot = piece;
        }
        self.count += 1;
    }

    fn all(&self) -> Option<&[Source<'a>]> {
        self.list.get(..self.count)
    }
}

fn source_length(source: &Source<'_>) -> u64 {
    match source {
        Source::Bytes(bytes) => bytes.len() as u64,
        Source::Extent(_, _, length) => *length,
    }
}

fn copy_source<'a>(source: &Source<'a>) -> Source<'a> {
    match source {
        Source::Bytes(bytes) => Source::Bytes(bytes),
        Source::Extent(extent, offset, length) => Source::Extent(extent, *offset, *length),
    }
}

fn borrow_target<'a>(target: &'a mut Target<'_>) -> Target<'a> {
    match target {
        Target::Bytes(bytes) => Target::Bytes(bytes),
        Target::Extent(extent, offset, length) => Target::Extent(extent, *offset, *length),
    }
}

/// Checks a reply's header; returns how long its body is.
fn body_length(reply: &[u8], unique: u64, received: usize) -> Result<usize> {
    let header = OutHeader::read_from_bytes(reply).map_err(|_| Errno::EIO)?;
    let length = header.len as usize;
    if header.unique != unique || length < reply.len() || length > received {
        return Err(Errno::EIO);
    }
    match header.error {
        0 => Ok(length - reply.len()),
        error @ -511..0 => Err(Errno(error.unsigned_abs() as u16)),
        _ => Err(Errno::EIO),
    }
}
