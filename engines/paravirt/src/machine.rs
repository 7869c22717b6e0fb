//! A machine whose virtual CPUs run in a cell, each on a thread of it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

use engine_contract::{
    Creation, EngineError, HandOver, Kick, Layer, Machine, Resources, Stop, Vcpu, VcpuId, World,
};
use guest_abi::layout;
use machine_bells::{Attention, Bells};
use machine_bus::{Doorbells, SignalLine};
use machine_memory::GuestMemory;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::Signal;
use x86_state::CpuState;

use crate::sandbox::{self, Sandbox};

/// Memory for the kernel's own use beyond what the program was promised.
const KERNEL_RESERVE: u64 = 4 << 20;

/// A cell in the making.
#[derive(Debug)]
pub(crate) struct CellCreation(Sandbox);

/// The machine.
#[derive(Debug)]
pub(crate) struct CellMachine {
    sandbox: Arc<Sandbox>,
    taken: bool,
    memory: GuestMemory,
    bells: Arc<Bells>,
    pidfd: Arc<OwnedFd>,
    missing: OnceLock<Vec<Layer>>,
    threads: Arc<OnceLock<Vec<i32>>>,
    file: Arc<MemoryFile>,
}

/// The file that is the machine's memory.
#[derive(Debug)]
struct MemoryFile {
    file: File,
    length: u64,
    /// Bytes that existed when the machine was over.
    at_end: OnceLock<u64>,
}

impl MemoryFile {
    const fn new(file: File, length: u64) -> Self {
        Self {
            file,
            length,
            at_end: OnceLock::new(),
        }
    }

    /// Bytes that exist.
    fn touched(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let now = || {
            let metadata = self.file.metadata();
            metadata.map_or(0, |metadata| metadata.blocks() * 512)
        };
        self.at_end.get().copied().unwrap_or_else(now)
    }

    /// Gives everything back but what the kernel shares with the monitor.
    fn forget(&self) {
        use rustix::fs::FallocateFlags;
        let touched = self.touched();
        self.at_end.get_or_init(|| touched);
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let length = self.length.saturating_sub(layout::FREE_START);
        // If the host refuses, the pages go when the process ends.
        let _ = rustix::fs::fallocate(&self.file, hole, layout::FREE_START, length);
    }
}

impl CellCreation {
    pub(crate) fn start(resources: Resources<'_>) -> Result<Self, EngineError> {
        if !(1..=layout::VCPUS_MAX as u32).contains(&resources.vcpus) {
            let reason = format!("it has up to {} virtual CPUs", layout::VCPUS_MAX);
            return Err(EngineError::new(
                "the paravirt engine cannot do that",
                reason,
            ));
        }
        sandbox::note_ids();
        let limit = resources.memory + KERNEL_RESERVE;
        let mut sandbox = Sandbox::create(layout::RAM_SPAN, limit, resources.image)?;
        sandbox.vcpus = resources.vcpus;
        Ok(Self(sandbox))
    }
}

impl Creation for CellCreation {
    fn finish(self: Box<Self>) -> Result<Box<dyn Machine>, EngineError> {
        let sandbox = self.0;
        let what = "the machine's memory cannot be used";
        let fail = |error| EngineError::new(what, error);
        let refused = |error| EngineError::new(what, error);
        let file = sandbox.memory()?;
        let length = file.metadata().map_err(refused)?.len();
        let mapped = file.try_clone().map_err(refused)?;
        let memory = GuestMemory::new(mapped, length).map_err(fail)?;
        let file = Arc::new(MemoryFile::new(file, length));
        let pidfd = sandbox.child.pidfd.try_clone();
        let pidfd = Arc::new(pidfd.map_err(|error| EngineError::new("descriptor", error))?);
        let threads = Arc::new(OnceLock::new());
        let cell = Box::new(CellAttention {
            process: Arc::clone(&pidfd),
            pid: sandbox.child.pid,
            threads: Arc::clone(&threads),
            memory: Arc::clone(&file),
        });
        let bells = Arc::new(Bells::new(&memory, sandbox.vcpus as usize, cell).map_err(fail)?);
        Ok(Box::new(CellMachine {
            sandbox: Arc::new(sandbox),
            taken: false,
            memory,
            bells,
            pidfd,
            missing: OnceLock::new(),
            threads,
            file,
        }))
    }
}

