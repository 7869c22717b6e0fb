//! Where virtual CPUs wait while a debugger looks at them.
//!
//! Each one's thread comes by between two runs. It goes on, or it shows its registers and waits; what the debugger
//! changes of them, the thread itself gives to the engine.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine_contract::{EngineError, Kick, Limits, Met, Points, Stop, Vcpu, VcpuId, World};
use rustix::event::{EventfdFlags, eventfd};
use x86_state::CpuState;

/// How long is waited for virtual CPUs to stop: one may be in a device that waits for somebody else.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long is waited for a debugger to take the news of the machine's end.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a virtual CPU does when the machine goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Run,
    /// One instruction.
    Step,
    /// It waits, whatever the others do.
    Stay,
}

/// What a virtual CPU stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Met(Met),
    /// It cannot go on.
    TripleFault,
}

/// One virtual CPU.
struct Member {
    kick: Arc<dyn Kick>,
    limits: Limits,
    /// Its registers, while it waits.
    state: Option<CpuState>,
    /// Registers that it is to have.
    wanted: Option<CpuState>,
    /// Whether the engine took them.
    answer: Option<bool>,
    order: Order,
    /// What stops it from now on, if that has changed.
    points: Option<Points>,
    /// Where it was when its breakpoint was reported.
    reported: Option<u64>,
    /// Nobody runs it any more.
    is_gone: bool,
}

struct Inner {
    members: Vec<Member>,
    /// All wait.
    is_held: bool,
    is_attached: bool,
    /// The machine has begun to run.
    has_begun: bool,
    /// What stops all of them.
    points: Points,
    /// Steps deliver no interrupts.
    holds_interrupts: bool,
    news: VecDeque<(VcpuId, News)>,
    is_over: bool,
    is_killed: bool,
    /// How the machine ended.
    status: Option<u8>,
    /// Nobody serves debuggers any more.
    is_closed: bool,
}

/// The gate of one machine.
pub(crate) struct Gate {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Written when there is something for whoever serves the debugger.
    wake: OwnedFd,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// A closed one.
    pub(crate) fn new(members: Vec<(Arc<dyn Kick>, Limits)>) -> std::io::Result<Self> {
        let member = |(kick, limits)| Member {
            kick,
            limits,
            state: None,
            wanted: None,
            answer: None,
            order: Order::Run,
            points: None,
            reported: None,
            is_gone: false,
        };
        let inner = Inner {
            members: members.into_iter().map(member).collect(),
            is_held: true,
            is_attached: false,
            has_begun: false,
            points: Points::default(),
            holds_interrupts: true,
            news: VecDeque::new(),
            is_over: false,
            is_killed: false,
            status: None,
            is_closed: false,
        };
        Ok(Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&'g self, inner: MutexGuard<'g, Inner>) -> MutexGuard<'g, Inner> {
        let woken = self.changed.wait(inner);
        woken.unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes readable when there is something.
    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Whoever waited for that is awake.
    pub(crate) fn awake(&self) {
        let mut count = [0; 8];
        // Nothing to be read is fine, too.
        let _ = rustix::io::read(&self.wake, &mut count);
    }

    fn tell(&self) {
        // It can only fail when so much waits already that it is readable.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        self.changed.notify_all();
    }
}

/// What the virtual CPUs' threads call.
impl Gate {
    pub(crate) fn run(
        &self,
        id: VcpuId,
        vcpu: &mut dyn Vcpu,
        world: &dyn World,
    ) -> Result<Stop, EngineError> {
        loop {
            if !self.pass(id, vcpu)? {
                return Ok(Stop::Kicked);
            }
            let stop = vcpu.run(world)?;
            let news = match stop {
                Stop::Breakpoint(met) => News::Met(met),
                Stop::TripleFault => News::TripleFault,
                Stop::Kicked if self.is_held() => continue,
                stop => return Ok(stop),
            };
            let is_told = self.report(id, news);
            if stop == Stop::TripleFault {
                if is_told {
                    self.pass(id, vcpu)?;
                }
                return Ok(stop);
            }
        }
    }

