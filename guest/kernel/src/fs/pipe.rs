//! Pipes.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use guest_abi::layout::PAGE_SIZE;
use guest_hal::memory::Extent;
use guest_hal::sync::Mutex;
use linux_raw_sys::general as raw;

use super::buffer::{Destination, Origin};
use super::file::{Events, File, Io};
use super::inode::Inode;
use super::metadata::{Change, FileKind, Metadata, NewTime, Timestamp};
use crate::wait::{self, WaitQueue};
use crate::{Errno, Result};

/// How much fits unless told otherwise.
pub const CAPACITY: usize = 64 << 10;
/// The most that fits in any pipe.
pub const CAPACITY_MAX: usize = 1 << 20;
/// Writes up to this size are not torn apart.
const ATOMIC: usize = 4096;
/// The least that fits.
const CAPACITY_MIN: usize = 4096;

/// A pipe.
#[derive(Debug)]
pub struct Pipe {
    ring: Mutex<Ring>,
    /// The bytes; there once the first was written. Only the touched part exists.
    memory: Mutex<Option<Arc<Extent>>>,
    capacity: AtomicUsize,
    readers: AtomicUsize,
    writers: AtomicUsize,
    metadata: Mutex<Metadata>,
    /// Held while bytes move: the program's memory may have to be fetched meanwhile.
    moving: Mutex<()>,
    queue: WaitQueue,
}

/// Where in its memory, of [`CAPACITY_MAX`] bytes, a pipe's bytes are.
#[derive(Clone, Copy, Debug, Default)]
struct Ring {
    start: u64,
    length: u64,
}

/// Bytes of a pipe's memory.
const MEMORY: u64 = CAPACITY_MAX as u64;

/// One end of a pipe, or both.
#[derive(Debug)]
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
}

impl Pipe {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(1000);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) as u64;
        let metadata = Metadata::new(0xe, number, FileKind::Fifo.bits() | 0o600);
        Arc::new(Self {
            ring: Mutex::new(Ring::default()),
            memory: Mutex::new(None),
            capacity: AtomicUsize::new(CAPACITY),
            readers: AtomicUsize::new(0),
            writers: AtomicUsize::new(0),
            metadata: Mutex::new(metadata),
            moving: Mutex::new(()),
            queue: WaitQueue::new(),
        })
    }

    /// Says whose it is.
    pub fn set_owner(&self, uid: u32, gid: u32) {
        let mut metadata = self.metadata.lock();
        (metadata.uid, metadata.gid) = (uid, gid);
    }

    /// An end of it.
    #[must_use]
    pub fn end(self: &Arc<Self>, flags: u32) -> Arc<PipeEnd> {
        let access = flags & raw::O_ACCMODE;
        let (reads, writes) = (access != raw::O_WRONLY, access != raw::O_RDONLY);
        self.readers
            .fetch_add(usize::from(reads), Ordering::Relaxed);
        self.writers
            .fetch_add(usize::from(writes), Ordering::Relaxed);
        self.queue.notify();
        Arc::new(PipeEnd {
            pipe: self.clone(),
            reads,
            writes,
        })
    }

    /// Opens a named pipe, which waits for the other end.
    ///
    /// # Errors
    /// `ENXIO` for a writer that does not want to wait; `RESTART`.
    pub fn open_named(self: &Arc<Self>, flags: u32) -> Result<Arc<dyn File>> {
        let end = self.end(flags);
        let other = if end.writes {
            &self.readers
        } else {
            &self.writers
        };
        let met = other.load(Ordering::Relaxed) > 0;
        if met || (end.reads && end.writes) {
            return Ok(end);
        }
        if flags & raw::O_NONBLOCK != 0 {
            return if end.writes {
                Err(Errno::ENXIO)
            } else {
                Ok(end)
            };
        }
        wait::until(&[&self.queue], None, &mut || {
            (other.load(Ordering::Relaxed) > 0).then_some(())
        })?;
        Ok(end)
    }

    /// How many bytes are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.lock().length as usize
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much fits.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// Changes how much fits; returns how much does.
    ///
    /// # Errors
    /// `EPERM` beyond the limit; `EBUSY` for less than is in it.
    pub fn set_capacity(&self, wanted: usize) -> Result<usize> {
        if wanted > CAPACITY_MAX {
            return Err(Errno::EPERM);
        }
        let capacity = wanted.max(CAPACITY_MIN).next_power_of_two();
        if capacity < self.len() {
            return Err(Errno::EBUSY);
        }
        self.capacity.store(capacity, Ordering::Relaxed);
        Ok(capacity)
    }

    fn room(&self) -> usize {
        self.capacity().saturating_sub(self.len())
    }

    fn memory(&self) -> Result<Arc<Extent>> {
        if let Some(memory) = &*self.memory.lock() {
            return Ok(memory.clone());
        }
        let memory = Extent::allocate(MEMORY, PAGE_SIZE, None).ok_or(Errno::ENOMEM)?;
        let memory = Arc::new(memory);
        *self.memory.lock() = Some(memory.clone());
        Ok(memory)
    }

    /// Moves bytes to a reader.
    fn drain(&self, into: &mut Destination<'_>) -> Result<()> {
        let memory = self.memory()?;
        let _moving = self.moving.lock();
        while into.remaining() > 0 && !self.is_empty() {
            let Ring { start, length } = *self.ring.lock();
            let count = length.min(MEMORY - start).min(into.remaining());
            let before = into.done();
            let result = into.put_extent(&memory, start, count);
            let moved = into.done() - before;
            let mut ring = self.ring.lock();
            ring.length -= moved;
            // An empty pipe starts anew, so that little memory is touched.
            ring.start = if ring.length == 0 {
                0
            } else {
                (ring.start + moved) % MEMORY
            };
            result?;
        }
        Ok(())
    }

    /// Moves bytes from a writer as long as there is room.
    fn fill(&self, from: &mut Origin<'_>) -> Result<()> {
        let memory = self.memory()?;
        let _moving = self.moving.lock();
        while from.remaining() > 0 && self.room() > 0 {
            let Ring { start, length } = *self.ring.lock();
            let end = (start + length) % MEMORY;
            let count = (self.room() as u64).min(MEMORY - end).min(from.remaining());
            let before = from.done();
            let result = from.take_extent(&memory, end, count);
            self.ring.lock().length += from.done() - before;
            result?;
        }
        Ok(())
    }

    fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    fn has_writers(&self) -> bool {
        self.writers.load(Ordering::Relaxed) > 0
    }
}

