//! What every engine offers and what it is given: the answer to "how does a guest
//! instruction run?" as a handful of small traits.
//!
//! An [`Engine`] says what it can do on this host and makes a [`Machine`] (by way of a
//! [`Creation`], since that can take a while): memory and virtual CPUs. A [`Vcpu`] runs
//! in a [`World`], what it can reach outside of its registers and memory, until there is
//! something to say ([`Stop`]); always between two instructions, so that
//! after any return it may be looked at, compared or moved. A [`Kick`] makes it return
//! soon, from any thread.
//!
//! Guest memory never goes through a trait. What only some engines have are abilities, an
//! `Option` of a narrower trait: [`InterruptController`], [`WriteEvents`], [`DirtyLog`], [`HandOver`], [`VirtualTime`];
//! of virtual CPUs [`Debugging`] and [`Tracing`].
//! Where the guest is Husk's own kernel, devices and kernel talk through shared pages and
//! the engine's [`Machine::doorbells`].
#![forbid(unsafe_code)]

mod debugging;
mod virtual_time;

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use machine_bus::{
    Doorbells, GuestAddress, InterruptLine, MessageTarget, Port, SignalLine, Vector,
};
use machine_memory::GuestMemory;
use x86_state::CpuState;

pub use debugging::{Debugging, Limits, Met, Points, Tracer, Tracing, Watched, Watchpoint};
pub use virtual_time::{Timed, VirtualTime};

/// Number of a virtual CPU, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VcpuId(pub u32);

impl VcpuId {
    /// Takes the one of this number; those taken are gone.
    ///
    /// # Errors
    /// When there is none, or it was taken.
    pub fn take<T>(self, all: &mut [Option<T>]) -> Result<T, EngineError> {
        let (number, count) = (self.0, all.len());
        let reason = match all.get_mut(number as usize).map(Option::take) {
            Some(Some(vcpu)) => return Ok(vcpu),
            Some(None) => format!("number {number} was taken before"),
            None => format!("there is no number {number} (the machine has {count})"),
        };
        Err(EngineError::new("the virtual CPU is not to be had", reason))
    }
}

/// What a machine may use.
#[derive(Clone, Copy, Debug)]
pub struct Resources<'a> {
    /// Bytes of memory.
    pub memory: u64,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// The file with the kernel's image, for engines that [map it](Engine::maps_image).
    pub image: Option<BorrowedFd<'a>>,
}

/// A way to execute virtual CPUs.
pub trait Engine: Send + Sync {
    /// Its name, as `--engine` takes it.
    fn name(&self) -> &'static str;

    /// What it can do on this host, found out by trying.
    fn probe(&self) -> Probe;

    /// Whether its machines map the read-only parts of the kernel from the image's file,
    /// which saves memory and time, instead of having them in their own memory.
    fn maps_image(&self) -> bool;

    /// Where Husk's own kernel finds itself in one of its machines.
    fn platform(&self) -> Platform;

    /// Begins to make a machine that does not run yet. What takes long goes on beside the
    /// caller, who has other things to prepare.
    ///
    /// # Errors
    /// When the host refuses something without which it cannot work.
    fn create(&self, resources: Resources<'_>) -> Result<Box<dyn Creation>, EngineError>;
}

/// Where Husk's own kernel finds itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// In a process of the host, beside a stub: guest-physical memory is sparse, the first
    /// instruction is the stub's affair.
    Cell,
    /// At ring 0 of a processor with some memory; it starts where [`Vcpu::set_state`] says.
    Bare,
}

/// A machine that is being made.
pub trait Creation {
    /// Waits until it is made.
    ///
    /// # Errors
    /// When the host refuses something without which it cannot work.
    fn finish(self: Box<Self>) -> Result<Box<dyn Machine>, EngineError>;
}

/// Takes a sentence for people.
pub type Reporter = Arc<dyn Fn(&str) + Send + Sync>;

/// A machine of an engine.
pub trait Machine: Send {
    /// Its memory; the same for all who ask.
    fn memory(&self) -> &GuestMemory;

    /// Takes one virtual CPU; each can be taken once.
    ///
    /// # Errors
    /// When there is no such virtual CPU or it was taken.
    fn vcpu(&mut self, id: VcpuId) -> Result<Box<dyn Vcpu>, EngineError>;

