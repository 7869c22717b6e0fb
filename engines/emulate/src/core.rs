//! A virtual CPU at work: registers, what it reaches, and the blocks that it goes through.

use bumpalo::Bump;
use engine_contract::VirtualTime;
use iced_x86::{Instruction, Mnemonic};
use machine_irqchip::Signal;
use x86_paging::Paging;
use x86_semantics::{
    CodeSize, Cpu, Exception, Interruption, Shutdown, Source, deliver, execute, is_canonical, raise,
};
use x86_vector::{Prepared, Unit, Vectors};

use crate::blocks::{Blocks, Link, Op, Ops, Returns, Start};
use crate::breakpoints::{Breakpoints, Cause};
use crate::bus::Bus;
use crate::decode;
use crate::identity::PHYSICAL_BITS;
use crate::mode::Mode;
use crate::ops;
use crate::tlb::Class;

/// Bytes of blocks from which on all of them are given up.
const BLOCKS_MAX: usize = 128 << 20;

/// `RFLAGS`: `TF`, `IF`, `RF`.
const TRAP: u64 = 1 << 8;
const INTERRUPT: u64 = 1 << 9;
const RESUME: u64 = 1 << 16;

/// `DR6.BS`.
const SINGLE_STEP: u64 = 1 << 14;

/// Why the virtual CPU does not go on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A fault while a double fault was delivered.
    Shutdown,
    /// There are too many blocks.
    Full,
    /// A debugger's breakpoint.
    Breakpoint,
    /// By a hypercall: the guest powers the machine off, resets it, or says that it crashed.
    PowerOff,
    Reset,
    Crash,
}

/// Whether it ends a handler of interrupts (SDM vol. 3, 6.7.1).
const fn is_return(mnemonic: Mnemonic) -> bool {
    matches!(mnemonic, Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq)
}

/// A virtual CPU at work.
pub(crate) struct Core<'a> {
    pub(crate) cpu: Cpu,
    pub(crate) vectors: Vectors,
    pub(crate) unit: Unit,
    pub(crate) bus: Bus<'a>,
    pub(crate) blocks: Blocks<'a>,
    pub(crate) returns: Returns<'a>,
    /// Instructions that it may still execute before it looks around.
    pub(crate) budget: i64,
    /// Those that it gave up because it cannot go on.
    unspent: i64,
    /// Bits of an offset, in code whose segments can be looked over.
    pub(crate) address_mask: u64,
    pub(crate) mode: Mode,
    pub(crate) ending: Option<Ending>,
    /// There may be an interrupt to take, as soon as interrupts are taken.
    pub(crate) interrupt_waits: bool,
    /// Interrupts that cannot be masked are held back until `IRET`.
    pub(crate) nmi_masked: bool,
    /// There are no blocks: each instruction is decoded and executed for itself.
    pub(crate) by_one: bool,
    /// Somebody wants something of it.
    signal: &'a Signal,
    /// What the guest's debugger is told of after the next instruction, as `DR6` has it.
    pub(crate) held_back: u64,
    /// The last step loaded the stack segment.
    pub(crate) stack_was_loaded: bool,
    /// Where a debugger's breakpoint does not stop it, the next time.
    pub(crate) passes: Option<u64>,
}

impl<'a> Core<'a> {
    pub(crate) fn new(
        cpu: Cpu,
        vectors: Vectors,
        unit: Unit,
        bus: Bus<'a>,
        arena: &'a Bump,
        signal: &'a Signal,
    ) -> Self {
        let mut core = Self {
            mode: Mode::of(&cpu),
            cpu,
            vectors,
            unit,
            blocks: Blocks::new(arena, bus.watch.changes()),
            returns: Returns::new(),
            bus,
            budget: 0,
            unspent: 0,
            address_mask: 0,
            ending: None,
            interrupt_waits: true,
            nmi_masked: false,
            by_one: false,
            signal,
            held_back: 0,
            stack_was_loaded: false,
            passes: None,
        };
        core.cpu.by_steps = core.bus.interest.is_by_turns();
        core.refresh();
        core
    }

