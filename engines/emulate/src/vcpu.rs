//! A virtual CPU as the contract has it: it runs in slices, and looks around between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bumpalo::Bump;
use engine_contract::{Debugging, EngineError, Kick, Met, Stop, Tracing, Vcpu, VcpuId, World};
use machine_bus::Nanos;
use machine_irqchip::{Event, Signal};
use machine_memory::GuestMemory;
use x86_semantics::Source;
use x86_state::CpuState;
use x86_vector::Unit;

use crate::bus::Bus;
use crate::core::{Core, Ending};
use crate::interest::Interest;
use crate::shared::Shared;
use crate::state::{Waiting, Whole};
use crate::xen::Xen;

/// Instructions between two looks around.
const SLICE: i64 = 20_000;
/// Vector of a non-maskable interrupt.
const NON_MASKABLE: u8 = 2;

/// The virtual CPU.
pub(crate) struct EmulatedVcpu {
    id: VcpuId,
    memory: GuestMemory,
    shared: Arc<Shared>,
    whole: Whole,
    pub(crate) interest: Interest,
    kick: Arc<VcpuKick>,
    limit: Option<Limit>,
}

/// How far a virtual CPU runs that has its machine for itself, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Instructions that are left; less than zero where a block went beyond.
    pub(crate) left: i64,
    /// Without blocks.
    pub(crate) by_one: bool,
}

impl std::fmt::Debug for EmulatedVcpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("EmulatedVcpu").field(&self.id).finish()
    }
}

/// Makes it return.
#[derive(Debug)]
struct VcpuKick {
    is_kicked: AtomicBool,
    signal: Arc<Signal>,
}

impl Kick for VcpuKick {
    fn kick(&self) {
        self.is_kicked.store(true, Ordering::SeqCst);
        self.signal.set();
    }
}

impl EmulatedVcpu {
    pub(crate) fn new(
        id: VcpuId,
        memory: GuestMemory,
        shared: Arc<Shared>,
        signal: Arc<Signal>,
    ) -> Self {
        let is_kicked = AtomicBool::new(false);
        Self {
            id,
            memory,
            shared,
            whole: Whole::reset(id.0 == 0),
            interest: Interest::default(),
            kick: Arc::new(VcpuKick { is_kicked, signal }),
            limit: None,
        }
    }

    /// Runs within a limit: until it is used up or the virtual CPU waits for something; what is left of it.
    pub(crate) fn run_within(
        &mut self,
        world: &dyn World,
        limit: Limit,
    ) -> Result<(Stop, i64), EngineError> {
        self.limit = Some(limit);
        let stop = self.run(world);
        let left = self.limit.take().map_or(0, |limit| limit.left);
        Ok((stop?, left))
    }

    /// Runs with blocks that are given up afterwards; `None`: goes on with others.
    fn run_on(&mut self, world: &dyn World) -> Result<Option<Stop>, EngineError> {
        let arena = Bump::new();
        let bus = Bus::new(
            &self.memory,
            world,
            &self.shared,
            self.id,
            self.whole.registers,
        );
        let no_memory = || EngineError::new("running", "the machine has no memory");
        let mut bus = bus.ok_or_else(no_memory)?;
        bus.interest = &self.interest;
        let unit = Unit::new(self.shared.identity.vectors());
        let unit = unit.map_err(|error| EngineError::new("vector instructions", error))?;
        let (cpu, vectors) = (self.whole.cpu.clone(), self.whole.vectors.clone());
        let mut running = Running {
            core: Core::new(cpu, vectors, unit, bus, &arena, &self.kick.signal),
            waiting: self.whole.waiting,
            timer: None,
            left: self.limit.map_or(SLICE, |limit| limit.left),
            limited: self.limit.is_some(),
            id: self.id,
            kick: &self.kick,
            shared: &self.shared,
        };
        running.begin(&self.whole.waiting);
        running.core.by_one = self.limit.is_some_and(|limit| limit.by_one);
        let stop = running.run();
        if let Some(limit) = &mut self.limit {
            limit.left = running.left;
        }
        let passes = running.core.passes.is_some();
        self.whole = Whole {
            cpu: running.core.cpu,
            vectors: running.core.vectors,
            registers: running.core.bus.registers,
            waiting: Waiting {
                nmi_masked: running.core.nmi_masked,
                held_back: running.core.held_back,
                stack_was_loaded: running.core.stack_was_loaded,
                ..running.waiting
            },
        };
        self.interest.passes = passes;
        Ok(stop)
    }
}

