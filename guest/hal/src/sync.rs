//! Locks.
//!
//! One virtual CPU at a time is in the kernel, and tasks are switched only where they wait. So a
//! lock that is taken when it is asked for is held by a task that waits, for a device mostly:
//! others run until it is given back.

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::context;

pub use spin::Once;

/// Mutual exclusion between tasks.
#[derive(Default)]
pub struct Mutex<T: ?Sized> {
    /// Somebody waits for it.
    awaited: AtomicBool,
    inner: spin::Mutex<T>,
}

impl<T> Mutex<T> {
    /// A lock around a value.
    pub const fn new(value: T) -> Self {
        Self {
            awaited: AtomicBool::new(false),
            inner: spin::Mutex::new(value),
        }
    }

    /// The value, of which the caller is the only owner.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock; other tasks run until it can be had.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        match self.try_lock() {
            Some(guard) => guard,
            None => self.lock_later(),
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_later(&self) -> MutexGuard<'_, T> {
        loop {
            self.awaited.store(true, Ordering::Relaxed);
            context::wait_for_lock();
            if let Some(guard) = self.try_lock() {
                return guard;
            }
        }
    }

    /// Takes the lock if nobody has it.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = self.inner.try_lock()?;
        let awaited = Awaited(&self.awaited);
        Some(MutexGuard { guard, awaited })
    }

    /// The value, which nobody else can reach.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The right to use what a [`Mutex`] protects. The lock is given back before others are told.
pub struct MutexGuard<'a, T: ?Sized> {
    guard: spin::MutexGuard<'a, T>,
    #[expect(dead_code, reason = "dropped after the lock was given back")]
    awaited: Awaited<'a>,
}

/// Tells those who wait, when it is dropped.
struct Awaited<'a>(&'a AtomicBool);

impl Drop for Awaited<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.load(Ordering::Relaxed) {
            tell(self.0);
        }
    }
}

#[cold]
#[inline(never)]
fn tell(awaited: &AtomicBool) {
    awaited.store(false, Ordering::Relaxed);
    context::lock_given_back();
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
