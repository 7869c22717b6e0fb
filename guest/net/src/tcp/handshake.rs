//! How a connection begins, and what both sides agree on then.

use super::{Context, Tcp};
use crate::route::Path;
use crate::seq::Seq;
use crate::socket::TcpState;
use crate::time::Nanos;
use crate::wire::tcp::{self, Flags, Options, Segment};

/// What the peer's SYN offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack: bool,
    pub(crate) timestamp: Option<u32>,
}

impl From<&Options> for Offer {
    fn from(options: &Options) -> Self {
        Self {
            mss: options.mss,
            window_scale: options.window_scale,
            sack: options.sack_permitted,
            timestamp: options.timestamps.map(|(value, _)| value),
        }
    }
}

/// The least segment that is believed: smaller ones only make work (as Linux' `min_snd_mss`).
const LEAST_MSS: usize = 48;

impl Tcp {
    /// Asks for a connection.
    pub(crate) fn open(&mut self, now: Nanos) {
        self.state = TcpState::SynSent;
        self.connecting = true;
        self.sender.syn_due = true;
        self.sender.progress_at = now;
    }

    /// Answers a SYN with this sequence number.
    pub(crate) fn answer(&mut self, syn: &Segment, offer: &Offer, now: Nanos) {
        self.state = TcpState::SynReceived;
        self.accept_offer(syn.seq, offer, now);
        self.set_send_window(syn, 0);
        self.sender.syn_due = true;
        self.sender.progress_at = now;
    }

    /// What follows from the peer's SYN.
    pub(super) fn accept_offer(&mut self, seq: Seq, offer: &Offer, now: Nanos) {
        let receiver = &mut self.receiver;
        receiver.initial = seq;
        receiver.next = seq.plus(1);
        receiver.advertised = receiver.next;
        receiver.acknowledged = receiver.next;
        self.sack &= offer.sack;
        self.timestamps &= offer.timestamp.is_some();
        if let Some(timestamp) = offer.timestamp {
            receiver.timestamp_recent = timestamp;
            receiver.timestamp_at = now;
        }
        receiver.scale = offer.window_scale.map_or(0, |_| receiver.scale_to_offer());
        self.sender.scale = offer.window_scale.unwrap_or(0);
        self.count.scaled = offer.window_scale.is_some();
        let default = if self.tuple.remote.address.is_ipv4() {
            536
        } else {
            1_220
        };
        self.sender.peer_mss = offer.mss.map_or(default, usize::from);
        self.size_segments();
        self.congestion.start(self.sender.mss);
    }

    /// Sends by this path from now on.
    pub(crate) fn set_path(&mut self, path: Path) {
        self.path = Some(path);
        self.size_segments();
    }

    /// The payload of full segments, by path, peer and options.
    fn size_segments(&mut self) {
        let Some(path) = &self.path else { return };
        let headers = self.headers_len();
        let mut most = usize::from(path.mtu).saturating_sub(headers);
        most = most.min(self.sender.peer_mss);
        if self.common.options.max_segment > 0 {
            most = most.min(usize::from(self.common.options.max_segment));
        }
        let options = if self.timestamps { 12 } else { 0 };
        let mss = most.max(LEAST_MSS) - options;
        if mss != self.sender.mss {
            self.sender.mss = mss;
            self.congestion.set_mss(mss);
        }
    }

    /// Bytes of IP's and TCP's headers without options.
    fn headers_len(&self) -> usize {
        let ip = if self.tuple.remote.address.is_ipv4() {
            20
        } else {
            40
        };
        ip + tcp::HEADER
    }

    /// The largest segment to ask for.
    fn own_mss(&self) -> u16 {
        let mtu = self.path.as_ref().map_or(1_500, |path| path.link_mtu);
        let mss = usize::from(mtu).saturating_sub(self.headers_len());
        let wish = usize::from(self.common.options.max_segment);
        let mss = if wish > 0 { mss.min(wish) } else { mss };
        u16::try_from(mss).unwrap_or(u16::MAX)
    }

    /// Our SYN.
    pub(super) fn syn(&self, now: Nanos) -> Segment {
        let is_answer = self.state == TcpState::SynReceived;
        let scale = if is_answer {
            self.count.scaled.then_some(self.receiver.scale)
        } else {
            Some(self.receiver.scale_to_offer())
        };
        let flags = if is_answer {
            Flags::SYN.with(Flags::ACK)
        } else {
            Flags::SYN
        };
        let window = self.receiver.free().min(65_535);
        Segment {
            seq: self.sender.initial,
            ack: if is_answer {
                self.receiver.next
            } else {
                Seq(0)
            },
            flags,
            window: u16::try_from(window).unwrap_or(u16::MAX),
            options: Options {
                mss: Some(self.own_mss()),
                window_scale: scale,
                sack_permitted: self.sack,
                timestamps: self
                    .timestamps
                    .then(|| (self.timestamp(now), self.receiver.timestamp_recent)),
                ..Options::default()
            },
            count: 1,
            ..Segment::default()
        }
    }

    /// The peer has our SYN.
    pub(super) fn establish(&mut self, cx: &mut Context<'_>) {
        self.state = if self.sender.fin {
            TcpState::FinWait1
        } else {
            TcpState::Established
        };
        self.sender.syn_due = false;
        self.sender.progress_at = cx.now;
        self.deadlines.retransmit = Nanos::MAX;
        self.congestion.start(self.sender.mss);
        self.receiver.mss = self.sender.mss;
        self.receiver.tuning = (cx.now, 0);
        self.sender.sent_at = cx.now;
        self.receiver.at = cx.now;
        self.arm_keep_alive(cx.now);
        self.changed = true;
    }

    /// Opened by a cookie: the peer has an answer that we do not remember.
    pub(crate) fn answer_from_cookie(&mut self, ack: &Segment, offer: &Offer, now: Nanos) {
        self.state = TcpState::SynReceived;
        self.accept_offer(ack.seq.minus(1), offer, now);
        self.sender.initial = ack.ack.minus(1);
        self.sender.next = ack.ack;
        self.sender.unacknowledged = self.sender.initial;
        self.sender.progress_at = now;
        self.receiver.advertised = self.receiver.next.plus(self.receiver.free().min(65_535));
        self.deadlines.retransmit = now + self.rtt.timeout();
        // What follows is what follows every answer.
        for mark in [
            &mut self.sender.lost_below,
            &mut self.sender.resent_below,
            &mut self.sender.small,
        ] {
            *mark = ack.ack;
        }
    }
}
