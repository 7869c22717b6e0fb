//! Who runs where.
//!
//! All virtual CPUs take threads from one queue, ordered by *virtual run time*: the time a thread
//! has run, weighted by its nice value, as Linux' fair scheduler counts it. Threads of the
//! real-time policies come before them, by priority. A thread runs until it waits, or until
//! its slice is over and another is ready. A virtual CPU without a thread runs its idle task, which
//! sleeps until an event: a device, a signal, the end of a wait.
//!
//! Everything here happens under the kernel's lock; the spin of [`Mutex`] is never contended.

mod changes;
mod scheduling;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use guest_abi::layout::VCPUS_MAX;
use guest_hal::sync::Mutex;
use guest_hal::task::{self, Task};
use guest_hal::{Nanos, Ticket, platform, time};

use crate::thread::Thread;
use crate::wait::WaitQueue;
use crate::{signal, thread};
pub use changes::{
    inherit, interrupt_others, restart_sequence, set_affinity, set_nice, set_policy,
};
pub(crate) use changes::{set_inherited, urgency};
use scheduling::State;
pub use scheduling::{PRIORITY_MAX, Policy, Said, Scheduling};

/// How long a thread runs while another is ready.
pub const SLICE: Nanos = Nanos(3_000_000);
/// How far a thread that wakes may be ahead of those that run: they are interrupted for it.
const WAKE_GAIN: u64 = 1_000_000;

/// What the scheduler knows of a virtual CPU.
#[derive(Debug, Default)]
struct VcpuState {
    running: Option<Arc<Thread>>,
    idle: Option<Arc<Task>>,
    is_idle: bool,
    /// Another thread is to run here, if one is ready.
    reschedule: bool,
    /// How often a thread began to run here or came to [`take_turns`].
    turns: u64,
    /// When the timer goes off, as far as it was set.
    armed: Option<Nanos>,
}

#[derive(Debug)]
struct Scheduler {
    /// By rank, then in the order in which they became ready.
    ready: BTreeMap<(u64, u64), Arc<Thread>>,
    arrivals: u64,
    /// Threads that wait with a deadline.
    deadlines: BTreeSet<(Nanos, u32)>,
    sleepers: BTreeMap<u32, Arc<Thread>>,
    /// No thread that becomes ready starts with less.
    virtual_time: u64,
    vcpus: [VcpuState; VCPUS_MAX],
}

/// A bit for each virtual CPU whose thread has to come to [`take_turns`] before it goes back to
/// the program.
static WORK: AtomicU64 = AtomicU64::new(0);
/// Completions of devices that have been noted.
static DEVICES_SEEN: AtomicU32 = AtomicU32::new(0);
/// Whether completions of devices interrupt the program.
static DEVICE_INTERRUPTS: AtomicBool = AtomicBool::new(false);

fn ask_for_turn(vcpu: usize) {
    WORK.fetch_or(1 << vcpu, Ordering::Relaxed);
}

static SCHEDULER: Mutex<Scheduler> = Mutex::new(Scheduler {
    ready: BTreeMap::new(),
    arrivals: 0,
    deadlines: BTreeSet::new(),
    sleepers: BTreeMap::new(),
    virtual_time: 0,
    vcpus: [const {
        VcpuState {
            running: None,
            idle: None,
            is_idle: false,
            reschedule: false,
            turns: 0,
            armed: None,
        }
    }; VCPUS_MAX],
});

/// Told whenever a device completed something.
static DEVICES: WaitQueue = WaitQueue::new();
/// Told whenever a lock was given back for which somebody waits.
static LOCKS: WaitQueue = WaitQueue::new();

/// The queue that is told of every completion of a device.
#[must_use]
pub const fn devices() -> &'static WaitQueue {
    &DEVICES
}

impl Scheduler {
    fn vcpu(&mut self, number: usize) -> &mut VcpuState {
        self.vcpus
            .get_mut(number)
            .expect("a virtual CPU's number is below the most there can be")
    }

    fn enqueue(&mut self, thread: &Arc<Thread>, scheduling: &mut Scheduling) {
        scheduling.state = State::Ready;
        self.arrivals += 1;
        let key = (scheduling.rank(), self.arrivals);
        self.ready.insert(key, Arc::clone(thread));
    }