    /// The doorbells by which devices and Husk's kernel call each other.
    ///
    /// # Errors
    /// When the memory has no room for the shared pages.
    fn doorbells(&self) -> Result<Arc<dyn Doorbells>, EngineError>;

    /// Posts a Linux signal to the program, where the guest is Husk's kernel.
    ///
    /// # Errors
    /// As for [`Machine::doorbells`].
    fn signals(&self) -> Result<Arc<dyn SignalLine>, EngineError>;

    /// The interrupt controllers that the engine has itself; without, the board has them
    /// and the virtual CPUs ask [`World::take_interrupt`].
    fn interrupt_controller(&self) -> Option<Arc<dyn InterruptController>> {
        None
    }

    /// Descriptors that become readable when the guest writes somewhere.
    fn write_events(&self) -> Option<Arc<dyn WriteEvents>> {
        None
    }

    /// How files of the host are handed over to the guest, for it to map.
    fn files(&self) -> Option<Arc<dyn HandOver>> {
        None
    }

    /// Which pages were written.
    fn dirty_log(&self) -> Option<Arc<dyn DirtyLog>> {
        None
    }

    /// The time of a machine that does the same in every run; the host's does not touch it.
    fn virtual_time(&self) -> Option<Arc<dyn VirtualTime>> {
        None
    }

    /// Tells an engine that answers for a hypervisor where its guest finds memory, as the guest is told elsewhere. Before the
    /// first instruction.
    fn describe_memory(&self, _: Vec<MemoryRange>) {}

    /// Has an engine say what its user should know of a running guest: a sentence each, from any thread, and
    /// so few that a guest cannot fill a log with them.
    fn report_to(&self, _: Reporter) {}

    /// Bytes of guest memory that exist now.
    fn touched_bytes(&self) -> u64;

    /// The layers of isolation that the host refused; waits until that is known. Before
    /// the first instruction.
    ///
    /// # Errors
    /// When the machine cannot be isolated at all.
    fn missing_layers(&self) -> Result<&[Layer], EngineError>;
}

/// Addresses of a guest, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// The first.
    pub start: GuestAddress,
    /// How many.
    pub length: u64,
    /// In the numbers of the E820 map (ACPI 6.5, table 15.2).
    pub kind: u32,
}

/// One virtual CPU.
pub trait Vcpu: Send {
    /// Makes it ready for its first instruction, now that the machine's memory is loaded.
    /// Before the first [`Vcpu::run`], once.
    ///
    /// # Errors
    /// When the engine cannot run it.
    fn prepare(&mut self) -> Result<(), EngineError>;

    /// Runs until there is something to say. What it reaches outside of its registers and
    /// memory is `world`'s; an access begins and ends within one call.
    ///
    /// # Errors
    /// When the engine can no longer run it; the reason says where it was.
    fn run(&mut self, world: &dyn World) -> Result<Stop, EngineError>;

    /// Its registers.
    ///
    /// # Errors
    /// When the engine cannot look at it now.
    fn state(&mut self) -> Result<CpuState, EngineError>;

    /// Sets its registers.
    ///
    /// # Errors
    /// When the engine cannot, or no processor can be in that state.
    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError>;

    /// What the engine counted so far, by its own names: exits by cause above all.
    fn exits(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    /// The handle that makes [`Vcpu::run`] return.
    fn kick(&self) -> Arc<dyn Kick>;

    /// What a debugger asks of it.
    fn debugging(&mut self) -> Option<&mut dyn Debugging> {
        None
    }

    /// What a trace asks of it.
    fn tracing(&mut self) -> Option<&mut dyn Tracing> {
        None
    }
}

/// What a virtual CPU can reach outside of its registers and memory.
///
/// Called from the virtual CPU's thread, at its exits. A device that ends or resets the machine
/// notes that for whoever runs the virtual CPUs and kicks them. Lengths are 1, 2, 4 or 8 bytes (ports:
/// at most 4), little endian; what nobody answers reads as ones.
pub trait World: Sync {
    /// `in`.
    fn port_read(&self, port: Port, data: &mut [u8]);

    /// `out`.
    fn port_write(&self, port: Port, data: &[u8]);

