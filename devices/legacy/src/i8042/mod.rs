//! i8042 keyboard controller with a keyboard and without a mouse (IBM AT Technical Reference,
//! "Keyboard controller"; IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
//! auxiliary device controller").
//!
//! Offset 0 is the data port (0x60 of a PC), offset 1 the status and command port (0x64).
//! [`I8042::irq`] is IRQ 1. Keys are pushed as scan codes of set 2, which the controller
//! translates to set 1 while the guest wants that. A20 is always on, whatever the guest writes.
//! A wish to reset the machine waits in [`I8042::take_reset`].
//!
//! That there is no mouse shows in three ways, as on an AT: the second port cannot be
//! enabled, its loopback comes back as the keyboard's, and its test finds the clock stuck low.

mod keyboard;
mod translate;

use std::collections::VecDeque;

pub use keyboard::{Expects, KeyboardState, QUEUE_SIZE};
use translate::Translated;

use crate::{FLOATING, StateError, require};

const STATUS_OUTPUT: u8 = 0x01;
const STATUS_SYSTEM: u8 = 0x04;
const STATUS_COMMAND: u8 = 0x08;
const STATUS_UNLOCKED: u8 = 0x10;
const STATUS_AUXILIARY: u8 = 0x20;
const STATUS_TIMEOUT: u8 = 0x40;

const MODE_INTERRUPT: u8 = 0x01;
const MODE_AUXILIARY_INTERRUPT: u8 = 0x02;
const MODE_SYSTEM: u8 = 0x04;
const MODE_DISABLED: u8 = 0x10;
const MODE_AUXILIARY_DISABLED: u8 = 0x20;
const MODE_TRANSLATE: u8 = 0x40;

const SELF_TEST_PASSED: u8 = 0x55;
const PORT_TEST_PASSED: u8 = 0x00;
const PORT_TEST_CLOCK_LOW: u8 = 0x01;
const INPUT_PORT_UNLOCKED: u8 = 0x80;
/// Output port: reset line high, A20 on, and the keyboard's lines idle.
const OUTPUT_PORT_IDLE: u8 = 0xc3;
const OUTPUT_PORT_INTERRUPT: u8 = 0x10;
/// What the absent mouse answers.
const RESEND: u8 = 0xfe;

/// Bytes of the controller's own memory.
const RAM_SIZE: usize = 32;

/// Where a byte in the output buffer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the keyboard.
    Keyboard,
    /// The controller's answer to a command.
    Controller,
    /// In place of the mouse, which does not answer.
    Auxiliary,
}

/// The byte in the output buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// The byte, translated.
    pub byte: u8,
    /// Where it comes from.
    pub source: Source,
}

/// The command that the next byte to the data port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// 0x60 to 0x7f: write this byte of the controller's memory, below 32.
    WriteRam(u8),
    /// 0xd1: the output port.
    OutputPort,
    /// 0xd2 and, without mouse, 0xd3: put it into the output buffer.
    Echo(Source),
    /// 0xd4: to the mouse.
    ToAuxiliary,
}

/// The state of an [`I8042`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct I8042State {
    /// The controller's memory; byte 0 is the command byte.
    pub ram: [u8; RAM_SIZE],
    /// The output buffer.
    pub output: Option<Output>,
    /// The byte that was last read, which an empty output buffer still shows.
    pub last_output: u8,
    /// The last write was a command.
    pub wrote_command: bool,
    /// What the next data is for; `None`: the keyboard.
    pub pending: Option<Pending>,
    /// Translation: the next code is of a released key.
    pub released: bool,
    /// The guest asked for a reset, which was not taken yet.
    pub reset: bool,
    /// The keyboard.
    pub keyboard: KeyboardState,
}

/// A keyboard controller and its keyboard.
#[derive(Clone, Debug)]
pub struct I8042 {
    state: I8042State,
}

impl Default for I8042 {
    fn default() -> Self {
        Self::new()
    }
}