    /// Takes the first thread that may run on a virtual CPU.
    fn pick(&mut self, vcpu: usize) -> Option<Arc<Thread>> {
        let may = |thread: &Arc<Thread>| thread.scheduling.lock().affinity & 1 << vcpu != 0;
        let key = *self.ready.iter().find(|(_, thread)| may(thread))?.0;
        self.ready.remove(&key)
    }

    fn has_ready(&self, vcpu: usize) -> bool {
        let may = |thread: &Arc<Thread>| thread.scheduling.lock().affinity & 1 << vcpu != 0;
        self.ready.values().any(may)
    }

    /// The virtual CPU that is to run a thread that became ready: one that idles, or one that
    /// runs something less urgent.
    fn place(&mut self, scheduling: &Scheduling) -> Option<usize> {
        let here = platform().vcpu();
        let count = vcpus();
        let may = |vcpu: &usize| scheduling.affinity & 1 << *vcpu != 0;
        if self.vcpu(here).running.is_none() && self.ready.len() == 1 && may(&here) {
            return Some(here);
        }
        let last = Some(scheduling.last_vcpu).filter(|vcpu| *vcpu < count);
        let mut order = last.into_iter().chain(0..count).filter(may);
        if let Some(idle) = order.find(|vcpu| self.vcpu(*vcpu).is_idle) {
            return Some(idle);
        }
        let now = time::monotonic();
        let mut order = core::iter::once(here).chain(0..count).filter(may);
        order.find(|vcpu| {
            let Some(running) = self.vcpu(*vcpu).running.clone() else {
                return false;
            };
            let mut other = running.scheduling.lock();
            if !other.is_real_time() {
                other.account(now);
            }
            scheduling.rank().saturating_add(WAKE_GAIN) < other.rank()
                || scheduling.is_real_time() && scheduling.rank() < other.rank()
        })
    }
}

/// Number of virtual CPUs.
#[must_use]
pub fn vcpus() -> usize {
    (guest_hal::boot::info().vcpus as usize).clamp(1, VCPUS_MAX)
}

/// The thread that runs on a virtual CPU.
pub(crate) fn running(vcpu: usize) -> Option<Arc<Thread>> {
    SCHEDULER.lock().vcpu(vcpu).running.clone()
}

/// Makes a new thread ready.
pub fn start(thread: &Arc<Thread>) {
    make_ready(thread);
}

fn make_ready(thread: &Arc<Thread>) {
    let mut scheduler = SCHEDULER.lock();
    let mut scheduling = thread.scheduling.lock();
    // Who slept long does not make up for it.
    let floor = scheduler.virtual_time.saturating_sub(SLICE.0);
    scheduling.virtual_time = scheduling.virtual_time.max(floor);
    scheduler.enqueue(thread, &mut scheduling);
    scheduler.announce(&scheduling);
}

/// How many events a thread had; for [`park`].
pub(crate) fn events_of(thread: &Thread) -> u64 {
    thread.scheduling.lock().events
}

/// Counts an event of a thread and wakes it if it waits.
pub(crate) fn notify(thread: &Thread) {
    let mut scheduling = thread.scheduling.lock();
    scheduling.events += 1;
    if scheduling.state != State::Waiting {
        return;
    }
    scheduling.state = State::Absent;
    let deadline = scheduling.deadline.take();
    drop(scheduling);
    let mut scheduler = SCHEDULER.lock();
    if let Some(deadline) = deadline {
        scheduler.deadlines.remove(&(deadline, thread.tid));
    }
    let thread = scheduler.sleepers.remove(&thread.tid);
    drop(scheduler);
    if let Some(thread) = thread {
        make_ready(&thread);
    }
}

/// Has a thread that runs come to [`take_turns`], if on another virtual CPU by an interrupt.
pub(crate) fn interrupt(thread: &Thread) {
    let state = thread.scheduling.lock().state;
    if let State::Running(vcpu) = state {
        ask_for_turn(vcpu);
        if vcpu != platform().vcpu() {
            platform().interrupt(vcpu);
        }
    }
}

