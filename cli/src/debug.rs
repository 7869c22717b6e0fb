//! Machines under a debugger, and traces of what they execute.

mod early;
mod listener;
mod trace;

use std::sync::Arc;

use clap::Args;
use engine_contract::{Engine, Vcpu};
use engine_emulate::Emulate;
use engine_kvm::Kvm;
use machine_debugger::Debugger;
use machine_memory::GuestMemory;

use crate::error::{Failure, say};
use crate::run::start_thread;
pub(crate) use early::EarlySignals;
pub(crate) use listener::{Listener, Place};
use trace::{Printer, Ranges};

/// What a program is told of debugging.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DebugOptions {
    /// Wait for gdb at a port of 127.0.0.1 or a socket at this path, and let it hold the machine
    #[arg(long, value_name = "PORT|PATH", value_parser = listener::parse)]
    pub(crate) gdb: Option<Place>,
    /// Show on stderr each instruction at these linear addresses (hexadecimal, with the last one)
    #[arg(long, value_name = "START-END[,...]|all", value_parser = trace::parse)]
    pub(crate) trace_instructions: Option<Ranges>,
}

impl DebugOptions {
    /// Refuses engines that cannot do it.
    pub(crate) fn check(&self, engine: &dyn Engine) -> Result<(), Failure> {
        let name = engine.name();
        let is_emulated = name == Emulate.name();
        if self.trace_instructions.is_some() && !is_emulated {
            let why = format!("the {name} engine does not see single instructions");
            let remedy = "use --engine emulate";
            return Err(Failure::new("--trace-instructions", why, remedy));
        }
        if self.gdb.is_some() && !is_emulated && name != Kvm.name() {
            let why = format!("a machine of the {name} engine cannot be held anywhere");
            let remedy = "use --engine kvm or --engine emulate";
            return Err(Failure::new("--gdb", why, remedy));
        }
        Ok(())
    }

    /// Whether an engine is to be chosen that can be debugged.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.gdb.is_some() || self.trace_instructions.is_some()
    }

    /// Has these virtual CPUs tell of their instructions, if that is wanted.
    pub(crate) fn trace(&self, vcpus: &mut [Box<dyn Vcpu>]) {
        let Some(Ranges(ranges)) = &self.trace_instructions else {
            return;
        };
        let printer = Arc::new(Printer);
        for vcpu in vcpus {
            if let Some(tracing) = vcpu.tracing() {
                tracing.trace(ranges, Arc::clone(&printer) as _);
            }
        }
    }
}

/// Puts a debugger between these virtual CPUs and the engine, and says where it is waited for. `kill` ends the
/// machine.
pub(crate) fn start(
    listener: &Listener,
    memory: &GuestMemory,
    vcpus: &mut [Box<dyn Vcpu>],
    kill: impl FnOnce() + Send + 'static,
) -> Result<Arc<Debugger>, Failure> {
    let debugger = Debugger::new(listener.socket()?, memory.clone(), vcpus)?;
    let debugger = Arc::new(debugger);
    let served = Arc::clone(&debugger);
    start_thread("gdb", move || served.serve(kill))?;
    say(&format!(
        "husk: --gdb: the machine waits for a debugger (in gdb: target remote {})",
        listener.shown()
    ));
    Ok(debugger)
}
