//! One of the two machines: its virtual CPU, and how that does one step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use engine_contract::{Engine, Kick, Machine, Points, Resources, Stop, Vcpu, VcpuId, World};
use machine_bus::{GuestAddress, Port, Vector};
use machine_memory::GuestMemory;
use x86_state::CpuState;

use crate::watchdog::Watchdog;

/// A port that no board has, to which a planted instruction writes.
const ARRIVAL: u8 = 0xea;
/// `out ARRIVAL, al`, the same in code of all sizes.
const PLANT: [u8; 2] = [0xe6, ARRIVAL];

/// In a task's rights, and in `EFER`.
const BUSY: u16 = 2;
const LONG: u64 = 1 << 10;

/// What a virtual CPU reaches, and whether the machine has ended.
pub(crate) trait Surroundings: World + Send {
    /// How it ended, in words.
    fn ending(&self) -> Option<String>;
}

/// One machine.
pub(crate) struct Side {
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) vcpu: Box<dyn Vcpu>,
    kick: Arc<dyn Kick>,
    world: Option<Arc<dyn Surroundings>>,
    /// A task of 16 or 32 bits is said to be free, which KVM does not show (Linux, `svm_get_segment`).
    pub(crate) hides_busy_task: bool,
}

/// How KVM is brought over one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the trap flag.
    Trap,
    /// It runs until it fetches an instruction from this linear address, where one is planted that leaves the
    /// guest. An exception would keep the trap flag for its handler's return, and show it on the stack.
    Arrival(u64),
}

impl Side {
    /// A machine of this engine with so much memory and one virtual CPU.
    pub(crate) fn new(engine: &dyn Engine, bytes: u64) -> Result<Self> {
        let creation = engine.create(Resources {
            memory: bytes,
            vcpus: 1,
            image: None,
        })?;
        let mut machine = creation.finish()?;
        let mut vcpu = machine.vcpu(VcpuId(0))?;
        vcpu.prepare()?;
        Ok(Self {
            kick: vcpu.kick(),
            machine,
            vcpu,
            world: None,
            hides_busy_task: false,
        })
    }

    pub(crate) fn memory(&self) -> &GuestMemory {
        self.machine.memory()
    }

    pub(crate) fn kick(&self) -> Arc<dyn Kick> {
        Arc::clone(&self.kick)
    }

    /// Puts the virtual CPU where it begins.
    pub(crate) fn begin(&mut self, start: &CpuState, world: Arc<dyn Surroundings>) -> Result<()> {
        self.vcpu.set_state(start)?;
        self.world = Some(world);
        Ok(())
    }

    /// How the machine ended, if it has.
    pub(crate) fn ending(&self) -> Option<String> {
        self.world.as_ref().and_then(|world| world.ending())
    }

    /// Runs with these points until something stops it.
    pub(crate) fn run(&mut self, points: &Points) -> Result<Stop> {
        let world = self.world.as_ref().context("the machine has no world")?;
        let debugging = self.vcpu.debugging();
        let debugging = debugging.context("the engine has nothing for debuggers")?;
        debugging.set(points)?;
        Ok(self.vcpu.run(&**world)?)
    }

    /// Runs until the machine ends; how, in words.
    pub(crate) fn finish(&mut self, watchdog: &Watchdog) -> Result<String> {
        watchdog.watch();
        let stop = self.run(&Points::default());
        watchdog.rest();
        let stop = stop?;
        Ok(self.ending().unwrap_or_else(|| format!("{stop:?}")))
    }

    /// One instruction, by the trap flag where the engine has no other way.
    pub(crate) fn step(&mut self) -> Result<Stop> {
        self.run(&Points {
            steps: true,
            holds_interrupts: true,
            ..Points::default()
        })
    }

    /// Runs until it fetches what lies at these physical addresses, where something is planted that the guest does not
    /// see; `rip` is how the guest calls that place. Whether it came there.
    pub(crate) fn arrive(
        &mut self,
        rip: u64,
        places: [u64; 2],
        watchdog: &Watchdog,
    ) -> Result<bool> {
        let memory = self.memory().clone();
        let mut old = PLANT;
        for (byte, (planted, place)) in old.iter_mut().zip(PLANT.into_iter().zip(places)) {
            memory.read(place, std::slice::from_mut(byte))?;
            memory.write(place, &[planted])?;
        }
        let world = self.world.clone().context("the machine has no world")?;
        let arrival = Arrival {
            world: &*world,
            kick: &*self.kick,
            has_come: AtomicBool::new(false),
        };
        let debugging = self.vcpu.debugging();
        debugging
            .context("the engine has nothing for debuggers")?
            .set(&Points {
                holds_interrupts: true,
                ..Points::default()
            })?;
        watchdog.watch();
        let stop = self.vcpu.run(&arrival);
        watchdog.rest();
        let stop = stop?;
        for (byte, place) in old.into_iter().zip(places) {
            memory.write(place, &[byte])?;
        }
        if stop != Stop::Kicked || !arrival.has_come.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let mut state = self.vcpu.state()?;
        state.rip = rip;
        self.set_state(state)?;
        Ok(true)
    }

    /// Sets all registers but the model-specific ones, some of which are time.
    pub(crate) fn set_state(&mut self, mut state: CpuState) -> Result<()> {
        state.model_specific.clear();
        if self.hides_busy_task && state.control.efer & LONG == 0 {
            state.segments.tr.rights &= !BUSY;
        }
        Ok(self.vcpu.set_state(&state)?)
    }
}

/// A world in which somebody waits for an instruction that was planted.
struct Arrival<'w> {
    world: &'w dyn Surroundings,
    kick: &'w dyn Kick,
    has_come: AtomicBool,
}

impl World for Arrival<'_> {
    fn port_read(&self, port: Port, data: &mut [u8]) {
        self.world.port_read(port, data);
    }

    fn port_write(&self, port: Port, data: &[u8]) {
        if port.0 == u16::from(ARRIVAL) {
            self.has_come.store(true, Ordering::SeqCst);
            self.kick.kick();
        } else {
            self.world.port_write(port, data);
        }
    }

    fn mmio_read(&self, address: GuestAddress, data: &mut [u8]) {
        self.world.mmio_read(address, data);
    }

    fn mmio_write(&self, address: GuestAddress, data: &[u8]) {
        self.world.mmio_write(address, data);
    }

    fn take_interrupt(&self, vcpu: VcpuId) -> Option<Vector> {
        self.world.take_interrupt(vcpu)
    }
}
