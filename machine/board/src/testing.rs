//! Stand-ins for what a board is given.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use engine_contract::InterruptController;
use machine_bus::{InterruptLine, Message, MessageTarget, Nanos};

use crate::clock::Clock;
use crate::serial::Output;

/// A clock that stands.
#[derive(Debug, Default)]
pub(crate) struct FakeClock(AtomicU64);

impl FakeClock {
    pub(crate) fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Nanos {
        Nanos(self.0.load(Ordering::SeqCst))
    }
}

/// A line that counts how often it rose.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    level: AtomicBool,
    rises: AtomicU64,
}

impl Recorder {
    pub(crate) fn level(&self) -> bool {
        self.level.load(Ordering::SeqCst)
    }

    pub(crate) fn rises(&self) -> u64 {
        self.rises.load(Ordering::SeqCst)
    }
}

impl InterruptLine for Recorder {
    fn set(&self, level: bool) {
        if !self.level.swap(level, Ordering::SeqCst) && level {
            self.rises.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Controllers whose lines can be looked at.
#[derive(Debug, Default)]
pub(crate) struct FakeController {
    lines: Mutex<BTreeMap<u32, Arc<Recorder>>>,
    pub(crate) messages: Mutex<Vec<Message>>,
}

impl FakeController {
    pub(crate) fn recorder(&self, input: u32) -> Arc<Recorder> {
        let mut lines = self.lines.lock().unwrap();
        Arc::clone(lines.entry(input).or_default())
    }
}

impl MessageTarget for FakeController {
    fn send(&self, message: Message) {
        self.messages.lock().unwrap().push(message);
    }
}

impl InterruptController for FakeController {
    fn line(&self, input: u32) -> Arc<dyn InterruptLine> {
        self.recorder(input)
    }
}

/// Keeps what the guest sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Output for Sent {
    fn put(&mut self, bytes: &[u8]) {
        self.0.lock().unwrap().extend(bytes);
    }
}
