//! Files that are counters: `eventfd` and `timerfd`.

use alloc::sync::Arc;

use guest_hal::sync::Mutex;
use guest_hal::{Nanos, time};
use linux_raw_sys::general as raw;

use super::buffer::{Destination, Origin};
use super::file::{Events, File, Io};
use super::inode::Inode;
use super::metadata::{FileKind, Metadata};
use super::mount;
use super::open::OpenFile;
use crate::wait::{self, WaitQueue};
use crate::{Errno, Result};

/// An inode that is nothing but an open file, as Linux' "anonymous inodes" are.
#[derive(Debug)]
pub struct AnonymousInode {
    kind: FileKind,
    metadata: Metadata,
}

impl AnonymousInode {
    /// An open file description of `file`, shown as `label`.
    #[must_use]
    pub fn open_file(file: Arc<dyn File>, label: &str, flags: u32) -> Arc<OpenFile> {
        let metadata = Metadata::new(0xd, super::pseudo::new_number(), 0o600);
        let inode = Self::new(FileKind::CharacterDevice, metadata);
        let location = mount::unnamed(inode, label.as_bytes());
        OpenFile::new(location, file, flags)
    }

    /// One that is shown as of that kind.
    #[must_use]
    pub fn new(kind: FileKind, metadata: Metadata) -> Arc<Self> {
        Arc::new(Self { kind, metadata })
    }
}

impl Inode for AnonymousInode {
    fn kind(&self) -> FileKind {
        self.kind
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(self.metadata)
    }

    fn open(self: Arc<Self>, _: u32) -> Result<Arc<dyn File>> {
        Err(Errno::ENXIO)
    }
}

/// Puts a number where a read wants one.
fn put_number(into: &mut Destination<'_>, value: u64) -> Result<()> {
    into.put(&value.to_le_bytes())
}

/// Waits until there is a number, unless the file is not to wait.
fn number(io: Io, queue: &WaitQueue, ready: &mut dyn FnMut() -> Option<u64>) -> Result<u64> {
    if let Some(value) = ready() {
        return Ok(value);
    }
    if io.is_nonblocking() {
        return Err(Errno::EAGAIN);
    }
    wait::until(&[queue], None, ready)?.ok_or(Errno::EAGAIN)
}

/// `eventfd`.
#[derive(Debug)]
pub struct EventCounter {
    count: Mutex<u64>,
    semaphore: bool,
    queue: WaitQueue,
}

impl EventCounter {
    /// With a first value.
    #[must_use]
    pub fn new(value: u64, semaphore: bool) -> Arc<Self> {
        Arc::new(Self {
            count: Mutex::new(value),
            semaphore,
            queue: WaitQueue::new(),
        })
    }

    fn take(&self) -> Option<u64> {
        let mut count = self.count.lock();
        let taken = if self.semaphore {
            (*count).min(1)
        } else {
            *count
        };
        *count -= taken;
        (taken > 0).then_some(taken)
    }

    fn add(&self, value: u64) -> Option<u64> {
        let mut count = self.count.lock();
        let sum = count.checked_add(value).filter(|&sum| sum < u64::MAX)?;
        *count = sum;
        Some(sum)
    }
}

impl File for EventCounter {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        if into.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = number(io, &self.queue, &mut || self.take())?;
        self.queue.notify_of(raw::POLLOUT | raw::POLLWRNORM);
        put_number(into, value)
    }

    fn write(&self, io: Io, from: &mut Origin<'_>) -> Result<()> {
        if from.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let before = from.done();
        let mut bytes = [0; 8];
        from.take(&mut bytes)?;
        let value = u64::from_le_bytes(bytes);
        let result = if value == u64::MAX {
            Err(Errno::EINVAL)
        } else {
            number(io, &self.queue, &mut || self.add(value))
        };
        if result.is_err() {
            from.rewind(before);
        } else {
            self.queue.notify_of(raw::POLLIN | raw::POLLRDNORM);
        }
        result.map(drop)
    }

    fn poll(&self) -> Events {
        let count = *self.count.lock();
        let input = if count > 0 {
            raw::POLLIN | raw::POLLRDNORM
        } else {
            0
        };
        let output = if count < u64::MAX - 1 {
            raw::POLLOUT | raw::POLLWRNORM
        } else {
            0
        };
        input | output
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }
}

