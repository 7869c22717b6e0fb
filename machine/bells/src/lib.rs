//! How devices and virtual CPUs with Husk's kernel call each other: the monitor's side of
//! the pages in [`guest_abi::device`] and [`guest_abi::vcpu`].
//!
//! A bell is a counter in shared memory. The one who rings increments it and, if the
//! other sleeps, wakes it; the one who listens looks for a while before it
//! sleeps, since on two processors a look costs 0.1 us and a sleep 15 to 30. How long it
//! looks adapts to whether looking helped, and is nothing at all on one processor.
//!
//! Devices sleep on futexes. How a virtual CPU is woken and interrupted is the engine's
//! affair: [`Attention`]; by interrupts, for several engines: [`InterruptBells`]. Every byte of the pages is the guest's: a wrong count makes it
//! wait, and nobody else.
#![forbid(unsafe_code)]

mod interrupts;

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use guest_abi::device::{DevicePage, QUEUES_MAX, QueueSlot};
use guest_abi::layout;
use guest_abi::vcpu::{
    ATTENTION_ABSENT, ATTENTION_INTERRUPT, ATTENTION_LOOKS, ATTENTION_WAKE, OVER, PENDING_DEVICE,
    PENDING_SIGNAL, PENDING_TIMER, VcpuPage,
};
use machine_bus::{Doorbells, Look, SignalLine};
use machine_memory::{GuestMemory, MemoryError, Page};
use rustix::thread::futex;

pub use interrupts::InterruptBells;

/// Longest time to look before sleeping; at first, nobody looks.
const LOOK_MAX: Duration = Duration::from_micros(300);

/// The bells of one machine.
#[derive(Debug)]
pub struct Bells {
    devices: Vec<Device>,
    /// Not empty; the machine's own words are in the first.
    vcpus: Vec<Page<VcpuPage>>,
    attention: Box<dyn Attention>,
    ended: AtomicBool,
    processors: u32,
}

/// One device's bells, and for each queue whether a thread waits there and how long it looks.
#[derive(Debug)]
struct Device {
    page: Page<DevicePage>,
    attended: [AtomicBool; QUEUES_MAX],
    look_nanos: [AtomicU32; QUEUES_MAX],
}

impl Device {
    /// The bells that somebody waits for. The page itself says nothing here: looking at one that
    /// the guest never used makes it.
    fn attended(&self) -> impl Iterator<Item = &AtomicU32> {
        let slots = self.page.queues.iter().zip(&self.attended);
        let attended = slots.filter(|(_, attended)| attended.load(Ordering::SeqCst));
        attended.map(|(slot, _)| &slot.bell)
    }
}

/// How an engine gets the attention of its virtual CPUs.
pub trait Attention: Debug + Send + Sync {
    /// Wakes one out of its idle wait; `event` is the word on which it waits.
    fn wake(&self, vcpu: usize, event: &AtomicU32);

    /// Interrupts one while it runs.
    fn interrupt(&self, vcpu: usize);

    /// Stops all where they are, because the monitor is about to be stopped.
    fn stop(&self);

    /// Lets them go on.
    fn go_on(&self);

    /// The kernel says that the machine is over, which need not be true; once.
    fn over(&self);
}

