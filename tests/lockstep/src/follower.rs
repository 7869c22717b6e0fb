//! KVM's machine, which does what the interpreter tells of.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use engine_contract::{Kick, Met, Stop};
use machine_debugger::memory;
use machine_memory::GuestMemory;
use x86_listing::{code_address, executed};
use x86_state::CpuState;

use crate::compare::{are_same, differences, lines};
use crate::deviations::{Deviations, LOST_STEP, MARKED_POINTERS, Step, stack_pointer};
use crate::exceptions::{self, Kind};
use crate::instruction::{self, Here, feature_words, level};
use crate::lockstep::{Counts, Limits, Outcome};
use crate::side::{Side, Way};
use crate::watchdog::Watchdog;
use crate::{ram, undefined};

/// Instructions that a failure shows.
const SHOWN: usize = 48;
const RAX: usize = 0;
const RCX: usize = 1;
/// `rax`, `rbx`, `rcx`, `rdx`, in the order of `CPUID`'s answer.
const ANSWER: [usize; 4] = [0, 3, 1, 2];
const R11: usize = 11;
/// The trap flag, and in the second byte of the flags.
const TRAP_FLAG: u64 = 1 << 8;
const TRAP: u8 = 1;

/// KVM's machine, and what is known of both.
pub(crate) struct Follower {
    /// The interpreter's memory, and what makes it stop.
    memory: GuestMemory,
    kick: Arc<dyn Kick>,
    kvm: Side,
    history: VecDeque<String>,
    watchdog: Watchdog,
    deviations: Deviations,
    limits: Limits,
    counts: Counts,
    /// Where the interpreter is to go on, if not where it is.
    resumed: Option<CpuState>,
    /// Where a repeated instruction began that the interpreter has not ended yet: KVM does it at once.
    repeating: Option<CpuState>,
    /// Where KVM is already: a trap came one instruction late.
    ahead: Option<CpuState>,
    outcome: Option<Result<Outcome>>,
}

impl Follower {
    /// With the interpreter's memory and what makes it stop; KVM's virtual CPU stands where the interpreter's does.
    pub(crate) fn new(emulate: &Side, kvm: Side, limits: Limits) -> Self {
        Self {
            memory: emulate.memory().clone(),
            kick: emulate.kick(),
            watchdog: Watchdog::start(kvm.kick()),
            kvm,
            history: VecDeque::new(),
            deviations: Deviations::of_host(),
            limits,
            counts: Counts::default(),
            resumed: None,
            repeating: None,
            ahead: None,
            outcome: None,
        }
    }

    /// Where the interpreter is to go on, if not where it is.
    pub(crate) const fn take_resumed(&mut self) -> Option<CpuState> {
        self.resumed.take()
    }

    /// How it ended, if it has.
    pub(crate) const fn take_outcome(&mut self) -> Option<Result<Outcome>> {
        self.outcome.take()
    }

    /// What was seen.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// The interpreter has executed an instruction.
    pub(crate) fn follow(&mut self, before: &CpuState, after: &CpuState, code: &[u8]) {
        if self.resumed.is_some() {
            self.outcome = Some(Err(anyhow!("the interpreter did not stop at once")));
        }
        if self.outcome.is_some() {
            return;
        }
        let outcome = self.step(before, after, code);
        self.outcome = outcome.transpose();
        if self.outcome.is_some() || self.resumed.is_some() {
            self.kick.kick();
        }
    }