/// A virtual CPU while it runs.
struct Running<'a> {
    core: Core<'a>,
    waiting: Waiting,
    /// When the timer wants to be looked at.
    timer: Option<Nanos>,
    /// Instructions of its turn that are left, however often it looked around meanwhile.
    left: i64,
    /// It ends with its turn.
    limited: bool,
    id: VcpuId,
    kick: &'a VcpuKick,
    shared: &'a Shared,
}

impl Running<'_> {
    /// Goes on where the last run ended.
    fn begin(&mut self, waiting: &Waiting) {
        let core = &mut self.core;
        core.nmi_masked = waiting.nmi_masked;
        core.held_back = waiting.held_back;
        core.stack_was_loaded = waiting.stack_was_loaded;
        let here = core.code_at(core.cpu.rip);
        core.passes = core.bus.interest.passes.then_some(here);
    }

    /// `None`: it goes on with other blocks.
    fn run(&mut self) -> Option<Stop> {
        self.core.bus.see_marks();
        // Whatever came before.
        self.kick.signal.set();
        loop {
            if self.kick.signal.take() {
                if self.kick.is_kicked.swap(false, Ordering::SeqCst) {
                    return Some(Stop::Kicked);
                }
                self.take_events();
                self.core.interrupt_waits = true;
                self.look_at_timer();
            }
            let came = self.take_what_began() | self.take_interrupts();
            if came && let Some(met) = self.met() {
                return Some(Stop::Breakpoint(met));
            }
            if self.waiting.startup || self.core.cpu.halted {
                if self.limited || !self.sleep() {
                    return Some(Stop::Halted);
                }
                continue;
            }
            let used = self.core.run(self.budget());
            self.left -= used;
            self.look_at_time();
            match self.core.ending.take() {
                Some(Ending::Shutdown) => return Some(Stop::TripleFault),
                Some(Ending::Full) => return None,
                Some(Ending::PowerOff) => return Some(Stop::Shutdown),
                Some(Ending::Reset) => return Some(Stop::Reset),
                Some(Ending::Crash) => return Some(Stop::Crash),
                Some(Ending::Breakpoint) => return Some(Stop::Breakpoint(Met::Breakpoint)),
                None => {}
            }
            if used > 0
                && let Some(met) = self.met()
            {
                return Some(Stop::Breakpoint(met));
            }
            if self.left <= 0 {
                if self.limited {
                    return Some(Stop::Kicked);
                }
                self.left = SLICE;
                self.between_slices();
            }
        }
    }

    /// What a debugger is told of, now that something has happened.
    fn met(&mut self) -> Option<Met> {
        let watchpoint = self.core.bus.met.take().map(Met::Watchpoint);
        watchpoint.or(self.core.bus.interest.steps.then_some(Met::Step))
    }

    /// Instructions until it looks around: to the end of its turn or, where time passes with them, to the next moment that
    /// it or somebody outside waits for.
    fn budget(&self) -> i64 {
        if self.core.bus.interest.steps {
            return 1;
        }
        let next = self.shared.counted().and_then(|counted| {
            let next = self.timer.into_iter().chain(counted.next()).min()?;
            Some(counted.until(next))
        });
        next.map_or(self.left, |next| next.min(self.left))
    }

    /// Whether moments have come that were waited for, where time passes with instructions.
    fn look_at_time(&mut self) {
        if let Some(counted) = self.shared.counted() {
            counted.run_due();
            self.look_whether_timer_is_due();
        }
    }

    fn look_whether_timer_is_due(&mut self) {
        if self.timer.is_some_and(|timer| timer <= self.shared.now()) {
            self.core.interrupt_waits = true;
            self.timer = None;
        }
    }

    /// Looks at the time, and lets others have their turn.
    fn between_slices(&mut self) {
        self.look_whether_timer_is_due();
        self.shared.pass_turn(self.id);
        self.core.bus.see_marks();
    }

    fn look_at_timer(&mut self) {
        let now = self.shared.now();
        self.timer = self.shared.controllers.next_event(self.id, now);
    }

    /// Sleeps until something comes, or its timer wants to be looked at; `false` when nothing can come.
    fn sleep(&mut self) -> bool {
        self.look_at_timer();
        let now = self.shared.now();
        let left = |timer: Nanos| Duration::from_nanos(timer.0.saturating_sub(now.0));
        let longest = self.timer.map(left);
        let woken = self.shared.sleep(self.id, &self.kick.signal, longest);
        self.core.bus.see_marks();
        self.core.interrupt_waits = true;
        woken
    }

    /// Delivers what had begun elsewhere; whether there was something.
    fn take_what_began(&mut self) -> bool {
        if let Some(exception) = self.waiting.exception.take() {
            let (vector, error) = (exception.vector, exception.error);
            self.core.deliver(vector, error, Source::Exception);
        } else if let Some(vector) = self.waiting.interrupt.take() {
            self.core.interrupt(vector);
        } else {
            return false;
        }
        true
    }

    /// Takes an interrupt, if there is one and it may; whether it did.
    fn take_interrupts(&mut self) -> bool {
        if self.core.bus.interest.holds_interrupts && !self.core.cpu.halted {
            // The next run looks again.
            self.core.interrupt_waits = false;
            return false;
        }
        let nmi = self.waiting.nmi && !self.core.nmi_masked;
        let nmi = nmi && !self.core.cpu.interrupt_shadow;
        if nmi {
            self.waiting.nmi = false;
            self.core.nmi_masked = true;
            self.core.interrupt(NON_MASKABLE);
        }
        if !self.core.interrupt_waits || !self.core.takes_interrupts() {
            return nmi;
        }
        self.core.interrupt_waits = false;
        let vector = self.shared.controllers.take(self.id, self.shared.now());
        if let Some(vector) = vector {
            // There may be another behind it.
            self.core.interrupt_waits = true;
            self.core.interrupt(vector);
        }
        self.look_at_timer();
        nmi || vector.is_some()
    }

    /// Takes what came that is no interrupt.
    fn take_events(&mut self) {
        while let Some(event) = self.shared.controllers.take_event(self.id) {
            match event {
                Event::NonMaskable => self.waiting.nmi = true,
                Event::Init => self.reset(),
                Event::StartUp(page) if self.waiting.startup => self.start(page),
                Event::StartUp(_) => {}
            }
        }
    }

    /// What INIT does: some registers stay (SDM vol. 3, table 9-1).
    fn reset(&mut self) {
        let is_first = self.id.0 == 0;
        let mut fresh = Whole::reset(is_first);
        let old = &self.core.cpu;
        fresh.cpu.model_specific = old.model_specific;
        fresh.cpu.control.xcr0 = old.control.xcr0;
        self.core.cpu = fresh.cpu;
        self.core.nmi_masked = false;
        self.waiting = Waiting {
            startup: !is_first,
            ..Waiting::default()
        };
        self.core.bus.begin_anew();
        self.core.refresh();
    }

    /// Begins at a page below 1 MiB, in real mode.
    fn start(&mut self, page: u8) {
        self.waiting.startup = false;
        let cs = &mut self.core.cpu.segments.cs;
        cs.selector = u16::from(page) << 8;
        cs.base = u64::from(page) << 12;
        self.core.cpu.rip = 0;
        self.core.bus.begin_anew();
        self.core.refresh();
    }
}