impl Bells {
    /// The bells in the memory of a machine with `vcpus` virtual CPUs, at least one.
    ///
    /// # Errors
    /// When the memory ends before the pages do.
    pub fn new(
        memory: &GuestMemory,
        vcpus: usize,
        attention: Box<dyn Attention>,
    ) -> Result<Self, MemoryError> {
        let device = |number: usize| {
            let address = layout::DEVICE_PAGES + number as u64 * layout::PAGE_SIZE;
            memory.page(address).map(|page| Device {
                page,
                attended: [const { AtomicBool::new(false) }; QUEUES_MAX],
                look_nanos: [const { AtomicU32::new(0) }; QUEUES_MAX],
            })
        };
        let devices = (0..layout::DEVICES_MAX)
            .map(device)
            .collect::<Result<_, _>>()?;
        let processors = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
        let page =
            |number: usize| memory.page(layout::VCPU_PAGES + number as u64 * layout::PAGE_SIZE);
        let vcpus = (0..vcpus.clamp(1, layout::VCPUS_MAX))
            .map(page)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            devices,
            vcpus,
            attention,
            ended: AtomicBool::new(false),
            processors,
        })
    }

    /// Ends every wait.
    pub fn end(&self) {
        if self.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        for bell in self.devices.iter().flat_map(Device::attended) {
            bell.fetch_add(1, Ordering::SeqCst);
            wake(bell);
        }
        let bell = &self.first().timer_bell;
        bell.fetch_add(1, Ordering::SeqCst);
        wake(bell);
    }

    /// The page with the machine's own words.
    fn first(&self) -> &VcpuPage {
        self.vcpus.first().expect("there is at least one")
    }

    /// Whether [`Bells::end`] was called.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Notes an event for a virtual CPU; wakes it if it sleeps, interrupts it if it runs.
    ///
    /// One that has not yet taken what was noted before is not interrupted again: it looks at
    /// `pending` before it goes back to the program. So at most one interrupt is under way to
    /// each, however fast the events come; a cell's signals would otherwise pile up on the stack
    /// on which it serves them.
    fn notify(&self, number: usize, pending: u32) {
        let Some(vcpu) = self.vcpus.get(number) else {
            return;
        };
        let before = vcpu.pending.fetch_or(pending, Ordering::SeqCst);
        vcpu.event.fetch_add(1, Ordering::SeqCst);
        match vcpu.attention.load(Ordering::SeqCst) {
            ATTENTION_WAKE => self.attention.wake(number, &vcpu.event),
            // It sees the event, or looks when it begins.
            ATTENTION_LOOKS | ATTENTION_ABSENT => {}
            _ if before == 0 => self.attention.interrupt(number),
            _ => {}
        }
    }

    /// The first virtual CPU that wants attention in that way.
    fn wanting(&self, attention: u32) -> Option<usize> {
        self.vcpus
            .iter()
            .position(|vcpu| vcpu.attention.load(Ordering::SeqCst) == attention)
    }

    /// The timer's thread: interrupts virtual CPUs whose deadline has come, or that another
    /// wants interrupted.
    pub fn keep_time(&self) {
        let bell = &self.first().timer_bell;
        let mut seen = bell.load(Ordering::SeqCst);
        let mut over = false;
        while !self.has_ended() {
            if !over && self.first().over.load(Ordering::SeqCst) == OVER {
                over = true;
                self.attention.over();
            }
            for (number, vcpu) in self.vcpus.iter().enumerate() {
                if vcpu.interrupt.load(Ordering::SeqCst) != 0
                    && vcpu.interrupt.swap(0, Ordering::SeqCst) != 0
                {
                    self.notify(number, PENDING_DEVICE);
                }
            }
            let now = monotonic_nanos();
            let next = self.expire(now);
            sleep_on(bell, seen, next.map(|deadline| deadline - now));
            seen = bell.load(Ordering::SeqCst);
        }
    }

    /// Interrupts those whose deadline has come; the next one after `now`.
    fn expire(&self, now: u64) -> Option<u64> {
        let mut next = None;
        for (number, vcpu) in self.vcpus.iter().enumerate() {
            let deadline = vcpu.deadline.load(Ordering::SeqCst);
            if deadline > now {
                next = Some(next.map_or(deadline, |next: u64| next.min(deadline)));
            } else if deadline != 0 {
                // Unless it was set anew meanwhile: that rang the bell.
                let (order, relaxed) = (Ordering::SeqCst, Ordering::SeqCst);
                let taken = vcpu.deadline.compare_exchange(deadline, 0, order, relaxed);
                if taken.is_ok() {
                    self.notify(number, PENDING_TIMER);
                }
            }
        }
        next
    }

    /// Looks for a change of `bell` for a while; whether there was one.
    fn look(&self, slot: &QueueSlot, start: Instant, limit: Duration, seen: u32) -> bool {
        if self.processors < 2 {
            return false;
        }
        let mut changed = false;
        while !changed && start.elapsed() < limit {
            for _ in 0..32 {
                std::hint::spin_loop();
            }
            // Whoever could use this processor goes first: it may be the one who rings.
            std::thread::yield_now();
            changed = slot.bell.load(Ordering::SeqCst) != seen;
        }
        changed
    }
}

