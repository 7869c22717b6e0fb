//! What leads where: wires to controllers, messages to local APICs.

use device_legacy::lapic::{Destination, Ipi, LocalApic, Mode};
use engine_contract::VcpuId;
use machine_bus::{Message, Nanos};

use crate::{Event, Inner, Local};

/// Where the second 8259 is on the first; interrupt 0 is at this input of the I/O APIC.
pub(crate) const CASCADE: u32 = 2;
/// Inputs of the 8259 pair.
const PIC_INPUTS: u32 = 16;

impl Inner {
    pub(crate) fn local(&mut self, vcpu: VcpuId) -> Option<&mut Local> {
        self.locals.get_mut(vcpu.0 as usize)
    }

    /// Lets the virtual CPU's timer run on.
    pub(crate) fn advance(&mut self, vcpu: VcpuId, now: Nanos) {
        if let Some(local) = self.local(vcpu) {
            local.apic.advance(now);
        }
    }

    /// Drives a wire, which is one of those that there are.
    pub(crate) fn drive(&mut self, interrupt: u32, level: bool) {
        let bit = 1 << interrupt;
        if (self.lines & bit != 0) == level {
            return;
        }
        self.lines ^= bit;
        if interrupt < PIC_INPUTS {
            self.pic.set_line(interrupt as u8, level);
            self.notice_pic();
        }
        let input = if interrupt == 0 { CASCADE } else { interrupt };
        if let Some(message) = self.io.set_line(input as u8, level) {
            self.send_message(message);
        }
    }

    /// Tells who listens to the 8259 pair of its request.
    pub(crate) fn notice_pic(&mut self) {
        if !self.pic.irq() {
            return;
        }
        let listens = |local: &&mut Local| local.apic.passes_external();
        for local in self.locals.iter_mut().filter(listens) {
            local.signal.set();
        }
    }

    /// A level-triggered interrupt has ended.
    pub(crate) fn end_of_interrupt(&mut self, vector: u8) {
        for message in self.io.eoi(vector) {
            self.send_message(message);
        }
    }

    /// Delivers a message; one that makes no sense is dropped.
    pub(crate) fn send_message(&mut self, message: Message) {
        if let Some(ipi) = Ipi::from_message(message) {
            self.send(ipi, None);
        }
    }

    /// Delivers to those that are meant; of lowest priority to one of them.
    pub(crate) fn send(&mut self, ipi: Ipi, sender: Option<VcpuId>) {
        let is_meant = |number: usize, apic: &LocalApic| match ipi.destination {
            Destination::Named { id, logical } => apic.is_meant(id, logical),
            Destination::All => true,
            Destination::Others => sender.is_none_or(|sender| sender.0 as usize != number),
        };
        let locals = self.locals.iter_mut().enumerate();
        let meant = locals.filter(|(number, local)| is_meant(*number, &local.apic));
        let mut meant: Vec<_> = meant.map(|(_, local)| local).collect();
        if ipi.mode == Mode::LowestPriority {
            let lowest = meant
                .into_iter()
                .filter(|local| local.apic.is_enabled())
                .min_by_key(|local| local.apic.priority());
            meant = lowest.into_iter().collect();
        }
        for local in meant {
            local.deliver(ipi);
        }
    }
}

impl Local {
    fn deliver(&mut self, ipi: Ipi) {
        match self.apic.deliver(ipi) {
            Some((Mode::Nmi, _)) => self.events.push(Event::NonMaskable),
            Some((Mode::Init, _)) => {
                self.apic.init();
                // What came before is for a processor that is no more.
                self.events.clear();
                self.events.push(Event::Init);
            }
            Some((Mode::StartUp, page)) if self.events.len() < EVENTS_MAX => {
                self.events.push(Event::StartUp(page));
            }
            // There is no system management mode.
            _ => {}
        }
        // Two of these are as one.
        self.events.dedup();
        self.signal.set();
    }
}

/// Events that wait at most: a guest can send more than a virtual CPU takes.
const EVENTS_MAX: usize = 8;