/// Lets others run until the caller, `thread`, has more events than `seen`, or `deadline` has
/// passed.
pub(crate) fn park(thread: &Arc<Thread>, seen: u64, deadline: Option<Nanos>) {
    let mut scheduler = SCHEDULER.lock();
    let mut scheduling = thread.scheduling.lock();
    if scheduling.events != seen {
        return;
    }
    scheduling.state = State::Waiting;
    scheduling.deadline = deadline;
    scheduling.switches.0 += 1;
    drop(scheduling);
    if let Some(deadline) = deadline {
        scheduler.deadlines.insert((deadline, thread.tid));
    }
    scheduler.sleepers.insert(thread.tid, Arc::clone(thread));
    drop(scheduler);
    run_another();
}

/// Gives the processor to whoever is ready, if anybody is, and comes back in turn.
pub fn yield_now() {
    let thread = thread::current();
    let mut scheduler = SCHEDULER.lock();
    if !scheduler.has_ready(platform().vcpu()) {
        return;
    }
    let mut scheduling = thread.scheduling.lock();
    // Behind everybody who is ready now.
    let last = scheduler.ready.keys().next_back().map_or(0, |key| key.0);
    if !scheduling.is_real_time() {
        let own = last.saturating_sub(u64::from(PRIORITY_MAX) + 1);
        scheduling.virtual_time = scheduling.virtual_time.max(own);
    }
    scheduling.switches.1 += 1;
    scheduler.enqueue(&thread, &mut scheduling);
    drop(scheduling);
    drop(scheduler);
    run_another();
}

/// Ends the calling thread, of which nobody but the scheduler knows any more.
pub fn leave() -> ! {
    let thread = thread::current();
    thread.scheduling.lock().state = State::Absent;
    let (voluntary, forced) = thread.switches();
    let mut ended = thread.process.ended_switches.lock();
    *ended = (ended.0 + voluntary, ended.1 + forced);
    drop(ended);
    drop(thread);
    run_another();
    unreachable!("nobody wakes a thread that has ended")
}

/// Runs another task than the caller's, whose state says what becomes of it.
fn run_another() {
    let vcpu = platform().vcpu();
    let mut scheduler = SCHEDULER.lock();
    let next = scheduler.pick(vcpu);
    let now = time::monotonic();
    if let Some(before) = scheduler.vcpu(vcpu).running.take() {
        stop_running(&mut scheduler, &before, now);
    }
    let task = match next {
        Some(next) => {
            let task = next.task();
            begin_running(&mut scheduler, next, vcpu, now);
            task
        }
        None => {
            let idle = scheduler.vcpu(vcpu).idle.clone();
            idle.expect("a virtual CPU has an idle task before it runs a thread")
        }
    };
    drop(scheduler);
    task::switch_to(task);
}

fn stop_running(scheduler: &mut Scheduler, thread: &Arc<Thread>, now: Nanos) {
    let mut scheduling = thread.scheduling.lock();
    let ran = scheduling.account(now);
    thread.process.add_processor_time(ran);
    if !scheduling.is_real_time() {
        let least = scheduling.virtual_time.min(scheduler.least_ready());
        scheduler.virtual_time = scheduler.virtual_time.max(least);
    }
}

impl Scheduler {
    fn least_ready(&self) -> u64 {
        let first = self.ready.keys().next();
        first.map_or(u64::MAX, |key| {
            key.0.saturating_sub(u64::from(PRIORITY_MAX) + 1)
        })
    }
}

fn begin_running(scheduler: &mut Scheduler, thread: Arc<Thread>, vcpu: usize, now: Nanos) {
    let mut scheduling = thread.scheduling.lock();
    scheduling.state = State::Running(vcpu);
    scheduling.last_vcpu = vcpu;
    scheduling.since = now;
    scheduling.slice_end = now.saturating_add(SLICE);
    drop(scheduling);
    thread.was_away.store(true, Ordering::Relaxed);
    let state = scheduler.vcpu(vcpu);
    state.running = Some(thread);
    state.reschedule = false;
    state.turns += 1;
    ask_for_turn(vcpu);
}

/// How long a thread has run.
#[must_use]
pub fn ran(thread: &Thread) -> Nanos {
    let scheduling = thread.scheduling.lock();
    let running = match scheduling.state {
        State::Running(_) => time::monotonic().saturating_sub(scheduling.since),
        _ => Nanos(0),
    };
    scheduling.ran.saturating_add(running)
}

