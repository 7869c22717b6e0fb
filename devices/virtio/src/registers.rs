//! What all transports do alike: negotiation, queue setup, activation and reset (virtio 1.2,
//! chapters 2 and 3).
//!
//! Lock order: the registers, then what a device locks in itself. A device's threads never
//! take the registers' lock; that is why waiting for them under it, or doing their work, cannot hang.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine_memory::GuestMemory;

use crate::device::{Activation, Signals, VirtioDevice};
use crate::queue::Virtqueue;
use crate::state::{DeviceState, QueueState, StateError};
use crate::worker::Notifier;

/// Device status (virtio 1.2, 2.1).
const STATUS_DRIVER_OK: u8 = 4;
const STATUS_FEATURES_OK: u8 = 8;
const STATUS_NEEDS_RESET: u8 = 64;
/// What a driver writes: acknowledge, driver, driver ok, features ok, failed.
const STATUS_WRITABLE: u8 = 1 | 2 | STATUS_DRIVER_OK | STATUS_FEATURES_OK | 128;

/// Feature bits of the rings and of the version (virtio 1.2, chapter 6).
const FEATURE_INDIRECT: u64 = 1 << 28;
const FEATURE_EVENT_INDEX: u64 = 1 << 29;
const FEATURE_VERSION_1: u64 = 1 << 32;
const FEATURES: u64 = FEATURE_INDIRECT | FEATURE_EVENT_INDEX | FEATURE_VERSION_1;

/// The addresses of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Area {
    Descriptors,
    Driver,
    Device,
}

struct Inner {
    device: Box<dyn VirtioDevice>,
    state: DeviceState,
    active: Vec<Option<Arc<Virtqueue>>>,
}

/// A device and its registers, for a transport.
pub(crate) struct Registers {
    inner: Mutex<Inner>,
    notifiers: Vec<Arc<Notifier>>,
    signals: Arc<Signals>,
    memory: GuestMemory,
    /// What is offered: features, and the sizes of queues.
    features: u64,
    sizes: Vec<u16>,
    id: u32,
    config_size: u32,
}

