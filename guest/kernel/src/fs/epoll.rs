//! `epoll`: a list of files to wait for, kept from call to call.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use guest_hal::Nanos;
use guest_hal::sync::Mutex;
use linux_raw_sys::general as raw;

use super::file::{Events, File};
use super::open::OpenFile;
use super::readiness::{ALWAYS, Patience, earlier, ready, wait_for};
use crate::{Errno, Result};

/// One file of the list.
#[derive(Clone, Debug)]
struct Interest {
    fd: i32,
    file: Weak<OpenFile>,
    events: u32,
    data: u64,
    /// What was reported last, for `EPOLLET`.
    reported: Events,
    /// Whether `EPOLLONESHOT` has silenced it.
    silent: bool,
}

/// Something to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is ready for.
    pub events: u32,
    /// What the program wants to be told.
    pub data: u64,
}

/// The list.
#[derive(Debug, Default)]
pub struct Epoll {
    interests: Mutex<Vec<Interest>>,
}

/// What may be asked for.
const EVENTS: u32 = 0xffff;

impl Interest {
    fn is(&self, fd: i32, file: &Arc<OpenFile>) -> bool {
        self.fd == fd && core::ptr::eq(self.file.as_ptr(), Arc::as_ptr(file))
    }

    /// What is to be reported now, if anything is.
    fn look(&mut self) -> Option<Report> {
        let file = self.file.upgrade()?;
        if self.silent {
            return None;
        }
        let now = ready(&file, self.events & EVENTS) & (self.events & EVENTS | ALWAYS);
        let fresh = if self.events & raw::EPOLLET != 0 {
            now & !self.reported
        } else {
            now
        };
        self.reported = now;
        if fresh == 0 {
            return None;
        }
        self.silent = self.events & raw::EPOLLONESHOT != 0;
        Some(Report {
            events: now,
            data: self.data,
        })
    }
}

impl Epoll {
    /// An empty list.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Adds a file.
    ///
    /// # Errors
    /// `EEXIST`; `EPERM` for files that are always ready.
    pub fn add(&self, fd: i32, file: &Arc<OpenFile>, events: u32, data: u64) -> Result<()> {
        use super::metadata::FileKind::{Directory, Regular};
        if matches!(file.kind(), Regular | Directory) {
            return Err(Errno::EPERM);
        }
        let mut interests = self.interests.lock();
        interests.retain(|interest| interest.file.strong_count() > 0);
        if interests.iter().any(|interest| interest.is(fd, file)) {
            return Err(Errno::EEXIST);
        }
        let file = Arc::downgrade(file);
        interests.push(Interest {
            fd,
            file,
            events,
            data,
            reported: 0,
            silent: false,
        });
        Ok(())
    }

    /// Changes what a file is waited for.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn modify(&self, fd: i32, file: &Arc<OpenFile>, events: u32, data: u64) -> Result<()> {
        let mut interests = self.interests.lock();
        let interest = interests.iter_mut().find(|interest| interest.is(fd, file));
        let interest = interest.ok_or(Errno::ENOENT)?;
        *interest = Interest {
            events,
            data,
            reported: 0,
            silent: false,
            fd,
            file: interest.file.clone(),
        };
        Ok(())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// `ENOENT`.
    pub fn remove(&self, fd: i32, file: &Arc<OpenFile>) -> Result<()> {
        let mut interests = self.interests.lock();
        let at = interests.iter().position(|interest| interest.is(fd, file));
        interests.remove(at.ok_or(Errno::ENOENT)?);
        Ok(())
    }

    /// What is to be reported now, at most `max`. Nothing is locked while files are asked.
    fn look(&self, max: usize) -> Vec<Report> {
        let mut interests = core::mem::take(&mut *self.interests.lock());
        let mut reports = Vec::new();
        let mut looked = 0;
        for interest in &mut interests {
            if reports.len() >= max {
                break;
            }
            looked += 1;
            reports.extend(interest.look());
        }
        // Those that were not looked at come first next time.
        interests.rotate_left(looked);
        let mut current = self.interests.lock();
        interests.append(&mut current);
        *current = interests;
        reports
    }

    fn patience(&self) -> Patience {
        let interests = self.interests.lock().clone();
        let files = interests
            .iter()
            .filter_map(|interest| interest.file.upgrade());
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
        Ok(wait_for(deadline, &|| self.patience(), &mut check)?.unwrap_or_default())
    }
}

impl File for Epoll {
    fn poll(&self) -> Events {
        let interests = self.interests.lock().clone();
        let any = interests
            .into_iter()
            .any(|mut interest| interest.look().is_some());
        if any {
            raw::POLLIN | raw::POLLRDNORM
        } else {
            0
        }
    }

    fn must_be_asked(&self) -> bool {
        self.patience().asks
    }

    fn deadline(&self) -> Option<Nanos> {
        earlier(self.patience().deadline, None)
    }
}
