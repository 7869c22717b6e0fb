//! A chip on a bus: its lock, its interrupt line, its time, its timer.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use machine_bus::{Device, InterruptLine, Nanos};

use crate::clock::Clock;
use crate::timers::{Timed, Timer, Timers};

/// A chip, as an attachment sees it. Registers are bytes unless a chip says otherwise.
pub(crate) trait Chip: Send {
    /// Reads a register.
    fn read(&mut self, offset: u16, now: Nanos) -> u8;

    /// Writes a register.
    fn write(&mut self, offset: u16, value: u8, now: Nanos);

    /// Fills `data`, which may be longer than a register.
    fn read_all(&mut self, offset: u16, data: &mut [u8], now: Nanos) {
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = self.read(at, now);
        }
    }

    /// Takes `data`, which may be longer than a register.
    fn write_all(&mut self, offset: u16, data: &[u8], now: Nanos) {
        for (at, byte) in (offset..).zip(data) {
            self.write(at, *byte, now);
        }
    }

    /// Lets time pass.
    fn advance(&mut self, _: Nanos) {}

    /// Drives the line and does what the chip asks of the outside; after every access and
    /// whenever time has passed.
    fn settle(&mut self, line: &dyn InterruptLine, now: Nanos);

    /// When it wants to be looked at again.
    fn next_event(&self, _: Nanos) -> Option<Nanos> {
        None
    }
}

/// A chip where it belongs.
pub(crate) struct Attached<C> {
    chip: Mutex<C>,
    line: Arc<dyn InterruptLine>,
    clock: Arc<dyn Clock>,
    timer: OnceLock<Timer>,
}

impl<C> fmt::Debug for Attached<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").finish_non_exhaustive()
    }
}

impl<C: Chip + 'static> Attached<C> {
    pub(crate) fn new(
        chip: C,
        line: Arc<dyn InterruptLine>,
        clock: &Arc<dyn Clock>,
        timers: &Arc<Timers>,
    ) -> Arc<Self> {
        let attached = Arc::new(Self {
            chip: Mutex::new(chip),
            line,
            clock: Arc::clone(clock),
            timer: OnceLock::new(),
        });
        let weak: Weak<Self> = Arc::downgrade(&attached);
        let timer = timers.add(weak);
        attached.timer.get_or_init(|| timer);
        attached
    }

    /// Does something with the chip, then what follows from it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut C, Nanos) -> T) -> T {
        let mut chip = self.lock();
        let now = self.clock.now();
        let result = act(&mut chip, now);
        chip.settle(self.line.as_ref(), now);
        if let Some(timer) = self.timer.get() {
            timer.set(chip.next_event(now));
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, C> {
        self.chip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Chip + 'static> Timed for Attached<C> {
    fn advance(&self) {
        self.with(|chip, now| chip.advance(now));
    }
}

/// A run of a chip's registers, for a bus.
#[derive(Debug)]
pub(crate) struct Registers<C> {
    pub(crate) chip: Arc<Attached<C>>,
    /// The register at offset 0.
    pub(crate) first: u16,
}

impl<C> Registers<C> {
    /// The register at an offset of the bus.
    fn register(&self, offset: u64) -> u16 {
        let offset = u16::try_from(offset).unwrap_or(u16::MAX);
        self.first.saturating_add(offset)
    }
}

impl<C: Chip + 'static> Device for Registers<C> {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let first = self.register(offset);
        self.chip.with(|chip, now| chip.read_all(first, data, now));
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let first = self.register(offset);
        self.chip.with(|chip, now| chip.write_all(first, data, now));
    }
}
