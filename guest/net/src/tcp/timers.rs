//! What a connection does by itself when time passes.

use super::{Context, Tcp};
use crate::error::Error;
use crate::socket::TcpState;
use crate::time::Nanos;

/// When something is to be done; [`Nanos::MAX`]: not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// Send again, or ask a closed window.
    pub(super) retransmit: Nanos,
    /// Probe for a lost tail.
    pub(super) tail: Nanos,
    /// Acknowledge.
    pub(super) acknowledge: Nanos,
    /// Ask a silent peer.
    pub(super) keep_alive: Nanos,
    /// Send what is corked.
    pub(super) cork: Nanos,
    /// Forget an orphan.
    pub(super) end: Nanos,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            retransmit: Nanos::MAX,
            tail: Nanos::MAX,
            acknowledge: Nanos::MAX,
            keep_alive: Nanos::MAX,
            cork: Nanos::MAX,
            end: Nanos::MAX,
        }
    }
}

/// Repetitions until a connection is given up (`tcp_retries2`, `tcp_orphan_retries`).
const MOST_RETRIES: u32 = 15;
const MOST_ORPHAN_RETRIES: u32 = 8;
/// Answers to a SYN (`tcp_synack_retries`).
const MOST_ANSWERS: u32 = 5;

impl Tcp {
    /// When [`Tcp::tick`] is to be called.
    pub(crate) fn deadline(&self) -> Nanos {
        let all = &self.deadlines;
        all.retransmit
            .min(all.tail)
            .min(all.acknowledge)
            .min(all.keep_alive)
            .min(all.cork)
            .min(all.end)
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let due = |deadline: &mut Nanos| {
            let is_due = *deadline <= now;
            if is_due {
                *deadline = Nanos::MAX;
            }
            is_due
        };
        if due(&mut self.deadlines.acknowledge) {
            self.receiver.ack_now = true;
            self.receiver.interactive = false;
        }
        if due(&mut self.deadlines.cork) {
            self.sender.force = true;
        }
        if due(&mut self.deadlines.tail) {
            self.sender.tail_due = self.sender.outstanding() > 0;
            self.sender.force = true;
        }
        if due(&mut self.deadlines.retransmit) {
            self.retransmit(cx);
        }
        if due(&mut self.deadlines.keep_alive) {
            self.keep_alive(cx);
        }
        if due(&mut self.deadlines.end) {
            self.end(None, cx.memory);
        }
    }

    fn retransmit(&mut self, cx: &mut Context<'_>) {
        match self.state {
            TcpState::SynSent | TcpState::SynReceived => self.ask_again(cx),
            _ if self.sender.outstanding() > 0 => {
                if self.is_hopeless(self.rtt.backoff, cx.now) {
                    self.give_up(cx);
                } else {
                    self.timed_out(cx.now);
                }
            }
            _ if self.sender.unsent() > 0 || self.sender.fin && !self.sender.fin_sent => {
                self.probe_window(cx);
            }
            _ => {}
        }
    }

    fn ask_again(&mut self, cx: &mut Context<'_>) {
        let most = if self.state == TcpState::SynReceived {
            MOST_ANSWERS
        } else {
            u32::from(self.common.options.syn_count)
        };
        let patience = self.common.options.user_timeout;
        let waited = cx.now - self.sender.progress_at;
        if self.rtt.backoff >= most || patience > Nanos::ZERO && waited >= patience {
            self.give_up(cx);
            return;
        }
        self.rtt.backoff += 1;
        self.sender.syn_due = true;
    }

    fn is_hopeless(&self, tries: u32, now: Nanos) -> bool {
        let patience = self.common.options.user_timeout;
        if patience > Nanos::ZERO {
            return now - self.sender.progress_at >= patience;
        }
        let most = if self.orphan {
            MOST_ORPHAN_RETRIES
        } else {
            MOST_RETRIES
        };
        tries >= most
    }

    /// The window is closed: send the little it takes, or ask (RFC 9293, 3.8.6.1).
    fn probe_window(&mut self, cx: &mut Context<'_>) {
        if self.is_hopeless(self.count.probes, cx.now) {
            self.give_up(cx);
            return;
        }
        self.count.probes += 1;
        self.rtt.backoff = (self.rtt.backoff + 1).min(32);
        self.sender.force = self.sender.window > 0;
        self.sender.probe_due = self.sender.window == 0;
        self.deadlines.retransmit = cx.now + self.rtt.timeout();
    }

    pub(super) fn arm_persistence(&mut self, now: Nanos) {
        if self.deadlines.retransmit == Nanos::MAX {
            self.sender.progress_at = now;
            self.deadlines.retransmit = now + self.rtt.timeout();
        }
    }

    /// After an acknowledgement.
    pub(super) fn arm_retransmission(&mut self, now: Nanos) {
        if self.sender.outstanding() == 0 {
            self.deadlines.retransmit = Nanos::MAX;
            self.deadlines.tail = Nanos::MAX;
            return;
        }
        self.deadlines.retransmit =
            (self.sender.progress_at.max(self.sender.sent_at) + self.rtt.timeout()).max(now);
        self.arm_tail(now);
    }

    /// After something was sent that is to be acknowledged.
    pub(super) fn arm_after_sending(&mut self, now: Nanos) {
        self.deadlines.retransmit = now + self.rtt.timeout();
        if self.is_synchronized() {
            self.arm_tail(now);
        }
    }

    fn arm_tail(&mut self, now: Nanos) {
        let sender = &self.sender;
        let wanted = self.sack
            && sender.recovery == super::sender::Recovery::None
            && !sender.tail_sent
            && self.rtt.smoothed > Nanos::ZERO;
        self.deadlines.tail = if wanted {
            now + self.rtt.probe_timeout(sender.outstanding() <= sender.mss)
        } else {
            Nanos::MAX
        };
    }

    pub(super) fn arm_keep_alive(&mut self, now: Nanos) {
        let options = &self.common.options;
        if options.keep_alive && self.is_synchronized() {
            self.deadlines.keep_alive = now + options.keep_idle;
        } else {
            self.deadlines.keep_alive = Nanos::MAX;
        }
    }

    fn keep_alive(&mut self, cx: &mut Context<'_>) {
        let options = &self.common.options;
        if !options.keep_alive || !self.is_synchronized() {
            return;
        }
        let interval = options.keep_interval;
        if self.sender.outstanding() > 0 || self.sender.unsent() > 0 {
            // Data asks by itself.
            self.deadlines.keep_alive = cx.now + options.keep_idle;
            return;
        }
        if self.count.probes >= u32::from(options.keep_count) {
            self.count.reset_due = true;
            self.end(
                Some(self.count.soft_error.unwrap_or(Error::TimedOut)),
                cx.memory,
            );
            return;
        }
        self.count.probes += 1;
        self.sender.probe_due = true;
        self.deadlines.keep_alive = cx.now + interval;
    }
}