impl I8042 {
    /// As firmware leaves it: tested, translating, keyboard on, no interrupts.
    pub fn new() -> Self {
        let mut ram = [0; RAM_SIZE];
        let [mode, ..] = &mut ram;
        *mode = MODE_SYSTEM | MODE_AUXILIARY_DISABLED | MODE_TRANSLATE;
        Self {
            state: I8042State {
                ram,
                output: None,
                last_output: 0,
                wrote_command: true,
                pending: None,
                released: false,
                reset: false,
                keyboard: KeyboardState::new(),
            },
        }
    }

    /// Reads offset 0, the output buffer, or 1, the status.
    pub fn read(&mut self, offset: u16) -> u8 {
        match offset {
            0 => self.read_output(),
            1 => {
                self.advance();
                self.status()
            }
            _ => FLOATING,
        }
    }

    /// Writes offset 0, data for the pending command or the keyboard, or 1, a command.
    pub fn write(&mut self, offset: u16, value: u8) {
        match offset {
            0 => {
                self.state.wrote_command = false;
                self.write_data(value);
            }
            1 => {
                self.state.wrote_command = true;
                self.state.pending = None;
                self.command(value);
            }
            _ => {}
        }
        self.advance();
    }

    /// Moves the keyboard's next byte into the output buffer, if it is free and the
    /// keyboard's line is open. A keyboard takes a while for that: the interrupt falls when
    /// a byte is read and rises with the next one, and software counts on an edge for each.
    /// Call it after every access, once the level before it has been passed on.
    pub fn advance(&mut self) {
        while self.state.output.is_none() && self.mode() & MODE_DISABLED == 0 {
            // In set 1 the prefix of a released key is part of its code.
            let Some(byte) = self.state.keyboard.queue.pop_front() else {
                return;
            };
            if let Some(byte) = self.translated(byte) {
                self.state.output = Some(Output {
                    byte,
                    source: Source::Keyboard,
                });
            }
        }
    }

    /// The level of IRQ 1: there is a byte of the first port to read.
    pub fn irq(&self) -> bool {
        let first = |output: Output| output.source != Source::Auxiliary;
        self.mode() & MODE_INTERRUPT != 0 && self.state.output.is_some_and(first)
    }

    /// Pushes the scan codes (set 2) of a key being pressed or released: all of them or,
    /// if the keyboard's buffer lacks room, none, in which case offer them later. Returns
    /// whether they were taken. A keyboard that the guest has switched off forgets them.
    pub fn push_key(&mut self, codes: &[u8]) -> bool {
        let taken = self.state.keyboard.push(codes);
        self.advance();
        taken
    }

    /// The lights, as the guest set them: 1 scroll lock, 2 num lock, 4 caps lock.
    pub fn lights(&self) -> u8 {
        self.state.keyboard.lights
    }

    /// Takes the guest's wish to reset the machine.
    pub fn take_reset(&mut self) -> bool {
        std::mem::take(&mut self.state.reset)
    }

    /// A copy of the whole state.
    pub fn save(&self) -> I8042State {
        self.state.clone()
    }

    /// A controller in the state of `state`.
    ///
    /// # Errors
    /// When no controller can be in that state.
    pub fn restore(state: I8042State) -> Result<Self, StateError> {
        let check = |holds, field, reason| require(holds, "i8042", field, reason);
        let chip = Self { state };
        check(
            chip.mode() == without_mouse(chip.mode()),
            "ram",
            "enables a mouse that is not there",
        )?;
        check(
            !matches!(chip.state.pending, Some(Pending::WriteRam(32..))),
            "pending",
            "is past the memory",
        )?;
        check(
            chip.state.pending != Some(Pending::Echo(Source::Auxiliary)),
            "pending",
            "echoes as a mouse that is not there",
        )?;
        chip.state.keyboard.check()?;
        Ok(chip)
    }

    fn mode(&self) -> u8 {
        let [mode, ..] = self.state.ram;
        mode
    }

    fn set_mode(&mut self, value: u8) {
        let [mode, ..] = &mut self.state.ram;
        *mode = without_mouse(value);
    }

