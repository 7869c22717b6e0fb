//! A virtual CPU.
//!
//! After any return from [`Vcpu::run`], no access is half done: a device's answer reaches the
//! guest's registers when KVM is entered again, and a run ends for a kick only there.

use std::fmt;
use std::sync::Arc;

use engine_contract::{Debugging, EngineError, Kick, Limits, Met, Points, Stop, Vcpu, World};
use kvm_ioctls::VcpuFd;
use x86_listing::code_address;
use x86_state::CpuState;

use crate::debugging::{self, Armed, Outcome, Wanted};
use crate::error::{KvmError, call};
use crate::exit::{self, Next};
use crate::exits::Exits;
use crate::kick::VcpuKick;
use crate::report;
use crate::state::Readable;
use crate::vm::Vm;

/// The virtual CPU.
pub(crate) struct KvmVcpu {
    id: u32,
    fd: VcpuFd,
    kick: Arc<VcpuKick>,
    readable: Arc<Readable>,
    exits: Exits,
    /// What a debugger wants of it.
    wanted: Wanted,
    /// After the descriptor: the memory outlives it.
    vm: Arc<Vm>,
}

impl fmt::Debug for KvmVcpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KvmVcpu").field(&self.id).finish()
    }
}

impl KvmVcpu {
    pub(crate) fn new(id: u32, mut fd: VcpuFd, vm: Arc<Vm>, readable: Arc<Readable>) -> Self {
        let kick = Arc::new(VcpuKick::new(&mut fd));
        let exits = Exits::of(&fd);
        Self {
            id,
            fd,
            kick,
            readable,
            exits,
            wanted: Wanted::default(),
            vm,
        }
    }

    /// Enters until there is something to say.
    fn run_on(&mut self, world: &dyn World, armed: &Armed) -> Result<Stop, String> {
        loop {
            match exit::enter(&mut self.fd, world) {
                Ok(Next::Enter) => {}
                Ok(Next::Stop(stop)) => return Ok(stop),
                Ok(Next::Debug(exit)) => match armed.outcome(&exit) {
                    Outcome::Met(met) => return Ok(Stop::Breakpoint(met)),
                    Outcome::Guest => {
                        let given = debugging::give_back(&self.fd, armed);
                        given.map_err(|error| error.to_string())?;
                    }
                },
                Ok(Next::Fail(why)) => return Err(why),
                Err(error) => match error.errno() {
                    libc::EINTR if self.kick.take() => return Ok(Stop::Kicked),
                    // Another signal; or it waited to be started, and now may be.
                    libc::EINTR | libc::EAGAIN => {}
                    _ => return Err(call("KVM_RUN")(error).to_string()),
                },
            }
        }
    }
}

/// Under a debugger.
impl KvmVcpu {
    /// As [`KvmVcpu::run_on`], but for what a debugger wants.
    fn run_debugged(&mut self, world: &dyn World) -> Result<Stop, String> {
        if !self.wanted.points.passes {
            return self.run_armed(world, None);
        }
        let before = self.place()?;
        let stop = self.run_armed(world, Some(before.0))?;
        let has_moved = self.place()? != before;
        self.wanted.points.passes = !has_moved;
        if stop == Stop::Breakpoint(Met::Step) && !self.wanted.points.steps {
            return self.run_armed(world, None);
        }
        Ok(stop)
    }

    /// Where it is: the address of its next instruction, and its registers, which change if that is the same again.
    fn place(&self) -> Result<(u64, [u64; 16]), String> {
        let state = self.readable.state(&self.fd);
        let state = state.map_err(|error| error.to_string())?;
        Ok((code_address(&state), state.general))
    }

    fn run_armed(&mut self, world: &dyn World, over: Option<u64>) -> Result<Stop, String> {
        let armed = self.wanted.arm((&self.fd, self.vm.fd()), over);
        let armed = armed.map_err(|error| error.to_string())?;
        self.run_on(world, &armed)
    }
}

impl Debugging for KvmVcpu {
    fn limits(&self) -> Limits {
        debugging::LIMITS
    }

    fn set(&mut self, points: &Points) -> Result<(), EngineError> {
        if !debugging::LIMITS.allow(points) {
            let why = "these are more than the processor has registers for";
            return Err(EngineError::new("a debugger's points", why));
        }
        self.wanted.points = points.clone();
        Ok(())
    }
}

impl Vcpu for KvmVcpu {
    /// All is ready since it was created.
    fn prepare(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn run(&mut self, world: &dyn World) -> Result<Stop, EngineError> {
        let kick = Arc::clone(&self.kick);
        let running = kick.enter();
        let ended = if self.wanted.is_some() {
            self.run_debugged(world)
        } else {
            self.run_on(world, &Armed::default())
        };
        drop(running);
        ended.map_err(|why| {
            let state = self.readable.state(&self.fd);
            report::failure(self.id, &why, state, self.vm.memory())
        })
    }

    /// After a triple fault on a processor of AMD these are the registers after reset: KVM
    /// has nothing else, as the processor leaves the guest's undefined (APM vol. 2, 15.14.3).
    fn state(&mut self) -> Result<CpuState, EngineError> {
        let state = self.readable.state(&self.fd);
        state.map_err(|error| error.during("registers cannot be read"))
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        let set: Result<(), KvmError> = self.readable.set_state(&self.fd, state);
        set.map_err(|error| error.during("registers cannot be set"))
    }

    fn exits(&self) -> Vec<(String, u64)> {
        self.exits.read()
    }

    fn kick(&self) -> Arc<dyn Kick> {
        Arc::clone(&self.kick) as _
    }

    fn debugging(&mut self) -> Option<&mut dyn Debugging> {
        Some(self)
    }
}

impl Drop for KvmVcpu {
    fn drop(&mut self) {
        self.kick.forget();
    }
}