    /// The same instruction by KVM.
    fn step(
        &mut self,
        before: &CpuState,
        after: &CpuState,
        code: &[u8],
    ) -> Result<Option<Outcome>> {
        let here = Here::decode(before, code);
        let began = self.repeating.take();
        let before = began.as_ref().unwrap_or(before);
        if here.repeats() && after.rip == before.rip {
            self.repeating = Some(before.clone());
            return Ok(None);
        }
        self.counts.steps += 1;
        self.note(before, after, &here);
        let way = self.way(&here, before, after);
        let mut theirs = match self.ahead.take() {
            Some(state) => state,
            None => {
                if let Err(why) = self.step_kvm(way, &here, before, after)? {
                    return Ok(Some(Outcome::Failed(
                        self.report(&format!("{way:?}: {why}")),
                    )));
                }
                self.kvm.vcpu.state()?
            }
        };
        if theirs.rip != after.rip && self.may_be_ahead(&here, before) {
            self.ahead = Some(theirs);
            return Ok(None);
        }
        if self.deviations.unmark((before, after), self.kvm.memory()) {
            *self.counts.deviations.entry(MARKED_POINTERS).or_default() += 1;
        }
        if let Some(address) = here.says_in_use(before) {
            self.take_in_use(after, address);
        }
        let mut mine = after.clone();
        if way != Way::Trap || !are_same(&mine, &theirs) {
            self.excuse(&here, before, &mut mine, &mut theirs)?;
        }
        if self.kvm.hides_busy_task && here.may_change_task() {
            self.kvm.set_state(theirs.clone())?;
        }
        if !are_same(&mine, &theirs) {
            let different = lines(&differences(&mine, &theirs));
            return Ok(Some(Outcome::Failed(self.report(&different))));
        }
        self.after_step(&mine)
    }

    /// Whether the trap can come one instruction late: after the stack segment (SDM vol. 3, 6.8.3), and where KVM writes
    /// to a device for its guest and forgets to stop.
    fn may_be_ahead(&self, here: &Here, before: &CpuState) -> bool {
        here.loads_stack()
            || self.deviations.waits(here)
            || exceptions::kind(here, before, &self.memory) == Some(Kind::Device)
    }

    /// What ends the run, now that both did the same.
    fn after_step(&mut self, state: &CpuState) -> Result<Option<Outcome>> {
        if self.kvm.ending().is_some() {
            let ending = self.kvm.ending().unwrap_or_default();
            return Ok(Some(Outcome::Ended(ending)));
        }
        if state.events.halted {
            return Ok(Some(Outcome::Halted));
        }
        if self.counts.steps.is_multiple_of(self.limits.every) {
            println!("  {} instructions so far", self.counts.steps);
            if let Some(failed) = self.compare_memory(state)? {
                return Ok(Some(failed));
            }
        }
        Ok(self
            .limits
            .are_reached(self.counts.steps)
            .then_some(Outcome::Enough))
    }

    pub(crate) fn compare_memory(&mut self, state: &CpuState) -> Result<Option<Outcome>> {
        self.counts.memory_compared += 1;
        let clock = exceptions::clock_page(state);
        let different = ram::differences(&self.memory, self.kvm.memory(), clock)?;
        if different.is_empty() {
            return Ok(None);
        }
        let text = format!("memory differs:\n{}", different.join("\n"));
        Ok(Some(Outcome::Failed(self.report(&text))))
    }

    /// How KVM is brought where the interpreter is now.
    fn way(&self, here: &Here, before: &CpuState, after: &CpuState) -> Way {
        let many = here.repeats() && before.general[RCX].wrapping_sub(after.general[RCX]) > 1;
        let goes_far = many || here.went_away(&self.memory, before, after);
        if goes_far && instruction::has_ports(after) {
            Way::Arrival(code_address(after))
        } else {
            Way::Trap
        }
    }

    /// Why KVM did not come where it should, if it did not.
    fn step_kvm(
        &mut self,
        way: Way,
        here: &Here,
        before: &CpuState,
        after: &CpuState,
    ) -> Result<Result<(), String>> {
        if let Way::Arrival(address) = way {
            self.counts.arrivals += 1;
            let place = |address| memory::translate(&self.memory, after, address);
            let places = (place(address), place(address.wrapping_add(1)));
            let (Some(first), Some(second)) = places else {
                return Ok(Err(format!("nothing can be planted at {address:#x}")));
            };
            let places = [first.physical, second.physical];
            let has_come = self.kvm.arrive(after.rip, places, &self.watchdog)?;
            return Ok(if has_come {
                Ok(())
            } else {
                Err(format!(
                    "KVM does not come there:\n{}",
                    lines(&differences(after, &self.kvm.vcpu.state()?))
                ))
            });
        }
        let is_lost = self.deviations.loses_step(here);
        if is_lost {
            *self.counts.deviations.entry(LOST_STEP).or_default() += 1;
            self.change_returned_flags(|flags| flags | TRAP_FLAG)?;
        }
        loop {
            self.watchdog.watch();
            let stop = self.kvm.step();
            self.watchdog.rest();
            match stop? {
                Stop::Breakpoint(Met::Step) => {}
                Stop::Kicked if self.kvm.ending().is_some() => {}
                stop => return Ok(Err(format!("KVM stops: {stop:?}"))),
            }
            if is_lost {
                self.change_returned_flags(|flags| flags & !TRAP_FLAG)?;
            }
            if !here.repeats() || self.kvm.vcpu.state()?.rip != before.rip {
                break;
            }
        }
        if here.stores_flags() && level(before) == level(after) {
            self.hide_trap_flag(after)?;
        }
        Ok(Ok(()))
    }