/// Which clock a timer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerClock {
    /// The real-time clock.
    Realtime,
    /// The monotonic clock.
    Monotonic,
    /// The monotonic clock with the time the host was suspended.
    Boottime,
}

impl TimerClock {
    fn now(self) -> Nanos {
        match self {
            Self::Realtime => time::realtime(),
            Self::Monotonic => time::monotonic(),
            Self::Boottime => time::boottime(),
        }
    }
}

/// When a timer goes off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Setting {
    /// Next; zero: not.
    at: Nanos,
    interval: Nanos,
}

/// `timerfd`.
#[derive(Debug)]
pub struct TimerFile {
    clock: TimerClock,
    setting: Mutex<Setting>,
    /// Told when it is set.
    queue: WaitQueue,
}

impl TimerFile {
    /// Not set.
    #[must_use]
    pub fn new(clock: TimerClock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            setting: Mutex::new(Setting::default()),
            queue: WaitQueue::new(),
        })
    }

    /// Sets it: `value` zero disarms; otherwise it is a time of the clock if `absolute`,
    /// else a time from now. Returns what was left, and the interval.
    pub fn set(&self, value: Nanos, interval: Nanos, absolute: bool) -> (Nanos, Nanos) {
        let old = self.get();
        let at = match (value.0, absolute) {
            (0, _) => Nanos(0),
            (_, true) => value,
            (_, false) => self.clock.now().saturating_add(value),
        };
        *self.setting.lock() = Setting { at, interval };
        self.queue.notify();
        old
    }

    /// What is left until it goes off, and the interval.
    #[must_use]
    pub fn get(&self) -> (Nanos, Nanos) {
        let Setting { at, interval } = *self.setting.lock();
        if at.0 == 0 {
            return (Nanos(0), interval);
        }
        let now = self.clock.now();
        let mut left = at.saturating_sub(now).0;
        if left == 0 && interval.0 > 0 {
            left = interval.0 - (now.0 - at.0) % interval.0;
        }
        (Nanos(left), interval)
    }

    /// How often it went off since it was last asked.
    fn take(&self) -> Option<u64> {
        let mut setting = self.setting.lock();
        let now = self.clock.now();
        if setting.at.0 == 0 || now < setting.at {
            return None;
        }
        if setting.interval.0 == 0 {
            setting.at = Nanos(0);
            return Some(1);
        }
        let times = (now.0 - setting.at.0) / setting.interval.0 + 1;
        setting.at = setting
            .at
            .saturating_add(Nanos(times.saturating_mul(setting.interval.0)));
        Some(times)
    }
}

impl File for TimerFile {
    fn read(&self, io: Io, into: &mut Destination<'_>) -> Result<()> {
        if into.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = loop {
            if let Some(value) = self.take() {
                break value;
            }
            if io.is_nonblocking() {
                return Err(Errno::EAGAIN);
            }
            // The wait ends when it is set anew, too: then for another time.
            let set_to = *self.setting.lock();
            let mut ready = || {
                let taken = self.take();
                (taken.is_some() || *self.setting.lock() != set_to).then_some(taken)
            };
            let waited = wait::until(&[&self.queue], self.deadline(), &mut ready)?;
            if let Some(value) = waited.flatten() {
                break value;
            }
        };
        put_number(into, value)
    }

    fn poll(&self) -> Events {
        let setting = *self.setting.lock();
        let expired = setting.at.0 > 0 && self.clock.now() >= setting.at;
        if expired {
            raw::POLLIN | raw::POLLRDNORM
        } else {
            0
        }
    }

    fn queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn is_silent(&self) -> bool {
        true
    }

    fn deadline(&self) -> Option<Nanos> {
        let Setting { at, .. } = *self.setting.lock();
        let left = at.saturating_sub(self.clock.now());
        (at.0 > 0).then(|| time::monotonic().saturating_add(left))
    }
}
