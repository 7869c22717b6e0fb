//! The serial port, between the guest and the host.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use device_legacy::uart::Uart;
use machine_bus::{InterruptLine, Nanos};

use crate::attached::{Attached, Chip};

/// Where what the guest sends goes.
pub trait Output: Send {
    /// Takes all of `bytes`; a virtual CPU waits for it.
    fn put(&mut self, bytes: &[u8]);
}

/// A serial port. Its interrupt pin is gated by OUT2, as on every PC.
pub(crate) struct Serial {
    uart: Uart,
    output: Box<dyn Output>,
    room: Arc<Room>,
    /// What is received by itself, and when the next of it comes.
    coming: VecDeque<u8>,
    comes: Option<Nanos>,
}

/// How long a FIFO's worth takes on a line, about.
const FIFO_TIME: u64 = 1_000_000;

/// Tells whoever has input that there may be room for it.
#[derive(Debug, Default)]
struct Room {
    /// Whether there is room, or nobody will ever ask for it again.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    None,
    Some,
    Ended,
}

impl Room {
    /// Those that ended stay so.
    fn set(&self, state: State) {
        let mut now = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != State::Ended && *now != state {
            *now = state;
            self.changed.notify_all();
        }
    }

    /// Waits for room; `false` when there will be none.
    fn wait(&self) -> bool {
        let mut now = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while *now == State::None {
            let woken = self.changed.wait(now);
            now = woken.unwrap_or_else(PoisonError::into_inner);
        }
        *now == State::Some
    }
}

impl Serial {
    pub(crate) fn new(output: Box<dyn Output>, input: Vec<u8>) -> Self {
        Self {
            uart: Uart::new(),
            output,
            room: Arc::default(),
            coming: input.into(),
            comes: None,
        }
    }

    /// How much it takes now. What came before the guest is ready to receive (RTS) would be lost:
    /// drivers empty the FIFO when they begin. DTR says less: Linux sets it for its messages alone.
    fn takes(&self) -> usize {
        if self.uart.rts() { self.uart.room() } else { 0 }
    }

    /// Receives what it takes now; returns how much.
    fn receive(&mut self, bytes: &[u8], now: Nanos) -> usize {
        let most = self.takes().min(bytes.len());
        self.uart
            .receive(bytes.get(..most).unwrap_or_default(), now)
    }

    /// Receives what comes by itself, as much as it takes now.
    fn receive_coming(&mut self, now: Nanos) {
        self.comes = None;
        let most = self.takes().min(self.coming.len());
        let bytes: Vec<u8> = self.coming.iter().take(most).copied().collect();
        let taken = self.receive(&bytes, now);
        self.coming.drain(..taken.min(most));
    }
}

impl Chip for Serial {
    fn read(&mut self, offset: u16, now: Nanos) -> u8 {
        self.uart.read(offset, now)
    }

    fn write(&mut self, offset: u16, value: u8, now: Nanos) {
        self.uart.write(offset, value, now);
        let sent = self.uart.take_output();
        if !sent.is_empty() {
            self.output.put(&sent);
        }
    }

    fn advance(&mut self, now: Nanos) {
        self.uart.advance(now);
        if self.comes.is_some_and(|comes| comes <= now) {
            self.receive_coming(now);
        }
    }

    fn settle(&mut self, line: &dyn InterruptLine, now: Nanos) {
        line.set(self.uart.irq() && self.uart.out2());
        let has_room = self.takes() > 0;
        if has_room && self.comes.is_none() && !self.coming.is_empty() {
            self.comes = Some(Nanos(now.0.saturating_add(FIFO_TIME)));
        }
        self.room
            .set(if has_room { State::Some } else { State::None });
    }

    fn next_event(&self, now: Nanos) -> Option<Nanos> {
        let next = self.uart.next_event(now);
        next.into_iter().chain(self.comes).min()
    }
}

/// Where input for the guest is handed in.
#[derive(Clone)]
pub struct SerialInput {
    port: Arc<Attached<Serial>>,
    room: Arc<Room>,
}

impl fmt::Debug for SerialInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SerialInput").finish_non_exhaustive()
    }
}

impl SerialInput {
    pub(crate) fn new(port: &Arc<Attached<Serial>>) -> Self {
        let room = port.with(|serial, _| Arc::clone(&serial.room));
        let port = Arc::clone(port);
        Self { port, room }
    }

    /// Hands all of `bytes` in, waiting until the guest is ready for them and has room; `false`
    /// when that will not be.
    pub fn push(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            if !self.room.wait() {
                return false;
            }
            let taken = self.offer(rest);
            rest = rest.get(taken..).unwrap_or_default();
        }
        true
    }

    /// Hands in as many of `bytes` as there is room for at once; returns their number.
    fn offer(&self, bytes: &[u8]) -> usize {
        self.port.with(|serial, now| serial.receive(bytes, now))
    }

    /// Nobody waits any more.
    pub(crate) fn end(&self) {
        self.room.set(State::Ended);
    }
}
