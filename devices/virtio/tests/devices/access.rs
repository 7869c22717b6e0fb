//! How a driver reaches a device's registers, over either transport, as Linux does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use device_pci::{PciHost, Room};
use device_virtio::{VirtioDevice, VirtioMmio, VirtioPci};
use machine_bus::{Device, InterruptLine, Message, MessageTarget};
use machine_memory::GuestMemory;

/// Counts messages and remembers the last; remembers a wire's level.
#[derive(Default)]
pub(crate) struct Interrupts {
    pub(crate) messages: AtomicUsize,
    pub(crate) last: AtomicUsize,
    pub(crate) level: AtomicBool,
}

impl MessageTarget for Interrupts {
    fn send(&self, message: Message) {
        self.last.store(message.data as usize, Ordering::SeqCst);
        self.messages.fetch_add(1, Ordering::SeqCst);
    }
}

impl InterruptLine for Interrupts {
    fn set(&self, level: bool) {
        self.level.store(level, Ordering::SeqCst);
    }
}

/// The registers of a device.
pub(crate) trait Access {
    fn status(&self) -> u8;
    fn set_status(&self, value: u8);
    fn features(&self) -> u64;
    fn accept(&self, features: u64);
    fn queue_max(&self, queue: u16) -> u16;
    fn set_queue(&self, queue: u16, size: u16, areas: [u64; 3]);
    fn notify(&self, queue: u16);
    fn config(&self, offset: u64, data: &mut [u8]);
    fn generation(&self) -> u32;
    /// Whether an interrupt has come since the last call, for a queue or for the
    /// configuration; acknowledges it.
    fn interrupted(&self) -> bool;
}

/// Over MMIO.
pub(crate) struct Mmio {
    pub(crate) chip: VirtioMmio,
    pub(crate) interrupts: Arc<Interrupts>,
}

impl Mmio {
    pub(crate) fn new(device: Box<dyn VirtioDevice>, memory: &GuestMemory) -> Self {
        let interrupts = Arc::<Interrupts>::default();
        let chip = VirtioMmio::new(device, memory.clone(), interrupts.clone());
        Self { chip, interrupts }
    }

    pub(crate) fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.chip.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub(crate) fn write(&self, offset: u64, value: u32) {
        self.chip.write(offset, &value.to_le_bytes());
    }
}

impl Access for Mmio {
    fn status(&self) -> u8 {
        self.read(0x70) as u8
    }

    fn set_status(&self, value: u8) {
        self.write(0x70, value.into());
    }

    fn features(&self) -> u64 {
        self.write(0x14, 1);
        let high = u64::from(self.read(0x10));
        self.write(0x14, 0);
        high << 32 | u64::from(self.read(0x10))
    }

    fn accept(&self, features: u64) {
        for (select, bits) in [(1, features >> 32), (0, features)] {
            self.write(0x24, select);
            self.write(0x20, bits as u32);
        }
    }

    fn queue_max(&self, queue: u16) -> u16 {
        self.write(0x30, queue.into());
        self.read(0x34) as u16
    }

    fn set_queue(&self, queue: u16, size: u16, areas: [u64; 3]) {
        self.write(0x30, queue.into());
        self.write(0x38, size.into());
        for (offset, area) in [0x80, 0x90, 0xa0].into_iter().zip(areas) {
            self.write(offset, area as u32);
            self.write(offset + 4, (area >> 32) as u32);
        }
        self.write(0x44, 1);
    }

    fn notify(&self, queue: u16) {
        self.write(0x50, queue.into());
    }

    fn config(&self, offset: u64, data: &mut [u8]) {
        self.chip.read(0x100 + offset, data);
    }

    fn generation(&self) -> u32 {
        self.read(0xfc)
    }

    fn interrupted(&self) -> bool {
        let level = self.interrupts.level.load(Ordering::SeqCst);
        let status = self.read(0x60);
        self.write(0x64, status);
        level && status != 0
    }
}

/// Over PCI: found through capabilities, with or without MSI-X.
pub(crate) struct Pci {
    pub(crate) host: Arc<PciHost>,
    pub(crate) function: Arc<VirtioPci>,
    pub(crate) interrupts: Arc<Interrupts>,
    pub(crate) msix: bool,
    pub(crate) common: u64,
    isr: u64,
    notify: u64,
    step: u64,
    device: Option<u64>,
    /// Where in configuration space the capability of kind 5 is.
    pub(crate) window: u16,
    seen: AtomicUsize,
}

/// The function in slot 1.
pub(crate) const SLOT: u16 = 1 << 3;

