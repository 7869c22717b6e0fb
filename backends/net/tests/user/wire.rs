//! What lies between the user network and the peer: both directions, and what can go wrong.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use backend_net::checksum::Sum;
use backend_net::{Abilities, Body, Delivery, Guest, Head, Source};
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Frames that wait for the peer at most.
const FRAMES_MAX: usize = 128;

/// One in how many frames suffers; zero for none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u32,
    pub(crate) twice: u32,
    pub(crate) late: u32,
    pub(crate) corrupt: u32,
}

#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    fn one_in(&mut self, count: u32) -> bool {
        count != 0 && self.next().is_multiple_of(count)
    }
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Lane {
    faults: Faults,
    random: Random,
    held: Option<Vec<u8>>,
}

impl Lane {
    pub(crate) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            random: Random(seed),
            held: None,
        }
    }

    /// What arrives of a frame, in order.
    pub(crate) fn pass(&mut self, mut frame: Vec<u8>) -> Vec<Vec<u8>> {
        let Faults {
            lost,
            twice,
            late,
            corrupt,
        } = self.faults;
        let mut out = Vec::new();
        if self.random.one_in(corrupt) && frame.len() > 14 {
            let at = 14 + self.random.next() as usize % (frame.len() - 14);
            frame[at] ^= 1 << (self.random.next() % 8);
        }
        if !self.random.one_in(lost) {
            if self.random.one_in(twice) {
                out.push(frame.clone());
            }
            if self.held.is_none() && self.random.one_in(late) {
                self.held = Some(frame);
                return out;
            }
            out.push(frame);
        }
        out.extend(self.held.take());
        out
    }
}

#[derive(Debug)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    lane: Lane,
    starved: bool,
}

/// The peer's side of the network.
#[derive(Debug)]
pub(crate) struct Wire {
    queue: Mutex<Queue>,
    arrived: Condvar,
    abilities: Abilities,
    /// Bytes of frames for the peer.
    pub(crate) delivered: AtomicUsize,
    /// Whether the peer has no buffer, whatever waits for it.
    pub(crate) is_full: AtomicBool,
}

impl Wire {
    pub(crate) fn new(faults: Faults, abilities: Abilities) -> Self {
        Self {
            queue: Mutex::new(Queue {
                frames: VecDeque::new(),
                lane: Lane::new(faults, 0x1234_5678_9abc),
                starved: false,
            }),
            arrived: Condvar::new(),
            abilities,
            delivered: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
        }
    }

    /// The next frame, and whether the network waits for room.
    pub(crate) fn take(&self) -> Option<(Vec<u8>, bool)> {
        let mut queue = self.queue.lock().unwrap();
        let frame = queue.frames.pop_front()?;
        let room = queue.starved && queue.frames.len() < FRAMES_MAX / 2;
        queue.starved &= !room;
        Some((frame, room))
    }

    pub(crate) fn wait(&self, most: Duration) {
        let queue = self.queue.lock().unwrap();
        if queue.frames.is_empty() {
            drop(self.arrived.wait_timeout(queue, most).unwrap());
        }
    }
}

fn receive(body: Body<'_>) -> io::Result<(Vec<u8>, usize)> {
    match body {
        Body::Bytes(bytes) => Ok((bytes.to_vec(), bytes.len())),
        Body::Peek {
            socket,
            skip,
            length,
        } => {
            let mut bytes = vec![0; skip + length];
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            let (count, _) = recv(socket, &mut bytes[..], flags)?;
            bytes.truncate(count);
            bytes.drain(..skip.min(count));
            if skip > 0 && bytes.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok((bytes, length))
        }
        Body::Datagram { socket, length } => {
            let mut bytes = vec![0; length];
            let (count, _) = recv(socket, &mut bytes[..], RecvFlags::DONTWAIT)?;
            bytes.truncate(count);
            Ok((bytes, length))
        }
    }
}

impl Guest for Wire {
    fn abilities(&self) -> Abilities {
        self.abilities
    }

    fn deliver(
        &self,
        _: usize,
        head_length: usize,
        body: Body<'_>,
        head: &mut dyn FnMut(usize) -> Option<Head>,
    ) -> io::Result<Delivery> {
        let mut queue = self.queue.lock().unwrap();
        if queue.frames.len() >= FRAMES_MAX || self.is_full.load(Ordering::Relaxed) {
            queue.starved = true;
            return Ok(Delivery::NoRoom);
        }
        let is_peek = matches!(body, Body::Peek { .. });
        let (bytes, room) = receive(body)?;
        let moved = bytes.len();
        if !(is_peek && moved == 0)
            && let Some(head) = head(moved)
        {
            assert_eq!(head.bytes().len(), head_length);
            let mut frame = [head.bytes(), &bytes].concat();
            if let Some(partial) = head.offload.checksum {
                let start = usize::from(partial.start);
                let sum = Sum::default().with(&frame[start..]).finish();
                let at = start + usize::from(partial.offset);
                frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            }
            self.delivered.fetch_add(frame.len(), Ordering::Relaxed);
            let frames = queue.lane.pass(frame);
            queue.frames.extend(frames);
        }
        Ok(Delivery::Done { moved, room })
    }

    fn flush(&self, _: usize) {
        self.arrived.notify_all();
    }
}

/// A frame of the peer.
#[derive(Debug)]
pub(crate) struct Sent<'f>(pub(crate) &'f [u8]);

impl Source for Sent<'_> {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn peek(&self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.0.len());
        into[..count].copy_from_slice(&self.0[..count]);
        count
    }

    fn skip(&mut self, count: usize) {
        self.0 = &self.0[count.min(self.0.len())..];
    }

    fn sum(&self, length: usize) -> u16 {
        Sum::default()
            .with(&self.0[..length.min(self.0.len())])
            .folded()
    }

    fn send(&mut self, socket: BorrowedFd<'_>, length: usize) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = send(socket, &self.0[..length.min(self.0.len())], flags)?;
        self.skip(sent);
        Ok(sent)
    }

    fn write(&mut self, _: BorrowedFd<'_>, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