/// How long to look next time, after a look of `look` and a ring `waited` after its start:
/// long enough for a ring like this one, if looking could have caught it at all.
fn next_look(look: Duration, waited: Duration) -> Duration {
    if waited < LOOK_MAX {
        look.max(2 * waited).min(LOOK_MAX)
    } else {
        look / 2
    }
}

impl Doorbells for Bells {
    fn wait(&self, device: u32, queue: u16, seen: u32, look: Look) -> Option<u32> {
        let device = self.devices.get(device as usize)?;
        let slot = device.page.queues.get(usize::from(queue))?;
        let look_nanos = device.look_nanos.get(usize::from(queue))?;
        // Before it is seen whether the machine has ended.
        device
            .attended
            .get(usize::from(queue))?
            .store(true, Ordering::SeqCst);
        let look = match look {
            Look::Adaptive => Duration::from_nanos(look_nanos.load(Ordering::Relaxed).into()),
            Look::Never => Duration::ZERO,
        };
        let start = Instant::now();
        while slot.bell.load(Ordering::SeqCst) == seen && !self.has_ended() {
            if self.look(slot, start, look, seen) {
                break;
            }
            slot.asleep.store(1, Ordering::SeqCst);
            if slot.bell.load(Ordering::SeqCst) == seen && !self.has_ended() {
                sleep_on(&slot.bell, seen, None);
            }
            slot.asleep.store(0, Ordering::SeqCst);
        }
        // The first ring ends no pause between requests.
        if seen != 0 {
            let next = next_look(look, start.elapsed());
            look_nanos.store(next.as_nanos() as u32, Ordering::Relaxed);
        }
        (!self.has_ended()).then(|| slot.bell.load(Ordering::SeqCst))
    }

    fn complete(&self, _device: u32) {
        self.first().device_event.fetch_add(1, Ordering::SeqCst);
        if self.wanting(ATTENTION_LOOKS).is_some() {
            return;
        }
        let wanting = self
            .wanting(ATTENTION_WAKE)
            .or_else(|| self.wanting(ATTENTION_INTERRUPT));
        if let Some(number) = wanting {
            self.notify(number, PENDING_DEVICE);
        }
    }

    fn ring(&self, device: u32, queue: u16) {
        let device = self.devices.get(device as usize);
        let slot = device.and_then(|device| device.page.queues.get(usize::from(queue)));
        if let Some(slot) = slot {
            wake(&slot.bell);
        }
    }
}

impl SignalLine for Bells {
    fn post(&self, number: u32) {
        if (1..=64).contains(&number) {
            self.first()
                .signals
                .fetch_or(1 << (number - 1), Ordering::SeqCst);
            self.notify(0, PENDING_SIGNAL);
        }
    }

    fn stop(&self) {
        self.attention.stop();
    }

    fn go_on(&self) {
        self.attention.go_on();
    }
}

/// Wakes whoever sleeps on a word, in any process.
pub fn wake(word: &AtomicU32) {
    // Waking nobody is no error; nothing else can fail on mapped memory.
    let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
}