impl Machine for CellMachine {
    fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    fn vcpu(&mut self, id: VcpuId) -> Result<Box<dyn Vcpu>, EngineError> {
        if id.0 != 0 || std::mem::replace(&mut self.taken, true) {
            let reason = format!("{} is not to be had", id.0);
            return Err(EngineError::new("virtual CPU", reason));
        }
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| EngineError::new("descriptor", error))?;
        let (start, length) = self
            .memory
            .host_range()
            .map_err(|error| EngineError::new("the machine's memory cannot be used", error))?;
        host::fault::guard(start, length, kick.as_fd())
            .map_err(|error| EngineError::new("the machine's memory cannot be guarded", error))?;
        let bells = Arc::clone(&self.bells);
        // Never joined: it waits in memory that the guest can spoil, and ends with the process.
        std::thread::Builder::new()
            .name("timer".to_owned())
            .stack_size(64 << 10)
            .spawn(move || bells.keep_time())
            .map_err(|error| EngineError::new("the timer's thread cannot be started", error))?;
        Ok(Box::new(CellVcpu {
            sandbox: Arc::clone(&self.sandbox),
            bells: Arc::clone(&self.bells),
            kick: Arc::new(KickDescriptor(kick)),
            threads: Arc::clone(&self.threads),
            started: false,
        }))
    }

    fn doorbells(&self) -> Result<Arc<dyn Doorbells>, EngineError> {
        Ok(Arc::clone(&self.bells) as _)
    }

    fn signals(&self) -> Result<Arc<dyn SignalLine>, EngineError> {
        Ok(Arc::clone(&self.bells) as _)
    }

    fn files(&self) -> Option<Arc<dyn HandOver>> {
        Some(Arc::new(Channel(Arc::clone(&self.sandbox))))
    }

    fn touched_bytes(&self) -> u64 {
        self.file.touched()
    }

    fn missing_layers(&self) -> Result<&[Layer], EngineError> {
        if let Some(missing) = self.missing.get() {
            return Ok(missing);
        }
        let missing = self.sandbox.report()?;
        Ok(self.missing.get_or_init(|| missing))
    }
}

impl Drop for CellMachine {
    fn drop(&mut self) {
        self.bells.end();
        let _ = rustix::process::pidfd_send_signal(&*self.pidfd, rustix::process::Signal::KILL);
    }
}

/// The way by which files get into the cell.
#[derive(Debug)]
struct Channel(Arc<Sandbox>);

impl HandOver for Channel {
    fn hand_over(&self, token: u64, file: BorrowedFd<'_>) -> std::io::Result<()> {
        Ok(self.0.hand_over(token, file)?)
    }
}

/// The cell's process, whose threads are woken by futexes and interrupted by signals.
#[derive(Debug)]
struct CellAttention {
    process: Arc<OwnedFd>,
    pid: i32,
    /// The threads beside the first, in the order of the virtual CPUs.
    threads: Arc<OnceLock<Vec<i32>>>,
    memory: Arc<MemoryFile>,
}

impl CellAttention {
    fn send(&self, signal: Signal) {
        // The cell may just have ended; then there is nobody to interrupt.
        let _ = rustix::process::pidfd_send_signal(&*self.process, signal);
    }
}

impl Attention for CellAttention {
    fn wake(&self, _: usize, event: &AtomicU32) {
        machine_bells::wake(event);
    }

    fn interrupt(&self, vcpu: usize) {
        let Some(threads) = self.threads.get() else {
            // There is one thread.
            return self.send(Signal::USR1);
        };
        let thread = match vcpu.checked_sub(1) {
            None => Some(&self.pid),
            Some(other) => threads.get(other),
        };
        if let Some(thread) = thread {
            host::process::signal_thread(self.pid, *thread, Signal::USR1.as_raw());
        }
    }

