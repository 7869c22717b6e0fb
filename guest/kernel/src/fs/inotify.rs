//! `inotify`: what happens to files, told to who watches them.
//!
//! Watched are inodes. Whatever changes one through this kernel says so here: [`tell`] and its
//! like cost a look at a counter while nobody watches. What others change in a volume of the host
//! is not seen.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use guest_hal::sync::Mutex;
use linux_raw_sys::general as raw;

use super::buffer::Destination;
use super::entry::{Entry, Location};
use super::event::AnonymousInode;
use super::file::{Events, File, Io};
use super::inode::Inode;
use super::metadata::FileKind;
use super::open::OpenFile;
use crate::process::current;
use crate::wait::{self, WaitQueue};
use crate::{Errno, Result};

/// Events that wait in one instance; the next is only counted as lost (`IN_Q_OVERFLOW`).
pub const EVENTS_MAX: usize = 16_384;
/// Instances that there are at once, and watches.
pub const INSTANCES_MAX: u32 = 128;
/// As above.
pub const WATCHES_MAX: u32 = 65_536;
/// Bytes of `struct inotify_event` without a name.
const HEADER: usize = 16;
/// What a program can wait for.
const EVENTS: u32 = raw::IN_ALL_EVENTS;
/// What is told of a child to who watches its directory.
const OF_CHILDREN: u32 = raw::IN_ACCESS
    | raw::IN_MODIFY
    | raw::IN_ATTRIB
    | raw::IN_CLOSE_WRITE
    | raw::IN_CLOSE_NOWRITE
    | raw::IN_OPEN;

static INSTANCES: AtomicU32 = AtomicU32::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);
static COOKIE: AtomicU32 = AtomicU32::new(0);
/// By the inode's address, which stays its own while a watch holds its place.
static WATCHES: Mutex<BTreeMap<usize, Vec<Watch>>> = Mutex::new(BTreeMap::new());

#[derive(Debug)]
struct Watch {
    number: i32,
    mask: u32,
    instance: Weak<Inotify>,
    /// Keeps the inode.
    _at: Location,
}

/// An instance.
#[derive(Debug)]
pub struct Inotify {
    own: Weak<Self>,
    state: Mutex<State>,
    queue: WaitQueue,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Event>,
    last: i32,
    /// The inodes of its watches by their numbers.
    places: BTreeMap<i32, usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Box<[u8]>,
}

impl Event {
    /// Bytes of the name, with zeros after it.
    fn room(&self) -> usize {
        match self.name.len() {
            0 => 0,
            length => (length + 1).next_multiple_of(HEADER),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let room = self.room();
        let words = [self.watch as u32, self.mask, self.cookie, room as u32];
        let mut bytes = words.map(u32::to_le_bytes).as_flattened().to_vec();
        bytes.extend_from_slice(&self.name);
        bytes.resize(HEADER + room, 0);
        bytes
    }
}

fn key(inode: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(inode).cast::<()>().addr()
}

/// Whether anything is watched.
#[must_use]
pub fn is_used() -> bool {
    COUNT.load(Ordering::Relaxed) != 0
}

impl Inotify {
    /// An instance as an open file. `flags`: `O_NONBLOCK` or nothing.
    ///
    /// # Errors
    /// `EMFILE` when there are too many.
    pub fn open(flags: u32) -> Result<Arc<OpenFile>> {
        if INSTANCES.fetch_add(1, Ordering::Relaxed) >= INSTANCES_MAX {
            INSTANCES.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::EMFILE);
        }
        let instance = Arc::new_cyclic(|own| Self {
            own: own.clone(),
            state: Mutex::new(State::default()),
            queue: WaitQueue::new(),
        });
        Ok(AnonymousInode::open_file(
            instance,
            "anon_inode:inotify",
            flags,
        ))
    }

    /// Watches an inode, or changes how it is watched; the watch's number.
    ///
    /// # Errors
    /// `EEXIST` for `IN_MASK_CREATE` where there is one, `ENOSPC` when there are too many.
    pub fn watch(&self, at: &Location, mask: u32) -> Result<i32> {
        let mut watches = WATCHES.lock();
        let key = key(at.inode());
        let wanted = mask & (EVENTS | raw::IN_EXCL_UNLINK | raw::IN_ONESHOT);
        let of_inode = watches.get_mut(&key).into_iter().flatten();
        let mut own = of_inode.filter(|watch| Weak::ptr_eq(&watch.instance, &self.own));
        if let Some(watch) = own.next() {
            if mask & raw::IN_MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            watch.mask = match mask & raw::IN_MASK_ADD {
                0 => wanted,
                _ => watch.mask | wanted,
            };
            return Ok(watch.number);
        }
        if COUNT.load(Ordering::Relaxed) >= WATCHES_MAX {
            return Err(Errno::ENOSPC);
        }
        let mut state = self.state.lock();
        state.last = state.last.checked_add(1).ok_or(Errno::ENOSPC)?;
        let number = state.last;
        state.places.insert(number, key);
        drop(state);
        COUNT.fetch_add(1, Ordering::Relaxed);
        watches.entry(key).or_default().push(Watch {
            number,
            mask: wanted,
            instance: self.own.clone(),
            _at: at.clone(),
        });
        Ok(number)
    }

