//! A virtual CPU.
//!
//! After any return from [`Vcpu::run`], no access is half done: a device's answer reaches the
//! guest's registers when KVM is entered again, and a run ends for a kick only there.

use std::fmt;
use std::sync::Arc;

use engine_contract::{EngineError, Kick, Stop, Vcpu, World};
use kvm_ioctls::VcpuFd;
use x86_state::CpuState;

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
            vm,
        }
    }

    /// Enters until there is something to say.
    fn run_on(&mut self, world: &dyn World) -> Result<Stop, String> {
        loop {
            match exit::enter(&mut self.fd, world) {
                Ok(Next::Enter) => {}
                Ok(Next::Stop(stop)) => return Ok(stop),
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

impl Vcpu for KvmVcpu {
    /// All is ready since it was created.
    fn prepare(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn run(&mut self, world: &dyn World) -> Result<Stop, EngineError> {
        let kick = Arc::clone(&self.kick);
        let running = kick.enter();
        let ended = self.run_on(world);
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
}

impl Drop for KvmVcpu {
    fn drop(&mut self) {
        self.kick.forget();
    }
}