impl fmt::Debug for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registers")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Registers {
    /// As after reset.
    pub(crate) fn new(
        device: Box<dyn VirtioDevice>,
        memory: GuestMemory,
        signals: Arc<Signals>,
    ) -> Self {
        let sizes = device.queue_sizes();
        Self {
            notifiers: sizes.iter().map(|_| Arc::default()).collect(),
            signals,
            memory,
            features: device.features() | FEATURES,
            id: device.id(),
            config_size: device.config_size(),
            inner: Mutex::new(Inner {
                device,
                state: fresh(&sizes),
                active: Vec::new(),
            }),
            sizes,
        }
    }

    /// Has the device work before a notification comes back.
    pub(crate) fn work_at_once(&self) {
        self.notifiers
            .iter()
            .for_each(|notifier| notifier.work_at_once());
    }

    /// The device's identity.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// How many queues there are.
    pub(crate) fn queue_count(&self) -> u16 {
        u16::try_from(self.sizes.len()).unwrap_or(u16::MAX)
    }

    /// Bytes of the device's configuration.
    pub(crate) fn config_size(&self) -> u32 {
        self.config_size
    }

    /// A copy of the registers as they are read. Positions of queues are not up to date.
    pub(crate) fn peek(&self) -> DeviceState {
        self.inner().state.clone()
    }

    /// The 32 bits of the offered features that `select` means.
    pub(crate) fn offered(&self, select: u32) -> u32 {
        word(self.features, select)
    }

    /// The 32 bits of the accepted features that `select` means.
    pub(crate) fn accepted(&self, features: u64, select: u32) -> u32 {
        word(features, select)
    }

    /// The device status as it is read.
    pub(crate) fn status(&self, state: &DeviceState) -> u8 {
        let needs_reset = self.signals.needs_reset();
        state.status | if needs_reset { STATUS_NEEDS_RESET } else { 0 }
    }

    /// The selected queue, and its largest size.
    pub(crate) fn selected<'s>(&self, state: &'s DeviceState) -> Option<(&'s QueueState, u16)> {
        let at = usize::from(state.queue_select);
        Some((state.queues.get(at)?, *self.sizes.get(at)?))
    }

    pub(crate) fn generation(&self) -> u32 {
        self.signals.generation()
    }

    pub(crate) fn select_offered(&self, select: u32) {
        self.inner().state.device_feature_select = select;
    }

    pub(crate) fn select_accepted(&self, select: u32) {
        self.inner().state.driver_feature_select = select;
    }

    /// Writes 32 bits of the accepted features. They are fixed once they were found good.
    pub(crate) fn accept(&self, bits: u32) {
        let mut inner = self.inner();
        let state = &mut inner.state;
        let shift = match state.driver_feature_select {
            0 => 0,
            1 => 32,
            _ => return,
        };
        if state.status & STATUS_FEATURES_OK == 0 {
            let kept = state.driver_features & !(u64::from(u32::MAX) << shift);
            state.driver_features = kept | u64::from(bits) << shift;
        }
    }

    pub(crate) fn select_queue(&self, queue: u16) {
        self.inner().state.queue_select = queue;
    }

    /// Sets the selected queue's size; one that cannot be is ignored.
    pub(crate) fn set_size(&self, size: u16) {
        let mut inner = self.inner();
        let most = self.selected(&inner.state).map_or(0, |(_, most)| most);
        if let Some(queue) = configurable(&mut inner.state)
            && size.is_power_of_two()
            && size <= most
        {
            queue.size = size;
        }
    }

    /// Sets half of an address of the selected queue.
    pub(crate) fn set_address(&self, area: Area, high: bool, value: u32) {
        let mut inner = self.inner();
        let Some(queue) = configurable(&mut inner.state) else {
            return;
        };
        let address = match area {
            Area::Descriptors => &mut queue.descriptors,
            Area::Driver => &mut queue.driver,
            Area::Device => &mut queue.device,
        };
        let shift = if high { 32 } else { 0 };
        *address = *address & !(u64::from(u32::MAX) << shift) | u64::from(value) << shift;
    }

    /// Says whether the selected queue can be used.
    pub(crate) fn set_ready(&self, ready: bool) {
        if let Some(queue) = configurable(&mut self.inner().state) {
            queue.ready = ready;
        }
    }

    /// Writes the device status; returns whether that was a reset.
    pub(crate) fn set_status(&self, value: u8) -> bool {
        let mut inner = self.inner();
        if value == 0 {
            self.reset(&mut inner);
            return true;
        }
        let set = value & STATUS_WRITABLE & !inner.state.status;
        inner.state.status |= set;
        let accepted = inner.state.driver_features;
        let good = accepted & !self.features == 0 && accepted & FEATURE_VERSION_1 != 0;
        if set & STATUS_FEATURES_OK != 0 && !good {
            inner.state.status &= !STATUS_FEATURES_OK;
        }
        if set & STATUS_DRIVER_OK != 0 {
            if inner.state.status & STATUS_FEATURES_OK == 0 {
                self.signals.need_reset();
            } else {
                self.activate(&mut inner);
            }
        }
        false
    }

    /// The driver notifies of a queue. One that does not exist is ignored.
    pub(crate) fn notify(&self, queue: u16) {
        if let Some(notifier) = self.notifiers.get(usize::from(queue)) {
            notifier.notify();
        }
    }

    pub(crate) fn read_config(&self, offset: u64, data: &mut [u8]) {
        self.inner().device.read_config(offset, data);
    }

    pub(crate) fn write_config(&self, offset: u64, data: &[u8]) {
        self.inner().device.write_config(offset, data);
    }

    /// A copy of the whole state. The device stops and starts again for it.
    pub(crate) fn save(&self) -> DeviceState {
        let mut inner = self.inner();
        self.pause(&mut inner);
        let state = inner.state.clone();
        if self.is_started(&state) && !self.signals.needs_reset() {
            self.activate(&mut inner);
        }
        DeviceState {
            needs_reset: self.signals.needs_reset(),
            generation: self.signals.generation(),
            ..state
        }
    }

    /// Takes a state, and starts the device if it was active.
    ///
    /// # Errors
    /// When this device cannot be in that state.
    pub(crate) fn restore(&self, state: &DeviceState) -> Result<(), StateError> {
        let mut inner = self.inner();
        self.reset(&mut inner);
        self.check(state)?;
        inner.state = state.clone();
        self.signals.set_generation(state.generation);
        self.signals.set_needs_reset(state.needs_reset);
        if self.is_started(state) && !state.needs_reset {
            self.activate(&mut inner);
        }
        Ok(())
    }

    fn is_started(&self, state: &DeviceState) -> bool {
        let started = STATUS_DRIVER_OK | STATUS_FEATURES_OK;
        state.status & started == started
    }

    fn check(&self, state: &DeviceState) -> Result<(), StateError> {
        let refuse = |reason| Err(StateError { reason });
        if state.queues.len() != self.sizes.len() {
            return refuse("another number of queues");
        }
        let sizes = state.queues.iter().zip(&self.sizes);
        let fits = |(queue, most): (&QueueState, &u16)| {
            queue.size.is_power_of_two() && queue.size <= *most
        };
        if !sizes.into_iter().all(fits) {
            return refuse("a queue of a size that the device does not offer");
        }
        if state.status & !STATUS_WRITABLE != 0 {
            return refuse("status bits that do not exist");
        }
        let accepted = state.driver_features;
        let good = accepted & !self.features == 0 && accepted & FEATURE_VERSION_1 != 0;
        if state.status & STATUS_FEATURES_OK != 0 && !good {
            return refuse("features that the device does not offer");
        }
        Ok(())
    }

    /// Hands the queues to the device.
    fn activate(&self, inner: &mut Inner) {
        let features = inner.state.driver_features;
        let mut queues = Vec::new();
        for (number, state) in (0..).zip(&inner.state.queues) {
            let queue = state.ready.then(|| self.queue(number, state, features));
            if matches!(queue, Some(None)) {
                self.signals.need_reset();
                return;
            }
            queues.push(queue.flatten().map(Arc::new));
        }
        inner.active = queues.clone();
        let activation = Activation {
            memory: self.memory.clone(),
            features,
            queues,
            signals: Arc::clone(&self.signals),
        };
        if inner.device.activate(activation).is_err() {
            inner.device.stop();
            self.signals.need_reset();
        }
    }

    fn queue(&self, number: u16, state: &QueueState, features: u64) -> Option<Virtqueue> {
        let event_index = features & FEATURE_EVENT_INDEX != 0;
        let notifier = self.notifiers.get(usize::from(number))?;
        Virtqueue::new(
            number,
            state,
            event_index,
            &self.memory,
            &self.signals,
            notifier,
        )
    }

    /// Stops the device and notes how far it has come.
    fn pause(&self, inner: &mut Inner) {
        inner.device.stop();
        for (state, queue) in inner.state.queues.iter_mut().zip(&inner.active) {
            if let Some(queue) = queue {
                (state.next_available, state.next_used) = queue.position();
            }
        }
        inner.active.clear();
    }

    fn reset(&self, inner: &mut Inner) {
        inner.device.stop();
        inner.active.clear();
        inner.state = fresh(&self.sizes);
        self.signals.set_needs_reset(false);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registers after reset.
fn fresh(sizes: &[u16]) -> DeviceState {
    DeviceState {
        device_feature_select: 0,
        driver_feature_select: 0,
        driver_features: 0,
        status: 0,
        needs_reset: false,
        generation: 0,
        queue_select: 0,
        queues: sizes.iter().map(|&size| QueueState::new(size)).collect(),
    }
}

/// The selected queue, as long as the device is not active.
fn configurable(state: &mut DeviceState) -> Option<&mut QueueState> {
    let active = state.status & STATUS_DRIVER_OK != 0;
    let queue = state.queues.get_mut(usize::from(state.queue_select));
    queue.filter(|_| !active)
}

fn word(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}