impl Pci {
    pub(crate) fn new(device: Box<dyn VirtioDevice>, memory: &GuestMemory, msix: bool) -> Self {
        let interrupts = Arc::<Interrupts>::default();
        let target: Arc<dyn MessageTarget> = interrupts.clone();
        let line: Arc<dyn InterruptLine> = interrupts.clone();
        let function = Arc::new(VirtioPci::new(device, memory.clone(), target, Some(line)));
        let host = Arc::new(PciHost::new());
        host.plug(1, function.clone()).expect("it fits");
        let room = Room {
            low: 0xe000_0000..=0xe0ff_ffff,
            high: 0x10_0000_0000..=0x10_00ff_ffff,
        };
        host.assign(&room).expect("there is room");
        let mut found = Self {
            host,
            function,
            interrupts,
            msix,
            common: 0,
            isr: 0,
            notify: 0,
            step: 0,
            device: None,
            window: 0,
            seen: AtomicUsize::new(0),
        };
        found.walk();
        found
    }

    pub(crate) fn config_read(&self, register: u16) -> u32 {
        let mut data = [0; 4];
        self.host.read_config(SLOT, register, &mut data);
        u32::from_le_bytes(data)
    }

    fn walk(&mut self) {
        let bar = u64::from(self.config_read(0x10) & !15) | u64::from(self.config_read(0x14)) << 32;
        let mut at = (self.config_read(0x34) & 0xff) as u16;
        while at != 0 {
            let head = self.config_read(at);
            let place = bar + u64::from(self.config_read(at + 8));
            match (head & 0xff, head >> 24) {
                (0x11, _) if self.msix => self.enable_msix(at, bar),
                (9, 1) => self.common = place,
                (9, 2) => {
                    self.notify = place;
                    self.step = self.config_read(at + 16).into();
                }
                (9, 3) => self.isr = place,
                (9, 4) => self.device = Some(place),
                (9, 5) => self.window = at,
                _ => {}
            }
            at = (head >> 8 & 0xff) as u16;
        }
    }

    /// Vector `n` sends `0x40 + n`.
    fn enable_msix(&self, at: u16, bar: u64) {
        let table = bar + u64::from(self.config_read(at + 4) & !7);
        let count = (self.config_read(at) >> 16 & 0x7ff) as u64 + 1;
        for vector in 0..count {
            let entry = table + 16 * vector;
            self.store(entry, &0xfee0_0000_u64.to_le_bytes());
            self.store(entry + 8, &(0x40 + vector).to_le_bytes());
        }
        self.host
            .write_config(SLOT, at + 2, &0x8000_u16.to_le_bytes());
    }

    pub(crate) fn load<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut data = [0; N];
        self.host.read_memory(address, &mut data);
        data
    }

    pub(crate) fn store(&self, address: u64, data: &[u8]) {
        self.host.write_memory(address, data);
    }
}

impl Access for Pci {
    fn status(&self) -> u8 {
        self.load::<1>(self.common + 20)[0]
    }

    fn set_status(&self, value: u8) {
        self.store(self.common + 20, &[value]);
    }

    fn features(&self) -> u64 {
        let half = |select: u32| {
            self.store(self.common, &select.to_le_bytes());
            u64::from(u32::from_le_bytes(self.load(self.common + 4)))
        };
        half(0) | half(1) << 32
    }

    fn accept(&self, features: u64) {
        for (select, bits) in [(0_u32, features as u32), (1, (features >> 32) as u32)] {
            self.store(self.common + 8, &select.to_le_bytes());
            self.store(self.common + 12, &bits.to_le_bytes());
        }
    }

    fn queue_max(&self, queue: u16) -> u16 {
        self.store(self.common + 22, &queue.to_le_bytes());
        u16::from_le_bytes(self.load(self.common + 24))
    }

    fn set_queue(&self, queue: u16, size: u16, areas: [u64; 3]) {
        let common = self.common;
        self.store(common + 22, &queue.to_le_bytes());
        self.store(common + 24, &size.to_le_bytes());
        for (offset, area) in [32, 40, 48].into_iter().zip(areas) {
            self.store(common + offset, &(area as u32).to_le_bytes());
            self.store(common + offset + 4, &((area >> 32) as u32).to_le_bytes());
        }
        if self.msix {
            self.store(common + 16, &0_u16.to_le_bytes());
            self.store(common + 26, &(queue + 1).to_le_bytes());
            assert_eq!(self.load(common + 26), (queue + 1).to_le_bytes());
        }
        self.store(common + 28, &1_u16.to_le_bytes());
    }

    fn notify(&self, queue: u16) {
        self.store(self.common + 22, &queue.to_le_bytes());
        let off = u16::from_le_bytes(self.load(self.common + 30));
        let place = self.notify + self.step * u64::from(off);
        self.store(place, &queue.to_le_bytes());
    }

    fn config(&self, offset: u64, data: &mut [u8]) {
        let place = self.device.expect("the device has a configuration");
        self.host.read_memory(place + offset, data);
    }

    fn generation(&self) -> u32 {
        self.load::<1>(self.common + 21)[0].into()
    }

    fn interrupted(&self) -> bool {
        if self.msix {
            let count = self.interrupts.messages.load(Ordering::SeqCst);
            return self.seen.swap(count, Ordering::SeqCst) != count;
        }
        let level = self.interrupts.level.load(Ordering::SeqCst);
        let isr = self.load::<1>(self.isr)[0];
        level && isr != 0
    }
}
