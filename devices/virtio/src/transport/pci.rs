//! virtio over PCI (virtio 1.2, 4.1), modern only: one base address register with all
//! structures, and MSI-X with a vector for the configuration and one a queue.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use device_pci::{Bar, Capability, Description, Function, Interrupts, MsixPlace, Width};
use machine_bus::{InterruptLine, MessageTarget};
use machine_memory::GuestMemory;

use crate::device::{Interrupt, Signals, VirtioDevice, read_bytes};
use crate::registers::{Area, Registers};
use crate::state::{DeviceState, StateError};

const VENDOR: u16 = 0x1af4;
/// The device's identity is added to this.
const DEVICE: u16 = 0x1040;

/// The register that all structures are behind, and where in its memory.
const BAR: u8 = 0;
const BAR_SIZE: u64 = 0x10000;
const COMMON: u64 = 0;
const COMMON_SIZE: u64 = 64;
const ISR: u64 = 0x1000;
const CONFIG: u64 = 0x2000;
const CONFIG_MAX: u32 = 0x1000;
const NOTIFY: u64 = 0x3000;
const NOTIFY_STEP: u64 = 4;
const NOTIFY_END: u64 = 0x4000;
const MSIX_TABLE: u32 = 0x8000;
const MSIX_PENDING: u32 = 0xf000;

/// Vendor-specific capability, and its kinds (4.1.4).
const CAPABILITY: u8 = 0x09;
const KIND_COMMON: u8 = 1;
const KIND_NOTIFY: u8 = 2;
const KIND_ISR: u8 = 3;
const KIND_CONFIG: u8 = 4;
const KIND_ACCESS: u8 = 5;

const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;
/// No vector is mapped.
const NO_VECTOR: u16 = 0xffff;

/// The state of a [`VirtioPci`], without that of its function on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciState {
    /// The registers that all transports have.
    pub device: DeviceState,
    /// The ISR status.
    pub isr: u8,
    /// The vector of configuration changes.
    pub config_vector: u16,
    /// The vectors of the queues.
    pub queue_vectors: Vec<u16>,
}

/// Vectors and ISR status: what interrupting needs, and the device's threads reach.
struct Vectors {
    interrupts: Arc<Interrupts>,
    /// Its lock also keeps the wire in step with it.
    isr: Mutex<u8>,
    config: AtomicU16,
    queues: Vec<AtomicU16>,
}

impl Vectors {
    fn raise(&self, bit: u8, vector: &AtomicU16) {
        if self.interrupts.msix_is_enabled() {
            self.interrupts.signal(vector.load(Ordering::Acquire));
        } else {
            let mut isr = self.isr();
            *isr |= bit;
            self.interrupts.set_wire(true);
        }
    }

    /// Reading the ISR status clears it and lowers the wire (4.1.4.5).
    fn take_isr(&self) -> u8 {
        let mut isr = self.isr();
        self.interrupts.set_wire(false);
        std::mem::take(&mut isr)
    }

    fn isr(&self) -> MutexGuard<'_, u8> {
        self.isr.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Maps a vector; one that does not exist leaves none mapped, which the driver sees.
    fn map(&self, slot: &AtomicU16, vector: u16) {
        let exists = vector < self.interrupts.vectors();
        slot.store(if exists { vector } else { NO_VECTOR }, Ordering::Release);
    }

    fn reset(&self) {
        self.take_isr();
        self.config.store(NO_VECTOR, Ordering::Release);
        for queue in &self.queues {
            queue.store(NO_VECTOR, Ordering::Release);
        }
    }
}

struct Raise(Arc<Vectors>);

impl Interrupt for Raise {
    fn queue(&self, queue: u16) {
        if let Some(vector) = self.0.queues.get(usize::from(queue)) {
            self.0.raise(ISR_QUEUE, vector);
        }
    }

    fn config(&self) {
        self.0.raise(ISR_CONFIG, &self.0.config);
    }
}

/// A virtio device as a PCI function.
pub struct VirtioPci {
    registers: Registers,
    vectors: Arc<Vectors>,
}

impl std::fmt::Debug for VirtioPci {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VirtioPci").field(&self.registers).finish()
    }
}

impl VirtioPci {
    /// Shows `device` to the driver; it works on `memory` and interrupts by messages to
    /// `target` or, while the driver does not want those, by `line`.
    pub fn new(
        device: Box<dyn VirtioDevice>,
        memory: GuestMemory,
        target: Arc<dyn MessageTarget>,
        line: Option<Arc<dyn InterruptLine>>,
    ) -> Self {
        let queues = device.queue_sizes().len();
        let count = u16::try_from(queues + 1).unwrap_or(u16::MAX);
        let vectors = Arc::new(Vectors {
            interrupts: Arc::new(Interrupts::new(count, target, line)),
            isr: Mutex::new(0),
            config: AtomicU16::new(NO_VECTOR),
            queues: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
        });
        let signals = Arc::new(Signals::new(Box::new(Raise(Arc::clone(&vectors)))));
        Self {
            registers: Registers::new(device, memory, signals),
            vectors,
        }
    }