    /// Looks at what an instruction may have changed that others depend on.
    pub(crate) fn refresh(&mut self) {
        self.bus.paging = Paging::new(&self.cpu.control, PHYSICAL_BITS);
        self.bus.tlb.set_class(Class::of(self.cpu.privilege()));
        self.mode = Mode::of(&self.cpu);
        self.bus.set_mode(self.mode);
        self.address_mask = self.mode.address_mask();
        self.bus.breakpoints = Breakpoints::are_on(&self.cpu).then(|| Breakpoints::of(&self.cpu));
        self.bus.linear_mask = self.mode.size.following();
    }

    /// What a remembered jump depends on beside its address.
    #[inline(always)]
    pub(crate) const fn key(&self) -> u64 {
        self.bus.key
    }

    /// The block at an address, for whoever jumps there.
    #[inline(always)]
    pub(crate) fn jump(&mut self, rip: u64) -> Option<Ops<'a>> {
        if self.bus.watch.changes() == self.blocks.seen
            && let Some(block) = self.blocks.jump(rip, self.key())
        {
            return Some(block);
        }
        self.find(rip)
    }

    /// The block that a link leads to, if it may be taken.
    #[inline(always)]
    pub(crate) fn linked(&self, link: &Link<'a>) -> Option<Ops<'a>> {
        let key = link.key.get();
        if key == Link::ALWAYS || key == self.key() && self.is_as_decoded() {
            link.to.get()
        } else {
            None
        }
    }

    /// The block to which a return leads, if it was called from before it.
    #[inline(always)]
    pub(crate) fn returned(&mut self, to: u64) -> Option<Ops<'a>> {
        let key = self.key();
        self.returns.pop(to, key).filter(|_| self.is_as_decoded())
    }

    /// The block at an address; `None` where there is none, and one instruction has to be looked at.
    #[inline(never)]
    fn find(&mut self, rip: u64) -> Option<Ops<'a>> {
        self.see_changes();
        let linear = self.code_at(rip);
        let start = Start {
            rip,
            mode: self.mode,
            limit: self.cpu.segments.cs.limit,
            base: self.bus.interest.base(rip, linear),
        };
        let is_outside = start.mode.size != CodeSize::Quad && rip > start.limit.into();
        // Pages without code of the program are not marked as accessed.
        if is_outside || !is_canonical(linear) {
            return None;
        }
        let (frame, page) = self.bus.code(linear, self.cpu.privilege()).ok()??;
        let block = match self.blocks.find(page, &start) {
            Some(block) => block,
            None => {
                let block = decode::block(self, &start, linear, frame, page)?;
                self.blocks.keep(page, start, block);
                block
            }
        };
        // Blocks of segments elsewhere are looked for each time.
        if self.cpu.segments.cs.base == 0 || self.mode.is_flat {
            self.blocks.remember(rip, self.key(), block);
        }
        if self.blocks.arena.allocated_bytes() > BLOCKS_MAX {
            self.end(Ending::Full);
        }
        Some(block)
    }

    /// It does not go on by itself.
    pub(crate) fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.unspent += std::mem::take(&mut self.budget);
    }

    /// Forgets the blocks of code that was written.
    fn see_changes(&mut self) {
        if self.bus.watch.changes() == self.blocks.seen {
            return;
        }
        let (now, pages) = self.bus.watch.since(self.blocks.seen);
        self.blocks.seen = now;
        self.blocks.drop_pages(pages.as_deref());
        self.bus.forget_jumps();
    }

    /// The linear address of code.
    pub(crate) fn code_at(&self, rip: u64) -> u64 {
        let linear = self.cpu.segments.cs.base.wrapping_add(rip);
        match self.mode.size {
            x86_semantics::CodeSize::Quad => rip,
            _ => linear & 0xffff_ffff,
        }
    }

    /// Executes an operation's instruction as the reference has it; whether the next of the block follows.
    #[inline(never)]
    pub(crate) fn execute(&mut self, op: &'a Op<'a>) -> bool {
        let more = op.more;
        self.cpu.rip = more.rip;
        self.bus.left = self.budget - i64::from(op.count);
        let instruction = &more.instruction;
        match self.execute_one(instruction, more.vector) {
            Ok(()) => {
                let next = more.next;
                let goes_on = self.cpu.rip == next && self.may_go_on();
                if !goes_on {
                    self.budget -= i64::from(op.count);
                }
                goes_on
            }
            Err(exception) => {
                self.bus.met = None;
                self.raise_from(op, exception);
                false
            }
        }
    }

    /// Executes an operation's vector instruction, whose memory operand is known to be at this linear address; whether
    /// it is to be written. `None`: it raised an exception, of which the guest was told. Not a part of operations:
    /// it needs a place on the stack.
    #[inline(never)]
    pub(crate) fn execute_given(&mut self, op: &'a Op<'a>, address: u64) -> Option<bool> {
        let more = op.more;
        let prepared = more.vector?;
        let (vectors, cpu) = (&mut self.vectors, &mut self.cpu);
        match x86_vector::execute_given(prepared, vectors, cpu, address, &more.instruction) {
            Ok(is_written) => Some(is_written),
            Err(exception) => {
                self.cpu.rip = more.rip;
                self.raise_from(op, exception);
                None
            }
        }
    }

    /// Has the guest handle what an operation's instruction raised, whose pointer is set: in another task it may be
    /// elsewhere.
    #[cold]
    pub(crate) fn raise_from(&mut self, op: &Op<'a>, exception: Exception) {
        self.budget -= i64::from(op.count);
        self.raise(exception, op.more.next);
    }

    /// Executes an instruction, which lies at `rip`.
    fn execute_one(
        &mut self,
        instruction: &Instruction,
        vector: Option<&Prepared>,
    ) -> Result<(), Exception> {
        let Some(prepared) = vector else {
            let done = execute(&mut self.cpu, &mut self.bus, instruction);
            if done == Err(Exception::InvalidOpcode) {
                if self.hypercall(instruction) {
                    return Ok(());
                }
                self.bus.shared.unknown.met(instruction);
            }
            done?;
            if is_return(instruction.mnemonic()) {
                self.nmi_masked = false;
            }
            return Ok(());
        };
        let (cpu, bus) = (&mut self.cpu, &mut self.bus);
        x86_vector::execute(prepared, &mut self.vectors, cpu, bus, instruction)?;
        self.cpu.rip = instruction.next_ip() & self.mode.size.following();
        self.cpu.interrupt_shadow = false;
        Ok(())
    }

    /// Whether no code was written that may be this block's.
    #[inline(always)]
    fn is_as_decoded(&self) -> bool {
        self.bus.watch.changes() == self.blocks.seen
    }

    /// Whether no code was written that may be this block's, and nobody wants to look.
    fn may_go_on(&self) -> bool {
        self.is_as_decoded() && !self.signal.is_set() && self.bus.met.is_none()
    }

    /// Has the guest handle what the instruction at `rip` raised.
    pub(crate) fn raise(&mut self, exception: Exception, next: u64) {
        let next = next & self.mode.size.following();
        if raise(&mut self.cpu, &mut self.bus, exception, next) == Err(Shutdown) {
            self.end(Ending::Shutdown);
        }
        self.refresh();
    }

    /// Has it handle an interrupt from outside.
    pub(crate) fn interrupt(&mut self, vector: u8) {
        self.deliver(vector, None, Source::External);
    }

    /// Has it handle an interrupt or an exception of the instruction at `rip`.
    pub(crate) fn deliver(&mut self, vector: u8, error: Option<u32>, source: Source) {
        let what = Interruption {
            vector,
            error,
            source,
            rip: self.cpu.rip,
        };
        self.cpu.halted = false;
        if let Err(exception) = deliver(&mut self.cpu, &mut self.bus, &what) {
            let rip = self.cpu.rip;
            self.raise(exception, rip);
        }
        self.refresh();
    }

    /// Executes the one instruction at `rip`, unless a debugger wants to stop before it.
    pub(crate) fn step(&mut self) {
        let linear = self.code_at(self.cpu.rip);
        let passes = self.passes.take_if(|at| *at == linear).is_some();
        if self.bus.interest.stops_before(linear) && !passes {
            self.end(Ending::Breakpoint);
        } else if self.bus.interest.traces(linear) {
            self.step_told(linear);
        } else {
            self.step_untold();
        }
    }

    /// Executes the one instruction at `rip`, and tells the guest's debugger of what it wants to know.
    pub(crate) fn step_untold(&mut self) {
        self.budget -= 1;
        self.bus.left = self.budget;
        let rip = self.cpu.rip;
        let flags = self.cpu.system_flags;
        // It is for one instruction.
        self.cpu.system_flags &= !RESUME;
        let is_open = flags & RESUME == 0 && !self.stack_was_loaded;
        if is_open && self.meets_breakpoint(rip) {
            return self.raise(Exception::Debug, rip);
        }
        match decode::one(self) {
            Err(exception) => self.raise(exception, rip),
            Ok(instruction) => self.step_through(&instruction, flags & TRAP != 0),
        }
        self.refresh();
    }

    fn step_through(&mut self, instruction: &Instruction, traps: bool) {
        let vector = self.unit.prepare(instruction);
        let by_turns = self.bus.interest.is_by_turns();
        self.cpu.by_steps = traps || by_turns || self.bus.breakpoints.is_some();
        let done = self.execute_one(instruction, vector.as_ref());
        self.cpu.by_steps = by_turns;
        if let Err(exception) = done {
            // What was met on the way happens again, or is the handler's.
            (self.bus.breakpoints, self.bus.met) = (None, None);
            return self.raise(exception, instruction.next_ip());
        }
        let met = self.bus.breakpoints.as_mut().map_or(0, Breakpoints::take);
        // Those into the system that clear the flag are not followed (APM vol. 2, 13.1.4).
        let enters = instruction.mnemonic() == Mnemonic::Syscall;
        let traps = traps && (!enters || self.cpu.system_flags & TRAP != 0);
        let single = if traps { SINGLE_STEP } else { 0 };
        self.held_back |= met | single;
        // Loading the stack segment holds it back.
        self.stack_was_loaded =
            self.cpu.interrupt_shadow && instruction.mnemonic() != Mnemonic::Sti;
        if self.held_back != 0 && !self.stack_was_loaded {
            let status = std::mem::take(&mut self.held_back);
            self.cpu.debug[4] |= status;
            let rip = self.cpu.rip;
            self.raise(Exception::Debug, rip);
        }
    }

    /// Whether the guest's debugger wants to be told before an instruction.
    fn meets_breakpoint(&mut self, rip: u64) -> bool {
        let linear = self.code_at(rip);
        let Some(breakpoints) = &mut self.bus.breakpoints else {
            return false;
        };
        breakpoints.meet(linear, 1, Cause::Execution);
        let met = breakpoints.take();
        self.cpu.debug[4] |= met;
        met != 0
    }

    /// Goes on until the budget is used up, or something is to be looked at; how many instructions were executed.
    pub(crate) fn run(&mut self, budget: i64) -> i64 {
        (self.budget, self.unspent) = (budget, 0);
        self.begin_counting();
        while self.budget > 0 && !self.wants_attention() && !self.signal.is_set() {
            let rip = self.cpu.rip;
            if self.goes_by_one() {
                self.step();
                continue;
            }
            match self.jump(rip) {
                Some(block) => ops::enter(self, block),
                None => self.step(),
            }
            self.refresh();
        }
        let left = self.unspent + self.budget;
        self.bus.left = left;
        self.bus.note_time();
        budget - left
    }

    /// Time that passes with instructions goes on from here.
    fn begin_counting(&mut self) {
        if let Some(counted) = self.bus.shared.counted() {
            self.bus.end = counted.instructions().wrapping_add(self.budget as u64);
        }
    }

    /// Whether each instruction is looked at: something is different after it.
    const fn goes_by_one(&self) -> bool {
        self.by_one
            || self.cpu.interrupt_shadow
            || self.cpu.system_flags & (TRAP | RESUME) != 0
            || Breakpoints::are_on(&self.cpu)
            || self.held_back != 0
            || self.bus.interest.steps
    }

    /// Whether an interrupt may be taken now.
    pub(crate) const fn takes_interrupts(&self) -> bool {
        self.cpu.system_flags & INTERRUPT != 0 && !self.cpu.interrupt_shadow
    }

    const fn wants_attention(&self) -> bool {
        self.cpu.halted
            || self.ending.is_some()
            || self.bus.met.is_some()
            || self.interrupt_waits && self.takes_interrupts()
    }
}
