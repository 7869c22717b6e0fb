//! A PC's interrupt controllers, put together: a local APIC for each virtual CPU, an I/O APIC, and the
//! pair of 8259, for engines that have none of their own.
//!
//! [`Controllers`] is what a virtual CPU reads, writes and takes interrupts from, [`Wires`] what devices drive and messages
//! go to ([`InterruptController`]). Whatever comes for one sets its [`Signal`], which it looks at
//! between instructions and sleeps on.
//!
//! Time is the caller's: each access says what time it is, and [`Controllers::next_event`] when the virtual CPU's
//! timer wants to be looked at again.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)
)]

mod routes;
mod signal;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use device_legacy::ioapic::{INPUTS, IoApic};
use device_legacy::lapic::{Action, Deadline, LocalApic};
use device_legacy::pic::Pic;
use engine_contract::{InterruptController, VcpuId};
use machine_bus::{InterruptLine, Message, MessageTarget, Nanos, NoLine};

pub use signal::Signal;

/// First guest-physical address of the I/O APIC's registers, and how many bytes there are.
pub const IO_APIC: (u64, u64) = (0xfec0_0000, 0x1000);

/// What a virtual CPU has to do that is no interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Take one that cannot be masked.
    NonMaskable,
    /// Be as after reset, and wait for a start.
    Init,
    /// Start at this page, if it waits.
    StartUp(u8),
}

/// What one virtual CPU has.
struct Local {
    apic: LocalApic,
    /// In the order in which they came.
    events: Vec<Event>,
    signal: Arc<Signal>,
}

struct Inner {
    locals: Vec<Local>,
    io: IoApic,
    pic: Pic,
    /// Levels of the wires of the machine's interrupts, bit 0 the first.
    lines: u32,
}

/// A machine's interrupt controllers.
pub struct Controllers {
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Controllers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controllers").finish_non_exhaustive()
    }
}

impl Controllers {
    /// As after power on. A virtual CPU for each signal, whose number is its local APIC's identity.
    #[must_use]
    pub fn new(signals: impl IntoIterator<Item = Arc<Signal>>) -> Arc<Self> {
        let local = |(id, signal)| Local {
            apic: LocalApic::new(id),
            events: Vec::new(),
            signal,
        };
        Arc::new(Self {
            inner: Mutex::new(Inner {
                locals: (0..u8::MAX).zip(signals).map(local).collect(),
                io: IoApic::new(),
                pic: Pic::new(),
                lines: 0,
            }),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The virtual CPU takes its interrupt.
    pub fn take(&self, vcpu: VcpuId, now: Nanos) -> Option<u8> {
        let mut inner = self.inner();
        inner.advance(vcpu, now);
        let by_pic = inner.pic.irq();
        let local = inner.local(vcpu)?;
        if by_pic && local.apic.passes_external() {
            return Some(inner.pic.acknowledge());
        }
        local.apic.pending()?;
        local.apic.acknowledge()
    }

    /// What else came for it, the first of it.
    pub fn take_event(&self, vcpu: VcpuId) -> Option<Event> {
        let mut inner = self.inner();
        let local = inner.local(vcpu)?;
        if local.events.is_empty() {
            return None;
        }
        Some(local.events.remove(0))
    }

    /// When its timer wants to be looked at.
    pub fn next_event(&self, vcpu: VcpuId, now: Nanos) -> Option<Nanos> {
        self.inner().local(vcpu)?.apic.next_event(now)
    }

    /// Lets the virtual CPU's timer run on; one that fires calls it.
    pub fn expire(&self, vcpu: VcpuId, now: Nanos) {
        let mut inner = self.inner();
        let Some(local) = inner.local(vcpu) else {
            return;
        };
        let is_due = local.apic.next_event(now).is_some_and(|due| due <= now);
        local.apic.advance(now);
        if is_due {
            local.signal.set();
        }
    }

    /// Reads a register of the virtual CPU's local APIC.
    pub fn read_local(&self, vcpu: VcpuId, offset: u16, now: Nanos) -> u32 {
        let mut inner = self.inner();
        inner.advance(vcpu, now);
        let local = inner.local(vcpu);
        local.map_or(u32::MAX, |local| local.apic.read(offset, now))
    }

    /// Writes one.
    pub fn write_local(&self, vcpu: VcpuId, offset: u16, value: u32, now: Nanos) {
        let mut inner = self.inner();
        let Some(local) = inner.local(vcpu) else {
            return;
        };
        let action = local.apic.write(offset, value, now);
        local.signal.set();
        match action {
            Some(Action::Send(ipi)) => inner.send(ipi, Some(vcpu)),
            Some(Action::End(vector)) => inner.end_of_interrupt(vector),
            None => {}
        }
    }

    /// Acts on the local APIC of a virtual CPU: what the processor itself has of it (`CR8`, `IA32_APIC_BASE`,
    /// `IA32_TSC_DEADLINE`).
    pub fn with_local<T>(&self, vcpu: VcpuId, act: impl FnOnce(&mut LocalApic) -> T) -> Option<T> {
        let mut inner = self.inner();
        let local = inner.local(vcpu)?;
        let value = act(&mut local.apic);
        local.signal.set();
        Some(value)
    }

    /// Writes the deadline of a virtual CPU's timer.
    pub fn write_deadline(&self, vcpu: VcpuId, deadline: Option<Deadline>, now: Nanos) {
        self.with_local(vcpu, |apic| apic.write_deadline(deadline, now));
    }

    /// Reads a register of the I/O APIC.
    pub fn read_io(&self, offset: u16) -> u32 {
        self.inner().io.read(offset)
    }

    /// Writes one.
    pub fn write_io(&self, offset: u16, value: u32) {
        let mut inner = self.inner();
        if let Some(message) = inner.io.write(offset, value) {
            inner.send_message(message);
        }
    }

    /// Whether a port is one of the 8259 pair's, and its number there.
    #[must_use]
    pub const fn pic_port(port: u16) -> Option<u16> {
        match port {
            0x20 | 0x21 => Some(port - 0x20),
            0xa0 | 0xa1 => Some(port - 0xa0 + 2),
            0x4d0 | 0x4d1 => Some(port - 0x4d0 + 4),
            _ => None,
        }
    }

    /// Reads a port of the pair.
    pub fn read_pic(&self, offset: u16) -> u8 {
        self.inner().pic.read(offset)
    }

    /// Writes one.
    pub fn write_pic(&self, offset: u16, value: u8) {
        let mut inner = self.inner();
        inner.pic.write(offset, value);
        inner.notice_pic();
    }

    fn drive(&self, interrupt: u32, level: bool) {
        self.inner().drive(interrupt, level);
    }
}

/// The wire of one interrupt.
struct Line {
    controllers: Arc<Controllers>,
    interrupt: u32,
}

impl InterruptLine for Line {
    fn set(&self, level: bool) {
        self.controllers.drive(self.interrupt, level);
    }
}

/// The controllers as devices see them.
#[derive(Clone, Debug)]
pub struct Wires(pub Arc<Controllers>);

impl MessageTarget for Wires {
    fn send(&self, message: Message) {
        self.0.inner().send_message(message);
    }
}

impl InterruptController for Wires {
    fn line(&self, interrupt: u32) -> Arc<dyn InterruptLine> {
        if interrupt >= INPUTS.into() || interrupt == routes::CASCADE {
            return Arc::new(NoLine);
        }
        Arc::new(Line {
            controllers: Arc::clone(&self.0),
            interrupt,
        })
    }
}
