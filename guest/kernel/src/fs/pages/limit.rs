//! How much memory the cached pages of host files may take together.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use guest_abi::layout::PAGE_SIZE;
use guest_hal::sync::Mutex;

use super::Pages;

static CACHES: Mutex<Vec<Weak<Pages>>> = Mutex::new(Vec::new());
static RESIDENT: AtomicU64 = AtomicU64::new(0);
static LIMIT: AtomicU64 = AtomicU64::new(64 << 20);
static CLOCK: AtomicU64 = AtomicU64::new(1);

/// Sets how many bytes cached pages may take.
pub fn set_limit(bytes: u64) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// How many bytes cached pages take.
#[must_use]
pub fn resident() -> u64 {
    RESIDENT.load(Ordering::Relaxed) * PAGE_SIZE
}

/// A point in the order of uses.
pub(super) fn tick() -> u64 {
    CLOCK.fetch_add(1, Ordering::Relaxed)
}

pub(super) fn added(pages: u64) {
    RESIDENT.fetch_add(pages, Ordering::Relaxed);
}

pub(super) fn removed(pages: u64) {
    RESIDENT.fetch_sub(pages, Ordering::Relaxed);
}

pub(super) fn register(pages: &Arc<Pages>) {
    let mut caches = CACHES.lock();
    if caches.len() == caches.capacity() {
        caches.retain(|cache| cache.strong_count() > 0);
    }
    caches.push(Arc::downgrade(pages));
}

/// Makes room for `bytes` more: caches that were filled longest ago are emptied first,
/// `for_whom` only if that was not enough.
pub(super) fn make_room(for_whom: &Pages, bytes: u64) {
    let limit = LIMIT.load(Ordering::Relaxed);
    if resident() + bytes <= limit {
        return;
    }
    let mut caches: Vec<Arc<Pages>> = CACHES.lock().iter().filter_map(Weak::upgrade).collect();
    caches.sort_by_key(|cache| {
        (
            core::ptr::eq(&raw const **cache, for_whom),
            cache.used.load(Ordering::Relaxed),
        )
    });
    for cache in caches {
        if resident() + bytes <= limit / 4 * 3 {
            break;
        }
        if cache.pins.load(Ordering::Relaxed) == 0 {
            cache.truncate(0);
        }
    }
}