    /// Ends a watch.
    ///
    /// # Errors
    /// `EINVAL` for one that there is not.
    pub fn forget(&self, number: i32) -> Result<()> {
        let place = self.state.lock().places.get(&number).copied();
        let place = place.ok_or(Errno::EINVAL)?;
        remove(place, |watch| {
            watch.number == number && Weak::ptr_eq(&watch.instance, &self.own)
        });
        Ok(())
    }

    fn push(&self, event: Event) {
        let mut state = self.state.lock();
        if state.waiting.back() == Some(&event) {
            return;
        }
        match state.waiting.len() {
            0..EVENTS_MAX => state.waiting.push_back(event),
            EVENTS_MAX => state.waiting.push_back(Event {
                watch: -1,
                mask: raw::IN_Q_OVERFLOW,
                cookie: 0,
                name: Box::default(),
            }),
            _ => return,
        }
        drop(state);
        self.queue.notify();
    }

    /// The next event's bytes, if they fit into `room`; `EINVAL` if they do not.
    fn take(&self, room: u64) -> Option<Result<Vec<u8>>> {
        let mut state = self.state.lock();
        let event = state.waiting.front()?;
        if (HEADER + event.room()) as u64 > room {
            return Some(Err(Errno::EINVAL));
        }
        let bytes = event.bytes();
        state.waiting.pop_front();
        Some(Ok(bytes))
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        INSTANCES.fetch_sub(1, Ordering::Relaxed);
        let places: Vec<usize> = self.state.lock().places.values().copied().collect();
        for place in places {
            remove(place, |watch| Weak::ptr_eq(&watch.instance, &self.own));
        }
    }
}

/// Removes watches of an inode, and says so to their instances.
fn remove(key: usize, mut which: impl FnMut(&Watch) -> bool) {
    let mut watches = WATCHES.lock();
    let Some(of_inode) = watches.get_mut(&key) else {
        return;
    };
    let gone: Vec<Watch> = of_inode.extract_if(.., |watch| which(watch)).collect();
    if of_inode.is_empty() {
        watches.remove(&key);
    }
    drop(watches);
    COUNT.fetch_sub(gone.len() as u32, Ordering::Relaxed);
    for watch in gone {
        if let Some(instance) = watch.instance.upgrade() {
            instance.state.lock().places.remove(&watch.number);
            instance.push(Event {
                watch: watch.number,
                mask: raw::IN_IGNORED,
                cookie: 0,
                name: Box::default(),
            });
        }
    }
}

/// Tells who watches an inode. `gone`: what `name` names has lost that name.
fn deliver(inode: &Arc<dyn Inode>, mask: u32, cookie: u32, name: &[u8], gone: bool) {
    let key = key(inode);
    let watches = WATCHES.lock();
    let Some(of_inode) = watches.get(&key) else {
        return;
    };
    let wants = |watch: &&Watch| {
        watch.mask & mask & EVENTS != 0 && !(gone && watch.mask & raw::IN_EXCL_UNLINK != 0)
    };
    let wanted = of_inode.iter().filter(wants);
    let told: Vec<_> = wanted
        .filter_map(|watch| Some((watch.instance.upgrade()?, watch.number, watch.mask)))
        .collect();
    drop(watches);
    for (instance, number, wish) in told {
        instance.push(Event {
            watch: number,
            mask,
            cookie,
            name: name.into(),
        });
        if wish & raw::IN_ONESHOT != 0 {
            remove(key, |watch| {
                watch.number == number && Weak::ptr_eq(&watch.instance, &instance.own)
            });
        }
    }
}

fn directory_bit(inode: &Arc<dyn Inode>) -> u32 {
    match inode.kind() {
        FileKind::Directory => raw::IN_ISDIR,
        _ => 0,
    }
}

/// Something was done with a file: who watches it is told, and who watches its directory.
pub fn tell(at: &Location, mask: u32) {
    if is_used() {
        tell_entry(&at.entry, mask);
    }
}

