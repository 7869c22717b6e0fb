//! The control queue (virtio 1.2, 5.1.6.5).

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use machine_memory::GuestMemory;

use super::receive::Receiver;
use crate::queue::Chain;

const OK: u8 = 0;
const REFUSED: u8 = 1;

const CLASS_RX: u8 = 0;
const CLASS_MAC: u8 = 1;
const CLASS_VLAN: u8 = 2;
const CLASS_PAIRS: u8 = 4;

/// What the driver can change.
pub(super) struct Control<'d> {
    pub(super) mac: &'d Mutex<[u8; 6]>,
    pub(super) receiver: &'d Receiver,
    pub(super) pairs: u16,
}

impl Control<'_> {
    /// Answers a command; `None` for one that is not in memory.
    pub(super) fn serve(&self, chain: &Chain, memory: &GuestMemory) -> Option<u32> {
        let (mut command, mut answer) = (chain.reader(memory)?, chain.writer(memory)?);
        let mut head = [0; 2];
        let mut data = [0; 6];
        let whole = command.read(&mut head) == head.len();
        let length = command.read(&mut data);
        let data = data.get(..length).unwrap_or_default();
        let status = if whole {
            self.obey(head, data)
        } else {
            REFUSED
        };
        Some(answer.write(&[status]) as u32)
    }

    fn obey(&self, command: [u8; 2], data: &[u8]) -> u8 {
        match (command, data) {
            // There is nobody else's traffic that could be kept away, so any filter will do.
            ([CLASS_RX, 0..=5], [_, ..]) | ([CLASS_VLAN, 0 | 1], [_, _, ..]) => OK,
            ([CLASS_MAC, 0], [_, _, _, _, ..]) => OK,
            ([CLASS_MAC, 1], &[a, b, c, d, e, f]) => {
                let mut mac = self.mac.lock().unwrap_or_else(PoisonError::into_inner);
                *mac = [a, b, c, d, e, f];
                OK
            }
            ([CLASS_PAIRS, 0], &[low, high, ..]) => {
                let pairs = u16::from_le_bytes([low, high]);
                if !(1..=self.pairs).contains(&pairs) {
                    return REFUSED;
                }
                let active = &self.receiver.active;
                active.store(usize::from(pairs), Ordering::Relaxed);
                OK
            }
            _ => REFUSED,
        }
    }
}