    /// The flags to which KVM's guest returns, or has returned, by `SYSRET`.
    fn change_returned_flags(&mut self, change: impl Fn(u64) -> u64) -> Result<()> {
        let mut state = self.kvm.vcpu.state()?;
        state.general[R11] = change(state.general[R11]);
        self.kvm.set_state(state)
    }

    /// The flags that KVM's guest has just stored have the flag by which it was stepped.
    fn hide_trap_flag(&self, after: &CpuState) -> Result<()> {
        let address = stack_pointer(after).wrapping_add(1);
        let mut byte = [0];
        memory::read(self.kvm.memory(), after, address, &mut byte);
        let [flags] = byte;
        if !memory::write(self.kvm.memory(), after, address, &[flags & !TRAP]) {
            bail!("the stored flags at {address:#x} are not to be had");
        }
        Ok(())
    }

    /// Makes equal what may differ after this instruction, and counts it.
    fn excuse(
        &mut self,
        here: &Here,
        before: &CpuState,
        mine: &mut CpuState,
        theirs: &mut CpuState,
    ) -> Result<()> {
        if undefined::take(here, before, mine, theirs) {
            *self.counts.exceptions.entry(Kind::Undefined).or_default() += 1;
            self.resumed = Some(mine.clone());
        }
        let kind = exceptions::kind(here, before, &self.memory);
        if let Some(kind) = kind.filter(|_| !are_same(mine, theirs)) {
            *self.counts.exceptions.entry(kind).or_default() += 1;
            if kind == Kind::Processor {
                answer(before, mine, theirs);
                self.kvm.set_state(theirs.clone())?;
            }
            mine.general = theirs.general;
            mine.rflags = theirs.rflags;
            self.resumed = Some(mine.clone());
        }
        let found = self.deviations.excuse(&mut Step {
            mine,
            theirs,
            memories: (&self.memory, self.kvm.memory()),
        });
        for name in &found {
            *self.counts.deviations.entry(name).or_default() += 1;
        }
        if !found.is_empty() {
            self.kvm.set_state(theirs.clone())?;
        }
        Ok(())
    }

    /// Gives the interpreter's image what KVM's says of states in use, and counts where they differ.
    fn take_in_use(&mut self, state: &CpuState, address: u64) {
        let (mut mine, mut theirs) = ([0; 8], [0; 8]);
        memory::read(&self.memory, state, address, &mut mine);
        memory::read(self.kvm.memory(), state, address, &mut theirs);
        if mine != theirs && memory::write(&self.memory, state, address, &theirs) {
            *self.counts.exceptions.entry(Kind::InUse).or_default() += 1;
        }
    }

    fn note(&mut self, before: &CpuState, after: &CpuState, here: &Here) {
        if self.history.len() == SHOWN {
            self.history.pop_front();
        }
        self.history.push_back(executed(before, after, &here.bytes));
    }

    fn report(&self, what: &str) -> String {
        let (steps, history) = (self.counts.steps, self.history());
        let memory = ram::differences(&self.memory, self.kvm.memory(), None);
        let what = format!("{what}\nmemory: {memory:?}");
        format!("step {steps}: {what}\nthe last instructions:\n{history}")
    }

    pub(crate) fn history(&self) -> String {
        let lines: Vec<&str> = self.history.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}

/// What `CPUID` says to both: the interpreter's answer, of features those that both have.
fn answer(before: &CpuState, mine: &mut CpuState, theirs: &mut CpuState) {
    let (leaf, index) = (before.general[RAX] as u32, before.general[RCX] as u32);
    for (register, is_features) in ANSWER.into_iter().zip(feature_words(leaf, index)) {
        if is_features {
            mine.general[register] &= theirs.general[register];
        }
    }
    theirs.general = mine.general;
}
