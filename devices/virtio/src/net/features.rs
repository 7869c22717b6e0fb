//! What the device offers, what was accepted of it, and what it counts.

use std::sync::atomic::{AtomicU64, Ordering};

use backend_net::{Abilities, Network, Offload};

pub(super) const ID: u32 = 1;

const CHECKSUM: u64 = 1;
const GUEST_CHECKSUM: u64 = 1 << 1;
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const GUEST_TSO4: u64 = 1 << 7;
const GUEST_TSO6: u64 = 1 << 8;
const GUEST_ECN: u64 = 1 << 9;
const HOST_TSO4: u64 = 1 << 11;
const HOST_TSO6: u64 = 1 << 12;
const HOST_ECN: u64 = 1 << 13;
const MERGEABLE: u64 = 1 << 15;
const STATUS: u64 = 1 << 16;
const CONTROL: u64 = 1 << 17;
const CONTROL_RX: u64 = 1 << 18;
const CONTROL_VLAN: u64 = 1 << 19;
const MULTI_QUEUE: u64 = 1 << 22;
const CONTROL_MAC: u64 = 1 << 23;

/// Bytes of the device's configuration.
pub(super) const CONFIG_SIZE: usize = 12;
/// The link is up.
const LINK_UP: u16 = 1;

/// How a device is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Pairs of queues, at least 1, as far as the host end has them.
    pub pairs: u16,
}

/// What is offered whatever the transport: the path without the control queue.
pub(super) fn offered(network: &dyn Network) -> u64 {
    let Abilities {
        checksum,
        segments_v4,
        segments_v6,
        ecn,
    } = network.abilities();
    let when = |has: bool, bits: u64| if has { bits } else { 0 };
    let towards_guest =
        GUEST_CHECKSUM | GUEST_TSO4 | GUEST_TSO6 | GUEST_ECN | MERGEABLE | MAC | MTU | STATUS;
    towards_guest
        | when(checksum, CHECKSUM)
        | when(segments_v4, HOST_TSO4)
        | when(segments_v6, HOST_TSO6)
        | when(ecn, HOST_ECN)
}

/// What the control queue is for.
pub(super) const WITH_CONTROL: u64 =
    CONTROL | CONTROL_RX | CONTROL_VLAN | MULTI_QUEUE | CONTROL_MAC;

/// What was accepted, as far as it matters afterwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    /// What the guest completes.
    pub(super) guest: Abilities,
    /// What the guest leaves to the host.
    host: Abilities,
    pub(super) mergeable: bool,
    pub(super) multi_queue: bool,
    pub(super) control: bool,
}

impl Accepted {
    pub(super) const fn new(features: u64) -> Self {
        Self {
            guest: Abilities {
                checksum: features & GUEST_CHECKSUM != 0,
                // Segments come with partial checksums (5.1.3.1).
                segments_v4: features & GUEST_TSO4 != 0 && features & GUEST_CHECKSUM != 0,
                segments_v6: features & GUEST_TSO6 != 0 && features & GUEST_CHECKSUM != 0,
                ecn: features & GUEST_ECN != 0,
            },
            host: Abilities {
                checksum: features & CHECKSUM != 0,
                segments_v4: features & HOST_TSO4 != 0,
                segments_v6: features & HOST_TSO6 != 0,
                ecn: features & HOST_ECN != 0,
            },
            mergeable: features & MERGEABLE != 0,
            multi_queue: features & MULTI_QUEUE != 0,
            control: features & CONTROL != 0,
        }
    }

    /// Whether a frame of the guest asks only for what was accepted.
    pub(super) fn covers(&self, offload: &Offload) -> bool {
        let segments = offload.segments.is_none_or(|segments| {
            let kind = if segments.v6 {
                self.host.segments_v6
            } else {
                self.host.segments_v4
            };
            kind && (self.host.ecn || !segments.ecn)
        });
        segments && (self.host.checksum || offload.checksum.is_none())
    }
}

/// The configuration as a driver reads it (5.1.4).
pub(super) fn config_bytes(mac: [u8; 6], pairs: u16, mtu: u16) -> [u8; CONFIG_SIZE] {
    let mut config = [0; CONFIG_SIZE];
    let words = [LINK_UP, pairs, mtu].map(u16::to_le_bytes).concat();
    for (to, from) in config.iter_mut().zip(mac.iter().chain(&words)) {
        *to = *from;
    }
    config
}

/// What happened, for whoever asks.
#[derive(Debug, Default)]
pub struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    pub(super) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames that the guest sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Frames that it got.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Frames with headers or lengths that cannot be, and those that did not fit into buffers.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