fn sleep_on(word: &AtomicU32, expected: u32, nanos: Option<u64>) {
    let timeout = nanos.map(|nanos| rustix::thread::Timespec {
        tv_sec: (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as i64,
    });
    // A changed word, a signal and a time-out are all reasons to look again.
    let _ = futex::wait(word, futex::Flags::empty(), expected, timeout.as_ref());
}

fn monotonic_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use guest_abi::vcpu::ATTENTION_NONE;

    use super::*;

    /// Counts how often it was asked for.
    #[derive(Debug, Default)]
    struct Counts {
        wakes: AtomicU32,
        interrupts: AtomicU32,
        ends: AtomicU32,
    }

    impl Counts {
        fn wakes_and_interrupts(&self) -> (u32, u32) {
            let counts = [&self.wakes, &self.interrupts];
            counts.map(|count| count.load(Ordering::SeqCst)).into()
        }
    }

    impl Attention for Arc<Counts> {
        fn wake(&self, _: usize, _: &AtomicU32) {
            self.wakes.fetch_add(1, Ordering::SeqCst);
        }

        fn interrupt(&self, _: usize) {
            self.interrupts.fetch_add(1, Ordering::SeqCst);
        }

        fn stop(&self) {}

        fn go_on(&self) {}

        fn over(&self) {
            self.ends.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn bells_of(counts: &Arc<Counts>) -> Bells {
        let length = layout::DEVICE_PAGES + layout::DEVICES_MAX as u64 * layout::PAGE_SIZE;
        let file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        let memory = GuestMemory::new(file, length).unwrap();
        Bells::new(&memory, 1, Box::new(Arc::clone(counts))).unwrap()
    }

    #[test]
    fn the_end_that_the_kernel_announces_is_passed_on_once() {
        let counts = Arc::new(Counts::default());
        let bells = bells_of(&counts);
        let bells = &bells;
        std::thread::scope(|scope| {
            scope.spawn(|| bells.keep_time());
            bells.first().over.store(OVER, Ordering::SeqCst);
            while counts.ends.load(Ordering::SeqCst) == 0 {
                let bell = &bells.first().timer_bell;
                bell.fetch_add(1, Ordering::SeqCst);
                wake(bell);
                std::thread::yield_now();
            }
            bells.end();
        });
        assert_eq!(counts.ends.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_virtual_cpu_is_interrupted_once_until_it_took_what_happened() {
        let counts = Arc::new(Counts::default());
        let bells = bells_of(&counts);
        let vcpu = bells.first();

        // One that has not begun could take no interrupt.
        bells.post(1);
        assert_eq!(counts.wakes_and_interrupts(), (0, 0));
        assert_eq!(vcpu.pending.swap(0, Ordering::SeqCst), PENDING_SIGNAL);
        vcpu.event.store(0, Ordering::SeqCst);

        vcpu.attention.store(ATTENTION_INTERRUPT, Ordering::SeqCst);
        (0..1000).for_each(|_| bells.complete(0));
        assert_eq!(counts.wakes_and_interrupts(), (0, 1));
        bells.post(2);
        assert_eq!(counts.wakes_and_interrupts(), (0, 1));
        let both = PENDING_DEVICE | PENDING_SIGNAL;
        assert_eq!(vcpu.pending.swap(0, Ordering::SeqCst), both);
        bells.complete(0);
        assert_eq!(counts.wakes_and_interrupts(), (0, 2));

        // One that sleeps is woken each time: it may have slept off without a look.
        vcpu.attention.store(ATTENTION_WAKE, Ordering::SeqCst);
        (0..3).for_each(|_| bells.complete(0));
        assert_eq!(counts.wakes_and_interrupts(), (3, 2));
        assert_eq!(vcpu.event.load(Ordering::SeqCst), 1005);

        // One that looks is told nothing; it sees the counts.
        vcpu.attention.store(ATTENTION_LOOKS, Ordering::SeqCst);
        bells.complete(0);
        bells.post(2);
        assert_eq!(counts.wakes_and_interrupts(), (3, 2));
        assert_eq!(vcpu.event.load(Ordering::SeqCst), 1006);

        vcpu.attention.store(ATTENTION_NONE, Ordering::SeqCst);
        vcpu.pending.store(0, Ordering::SeqCst);
        bells.complete(0);
        assert_eq!(counts.wakes_and_interrupts(), (3, 2));
        assert_eq!(vcpu.device_event.load(Ordering::SeqCst), 1006);
    }

    #[test]
    fn looking_grows_where_it_helps_and_stops_where_it_does_not() {
        let micros = Duration::from_micros;
        assert_eq!(next_look(Duration::ZERO, micros(20)), micros(40));
        assert_eq!(next_look(micros(40), micros(10)), micros(40));
        assert_eq!(next_look(micros(200), micros(299)), LOOK_MAX);
        assert_eq!(next_look(LOOK_MAX, Duration::from_secs(1)), LOOK_MAX / 2);
        let idle = |look, _| next_look(look, Duration::from_secs(1));
        assert_eq!((0..40).fold(LOOK_MAX, idle), Duration::ZERO);
    }
}
