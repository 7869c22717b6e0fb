//! A function that remembers, and places for interrupts to arrive.

use std::sync::{Arc, Mutex};

use device_pci::{Bar, Capability, Description, Function, Interrupts, MsixPlace, PciHost, Width};
use machine_bus::{InterruptLine, Message, MessageTarget};

#[derive(Default)]
pub(crate) struct Messages(pub(crate) Mutex<Vec<Message>>);

impl Messages {
    pub(crate) fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl MessageTarget for Messages {
    fn send(&self, message: Message) {
        self.0.lock().unwrap().push(message);
    }
}

#[derive(Default)]
pub(crate) struct Wire(pub(crate) Mutex<bool>);

impl Wire {
    pub(crate) fn level(&self) -> bool {
        *self.0.lock().unwrap()
    }
}

impl InterruptLine for Wire {
    fn set(&self, level: bool) {
        *self.0.lock().unwrap() = level;
    }
}

/// Reads as its number; remembers writes and what it saw of its window.
pub(crate) struct Fake {
    pub(crate) number: u8,
    pub(crate) interrupts: Arc<Interrupts>,
    pub(crate) written: Mutex<Vec<(u8, u64, Vec<u8>)>>,
}

impl Fake {
    pub(crate) fn new(number: u8, target: Arc<Messages>, wire: Arc<Wire>) -> Arc<Self> {
        Arc::new(Self {
            number,
            interrupts: Arc::new(Interrupts::new(3, target, Some(wire))),
            written: Mutex::default(),
        })
    }
}

impl Function for Fake {
    fn describe(&self) -> Description {
        let bar = |index, size, width| Bar {
            index,
            size,
            width,
            prefetchable: false,
        };
        Description {
            vendor: 0x1af4,
            device: 0x1040 + u16::from(self.number),
            class: 0x01_0000,
            bars: vec![bar(0, 0x1000, Width::Bits32), bar(2, 0x4000, Width::Bits64)],
            capabilities: vec![Capability {
                id: 9,
                body: vec![7; 6],
                writable: vec![0, 0xff],
                window: Some(2),
            }],
            msix: Some(MsixPlace {
                bar: 2,
                table: 0x1000,
                pending: 0x2000,
            }),
            ..Description::default()
        }
    }

    fn interrupts(&self) -> Option<Arc<Interrupts>> {
        Some(Arc::clone(&self.interrupts))
    }

    fn read(&self, _: u8, _: u64, data: &mut [u8]) {
        data.fill(self.number);
    }

    fn write(&self, bar: u8, offset: u64, data: &[u8]) {
        let mut written = self.written.lock().unwrap();
        written.push((bar, offset, data.to_vec()));
    }

    fn read_window(&self, body: &[u8], at: usize, data: &mut [u8]) {
        for (at, byte) in (at..).zip(data) {
            *byte = body[1].wrapping_add(at as u8);
        }
    }

    fn write_window(&self, body: &[u8], at: usize, data: &[u8]) {
        self.write(body[1], at as u64, data);
    }
}

/// A bus with functions 1 and 2 in slots 1 and 2, and where their interrupts arrive.
pub(crate) struct Bench {
    pub(crate) host: Arc<PciHost>,
    pub(crate) fakes: [Arc<Fake>; 2],
    pub(crate) messages: Arc<Messages>,
    pub(crate) wire: Arc<Wire>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (messages, wire) = (Arc::<Messages>::default(), Arc::<Wire>::default());
        let host = Arc::new(PciHost::new());
        let fakes = [1, 2].map(|number| {
            let fake = Fake::new(number, Arc::clone(&messages), Arc::clone(&wire));
            host.plug(number, fake.clone()).expect("it fits");
            fake
        });
        Self {
            host,
            fakes,
            messages,
            wire,
        }
    }

    pub(crate) fn read(&self, slot: u16, register: u16) -> u32 {
        let mut data = [0; 4];
        self.host.read_config(slot << 3, register, &mut data);
        u32::from_le_bytes(data)
    }

    pub(crate) fn write(&self, slot: u16, register: u16, value: u32) {
        self.host
            .write_config(slot << 3, register, &value.to_le_bytes());
    }

    pub(crate) fn memory(&self, address: u64) -> u32 {
        let mut data = [0; 4];
        self.host.read_memory(address, &mut data);
        u32::from_le_bytes(data)
    }

    pub(crate) fn store(&self, address: u64, value: u32) {
        self.host.write_memory(address, &value.to_le_bytes());
    }
}