    fn status(&self) -> u8 {
        let source = match self.state.output {
            None => 0,
            Some(Output {
                source: Source::Auxiliary,
                ..
            }) => STATUS_OUTPUT | STATUS_AUXILIARY | STATUS_TIMEOUT,
            Some(_) => STATUS_OUTPUT,
        };
        let command = if self.state.wrote_command {
            STATUS_COMMAND
        } else {
            0
        };
        source | command | STATUS_UNLOCKED | (self.mode() & MODE_SYSTEM & STATUS_SYSTEM)
    }

    fn read_output(&mut self) -> u8 {
        self.advance();
        if let Some(output) = self.state.output.take() {
            self.state.last_output = output.byte;
        }
        self.state.last_output
    }

    fn translated(&mut self, byte: u8) -> Option<u8> {
        if self.mode() & MODE_TRANSLATE == 0 {
            self.state.released = false;
            return Some(byte);
        }
        match translate::to_set_1(byte, self.state.released) {
            Translated::Prefix => {
                self.state.released = true;
                None
            }
            Translated::Code(code) => {
                self.state.released = false;
                Some(code)
            }
        }
    }

    /// Answers a command. The answer takes the place of what is in the buffer.
    fn answer(&mut self, byte: u8, source: Source) {
        self.state.output = Some(Output { byte, source });
    }

    fn command(&mut self, command: u8) {
        match command {
            0x20..=0x3f => {
                let byte = self.state.ram.get(usize::from(command & 0x1f)).copied();
                self.answer(byte.unwrap_or(FLOATING), Source::Controller);
            }
            0x60..=0x7f => self.state.pending = Some(Pending::WriteRam(command & 0x1f)),
            0xa9 => self.answer(PORT_TEST_CLOCK_LOW, Source::Controller),
            0xaa => {
                self.set_mode(self.mode() | MODE_SYSTEM);
                self.answer(SELF_TEST_PASSED, Source::Controller);
            }
            0xab => self.answer(PORT_TEST_PASSED, Source::Controller),
            0xad => self.set_mode(self.mode() | MODE_DISABLED),
            0xae => self.set_mode(self.mode() & !MODE_DISABLED),
            0xc0 => self.answer(INPUT_PORT_UNLOCKED, Source::Controller),
            0xd0 => self.answer(self.output_port(), Source::Controller),
            0xd1 => self.state.pending = Some(Pending::OutputPort),
            0xd2 => self.state.pending = Some(Pending::Echo(Source::Keyboard)),
            0xd3 => self.state.pending = Some(Pending::Echo(Source::Controller)),
            0xd4 => self.state.pending = Some(Pending::ToAuxiliary),
            0xe0 => self.answer(0, Source::Controller),
            0xf0..=0xff => self.state.reset |= command & 1 == 0,
            _ => {}
        }
    }

    fn output_port(&self) -> u8 {
        let full = self.state.output.is_some();
        OUTPUT_PORT_IDLE | if full { OUTPUT_PORT_INTERRUPT } else { 0 }
    }

    fn write_data(&mut self, value: u8) {
        match self.state.pending.take() {
            None => self.write_keyboard(value),
            Some(Pending::WriteRam(0)) => self.set_mode(value),
            Some(Pending::WriteRam(at)) => {
                if let Some(byte) = self.state.ram.get_mut(usize::from(at)) {
                    *byte = value;
                }
            }
            Some(Pending::OutputPort) => self.state.reset |= value & 1 == 0,
            Some(Pending::Echo(source)) => self.answer(value, source),
            Some(Pending::ToAuxiliary) => self.answer(RESEND, Source::Auxiliary),
        }
    }

    /// Sending to the keyboard opens its line.
    fn write_keyboard(&mut self, value: u8) {
        self.set_mode(self.mode() & !MODE_DISABLED);
        self.state.keyboard.write(value);
    }
}

/// The command byte as it is without mouse: the second port stays disabled.
fn without_mouse(mode: u8) -> u8 {
    mode & !MODE_AUXILIARY_INTERRUPT | MODE_AUXILIARY_DISABLED
}

/// What waits to be sent.
type Queue = VecDeque<u8>;