impl PipeEnd {
    /// The pipe.
    #[must_use]
    pub const fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.pipe
            .readers
            .fetch_sub(usize::from(self.reads), Ordering::Relaxed);
        self.pipe
            .writers
            .fetch_sub(usize::from(self.writes), Ordering::Relaxed);
        self.pipe.queue.notify();
    }
}

impl File for PipeEnd {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        if into.remaining() == 0 {
            return Ok(());
        }
        let mut ready = || (!self.pipe.is_empty() || !self.pipe.has_writers()).then_some(());
        loop {
            if ready().is_none() {
                if io.is_nonblocking() {
                    return Err(Errno::EAGAIN);
                }
                wait::until(&[&self.pipe.queue], None, &mut ready)?;
            }
            let before = into.done();
            let result = self.pipe.drain(into);
            let moved = into.done() - before;
            if moved > 0 {
                self.pipe.queue.notify_of(raw::POLLOUT | raw::POLLWRNORM);
            }
            // Another reader may have been faster.
            if result.is_err() || moved > 0 || !self.pipe.has_writers() {
                return result;
            }
        }
    }

    fn write(&self, io: Io, from: &mut Origin<'_>) -> Result<()> {
        let whole = (from.remaining() as usize) <= ATOMIC;
        while from.remaining() > 0 {
            if !self.pipe.has_readers() {
                return Err(Errno::EPIPE);
            }
            let needed = if whole { from.remaining() as usize } else { 1 };
            if self.pipe.room() >= needed {
                let result = self.pipe.fill(from);
                self.pipe.queue.notify_of(raw::POLLIN | raw::POLLRDNORM);
                result?;
            } else if io.is_nonblocking() {
                return Err(Errno::EAGAIN);
            } else {
                let mut ready =
                    || (self.pipe.room() >= needed || !self.pipe.has_readers()).then_some(());
                wait::until(&[&self.pipe.queue], None, &mut ready)?;
            }
        }
        Ok(())
    }

    fn poll(&self) -> Events {
        let mut events = 0;
        if self.reads {
            if !self.pipe.is_empty() {
                events |= raw::POLLIN | raw::POLLRDNORM;
            }
            if !self.pipe.has_writers() {
                events |= raw::POLLHUP;
            }
        }
        if self.writes {
            if self.pipe.room() >= ATOMIC {
                events |= raw::POLLOUT | raw::POLLWRNORM;
            }
            if !self.pipe.has_readers() {
                events |= raw::POLLERR;
            }
        }
        events
    }

    fn available(&self) -> Option<u64> {
        Some(self.pipe.len() as u64)
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.queue)
    }
}

impl Inode for Pipe {
    fn kind(&self) -> FileKind {
        FileKind::Fifo
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(*self.metadata.lock())
    }

    fn change(&self, change: &Change) -> Result<()> {
        let mut metadata = self.metadata.lock();
        if let Some(permissions) = change.permissions {
            metadata.mode = (metadata.mode & raw::S_IFMT) | (permissions & 0o7777);
        }
        metadata.uid = change.uid.unwrap_or(metadata.uid);
        metadata.gid = change.gid.unwrap_or(metadata.gid);
        metadata.accessed = change.accessed.map_or(metadata.accessed, NewTime::stamp);
        metadata.modified = change.modified.map_or(metadata.modified, NewTime::stamp);
        metadata.changed = Timestamp::now();
        Ok(())
    }

    fn open(self: Arc<Self>, flags: u32) -> Result<Arc<dyn File>> {
        Ok(self.end(flags))
    }
}
