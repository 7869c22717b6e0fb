//! A program's machine in the hands of a debugger.

use std::sync::Arc;

use machine_bus::SignalLine;
use machine_debugger::Debugger;
use machine_memory::GuestMemory;

use super::vcpus::Vcpus;
use super::world::Ports;
use crate::debug::{self, EarlySignals, Listener};
use crate::error::{Failure, STATUS_KILLED};

/// The debugger, and how the machine ends without a program that has ended.
pub(super) struct Held {
    debugger: Arc<Debugger>,
    signals: Arc<EarlySignals>,
}

impl Held {
    /// Has a debugger hold the machine. `line` posts signals to the program.
    pub(super) fn start(
        listener: &Listener,
        memory: &GuestMemory,
        vcpus: &mut Vcpus,
        ports: &Arc<Ports>,
        line: &Arc<dyn SignalLine>,
    ) -> Result<Self, Failure> {
        let (end, kill) = (Arc::clone(ports), Arc::clone(ports));
        let debugger = debug::start(listener, memory, vcpus.all(), move || kill.end())?;
        ports.hold(Arc::clone(&debugger));
        let signals = EarlySignals::new(Arc::clone(line), &debugger, move || end.end());
        Ok(Self {
            debugger,
            signals: Arc::new(signals),
        })
    }

    /// Posts signals, once there is a program.
    pub(super) fn line(&self) -> Arc<dyn SignalLine> {
        Arc::clone(&self.signals) as _
    }

    /// The exit status, or the sentence to say first; the debugger is told of it.
    pub(super) fn finish(&self, result: Result<u8, Failure>) -> Result<u8, Failure> {
        let killed = self.debugger.was_killed().then_some(STATUS_KILLED);
        let result = self.signals.status().or(killed).map_or(result, Ok);
        let status = result
            .as_ref()
            .map_or_else(|failure| failure.status, |status| *status);
        self.debugger.finish(status);
        result
    }
}