    fn stop(&self) {
        self.send(Signal::STOP);
    }

    fn go_on(&self) {
        self.send(Signal::CONT);
    }

    fn over(&self) {
        // Before its memory goes: without that it could not even end by itself.
        self.send(Signal::KILL);
        self.memory.forget();
    }
}

/// The virtual CPUs, all of them: the cell as seen from the monitor.
#[derive(Debug)]
struct CellVcpu {
    sandbox: Arc<Sandbox>,
    bells: Arc<Bells>,
    kick: Arc<KickDescriptor>,
    threads: Arc<OnceLock<Vec<i32>>>,
    started: bool,
}

#[derive(Debug)]
struct KickDescriptor(OwnedFd);

impl Kick for KickDescriptor {
    fn kick(&self) {
        // Full only after 2^64 - 1 kicks that nobody took: then one more changes nothing.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl CellVcpu {
    /// The monitor itself met a page that could not be had.
    fn end_exhausted(&self) -> Result<Stop, EngineError> {
        let kill = rustix::process::Signal::KILL;
        let _ = rustix::process::pidfd_send_signal(&self.sandbox.child.pidfd, kill);
        self.wait_for_end()?;
        Ok(Stop::OutOfMemory)
    }

    fn wait_for_end(&self) -> Result<Stop, EngineError> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let id = WaitId::PidFd(self.sandbox.child.pidfd.as_fd());
        let ended = waitid(id, WaitIdOptions::EXITED);
        let ended = ended.map_err(|error| EngineError::new("waiting for the cell", error))?;
        let status = ended
            .as_ref()
            .and_then(rustix::process::WaitIdStatus::exit_status);
        let signal = ended
            .as_ref()
            .and_then(rustix::process::WaitIdStatus::terminating_signal);
        Ok(match (signal, status) {
            (None, Some(0)) => Stop::Shutdown,
            (signal, status) => Stop::Died {
                signal,
                status: status.unwrap_or_default(),
            },
        })
    }
}

impl Vcpu for CellVcpu {
    fn prepare(&mut self) -> Result<(), EngineError> {
        self.sandbox.loaded()?;
        if self.sandbox.vcpus > 1 {
            let threads = crate::threads::others(self.sandbox.child.pid, self.sandbox.vcpus)?;
            self.threads.get_or_init(|| threads);
        }
        Ok(())
    }

    fn run(&mut self, _world: &dyn World) -> Result<Stop, EngineError> {
        if !self.started {
            self.sandbox.release()?;
            self.started = true;
        }
        loop {
            let mut wanted = [
                PollFd::new(&self.sandbox.child.pidfd, PollFlags::IN),
                PollFd::new(&self.kick.0, PollFlags::IN),
            ];
            match poll(&mut wanted, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(EngineError::new("waiting for the cell", error)),
            }
            let [cell, kick] = wanted.map(|descriptor| !descriptor.revents().is_empty());
            if cell {
                return self.wait_for_end();
            }
            if kick {
                let mut count = [0; 8];
                let _ = rustix::io::read(&self.kick.0, &mut count);
                if host::fault::is_exhausted() {
                    return self.end_exhausted();
                }
                return Ok(Stop::Kicked);
            }
        }
    }

    fn state(&mut self) -> Result<CpuState, EngineError> {
        let reason = "a cell shows its registers only in its own report";
        Err(EngineError::new("registers", reason))
    }

    fn set_state(&mut self, _: &CpuState) -> Result<(), EngineError> {
        let reason = "a cell starts where its kernel does";
        Err(EngineError::new("registers", reason))
    }

    fn kick(&self) -> Arc<dyn Kick> {
        Arc::clone(&self.kick) as _
    }
}

impl Drop for CellVcpu {
    fn drop(&mut self) {
        self.bells.end();
        let kill = rustix::process::Signal::KILL;
        let _ = rustix::process::pidfd_send_signal(&self.sandbox.child.pidfd, kill);
    }
}