    /// Waits until it may go on; whether there is a machine.
    fn pass(&self, id: VcpuId, vcpu: &mut dyn Vcpu) -> Result<bool, EngineError> {
        let mut inner = self.inner();
        while inner.keeps(id) {
            let member = inner.member(id);
            let asked = member.map(|member| (member.wanted.take(), member.state.is_some()));
            inner = match asked {
                Some((Some(wanted), _)) => self.change(inner, id, (vcpu, &wanted))?,
                Some((None, false)) => self.show(inner, id, vcpu)?,
                _ => self.wait(inner),
            };
        }
        let is_over = inner.is_over;
        let points = inner.member(id).and_then(|member| {
            (member.state, member.reported) = (None, None);
            member.points.take()
        });
        drop(inner);
        if let (Some(points), Some(debugging)) = (points, vcpu.debugging()) {
            debugging.set(&points)?;
        }
        Ok(!is_over)
    }

    /// Shows its registers.
    fn show<'g>(
        &'g self,
        mut inner: MutexGuard<'g, Inner>,
        id: VcpuId,
        vcpu: &mut dyn Vcpu,
    ) -> Result<MutexGuard<'g, Inner>, EngineError> {
        let state = vcpu.state()?;
        if let Some(member) = inner.member(id) {
            member.state = Some(state);
        }
        self.tell();
        Ok(inner)
    }

    /// Takes other registers, or keeps its own if the engine does not like them.
    fn change<'g>(
        &'g self,
        mut inner: MutexGuard<'g, Inner>,
        id: VcpuId,
        (vcpu, wanted): (&mut dyn Vcpu, &CpuState),
    ) -> Result<MutexGuard<'g, Inner>, EngineError> {
        let before = vcpu.state()?;
        let is_taken = vcpu.set_state(wanted).is_ok();
        if !is_taken {
            vcpu.set_state(&before)?;
        }
        if let Some(member) = inner.member(id) {
            member.answer = Some(is_taken);
        }
        self.show(inner, id, vcpu)
    }

    /// Stops all for what one has met; whether a debugger is there to be told.
    fn report(&self, id: VcpuId, news: News) -> bool {
        let mut inner = self.inner();
        // The end of the machine is news enough.
        let is_told = inner.is_attached && !inner.is_over;
        if is_told {
            inner.news.push_back((id, news));
            inner.hold();
            self.tell();
        }
        is_told
    }

    /// Nobody runs it any more.
    pub(crate) fn leave(&self, id: VcpuId) {
        let mut inner = self.inner();
        if let Some(member) = inner.member(id) {
            member.is_gone = true;
            member.state = None;
        }
        self.tell();
    }

    fn is_held(&self) -> bool {
        let inner = self.inner();
        inner.is_held && !inner.is_over
    }

    /// The machine has ended: nobody waits any more.
    pub(crate) fn end(&self) {
        self.inner().is_over = true;
        self.tell();
    }

    /// It has ended so. Returns when that has been told.
    pub(crate) fn finish(&self, status: u8) {
        let mut inner = self.inner();
        inner.is_over = true;
        inner.status = Some(status);
        self.tell();
        let is_open = |inner: &mut Inner| !inner.is_closed;
        drop(self.changed.wait_timeout_while(inner, FAREWELL, is_open));
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.inner().has_begun
    }

    pub(crate) fn was_killed(&self) -> bool {
        self.inner().is_killed
    }
}

/// What whoever serves the debugger calls.
impl Gate {
    pub(crate) fn is_over(&self) -> bool {
        self.inner().is_over
    }

    /// How the machine ended, when that is known.
    pub(crate) fn status(&self) -> Option<u8> {
        self.inner().status
    }

    /// A debugger has come: all wait for it.
    pub(crate) fn attach(&self) {
        self.inner().is_attached = true;
        self.hold();
    }

    /// It is gone. The machine goes on without it, if it has begun to run.
    pub(crate) fn detach(&self) {
        let mut inner = self.inner();
        inner.is_attached = false;
        inner.news.clear();
        inner.points = Points::default();
        if inner.has_begun {
            inner.go_on(&[]);
        }
        self.changed.notify_all();
    }

    /// A debugger ends the machine.
    pub(crate) fn kill(&self) {
        self.inner().is_killed = true;
    }

    /// No debugger is served any more.
    pub(crate) fn close(&self) {
        self.detach();
        self.inner().is_closed = true;
        self.changed.notify_all();
    }

