//! What every engine offers and what it is given: the answer to "how does a guest
//! instruction run?" as four small traits.
//!
//! An [`Engine`] says what it can do on this host and makes a [`Machine`] (by way of a
//! [`Creation`], since that can take a while): memory and virtual CPUs. A [`Vcpu`] runs
//! until there is something to say ([`Stop`]), always between two instructions, so that
//! after any return it may be looked at, compared or moved. A [`Kick`] makes it return
//! soon, from any thread.
//!
//! Devices are not the engine's: they work on the machine's memory and are told of work
//! by whatever doorbell the engine has. Guest memory never goes through a trait.
#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use machine_bus::Doorbells;
use machine_memory::GuestMemory;
use x86_state::CpuState;

/// Number of a virtual CPU, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VcpuId(pub u32);

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

    /// Begins to make a machine that does not run yet. What takes long goes on beside the
    /// caller, who has other things to prepare.
    ///
    /// # Errors
    /// When the host refuses something without which it cannot work.
    fn create(&self, resources: Resources<'_>) -> Result<Box<dyn Creation>, EngineError>;
}

/// A machine that is being made.
pub trait Creation {
    /// Waits until it is made.
    ///
    /// # Errors
    /// When the host refuses something without which it cannot work.
    fn finish(self: Box<Self>) -> Result<Box<dyn Machine>, EngineError>;
}

/// A machine of an engine.
pub trait Machine: Send {
    /// Its memory; the same for all who ask.
    fn memory(&self) -> &GuestMemory;

    /// Takes one virtual CPU; each can be taken once.
    ///
    /// # Errors
    /// When there is no such virtual CPU or it was taken.
    fn vcpu(&mut self, id: VcpuId) -> Result<Box<dyn Vcpu>, EngineError>;

    /// The doorbells by which devices learn of work and tell of its completion.
    fn doorbells(&self) -> Arc<dyn Doorbells>;

    /// Posts a Linux signal to the program, where the kernel knows such.
    fn signals(&self) -> Arc<dyn SignalLine>;

    /// Bytes of guest memory that exist now.
    fn touched_bytes(&self) -> u64;

    /// The layers of isolation that the host refused; waits until that is known. Before
    /// the first instruction.
    ///
    /// # Errors
    /// When the machine cannot be isolated at all.
    fn missing_layers(&self) -> Result<&[Layer], EngineError>;
}

/// One virtual CPU.
pub trait Vcpu: Send {
    /// Makes it ready for its first instruction, now that the machine's memory is loaded.
    /// Before the first [`Vcpu::run`], once.
    ///
    /// # Errors
    /// When the engine cannot run it.
    fn prepare(&mut self) -> Result<(), EngineError>;

    /// Runs until there is something to say.
    ///
    /// # Errors
    /// When the engine can no longer run it.
    fn run(&mut self) -> Result<Stop, EngineError>;

    /// Its registers.
    ///
    /// # Errors
    /// When the engine cannot look at it now.
    fn state(&mut self) -> Result<CpuState, EngineError>;

    /// The handle that makes [`Vcpu::run`] return.
    fn kick(&self) -> Arc<dyn Kick>;
}

/// How signals from outside reach the program.
pub trait SignalLine: Send + Sync {
    /// Posts Linux signal `number`, 1 to 64; others are dropped.
    fn post(&self, number: u32);

    /// Stops the virtual CPUs where they are, because the monitor is about to be stopped.
    fn stop(&self);

    /// Lets them go on.
    fn go_on(&self);
}

/// Makes a virtual CPU's `run` return soon with [`Stop::Kicked`].
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
