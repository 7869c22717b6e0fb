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
    pub fn lock(&self) -> MutexGuard<'_, T> {
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            self.awaited.store(true, Ordering::Relaxed);
            context::wait_for_lock();
        }
    }

    /// Takes the lock if nobody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.inner.try_lock().map(|guard| MutexGuard {
            awaited: &self.awaited,
            guard: Some(guard),
        })
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

/// The right to use what a [`Mutex`] protects.
pub struct MutexGuard<'a, T: ?Sized> {
    awaited: &'a AtomicBool,
    /// `None` only while it is given back.
    guard: Option<spin::MutexGuard<'a, T>>,
}

const HELD: &str = "a guard holds the lock until it is dropped";

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_deref().expect(HELD)
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_deref_mut().expect(HELD)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.guard = None;
        if self.awaited.load(Ordering::Relaxed) {
            self.awaited.store(false, Ordering::Relaxed);
            context::lock_given_back();
        }
    }
}