    /// With a device that has no threads: a virtual CPU that notifies it goes on when its work is done.
    #[must_use]
    pub fn working_at_once(self) -> Self {
        self.registers.work_at_once();
        self
    }

    /// A copy of the state. The device pauses for it.
    pub fn save(&self) -> PciState {
        let device = self.registers.save();
        let load = |vector: &AtomicU16| vector.load(Ordering::Acquire);
        PciState {
            device,
            isr: *self.vectors.isr(),
            config_vector: load(&self.vectors.config),
            queue_vectors: self.vectors.queues.iter().map(load).collect(),
        }
    }

    /// Takes a state, and starts the device if it was active. Restore the bus first: it
    /// has the interrupts.
    ///
    /// # Errors
    /// When this device cannot be in that state; it is reset then.
    pub fn restore(&self, state: &PciState) -> Result<(), StateError> {
        let refuse = |reason| Err(StateError { reason });
        if state.queue_vectors.len() != self.vectors.queues.len() {
            return refuse("another number of queues");
        }
        if state.isr & !(ISR_QUEUE | ISR_CONFIG) != 0 {
            return refuse("interrupt status bits that do not exist");
        }
        self.vectors.map(&self.vectors.config, state.config_vector);
        for (slot, vector) in self.vectors.queues.iter().zip(&state.queue_vectors) {
            self.vectors.map(slot, *vector);
        }
        *self.vectors.isr() |= state.isr;
        self.registers.restore(&state.device)
    }

    /// The common configuration structure (4.1.4.3) as it is read.
    fn common(&self) -> Vec<u8> {
        let registers = &self.registers;
        let state = registers.peek();
        let mut bytes = Vec::with_capacity(COMMON_SIZE as usize);
        bytes.extend(state.device_feature_select.to_le_bytes());
        bytes.extend(registers.offered(state.device_feature_select).to_le_bytes());
        bytes.extend(state.driver_feature_select.to_le_bytes());
        let accepted = registers.accepted(state.driver_features, state.driver_feature_select);
        bytes.extend(accepted.to_le_bytes());
        bytes.extend(self.vectors.config.load(Ordering::Acquire).to_le_bytes());
        bytes.extend(registers.queue_count().to_le_bytes());
        bytes.push(registers.status(&state));
        bytes.push(registers.generation() as u8);
        bytes.extend(state.queue_select.to_le_bytes());
        let Some((queue, _)) = registers.selected(&state) else {
            bytes.resize(COMMON_SIZE as usize, 0);
            return bytes;
        };
        bytes.extend(queue.size.to_le_bytes());
        let vector = self.queue_vector(state.queue_select);
        let vector = vector.map_or(NO_VECTOR, |vector| vector.load(Ordering::Acquire));
        bytes.extend(vector.to_le_bytes());
        bytes.extend(u16::from(queue.ready).to_le_bytes());
        bytes.extend(state.queue_select.to_le_bytes());
        for address in [queue.descriptors, queue.driver, queue.device] {
            bytes.extend(address.to_le_bytes());
        }
        bytes.resize(COMMON_SIZE as usize, 0);
        bytes
    }

    fn queue_vector(&self, queue: u16) -> Option<&AtomicU16> {
        self.vectors.queues.get(usize::from(queue))
    }

