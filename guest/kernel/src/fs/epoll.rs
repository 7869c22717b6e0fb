//! `epoll`: a list of files to wait for, kept from call to call.
//!
//! Each file of the list listens on the file's queue. When the file says that it may be ready, it
//! goes to the list of those to look at; waiting looks at that list only, so it costs as much as
//! there is to report, however long the list is. A file that changes silently
//! ([`File::is_silent`]) is looked at each time.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use guest_hal::Nanos;
use guest_hal::sync::Mutex;
use linux_raw_sys::general as raw;

use super::file::{Events, File};
use super::open::OpenFile;
use super::readiness::{ALWAYS, Patience, ready, wait_for};
use crate::wait::{Listener, WaitQueue};
use crate::{Errno, Result};

/// One file of the list: descriptor and address of the open file description.
type Key = (i32, usize);

/// One file of the list.
#[derive(Debug)]
struct Interest {
    key: Key,
    file: Weak<OpenFile>,
    wish: Mutex<Wish>,
    /// It is on the list of those to look at.
    listed: AtomicBool,
    /// It was removed.
    gone: AtomicBool,
    list: Weak<Ready>,
}

/// What is to be reported of a file, and how.
#[derive(Clone, Copy, Debug)]
struct Wish {
    events: u32,
    data: u64,
    /// Whether `EPOLLONESHOT` has silenced it.
    silenced: bool,
}

/// Something to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is ready for.
    pub events: u32,
    /// What the program wants to be told.
    pub data: u64,
}

/// The files to look at.
#[derive(Debug, Default)]
struct Ready {
    interests: Mutex<VecDeque<Arc<Interest>>>,
    /// Those that wait for the list.
    queue: WaitQueue,
}

/// The list.
#[derive(Debug, Default)]
pub struct Epoll {
    interests: Mutex<BTreeMap<Key, Arc<Interest>>>,
    /// Those of files that change silently.
    silent: Mutex<Vec<Arc<Interest>>>,
    ready: Arc<Ready>,
}

/// What may be asked for.
const EVENTS: u32 = 0xffff;
/// Deepest nesting of lists (Linux' `EP_MAX_NESTS`).
const NESTING_MAX: u32 = 4;

impl Ready {
    fn list(&self, interest: &Arc<Interest>) {
        if !interest.listed.swap(true, Ordering::Relaxed) {
            self.interests.lock().push_back(Arc::clone(interest));
        }
    }
}

/// Listens on a file's queue for an interest.
struct Ear(Weak<Interest>);

impl Listener for Ear {
    fn notified(&self, events: Events) {
        let Some(interest) = self.0.upgrade() else {
            return;
        };
        let wish = *interest.wish.lock();
        if wish.silenced || events & (wish.events | ALWAYS) & EVENTS == 0 {
            return;
        }
        if let Some(list) = interest.list.upgrade() {
            list.list(&interest);
            list.queue.notify_of(raw::POLLIN | raw::POLLRDNORM);
        }
    }
}

impl Interest {
    /// What is to be reported now, if anything is.
    fn look(&self) -> Option<Report> {
        let file = self.file.upgrade()?;
        let wish = *self.wish.lock();
        if wish.silenced || self.gone.load(Ordering::Relaxed) {
            return None;
        }
        let wanted = wish.events & EVENTS;
        let now = ready(&file, wanted) & (wanted | ALWAYS);
        (now != 0).then_some(Report {
            events: now,
            data: wish.data,
        })
    }

    /// After a report: whether it is to be looked at again although nothing changes.
    fn reported(&self) -> bool {
        let mut wish = self.wish.lock();
        wish.silenced = wish.events & raw::EPOLLONESHOT != 0;
        !wish.silenced && wish.events & raw::EPOLLET == 0
    }

    /// Takes its ear off the file's queue.
    fn stop_listening(&self) {
        let Some(file) = self.file.upgrade() else {
            return;
        };
        let queue = file.file().ok().and_then(|file| file.queue());
        if let Some(queue) = queue {
            queue.forget(&|listener| {
                let ear = (listener as &dyn core::any::Any).downcast_ref::<Ear>();
                ear.is_some_and(|ear| core::ptr::eq(ear.0.as_ptr(), self))
            });
        }
    }

    fn is_silent(&self) -> bool {
        let file = self.file.upgrade();
        file.is_some_and(|file| file.file().is_ok_and(|file| file.is_silent()))
    }
}

