//! What is counted, and what `TCP_INFO` tells of a connection.

use super::Tcp;
use crate::bytes::length32;
use crate::error::Error;
use crate::socket::TcpInfo;
use crate::time::Nanos;

/// Counters, and what has no place elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) segments_in: u32,
    pub(crate) segments_out: u32,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_acknowledged: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_retransmitted: u64,
    pub(crate) retransmits: u32,
    /// Probes in a row without an answer.
    pub(crate) probes: u32,
    /// Both sides scale windows.
    pub(crate) scaled: bool,
    /// The connection ended so that the peer is to be told.
    pub(crate) reset_due: bool,
    /// What a router said that may pass.
    pub(crate) soft_error: Option<Error>,
}

impl Tcp {
    /// Whether a reset is to be sent; once.
    pub(crate) fn take_reset_due(&mut self) -> bool {
        core::mem::take(&mut self.count.reset_due)
    }

    pub(crate) fn info(&self, now: Nanos) -> TcpInfo {
        let (sender, receiver, count) = (&self.sender, &self.receiver, &self.count);
        TcpInfo {
            state: self.state,
            timestamps: self.timestamps,
            sack: self.sack,
            window_scales: count.scaled.then_some((sender.scale, receiver.scale)),
            backoff: u8::try_from(self.rtt.backoff).unwrap_or(u8::MAX),
            probes: u8::try_from(count.probes).unwrap_or(u8::MAX),
            rto: self.rtt.timeout(),
            ato: Nanos::from_millis(40),
            send_mss: length32(sender.mss),
            receive_mss: length32(receiver.mss),
            unacknowledged: length32(sender.outstanding()),
            sacked: length32(sender.sacked_bytes),
            lost: length32(sender.lost()),
            path_mtu: self.path.as_ref().map_or(0, |path| u32::from(path.mtu)),
            rtt: self.rtt.smoothed,
            rtt_variation: self.rtt.variation,
            rtt_least: self.rtt.least,
            slow_start_threshold: length32(self.congestion.threshold),
            congestion_window: length32(self.congestion.window),
            send_window: length32(sender.window),
            receive_window: length32(receiver.window_left()),
            receive_space: length32(receiver.limit),
            retransmits: count.retransmits,
            bytes_acknowledged: count.bytes_acknowledged,
            bytes_received: count.bytes_received,
            bytes_sent: count.bytes_sent,
            bytes_retransmitted: count.bytes_retransmitted,
            segments_out: count.segments_out,
            segments_in: count.segments_in,
            unsent: length32(sender.unsent()),
            last_sent: now - sender.sent_at,
            last_received: now - receiver.at,
        }
    }
}