    /// Writes a field of the common configuration. Fields are written at their own width,
    /// addresses also by halves (4.1.3.1); everything else is ignored.
    fn write_common(&self, offset: u64, data: &[u8]) {
        match *data {
            [value] if offset == 20 => self.set_status(value),
            [a, b] => self.write_common_16(offset, u16::from_le_bytes([a, b])),
            [a, b, c, d] => self.write_common_32(offset, u32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => {
                self.write_common_32(offset, u32::from_le_bytes([a, b, c, d]));
                self.write_common_32(offset + 4, u32::from_le_bytes([e, f, g, h]));
            }
            _ => {}
        }
    }

    fn set_status(&self, value: u8) {
        if self.registers.set_status(value) {
            self.vectors.reset();
        }
    }

    fn write_common_16(&self, offset: u64, value: u16) {
        let registers = &self.registers;
        match offset {
            16 => self.vectors.map(&self.vectors.config, value),
            22 => registers.select_queue(value),
            24 => registers.set_size(value),
            26 => {
                let selected = registers.peek().queue_select;
                if let Some(slot) = self.queue_vector(selected) {
                    self.vectors.map(slot, value);
                }
            }
            // A driver must not write 0 here: only a reset takes a queue back.
            28 if value == 1 => registers.set_ready(true),
            _ => {}
        }
    }

    fn write_common_32(&self, offset: u64, value: u32) {
        let registers = &self.registers;
        match offset {
            0 => registers.select_offered(value),
            8 => registers.select_accepted(value),
            12 => registers.accept(value),
            32 | 36 => registers.set_address(Area::Descriptors, offset == 36, value),
            40 | 44 => registers.set_address(Area::Driver, offset == 44, value),
            48 | 52 => registers.set_address(Area::Device, offset == 52, value),
            _ => {}
        }
    }

    /// The access that the capability of kind 5 describes (4.1.4.9): offset and length.
    fn described_access(body: &[u8]) -> Option<(u64, usize)> {
        let field = |at: usize| {
            let bytes = body.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        let (bar, offset, length) = (*body.get(2)?, field(6)?, field(10)?);
        let sized = matches!(length, 1 | 2 | 4) && offset.is_multiple_of(length);
        let inside = u64::from(offset) + u64::from(length) <= u64::from(MSIX_TABLE);
        (bar == BAR && sized && inside).then_some((u64::from(offset), length as usize))
    }
}

impl Function for VirtioPci {
    fn describe(&self) -> Description {
        let id = self.registers.id();
        let config = self.registers.config_size().min(CONFIG_MAX);
        let notify = NOTIFY_STEP as u32 * u32::from(self.registers.queue_count());
        let mut capabilities = vec![
            structure(KIND_COMMON, COMMON, COMMON_SIZE as u32),
            structure(KIND_ISR, ISR, 1),
            structure(KIND_NOTIFY, NOTIFY, notify),
            access_window(),
        ];
        if config > 0 {
            capabilities.push(structure(KIND_CONFIG, CONFIG, config));
        }
        Description {
            vendor: VENDOR,
            device: DEVICE + id as u16,
            revision: 1,
            class: class_of(id),
            subsystem_vendor: VENDOR,
            subsystem: DEVICE + id as u16,
            bars: vec![Bar {
                index: BAR,
                size: BAR_SIZE,
                width: Width::Bits64,
                prefetchable: false,
            }],
            capabilities,
            msix: Some(MsixPlace {
                bar: BAR,
                table: MSIX_TABLE,
                pending: MSIX_PENDING,
            }),
        }
    }

    fn interrupts(&self) -> Option<Arc<Interrupts>> {
        Some(Arc::clone(&self.vectors.interrupts))
    }

    fn read(&self, _: u8, offset: u64, data: &mut [u8]) {
        match offset {
            COMMON..COMMON_SIZE => read_bytes(&self.common(), offset, data),
            ISR => read_bytes(&[self.vectors.take_isr()], 0, data),
            CONFIG..NOTIFY => self.registers.read_config(offset - CONFIG, data),
            _ => data.fill(0),
        }
    }

    fn write(&self, _: u8, offset: u64, data: &[u8]) {
        match offset {
            COMMON..COMMON_SIZE => self.write_common(offset, data),
            CONFIG..NOTIFY => self.registers.write_config(offset - CONFIG, data),
            NOTIFY..NOTIFY_END => {
                let queue = (offset - NOTIFY) / NOTIFY_STEP;
                self.registers
                    .notify(u16::try_from(queue).unwrap_or(u16::MAX));
            }
            _ => {}
        }
    }

    fn read_window(&self, body: &[u8], at: usize, data: &mut [u8]) {
        if let Some((offset, length)) = Self::described_access(body).filter(|_| at == 0) {
            let mut value = [0; 4];
            self.read(BAR, offset, value.get_mut(..length).unwrap_or_default());
            read_bytes(&value, 0, data);
        }
    }

    fn write_window(&self, body: &[u8], at: usize, data: &[u8]) {
        if let Some((offset, length)) = Self::described_access(body).filter(|_| at == 0)
            && let Some(value) = data.get(..length)
        {
            self.write(BAR, offset, value);
        }
    }
}

/// A capability that says where a structure lies (4.1.4).
fn structure(kind: u8, offset: u64, length: u32) -> Capability {
    let notify = kind == KIND_NOTIFY;
    let size = if notify { 20 } else { 16 };
    let mut body = vec![size, kind, BAR, 0, 0, 0];
    body.extend((offset as u32).to_le_bytes());
    body.extend(length.to_le_bytes());
    if notify {
        body.extend((NOTIFY_STEP as u32).to_le_bytes());
    }
    Capability {
        id: CAPABILITY,
        body,
        writable: Vec::new(),
        window: None,
    }
}

/// The capability through which configuration accesses reach the structures (4.1.4.9).
fn access_window() -> Capability {
    let mut body = vec![0; 18];
    let mut writable = vec![0; 14];
    for (to, byte) in body.iter_mut().zip([20, KIND_ACCESS]) {
        *to = byte;
    }
    let fields = (2..3).chain(6..14);
    for at in fields {
        if let Some(mask) = writable.get_mut(at) {
            *mask = 0xff;
        }
    }
    Capability {
        id: CAPABILITY,
        body,
        writable,
        window: Some(14),
    }
}

/// What a PCI bus calls a device of this identity.
fn class_of(id: u32) -> u32 {
    match id {
        1 => 0x02_0000,
        2 => 0x01_0000,
        3 => 0x07_8000,
        26 => 0x01_8000,
        _ => 0xff_0000,
    }
}
