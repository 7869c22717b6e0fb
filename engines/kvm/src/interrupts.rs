//! KVM's interrupt controllers: lines and messages.
//!
//! A line is driven by `KVM_IRQ_LINE` and not by an `irqfd`: it has levels, which a chip of
//! a board drives high and low, while an event descriptor is a pulse that wants a second one to be
//! told of the end; and either costs one call of the host, made here by the thread that has
//! the news. Where it leads is in `wiring`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use engine_contract::InterruptController;
use kvm_bindings::{KVM_IOAPIC_NUM_PINS, kvm_msi};
use machine_bus::{InterruptLine, Message, MessageTarget, NoLine};

use crate::vm::Vm;

/// The controllers of a machine.
pub(crate) struct Controllers {
    vm: Arc<Vm>,
    /// Those that were asked for, so that each input has one memory of its level.
    lines: Mutex<BTreeMap<u32, Arc<Line>>>,
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controllers").finish_non_exhaustive()
    }
}

impl Controllers {
    pub(crate) fn new(vm: Arc<Vm>) -> Self {
        Self {
            vm,
            lines: Mutex::default(),
        }
    }
}

impl InterruptController for Controllers {
    fn line(&self, input: u32) -> Arc<dyn InterruptLine> {
        if input >= KVM_IOAPIC_NUM_PINS {
            return Arc::new(NoLine);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(input).or_insert_with(|| {
            Arc::new(Line {
                vm: Arc::clone(&self.vm),
                input,
                level: Mutex::new(false),
            })
        });
        Arc::clone(line) as _
    }
}

impl MessageTarget for Controllers {
    fn send(&self, message: Message) {
        send(&self.vm, message);
    }
}

/// Delivers a message.
pub(crate) fn send(vm: &Vm, message: Message) {
    let message = kvm_msi {
        address_lo: message.address as u32,
        address_hi: (message.address >> 32) as u32,
        data: message.data,
        ..Default::default()
    };
    // The guest chose it: one that makes no sense, or meets a controller that is off, is lost.
    let _ = vm.fd().signal_msi(message);
}

/// The wire to an input.
struct Line {
    vm: Arc<Vm>,
    input: u32,
    /// As it was driven last; held while it changes, so that KVM sees changes in order.
    level: Mutex<bool>,
}

impl InterruptLine for Line {
    fn set(&self, level: bool) {
        let mut last = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != level {
            *last = level;
            // Cannot fail for an input that exists.
            let _ = self.vm.fd().set_irq_line(self.input, level);
        }
    }
}