    /// Has all of them wait, and waits for that.
    pub(crate) fn hold(&self) {
        let mut inner = self.inner();
        inner.hold();
        let is_moving = |inner: &mut Inner| {
            let moves = |member: &Member| member.state.is_none() && !member.is_gone;
            !inner.is_over && inner.members.iter().any(moves)
        };
        let settled = self.changed.wait_timeout_while(inner, PATIENCE, is_moving);
        drop(settled);
    }

    /// Whether all wait, or are to.
    pub(crate) fn is_waiting(&self) -> bool {
        self.inner().is_held
    }

    /// Lets the machine go on, each virtual CPU as it is ordered; those without an order run.
    pub(crate) fn go_on(&self, orders: &[Order]) {
        let mut inner = self.inner();
        // What was met at the same time as something else: breakpoints are met again.
        inner
            .news
            .retain(|(_, news)| !matches!(news, News::Met(Met::Step | Met::Breakpoint)));
        inner.has_begun = true;
        if inner.news.is_empty() {
            inner.go_on(orders);
        }
        self.tell();
    }

    /// The next that one of them stopped for, and where it was then; all of them wait.
    pub(crate) fn news(&self) -> Option<(VcpuId, News)> {
        if self.inner().news.is_empty() {
            return None;
        }
        self.hold();
        let mut inner = self.inner();
        let (id, news) = inner.news.pop_front()?;
        let member = inner.member(id)?;
        let here = member.state.as_ref().map(|state| state.rip);
        member.reported = here.filter(|_| news == News::Met(Met::Breakpoint));
        Some((id, news))
    }

    /// Virtual CPUs, by number: whether each is there.
    pub(crate) fn members(&self) -> Vec<bool> {
        self.inner()
            .members
            .iter()
            .map(|member| !member.is_gone)
            .collect()
    }

    /// The registers of one that waits.
    pub(crate) fn state(&self, id: VcpuId) -> Option<CpuState> {
        self.inner().member(id)?.state.clone()
    }

    /// Gives it others; whether it waits and the engine takes them.
    pub(crate) fn set_state(&self, id: VcpuId, state: CpuState) -> bool {
        let mut inner = self.inner();
        match inner.member(id) {
            Some(member) if member.state.is_some() => member.wanted = Some(state),
            _ => return false,
        }
        self.changed.notify_all();
        loop {
            let over = inner.is_over;
            match inner
                .member(id)
                .map(|member| (member.answer.take(), member.is_gone))
            {
                Some((None, false)) if !over => inner = self.wait(inner),
                Some((answer, _)) => return answer == Some(true),
                None => return false,
            }
        }
    }

    /// Has these stop all of them from the next time on; whether there is room for them.
    pub(crate) fn set_points(&self, points: Points) -> bool {
        let mut inner = self.inner();
        let is_held = inner.is_held;
        let fits = inner
            .members
            .iter()
            .all(|member| member.limits.allow(&points));
        if fits && is_held {
            inner.points = points;
        }
        fits && is_held
    }
}

impl Gate {
    /// Whether steps deliver no interrupts.
    pub(crate) fn holds_interrupts(&self) -> bool {
        self.inner().holds_interrupts
    }

    pub(crate) fn hold_interrupts(&self, holds: bool) {
        self.inner().holds_interrupts = holds;
    }
}

impl Inner {
    fn member(&mut self, id: VcpuId) -> Option<&mut Member> {
        self.members.get_mut(id.0 as usize)
    }

    /// Whether a virtual CPU has to wait.
    fn keeps(&mut self, id: VcpuId) -> bool {
        let stays = self
            .member(id)
            .is_some_and(|member| member.order == Order::Stay);
        (self.is_held || stays) && !self.is_over
    }

    fn hold(&mut self) {
        if !self.is_held {
            self.is_held = true;
            for member in &self.members {
                member.kick.kick();
            }
        }
    }

    fn go_on(&mut self, orders: &[Order]) {
        for (number, member) in self.members.iter_mut().enumerate() {
            member.order = orders.get(number).copied().unwrap_or_default();
            let here = member.state.as_ref().map(|state| state.rip);
            let steps = member.order == Order::Step;
            member.points = Some(Points {
                steps,
                holds_interrupts: steps && self.holds_interrupts,
                passes: here.is_some() && here == member.reported,
                ..self.points.clone()
            });
            if member.order != Order::Stay {
                // It shows them again when it waits again.
                member.state = None;
            }
        }
        self.is_held = false;
    }
}
