//! A machine under a debugger: a server of gdb's remote protocol, whose threads are the virtual CPUs.
//!
//! A [`Debugger`] stands between whoever runs the virtual CPUs and the engine: [`Debugger::run`] in place of the
//! engine's own, on each one's thread, and [`Debugger::serve`] on one more. While anybody looks, all of them wait
//! ([`gate`]); one that meets something stops all.
//!
//! * `gate`: where they wait, and what they are told.
//! * `session`, `link`: one connection, and its bytes; `target`: what the protocol asks; the protocol itself is the
//!   `gdbstub` crate's.
//! * `registers`, `description`: which registers there are, and how gdb is told; `vector`: those of x87 and SSE.
//! * `memory`: guest memory by virtual address; `monitor`: the commands of gdb's `monitor`.
//!
//! Not here: how an engine stops anywhere ([`engine_contract::Debugging`]), and how a connection comes about, but
//! that it is accepted. What a peer sends may be anything: at worst its connection is closed.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used))]

mod description;
mod gate;
mod link;
pub mod memory;
mod monitor;
mod registers;
mod session;
mod target;
mod vector;

use std::os::fd::{AsFd, OwnedFd};

use engine_contract::{EngineError, Kick, Stop, Vcpu, VcpuId, World};
use machine_memory::GuestMemory;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use gate::Gate;
use link::Link;
use session::Over;

const ACTION: &str = "the machine cannot be debugged";

/// A machine under a debugger. Its virtual CPUs wait until one is there.
#[derive(Debug)]
pub struct Debugger {
    gate: Gate,
    listener: OwnedFd,
    memory: GuestMemory,
}

impl Debugger {
    /// For these virtual CPUs, by number. Debuggers come by `listener`, a socket that is listened on.
    ///
    /// # Errors
    /// When the engine has nothing for debuggers, or the host refuses an event counter.
    pub fn new(
        listener: OwnedFd,
        memory: GuestMemory,
        vcpus: &mut [Box<dyn Vcpu>],
    ) -> Result<Self, EngineError> {
        let mut members = Vec::new();
        for vcpu in vcpus {
            let debugging = vcpu.debugging();
            let limits = debugging.map(|debugging| debugging.limits());
            let none = || EngineError::new(ACTION, "the engine has nothing for debuggers");
            members.push((vcpu.kick(), limits.ok_or_else(none)?));
        }
        let gate = Gate::new(members).map_err(|error| EngineError::new(ACTION, error))?;
        Ok(Self {
            gate,
            listener,
            memory,
        })
    }

    /// Runs a virtual CPU as [`Vcpu::run`] does, but for what is the debugger's affair.
    ///
    /// # Errors
    /// As for the engine's.
    pub fn run(
        &self,
        id: VcpuId,
        vcpu: &mut dyn Vcpu,
        world: &dyn World,
    ) -> Result<Stop, EngineError> {
        let ended = self.gate.run(id, vcpu, world);
        if !matches!(ended, Ok(Stop::Kicked)) {
            self.gate.leave(id);
        }
        ended
    }

    /// Serves one debugger after the other until the machine has ended. `kill` is called when a debugger ends the
    /// machine.
    pub fn serve(&self, kill: impl FnOnce()) {
        let mut kill = Some(kill);
        while let Some(stream) = self.accept() {
            self.gate.attach();
            let link = Link::new(stream, &self.gate);
            match session::hold(link, &self.gate, &self.memory) {
                Over::Gone => self.gate.detach(),
                Over::Ended => break,
                Over::Killed => {
                    self.gate.kill();
                    if let Some(kill) = kill.take() {
                        kill();
                    }
                    break;
                }
            }
        }
        self.gate.close();
    }

    /// The next connection; `None`: the machine has ended.
    fn accept(&self) -> Option<OwnedFd> {
        loop {
            if self.gate.is_over() {
                return None;
            }
            let mut ready = [
                PollFd::new(&self.listener, PollFlags::IN),
                PollFd::from_borrowed_fd(self.gate.wake(), PollFlags::IN),
            ];
            // An error shows at the next call.
            let _ = poll(&mut ready, None);
            self.gate.awake();
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match accept_with(self.listener.as_fd(), flags) {
                Ok(stream) => return Some(stream),
                // It went, or the host has no room for it.
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(100)),
            }
        }
    }

    /// The machine has ended so; returns when a debugger that is there has been told, or does not listen.
    pub fn finish(&self, status: u8) {
        self.gate.finish(status);
    }

    /// Whether the machine has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.gate.is_over()
    }

    /// Whether a debugger has let it run.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.gate.has_begun()
    }

    /// Whether a debugger ended the machine.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        self.gate.was_killed()
    }
}

/// The machine has ended: nobody waits any more.
impl Kick for Debugger {
    fn kick(&self) {
        self.gate.end();
    }
}