impl Epoll {
    /// An empty list.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn key(fd: i32, file: &Arc<OpenFile>) -> Key {
        (fd, Arc::as_ptr(file).addr())
    }

    /// How deep lists are nested in this one; more than is allowed: too deep, or a circle.
    fn depth(&self, budget: u32) -> u32 {
        if budget == 0 {
            return 1;
        }
        let interests = self.interests.lock();
        let files = interests.values().filter_map(|one| one.file.upgrade());
        let files: Vec<_> = files.collect();
        drop(interests);
        let depths = files.iter().filter_map(|file| {
            let file = file.file().ok()?;
            let nested = (file.as_ref() as &dyn core::any::Any).downcast_ref::<Self>()?;
            Some(nested.depth(budget - 1))
        });
        1 + depths.max().unwrap_or(0)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// `EEXIST`; `EPERM` for files that are always ready; `ELOOP` for lists too deep in each
    /// other.
    pub fn add(&self, fd: i32, file: &Arc<OpenFile>, events: u32, data: u64) -> Result<()> {
        use super::metadata::FileKind::{Directory, Regular};
        if matches!(file.kind(), Regular | Directory) {
            return Err(Errno::EPERM);
        }
        let object = file.file()?;
        let nested = (object.as_ref() as &dyn core::any::Any).downcast_ref::<Self>();
        if nested.is_some_and(|nested| nested.depth(NESTING_MAX + 1) > NESTING_MAX) {
            return Err(Errno::ELOOP);
        }
        self.forget_closed(fd);
        let key = Self::key(fd, file);
        let mut interests = self.interests.lock();
        if interests.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        let interest = Arc::new(Interest {
            key,
            file: Arc::downgrade(file),
            wish: Mutex::new(Wish {
                events,
                data,
                silenced: false,
            }),
            listed: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            list: Arc::downgrade(&self.ready),
        });
        interests.insert(key, Arc::clone(&interest));
        drop(interests);
        if let Some(queue) = object.queue() {
            queue.add(Arc::new(Ear(Arc::downgrade(&interest))));
        }
        if object.is_silent() {
            self.silent.lock().push(Arc::clone(&interest));
        }
        self.changed(&interest);
        Ok(())
    }

    /// Has a file looked at that was added or changed.
    fn changed(&self, interest: &Arc<Interest>) {
        self.ready.list(interest);
        self.ready.queue.notify_of(raw::POLLIN | raw::POLLRDNORM);
    }

    /// Forgets files of a descriptor that were closed.
    fn forget_closed(&self, fd: i32) {
        let mut interests = self.interests.lock();
        let of_fd = interests.range((fd, 0)..=(fd, usize::MAX));
        let closed = of_fd.filter(|(_, interest)| interest.file.strong_count() == 0);
        let closed: Vec<Key> = closed.map(|(key, _)| *key).collect();
        for key in closed {
            interests.remove(&key);
        }
        drop(interests);
        self.silent
            .lock()
            .retain(|interest| interest.file.strong_count() > 0);
    }

    /// Changes what a file is waited for.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn modify(&self, fd: i32, file: &Arc<OpenFile>, events: u32, data: u64) -> Result<()> {
        let found = self.interests.lock().get(&Self::key(fd, file)).cloned();
        let interest = found.ok_or(Errno::ENOENT)?;
        *interest.wish.lock() = Wish {
            events,
            data,
            silenced: false,
        };
        self.changed(&interest);
        Ok(())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn remove(&self, fd: i32, file: &Arc<OpenFile>) -> Result<()> {
        let found = self.interests.lock().remove(&Self::key(fd, file));
        let interest = found.ok_or(Errno::ENOENT)?;
        interest.gone.store(true, Ordering::Relaxed);
        interest.stop_listening();
        self.silent.lock().retain(|other| other.key != interest.key);
        Ok(())
    }

    /// What is to be reported now, at most `max`. Nothing is locked while files are asked.
    fn look(&self, max: usize) -> Vec<Report> {
        for interest in &*self.silent.lock() {
            self.ready.list(interest);
        }
        let mut left = self.ready.interests.lock().len();
        let mut reports = Vec::new();
        while left > 0 && reports.len() < max {
            let Some(interest) = self.ready.interests.lock().pop_front() else {
                break;
            };
            left -= 1;
            interest.listed.store(false, Ordering::Relaxed);
            let Some(report) = interest.look() else {
                continue;
            };
            reports.push(report);
            if interest.reported() {
                self.ready.list(&interest);
            }
        }
        reports
    }

    fn patience(&self) -> Patience {
        let silent = self.silent.lock().clone();
        let files = silent.iter().filter_map(|interest| interest.file.upgrade());
        files.fold(Patience::default(), |all, file| {
            all.and(Patience::of(&file))
        })
    }

    /// Waits for something to report.
    ///
    /// # Errors
    /// `RESTART` when a signal is to be delivered.
    pub fn wait(&self, max: usize, deadline: Option<Nanos>) -> Result<Vec<Report>> {
        let mut check = || Some(self.look(max)).filter(|reports| !reports.is_empty());
        if let Some(reports) = check() {
            return Ok(reports);
        }
        let queues = [&self.ready.queue];
        let waited = wait_for(&queues, deadline, &|| self.patience(), &mut check)?;
        Ok(waited.unwrap_or_default())
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        for interest in self.interests.get_mut().values() {
            interest.stop_listening();
        }
    }
}

impl File for Epoll {
    fn poll(&self) -> Events {
        let listed = self.ready.interests.lock().clone();
        let silent = self.silent.lock().clone();
        let mut all = listed.iter().chain(&silent);
        if all.any(|interest| interest.look().is_some()) {
            raw::POLLIN | raw::POLLRDNORM
        } else {
            0
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.ready.queue)
    }

    fn is_silent(&self) -> bool {
        self.silent.lock().iter().any(|one| one.is_silent())
    }

    fn must_be_asked(&self) -> bool {
        self.patience().asks
    }

    fn deadline(&self) -> Option<Nanos> {
        self.patience().deadline
    }
}