impl Vcpu for EmulatedVcpu {
    /// All is ready since it was created.
    fn prepare(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn run(&mut self, world: &dyn World) -> Result<Stop, EngineError> {
        let shared = Arc::clone(&self.shared);
        shared.take_turn(self.id);
        let stop = loop {
            match self.run_on(world) {
                Ok(None) => {}
                Ok(Some(stop)) => break Ok(stop),
                Err(error) => break Err(error),
            }
        };
        shared.give_turn(self.id);
        stop
    }

    fn state(&mut self) -> Result<CpuState, EngineError> {
        Ok(self.whole.show())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), EngineError> {
        self.whole.take(state);
        Ok(())
    }

    /// The first tells what all of them met.
    fn exits(&self) -> Vec<(String, u64)> {
        if self.id.0 == 0 {
            let calls = self.shared.xen.iter().flat_map(Xen::counts);
            self.shared
                .unknown
                .counts()
                .into_iter()
                .chain(calls)
                .collect()
        } else {
            Vec::new()
        }
    }

    fn kick(&self) -> Arc<dyn Kick> {
        Arc::clone(&self.kick) as _
    }

    fn debugging(&mut self) -> Option<&mut dyn Debugging> {
        Some(self)
    }

    fn tracing(&mut self) -> Option<&mut dyn Tracing> {
        Some(self)
    }
}