    /// A load from where there is no memory.
    fn mmio_read(&self, address: GuestAddress, data: &mut [u8]);

    /// A store to where there is no memory.
    fn mmio_write(&self, address: GuestAddress, data: &[u8]);

    /// The vector of an interrupt for a virtual CPU that can take one now, which with that
    /// is taken. Asked only by engines without an [`InterruptController`] of their own.
    fn take_interrupt(&self, vcpu: VcpuId) -> Option<Vector>;
}

/// Hands files of the host over to a guest, which may map what it gets until it ends.
pub trait HandOver: Send + Sync {
    /// Hands over a file that is open for reading only; `token` is by what the guest knows it.
    ///
    /// # Errors
    /// When the guest does not take what it was given before, or has ended.
    fn hand_over(&self, token: u64, file: BorrowedFd<'_>) -> std::io::Result<()>;
}

/// Interrupt controllers inside the engine: local ones of the virtual CPUs, an I/O APIC and
/// the pair of 8259.
pub trait InterruptController: MessageTarget {
    /// The wire of an interrupt: to the input of that number of the I/O APIC and, for 0 to 15, of
    /// the 8259 pair; but interrupt 0 is the I/O APIC's input 2, as on every PC, and there is
    /// no interrupt 2.
    fn line(&self, interrupt: u32) -> Arc<dyn InterruptLine>;
}

/// Descriptors that become readable when the guest writes to a place, without an exit to
/// the monitor.
pub trait WriteEvents: Send + Sync {
    /// An event counter for writes of `length` bytes (0: any) to `place`; with `value`, only
    /// of that value. Until the machine ends.
    ///
    /// # Errors
    /// When the engine has no room for another.
    fn event(&self, place: Place, length: u32, value: Option<u64>) -> Result<OwnedFd, EngineError>;
}

/// Where a guest can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A port.
    Port(Port),
    /// An address.
    Memory(GuestAddress),
}

/// Which pages of memory were written.
pub trait DirtyLog: Send + Sync {
    /// Begins to note, or stops.
    ///
    /// # Errors
    /// When the engine refuses.
    fn enable(&self, on: bool) -> Result<(), EngineError>;

    /// The pages written since the last call, and perhaps some that were only touched: a bit
    /// each, lowest first, in the order of the memory's file, which has no hole.
    ///
    /// # Errors
    /// When nothing is noted.
    fn take(&self) -> Result<Vec<u64>, EngineError>;
}

/// Makes a virtual CPU's `run` return soon with [`Stop::Kicked`]; if it does not run now, then
/// the next one returns at once.
pub trait Kick: Send + Sync {
    /// Does so.
    fn kick(&self);
}

/// Why a virtual CPU stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It was kicked.
    Kicked,
    /// The machine powered itself off.
    Shutdown,
    /// The machine asked for a reset.
    Reset,
    /// The guest told the hypervisor below it that it crashed.
    Crash,
    /// An exception while the processor delivered a double fault: it cannot go on.
    TripleFault,
    /// It waits for an interrupt, and the engine has no controller to bring one.
    Halted,
    /// It met what a debugger set.
    Breakpoint(Met),
    /// The host has no more memory for it within its limit; it has been ended.
    OutOfMemory,
    /// It ended without saying why: signal or status of the process it ran in.
    Died {
        /// The host's signal, if it was one.
        signal: Option<i32>,
        /// The exit status otherwise.
        status: i32,
    },
}

/// What an engine can do on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Why it cannot run anything; `None`: it can.
    pub refusal: Option<String>,
    /// One line for people: how fast, with what.
    pub summary: String,
    /// Its layers of isolation on this host.
    pub layers: Vec<Layer>,
}

/// One layer of isolation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its name.
    pub name: &'static str,
    /// Why the host refuses it; `None`: it is there.
    pub refusal: Option<String>,
}

/// An engine cannot go on.
#[derive(Debug)]
pub struct EngineError {
    /// What it was doing.
    pub action: &'static str,
    /// Why that failed, and what can be done about it.
    pub reason: String,
}

impl EngineError {
    /// From an action and its reason.
    pub fn new(action: &'static str, reason: impl fmt::Display) -> Self {
        Self {
            action,
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.action, self.reason)
    }
}

impl std::error::Error for EngineError {}