/// How long the threads of all virtual CPUs have been running since their time was counted.
#[must_use]
pub fn uncounted() -> Nanos {
    let now = time::monotonic();
    let scheduler = SCHEDULER.lock();
    let running = scheduler
        .vcpus
        .iter()
        .filter_map(|vcpu| vcpu.running.as_ref());
    let times = running.map(|thread| now.saturating_sub(thread.scheduling.lock().since));
    times.fold(Nanos(0), Nanos::saturating_add)
}

/// Notes what happened outside: completions of devices, signals, timers, ends of waits.
pub fn collect() {
    let devices = platform().device_events();
    if DEVICES_SEEN.swap(devices, Ordering::Relaxed) != devices {
        DEVICES.notify();
    }
    crate::net::network::service();
    signal::collect();
    wake_expired();
}

fn wake_expired() {
    let now = time::monotonic();
    loop {
        let mut scheduler = SCHEDULER.lock();
        let due = scheduler.deadlines.first().copied();
        let Some((deadline, tid)) = due.filter(|(deadline, _)| *deadline <= now) else {
            return;
        };
        scheduler.deadlines.remove(&(deadline, tid));
        let thread = scheduler.sleepers.get(&tid).cloned();
        drop(scheduler);
        if let Some(thread) = thread {
            thread.notify();
        }
    }
}

/// Whether something may have to be done before the thread goes back to the program; cheap.
#[must_use]
pub fn has_work() -> bool {
    let work = WORK.load(Ordering::Relaxed);
    work != 0 && work & 1 << platform().vcpu() != 0 || has_news()
}

/// Whether a device completed something for which somebody waits.
#[must_use]
pub fn has_news() -> bool {
    DEVICE_INTERRUPTS.load(Ordering::Relaxed)
        && DEVICES_SEEN.load(Ordering::Relaxed) != platform().device_events()
}

/// Runs another thread if its turn has come, before the caller goes back to the program.
pub fn take_turns() {
    let thread = thread::current();
    let vcpu = platform().vcpu();
    WORK.fetch_and(!(1 << vcpu), Ordering::Relaxed);
    let now = time::monotonic();
    let mut scheduler = SCHEDULER.lock();
    scheduler.vcpu(vcpu).turns += 1;
    let wanted = core::mem::take(&mut scheduler.vcpu(vcpu).reschedule);
    let mut scheduling = thread.scheduling.lock();
    let slice_is_over = now >= scheduling.slice_end && scheduling.policy != Policy::Fifo;
    let is_allowed = scheduling.affinity & 1 << vcpu != 0;
    if !is_allowed || (wanted || slice_is_over) && scheduler.has_ready(vcpu) {
        let ran = scheduling.account(now);
        thread.process.add_processor_time(ran);
        scheduling.switches.1 += 1;
        scheduler.enqueue(&thread, &mut scheduling);
        if !is_allowed {
            // Not here, so the caller's own lock is not asked for.
            scheduler.announce(&scheduling);
        }
        drop(scheduling);
        drop(scheduler);
        run_another();
        return;
    }
    if slice_is_over {
        scheduling.slice_end = now.saturating_add(SLICE);
    }
    drop(scheduling);
    drop(scheduler);
    arm();
}

impl Scheduler {
    /// Tells the virtual CPU that is to run a thread that was made ready: at once if it is better
    /// than what runs there, otherwise when a slice is over, of which it may not have thought.
    fn announce(&mut self, scheduling: &Scheduling) {
        let here = platform().vcpu();
        let place = self.place(scheduling);
        let may = |vcpu: &usize| scheduling.affinity & 1 << *vcpu != 0;
        let patient = Some(here).filter(may).or_else(|| (0..vcpus()).find(may));
        let Some(vcpu) = place.or(patient) else {
            return;
        };
        self.vcpu(vcpu).reschedule |= place.is_some();
        ask_for_turn(vcpu);
        if vcpu != here {
            platform().interrupt(vcpu);
        }
    }

