//! The first serial port, for last words that no monitor of ours reads (16550).

use super::cpu::{port_read_byte, port_write_byte};

const DATA: u16 = 0x3f8;
const STATUS: u16 = DATA + 5;
const SCRATCH: u16 = DATA + 7;
const STATUS_EMPTY: u8 = 1 << 5;
/// How often to look whether it takes another byte.
const PATIENCE: u32 = 100_000;

/// Whether there is one.
fn is_there() -> bool {
    port_write_byte(SCRATCH, 0x5a);
    port_read_byte(SCRATCH) == 0x5a
}

/// Writes text, if there is a port that takes it.
pub(super) fn write(text: impl Iterator<Item = u8>) {
    if !is_there() {
        return;
    }
    for byte in text {
        if byte == b'\n' {
            send(b'\r');
        }
        send(byte);
    }
}

fn send(byte: u8) {
    let ready = (0..PATIENCE).any(|_| port_read_byte(STATUS) & STATUS_EMPTY != 0);
    if ready {
        port_write_byte(DATA, byte);
    }
}
