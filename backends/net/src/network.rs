//! The seam between a network device and its host end.

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;

/// Bytes of headers that a host end writes itself, at most.
pub const HEAD_MAX: usize = 128;
/// Longest frame: the longest IP packet and an Ethernet header.
pub const FRAME_MAX: usize = 65_535 + 14;

/// What a frame's sender left to others (virtio 1.2, 5.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The checksum is not complete.
    pub checksum: Option<PartialChecksum>,
    /// The frame stands for several, into which it may have to be cut.
    pub segments: Option<Segments>,
}

/// A checksum of which only the pseudo header's part is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where in the frame begins what is still to be summed.
    pub start: u16,
    /// Where from there on the sum belongs.
    pub offset: u16,
}

/// How to cut a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// TCP over IPv6, not over IPv4.
    pub v6: bool,
    /// The first has the congestion mark (CWR).
    pub ecn: bool,
    /// Bytes of payload in each.
    pub size: u16,
    /// Bytes of headers that each begins with; a hint.
    pub head: u16,
}

/// What one side can complete for the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Partial checksums.
    pub checksum: bool,
    /// Long TCP segments over IPv4.
    pub segments_v4: bool,
    /// Long TCP segments over IPv6.
    pub segments_v6: bool,
    /// Long TCP segments with congestion marks.
    pub ecn: bool,
}

impl Abilities {
    /// Everything.
    pub const ALL: Self = Self {
        checksum: true,
        segments_v4: true,
        segments_v6: true,
        ecn: true,
    };
}

/// A frame of the guest, used up from the front.
pub trait Source {
    /// Bytes left.
    fn remaining(&self) -> usize;

    /// Copies the next bytes without using them up; returns how many there were.
    fn peek(&self, into: &mut [u8]) -> usize;

    /// Uses up bytes.
    fn skip(&mut self, count: usize);

    /// The sum (RFC 1071) of the next `length` bytes, which stay; not inverted.
    fn sum(&self, length: usize) -> u16;

    /// Sends the next `length` bytes to a socket, without waiting; uses up what it took.
    ///
    /// # Errors
    /// The host's; "would block" when it takes none.
    fn send(&mut self, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize>;

    /// Writes `head` and all bytes that are left to a file as one record.
    ///
    /// # Errors
    /// The host's.
    fn write(&mut self, file: BorrowedFd<'_>, head: &[u8]) -> io::Result<()>;
}

/// What follows a frame's head.
#[derive(Clone, Copy, Debug)]
pub enum Body<'b> {
    /// These.
    Bytes(&'b [u8]),
    /// What waits in a stream behind the first `skip` bytes; it stays there.
    Peek {
        /// The stream.
        socket: BorrowedFd<'b>,
        /// How much of it to pass over.
        skip: usize,
        /// How much to take.
        length: usize,
    },
    /// The next datagram.
    Datagram {
        /// The socket.
        socket: BorrowedFd<'b>,
        /// Longest one that there is room for.
        length: usize,
    },
}

/// The first bytes of a frame for the guest.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; HEAD_MAX],
    length: usize,
    /// What is left to the guest.
    pub offload: Offload,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            bytes: [0; HEAD_MAX],
            length: 0,
            offload: Offload::default(),
        }
    }
}

impl Head {
    /// Appends bytes; what does not fit is lost.
    pub fn push(&mut self, bytes: &[u8]) {
        self.length += self.put(self.length, bytes);
    }

    /// Overwrites bytes from `at` on; how many fitted.
    pub fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        let room = self.bytes.get_mut(at..).unwrap_or_default();
        let count = room.len().min(bytes.len());
        let (room, bytes) = (room.get_mut(..count), bytes.get(..count));
        if let (Some(room), Some(bytes)) = (room, bytes) {
            room.copy_from_slice(bytes);
        }
        count
    }

    /// What was appended.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What became of a frame for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The guest has it, once flushed. A peek that found the stream's end moved nothing and
    /// delivered nothing.
    Done {
        /// Bytes of the body.
        moved: usize,
        /// For how many there was room, at most what was asked.
        room: usize,
    },
    /// The guest has no buffers; [`Network::room`] is called when it has some.
    NoRoom,
    /// It never fits into the guest's buffers, or the guest broke the rules; it is lost.
    Lost,
}

/// The guest's end as a host end sees it.
pub trait Guest: Send + Sync {
    /// What the guest's driver completes by itself. Checksums are completed for those who do not.
    fn abilities(&self) -> Abilities;

    /// Puts a frame into the guest's buffers: `body`, and before it the head of exactly
    /// `head_length` bytes that `head` makes when it is known how long the body is. Without a
    /// head nothing is delivered.
    ///
    /// # Errors
    /// The host's, when the body comes from it.
    fn deliver(
        &self,
        pair: usize,
        head_length: usize,
        body: Body<'_>,
        head: &mut dyn FnMut(usize) -> Option<Head>,
    ) -> io::Result<Delivery>;

    /// Tells the guest what was delivered since the last time.
    fn flush(&self, pair: usize);
}

/// The host end of a network device. Called by several threads at once; only [`Network::wait`]
/// waits. Who has waited serves, and then rests; others may serve as well, and rest as well.
pub trait Network: Send + Sync + Debug {
    /// What it completes for the guest.
    fn abilities(&self) -> Abilities;

    /// The longest IP packet.
    fn mtu(&self) -> u16;

    /// Pairs of queues it can use at once, at least 1.
    fn pairs(&self) -> usize;

    /// How many threads [`Network::wait`] is to be called on, numbered from 0.
    fn servers(&self) -> usize {
        self.pairs()
    }

    /// Takes a frame of the guest.
    fn transmit(&self, pair: usize, frame: &mut dyn Source, offload: Offload, guest: &dyn Guest);

    /// The frames that the guest had made ready are all taken.
    fn transmitted(&self, pair: usize, guest: &dyn Guest) {
        let _ = (pair, guest);
    }

    /// The guest has given buffers.
    fn room(&self, pair: usize, guest: &dyn Guest) {
        let _ = (pair, guest);
    }

    /// A driver is ready, and it is known what it completes; comes before all else.
    fn begin(&self, guest: &dyn Guest) {
        let _ = guest;
    }

    /// Waits until the host may have something for the guest, it is time for something, or
    /// [`Network::wake`] is called.
    fn wait(&self, server: usize);

    /// Brings what the host has for the guest, and does what is due. Some may be left: then the
    /// wait after [`Network::rest`] is short.
    fn serve(&self, server: usize, guest: &dyn Guest);

    /// Who calls this serves from now on: what the host has ends no wait until
    /// [`Network::rest`]. (It still may end one that is about to end.)
    fn hold(&self, _server: usize) {}

    /// Who served has stopped: what the host has from now on ends a wait.
    fn rest(&self, server: usize);

    /// Ends all waits, or the next of each server.
    fn wake(&self);

    /// What it has counted, by its own names.
    fn counts(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
