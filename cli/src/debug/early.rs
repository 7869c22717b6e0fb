//! Signals that come while a debugger is waited for: there is no program yet that could take them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use machine_bus::SignalLine;
use machine_debugger::Debugger;

use crate::signals::ENDING;

/// Hands signals on to the program. Before the machine's first instruction, one that ends programs ends the machine.
pub(crate) struct EarlySignals {
    line: Arc<dyn SignalLine>,
    debugger: Arc<Debugger>,
    end: Box<dyn Fn() + Send + Sync>,
    /// The signal that ended it; zero: none.
    number: AtomicU8,
}

impl EarlySignals {
    /// In front of this line. `end` ends the machine.
    pub(crate) fn new(
        line: Arc<dyn SignalLine>,
        debugger: &Arc<Debugger>,
        end: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            line,
            debugger: Arc::clone(debugger),
            end: Box::new(end),
            number: AtomicU8::new(0),
        }
    }

    /// The exit status, if a signal ended it.
    pub(crate) fn status(&self) -> Option<u8> {
        let number = self.number.load(Ordering::SeqCst);
        (number > 0).then_some(128 + number)
    }
}

impl SignalLine for EarlySignals {
    fn post(&self, number: u32) {
        let ending = ENDING.iter().find(|signal| **signal as u32 == number);
        match ending {
            Some(signal) if !self.debugger.has_begun() => {
                self.number.store(*signal as u8, Ordering::SeqCst);
                (self.end)();
            }
            _ => self.line.post(number),
        }
    }

    fn stop(&self) {
        self.line.stop();
    }

    fn go_on(&self) {
        self.line.go_on();
    }
}