    /// When the thread that runs here must be interrupted.
    fn interruption(&self, vcpu: usize) -> Option<Nanos> {
        let thread = self.vcpus.get(vcpu)?.running.as_ref()?;
        // One that runs until it waits has no slice: an interrupt for one that is over would
        // come at once, each time anew, and the thread would never get back to the program.
        let slice = {
            let scheduling = thread.scheduling.lock();
            let ends = scheduling.policy != Policy::Fifo && self.has_ready(vcpu);
            ends.then_some(scheduling.slice_end)
        };
        let somebody_idles = self.vcpus.iter().any(|vcpu| vcpu.is_idle);
        let waits = self.deadlines.first().map(|(deadline, _)| *deadline);
        let waits = waits.filter(|_| !somebody_idles);
        slice.into_iter().chain(waits).min()
    }
}

/// Says that timers of the process changed: when the next interrupt is to come is to be thought
/// over before the program goes on.
pub(crate) fn timers_changed() {
    ask_for_turn(platform().vcpu());
}

/// When a timer of the process or of the network goes off.
fn next_timer() -> Option<Nanos> {
    let process = crate::time::next_deadline();
    let network = crate::net::network::next_deadline();
    process.into_iter().chain(network).min()
}

/// Asks for the interrupt that the thread needs which goes back to the program.
fn arm() {
    let vcpu = platform().vcpu();
    let timers = next_timer();
    let mut scheduler = SCHEDULER.lock();
    let wanted = scheduler.interruption(vcpu);
    let wanted = timers.into_iter().chain(wanted).min();
    let state = scheduler.vcpu(vcpu);
    // One that comes too early costs less than setting it anew each time.
    let is_armed = match (wanted, state.armed) {
        (None, _) => true,
        (Some(wanted), Some(armed)) => armed <= wanted && armed > time::monotonic(),
        (Some(_), None) => false,
    };
    if !is_armed {
        state.armed = wanted;
        platform().set_timer(wanted);
    }
    drop(scheduler);
    let others_wait = !DEVICES.is_empty() || crate::net::network::has_links();
    if DEVICE_INTERRUPTS.swap(others_wait, Ordering::Relaxed) != others_wait {
        platform().set_device_interrupts(others_wait);
    }
}

/// Runs this virtual CPU; the caller becomes its idle task.
pub fn run() -> ! {
    let vcpu = platform().vcpu();
    let idle = Task::idle();
    SCHEDULER.lock().vcpu(vcpu).idle = Some(Arc::clone(&idle));
    task::switch_to(idle);
    loop {
        let ticket = platform().ticket();
        platform().take_pending();
        collect();
        let mut scheduler = SCHEDULER.lock();
        if scheduler.has_ready(vcpu) {
            drop(scheduler);
            run_another();
            continue;
        }
        let waits = scheduler.deadlines.first().map(|(deadline, _)| *deadline);
        scheduler.vcpu(vcpu).is_idle = true;
        drop(scheduler);
        let deadline = next_timer().into_iter().chain(waits).min();
        // Requests are answered in microseconds; packets come when they like.
        platform().idle(ticket, deadline, !DEVICES.is_empty());
        SCHEDULER.lock().vcpu(vcpu).is_idle = false;
    }
}

/// Lets others run until an event of a device that came after `ticket`, or `deadline`.
pub fn wait_for_event(ticket: Ticket, deadline: Option<Nanos>) {
    let Some(thread) = thread::try_current() else {
        return platform().idle(ticket, deadline, true);
    };
    let listener: Arc<dyn crate::wait::Listener> = thread.clone();
    let seen = events_of(&thread);
    DEVICES.add(Arc::clone(&listener));
    if platform().ticket().devices == ticket.devices {
        park(&thread, seen, deadline);
    }
    DEVICES.remove(&listener);
}

/// Lets others run until a lock was given back.
pub fn wait_for_lock() {
    let thread = thread::current();
    let listener: Arc<dyn crate::wait::Listener> = thread.clone();
    let seen = events_of(&thread);
    LOCKS.add(Arc::clone(&listener));
    park(&thread, seen, None);
    LOCKS.remove(&listener);
}

/// A lock was given back for which somebody waits.
pub fn lock_given_back() {
    LOCKS.notify();
}