fn tell_entry(entry: &Entry, mask: u32) {
    let mask = mask | directory_bit(entry.inode());
    if mask & OF_CHILDREN != 0
        && let Some(parent) = entry.parent()
    {
        deliver(parent.inode(), mask, 0, &entry.name(), entry.is_gone());
    }
    deliver(entry.inode(), mask, 0, b"", false);
}

/// A file was moved: read, written.
pub(super) fn tell_moved_bytes(file: &OpenFile, mask: u32, count: u64) {
    if count > 0 {
        tell(&file.location, mask);
    }
}

/// A name was made.
pub(super) fn created(parent: &Location, name: &[u8], inode: &Arc<dyn Inode>) {
    if is_used() {
        let mask = raw::IN_CREATE | directory_bit(inode);
        deliver(parent.inode(), mask, 0, name, false);
    }
}

/// The number of a file's names changed.
pub(super) fn links_changed(inode: &Arc<dyn Inode>) {
    if is_used() {
        deliver(inode, raw::IN_ATTRIB | directory_bit(inode), 0, b"", false);
    }
}

/// A name was removed.
pub(super) fn removed(parent: &Location, name: &[u8], victim: &Location) {
    if !is_used() {
        return;
    }
    if !victim.is_directory() {
        links_changed(victim.inode());
    }
    // What nobody has open ends before its name is told of, as on Linux.
    look_for_end(victim.inode());
    let mask = raw::IN_DELETE | directory_bit(victim.inode());
    deliver(parent.inode(), mask, 0, name, false);
}

/// A name was moved: its old and its new place, what it stands for, and what it replaced.
pub(super) fn renamed(
    (old, old_name): (&Location, &[u8]),
    (new, new_name): (&Location, &[u8]),
    source: &Location,
    victim: Option<&Location>,
) {
    if !is_used() {
        return;
    }
    let cookie = COOKIE.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let kind = directory_bit(source.inode());
    deliver(
        old.inode(),
        raw::IN_MOVED_FROM | kind,
        cookie,
        old_name,
        false,
    );
    deliver(
        new.inode(),
        raw::IN_MOVED_TO | kind,
        cookie,
        new_name,
        false,
    );
    if let Some(victim) = victim {
        links_changed(victim.inode());
    }
    deliver(source.inode(), raw::IN_MOVE_SELF, 0, b"", false);
    if let Some(victim) = victim {
        look_for_end(victim.inode());
    }
}

/// A description of a file is there no more.
pub(super) fn closed(file: &OpenFile) {
    if !is_used() || file.is_path_only() {
        return;
    }
    let mask = if file.is_writable() {
        raw::IN_CLOSE_WRITE
    } else {
        raw::IN_CLOSE_NOWRITE
    };
    tell_entry(&file.location.entry, mask);
    if file.location.entry.is_gone() {
        look_for_end(file.location.inode());
    }
}

/// Ends the watches of an inode that has no name and that nobody has open.
fn look_for_end(inode: &Arc<dyn Inode>) {
    if !WATCHES.lock().contains_key(&key(inode)) {
        return;
    }
    let has_names = || {
        let metadata = inode.metadata();
        metadata.is_ok_and(|metadata| metadata.kind() != FileKind::Directory && metadata.links > 0)
    };
    // A table that is just being changed is looked at when that closes something.
    let is_open = || {
        let table = current().files.try_lock();
        table.is_none_or(|table| table.holds(inode))
    };
    if !has_names() && !is_open() {
        deliver(inode, raw::IN_DELETE_SELF, 0, b"", false);
        remove(key(inode), |_| true);
    }
}

impl File for Inotify {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        let mut next = self.take(into.remaining());
        if next.is_none() {
            if io.is_nonblocking() {
                return Err(Errno::EAGAIN);
            }
            let room = into.remaining();
            next = wait::until(&[&self.queue], None, &mut || self.take(room))?;
        }
        let mut taken = false;
        while let Some(bytes) = next {
            match bytes {
                Ok(bytes) => into.put(&bytes)?,
                Err(_) if taken => break,
                Err(errno) => return Err(errno),
            }
            taken = true;
            next = self.take(into.remaining());
        }
        Ok(())
    }

    fn poll(&self) -> Events {
        if self.state.lock().waiting.is_empty() {
            0
        } else {
            raw::POLLIN | raw::POLLRDNORM
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn available(&self) -> Option<u64> {
        let state = self.state.lock();
        let lengths = state.waiting.iter().map(|event| HEADER + event.room());
        Some(lengths.sum::<usize>() as u64)
    }
}
