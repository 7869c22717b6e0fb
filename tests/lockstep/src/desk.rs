//! Devices of Husk's own kernel that work only while their machine waits for them.
//!
//! Who rings gets the answer before its next instruction, so that both machines see it at the same place. A device
//! that looks for requests by itself would come at any.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use guest_abi::device::DevicePage;
use guest_abi::layout;
use machine_bus::{Doorbells, Look};
use machine_memory::GuestMemory;

/// Doorbells whose devices work when they are told to.
pub(crate) struct Desk {
    memory: GuestMemory,
    /// The engine's own, which know how a virtual CPU is told of completions.
    inner: Arc<dyn Doorbells>,
    waiters: Mutex<BTreeMap<(u32, u16), Waiter>>,
    changed: Condvar,
}

/// What the thread of a queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiter {
    /// It has seen so many rings, and waits.
    Idle(u32),
    /// It works, or is about to.
    Working,
}

impl Desk {
    pub(crate) fn new(memory: &GuestMemory, inner: Arc<dyn Doorbells>) -> Self {
        Self {
            memory: memory.clone(),
            inner,
            waiters: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits until so many queues have their threads.
    pub(crate) fn attend(&self, count: usize) {
        let mut waiters = self.waiters();
        while waiters.len() < count {
            waiters = self.wait_for_change(waiters);
        }
    }

    /// Has the devices do all there is to do.
    pub(crate) fn settle(&self) {
        let mut waiters = self.waiters();
        loop {
            for (place, waiter) in waiters.iter_mut() {
                let rings = self.rings(*place);
                if matches!(waiter, Waiter::Idle(seen) if rings.is_some_and(|rings| rings != *seen))
                {
                    *waiter = Waiter::Working;
                }
            }
            if !waiters.values().any(|waiter| *waiter == Waiter::Working) {
                return;
            }
            self.changed.notify_all();
            waiters = self.wait_for_change(waiters);
        }
    }

    fn rings(&self, (device, queue): (u32, u16)) -> Option<u32> {
        let address = layout::DEVICE_PAGES + u64::from(device) * layout::PAGE_SIZE;
        let page = self.memory.page::<DevicePage>(address).ok()?;
        let slot = page.queues.get(usize::from(queue))?;
        // It always wants to be told.
        slot.asleep.store(1, Ordering::SeqCst);
        Some(slot.bell.load(Ordering::SeqCst))
    }

    fn waiters(&self) -> MutexGuard<'_, BTreeMap<(u32, u16), Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_change<'g, T>(&self, guard: MutexGuard<'g, T>) -> MutexGuard<'g, T> {
        let woken = self.changed.wait(guard);
        woken.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Doorbells for Desk {
    fn wait(&self, device: u32, queue: u16, seen: u32, _: Look) -> Option<u32> {
        let place = (device, queue);
        self.rings(place)?;
        let mut waiters = self.waiters();
        waiters.insert(place, Waiter::Idle(seen));
        self.changed.notify_all();
        while waiters.get(&place) != Some(&Waiter::Working) {
            waiters = self.wait_for_change(waiters);
        }
        self.rings(place)
    }

    fn complete(&self, device: u32) {
        self.inner.complete(device);
    }

    /// The port's store settles everything.
    fn ring(&self, _: u32, _: u16) {}
}
