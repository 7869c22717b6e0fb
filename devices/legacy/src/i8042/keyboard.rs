//! The keyboard behind the controller (IBM PS/2 Hardware Interface Technical Reference,
//! "101- and 102-key keyboards"). It knows scan code set 2 only.

use super::Queue;
use crate::{StateError, require};

/// Bytes that the keyboard keeps for keys.
pub const QUEUE_SIZE: usize = 16;
/// Room for answers beyond that.
const ANSWERS: usize = 8;

const ACKNOWLEDGE: u8 = 0xfa;
const TEST_PASSED: u8 = 0xaa;
const ECHO: u8 = 0xee;
const RESEND: u8 = 0xfe;
const IDENTITY: [u8; 2] = [0xab, 0x83];
const SCAN_CODE_SET: u8 = 2;

/// What the keyboard takes the next byte for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    /// A command.
    Command,
    /// 0xed: the lights.
    Lights,
    /// 0xf0: a scan code set.
    ScanCodeSet,
    /// 0xf3: rate and delay of repetition.
    Rate,
}

/// The state of the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyboardState {
    /// Bytes to send, the oldest first; at most 24.
    pub queue: Queue,
    /// What the next byte is.
    pub expects: Expects,
    /// It sends the codes of keys.
    pub scans: bool,
    /// The lights, 3 bits.
    pub lights: u8,
    /// The byte of the last answer.
    pub last_sent: u8,
}

impl KeyboardState {
    pub(super) fn new() -> Self {
        Self {
            queue: Queue::new(),
            expects: Expects::Command,
            scans: true,
            lights: 0,
            last_sent: 0,
        }
    }

    pub(super) fn check(&self) -> Result<(), StateError> {
        let check = |holds, field, reason| require(holds, "i8042 keyboard", field, reason);
        check(
            self.queue.len() <= QUEUE_SIZE + ANSWERS,
            "queue",
            "is longer than the keyboard's",
        )?;
        check(self.lights < 8, "lights", "has more than 3 bits")
    }

    /// Takes the codes of a key; returns whether there was room.
    pub(super) fn push(&mut self, codes: &[u8]) -> bool {
        if !self.scans {
            return true;
        }
        let fits = self.queue.len().saturating_add(codes.len()) <= QUEUE_SIZE;
        if fits {
            self.queue.extend(codes);
        }
        fits
    }

    /// Sends an answer; a guest that never reads loses it.
    fn send(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.last_sent = byte;
            if self.queue.len() < QUEUE_SIZE + ANSWERS {
                self.queue.push_back(byte);
            }
        }
    }

    /// A byte from the system. A command in place of a parameter is a command.
    pub(super) fn write(&mut self, value: u8) {
        let expects = std::mem::replace(&mut self.expects, Expects::Command);
        match expects {
            Expects::Lights if value < ECHO => {
                self.lights = value & 7;
                self.send(&[ACKNOWLEDGE]);
            }
            Expects::ScanCodeSet if value < ECHO => self.scan_code_set(value),
            Expects::Rate if value < ECHO => self.send(&[ACKNOWLEDGE]),
            _ => self.command(value),
        }
    }

    fn scan_code_set(&mut self, set: u8) {
        match set {
            0 => self.send(&[ACKNOWLEDGE, SCAN_CODE_SET]),
            SCAN_CODE_SET => self.send(&[ACKNOWLEDGE]),
            _ => self.send(&[RESEND]),
        }
    }

    fn command(&mut self, command: u8) {
        match command {
            0xed => self.ask(Expects::Lights),
            0xf0 => self.ask(Expects::ScanCodeSet),
            0xf3 => self.ask(Expects::Rate),
            0xee => self.send(&[ECHO]),
            0xf2 => {
                self.send(&[ACKNOWLEDGE]);
                self.send(&IDENTITY);
            }
            0xf4 => self.restart(true),
            0xf5 => self.restart(false),
            0xf6 => self.restart(true),
            0xfe => self.send(&[self.last_sent]),
            0xff => {
                self.restart(true);
                self.lights = 0;
                self.send(&[TEST_PASSED]);
            }
            _ => self.send(&[RESEND]),
        }
    }

    fn ask(&mut self, parameter: Expects) {
        self.expects = parameter;
        self.send(&[ACKNOWLEDGE]);
    }

    /// Forgets what it has to send, and scans from now on or not.
    fn restart(&mut self, scans: bool) {
        self.queue.clear();
        self.scans = scans;
        self.send(&[ACKNOWLEDGE]);
    }
}
