//! Local APIC in xAPIC mode (SDM vol. 3, chapter 11; the numbers below are its sections).
//!
//! Offsets are those of the 4 KiB page; every register is 32 bits wide at a multiple of 16.
//! Interrupts come in by [`LocalApic::deliver`], [`LocalApic::raise`] (the
//! pins LINT0 and LINT1) and from the timer, whose clock runs at 1 GHz. What a processor has
//! to take is [`LocalApic::pending`]; taking it is [`LocalApic::acknowledge`]. What a write
//! asks of the outside is returned: an interrupt for processors, or an end of
//! interrupt for the I/O APIC.
//!
//! The deadline mode of the timer compares with a time stamp counter that is not this chip's:
//! whoever has it says at what moment the deadline will be reached.
//!
//! There is no x2APIC mode, no CMCI entry, no focus processor checking and no suppression of
//! broadcasts. Entries for thermal and performance interrupts are kept and never used.

mod bits;
mod registers;
mod timer;

pub use bits::Bits;
pub use registers::{Action, Destination, Ipi, Mode};
pub use timer::Deadline;

use registers::{
    DFR_FLAT, ERROR_RECEIVE_VECTOR, LVT_COUNT, LVT_ERROR, LVT_LINT0, LVT_MASKED, SVR_ENABLED,
};

use crate::{Nanos, StateError, require};

/// Vectors below are the processor's own.
const VECTOR_MIN: u8 = 16;

/// The state of a [`LocalApic`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalApicState {
    /// Its identity.
    pub id: u8,
    /// The processor has it switched on (IA32_APIC_BASE).
    pub on: bool,
    /// Task priority.
    pub task_priority: u8,
    /// Logical destination, the high 8 bits of the register.
    pub logical: u8,
    /// Destination format.
    pub format: u32,
    /// Spurious interrupt vector and the software enable bit.
    pub spurious: u32,
    /// Vectors in service.
    pub in_service: Bits,
    /// Vectors that are level triggered.
    pub level: Bits,
    /// Vectors that are requested.
    pub requested: Bits,
    /// Error status as it is read.
    pub errors: u8,
    /// Errors since it was last written.
    pub new_errors: u8,
    /// Interrupt command.
    pub command: u64,
    /// Local vector table: timer, thermal, performance, LINT0, LINT1, error.
    pub table: [u32; LVT_COUNT],
    /// Divide configuration, as in the register.
    pub divide: u32,
    /// Initial count.
    pub initial_count: u32,
    /// When the timer will fire.
    pub due: Option<Nanos>,
    /// The time stamp at which it fires in deadline mode; 0 when it is not armed.
    pub deadline: u64,
    /// The latest time seen.
    pub clock: Nanos,
}

/// A local APIC.
#[derive(Clone, Debug)]
pub struct LocalApic {
    state: LocalApicState,
}

impl LocalApic {
    /// As after power on, switched on in hardware and disabled by software.
    pub fn new(id: u8) -> Self {
        Self {
            state: LocalApicState {
                id,
                on: true,
                task_priority: 0,
                logical: 0,
                format: u32::MAX,
                spurious: 0xff,
                in_service: Bits::default(),
                level: Bits::default(),
                requested: Bits::default(),
                errors: 0,
                new_errors: 0,
                command: 0,
                table: [LVT_MASKED; LVT_COUNT],
                divide: 0,
                initial_count: 0,
                due: None,
                deadline: 0,
                clock: Nanos(0),
            },
        }
    }

    /// INIT: everything but the identity as after power on (11.4.7.3).
    pub fn init(&mut self) {
        let (clock, on) = (self.state.clock, self.state.on);
        self.state = Self::new(self.state.id).state;
        self.state.clock = clock;
        self.state.on = on;
    }

    /// The processor switches the chip on or off (11.4.3); switching off forgets everything.
    pub fn set_on(&mut self, on: bool) {
        if !on {
            self.init();
        }
        self.state.on = on;
    }

    /// Its identity.
    pub fn id(&self) -> u8 {
        self.state.id
    }

    /// Whether fixed interrupts are taken: switched on, and enabled by software.
    pub fn is_enabled(&self) -> bool {
        self.state.on && self.state.spurious & SVR_ENABLED != 0
    }

    /// A fixed or lowest priority interrupt arrives (11.8.4). An impossible vector is an
    /// error; a disabled chip takes none.
    pub fn request(&mut self, vector: u8, level: bool) {
        if !self.is_enabled() {
            return;
        }
        if vector < VECTOR_MIN {
            self.note_error(ERROR_RECEIVE_VECTOR);
            return;
        }
        self.state.requested.set(vector, true);
        self.state.level.set(vector, level);
    }

    /// An interrupt that is meant for this processor arrives. What is not for the chip but for
    /// the processor is returned: its mode; for a start, with the page in the vector.
    pub fn deliver(&mut self, ipi: Ipi) -> Option<(Mode, u8)> {
        match ipi.mode {
            Mode::Fixed | Mode::LowestPriority => {
                self.request(ipi.vector, ipi.level);
                None
            }
            mode => self.state.on.then_some((mode, ipi.vector)),
        }
    }

    /// A pin of the processor goes high: 0 for LINT0, 1 for LINT1. What that means is for the
    /// local vector table to say; a fixed interrupt is requested, and anything else has to
    /// be done by the processor. `None` when it is masked.
    pub fn raise(&mut self, pin: u8) -> Option<Mode> {
        let entry = match pin {
            0 | 1 if self.state.on => *self.state.table.get(LVT_LINT0 + usize::from(pin))?,
            // Switched off, the pins are INTR and NMI (11.4.3).
            0 => return Some(Mode::External),
            1 => return Some(Mode::Nmi),
            _ => return None,
        };
        if entry & LVT_MASKED != 0 {
            return None;
        }
        let mode = Mode::from_bits(entry >> 8 & 7)?;
        if mode == Mode::Fixed {
            self.request(entry as u8, entry & 1 << 15 != 0);
        }
        Some(mode)
    }

    /// Whether the processor has to listen to the interrupt controllers of a PC at LINT0.
    pub fn passes_external(&self) -> bool {
        let entry = self
            .state
            .table
            .get(LVT_LINT0)
            .copied()
            .unwrap_or(LVT_MASKED);
        let external = Mode::from_bits(entry >> 8 & 7) == Some(Mode::External);
        !self.state.on || (external && entry & LVT_MASKED == 0)
    }

    /// The processor priority (11.8.3.1).
    pub fn priority(&self) -> u8 {
        let service = self.state.in_service.highest().unwrap_or(0);
        if self.state.task_priority >> 4 >= service >> 4 {
            self.state.task_priority
        } else {
            service & 0xf0
        }
    }

    /// The vector that the processor has to take as soon as it takes interrupts.
    pub fn pending(&self) -> Option<u8> {
        let vector = self.state.requested.highest()?;
        (self.is_enabled() && vector >> 4 > self.priority() >> 4).then_some(vector)
    }

    /// The processor takes the pending vector. When that has gone meanwhile, it is the
    /// spurious vector (11.9); `None` when the chip is disabled and nothing was pending.
    pub fn acknowledge(&mut self) -> Option<u8> {
        let Some(vector) = self.pending() else {
            return self.is_enabled().then_some(self.state.spurious as u8);
        };
        self.state.requested.set(vector, false);
        self.state.in_service.set(vector, true);
        Some(vector)
    }

    /// Whether an interrupt with this destination is for this processor (11.6.2).
    pub fn is_meant(&self, destination: u8, logical: bool) -> bool {
        if destination == 0xff {
            return true;
        }
        if !logical {
            return destination == self.state.id;
        }
        let own = self.state.logical;
        if self.state.format >> 28 == DFR_FLAT {
            return destination & own != 0;
        }
        destination >> 4 == own >> 4 && destination & own & 0xf != 0
    }

    /// The task priority as control register 8 has it: 4 bits (11.8.6).
    pub fn task_class(&self) -> u8 {
        self.state.task_priority >> 4
    }

    /// Sets the task priority by control register 8.
    pub fn set_task_class(&mut self, class: u8) {
        self.state.task_priority = class << 4;
    }

    /// A copy of the whole state.
    pub fn save(&self) -> LocalApicState {
        self.state.clone()
    }

    /// A chip in the state of `state`.
    ///
    /// # Errors
    /// When no chip can be in that state.
    pub fn restore(state: LocalApicState) -> Result<Self, StateError> {
        let check = |holds, field, reason| require(holds, "lapic", field, reason);
        let low = |bits: &Bits| bits.lowest().is_some_and(|vector| vector < VECTOR_MIN);
        check(
            !low(&state.in_service),
            "in_service",
            "has a vector below 16",
        )?;
        check(!low(&state.requested), "requested", "has a vector below 16")?;
        registers::check(&state)?;
        Ok(Self { state })
    }

    /// An error is noted and may interrupt (11.5.3).
    fn note_error(&mut self, error: u8) {
        let known = self.state.new_errors & error != 0;
        self.state.new_errors |= error;
        if !known {
            self.interrupt_locally(LVT_ERROR);
        }
    }

    /// An entry of the local vector table that is always a fixed, edge triggered interrupt.
    fn interrupt_locally(&mut self, entry: usize) {
        let Some(entry) = self.state.table.get(entry).copied() else {
            return;
        };
        let vector = entry as u8;
        // A bad vector here is an error of its own; it must not repeat itself.
        if entry & LVT_MASKED != 0 || !self.is_enabled() {
            return;
        }
        if vector < VECTOR_MIN {
            self.state.new_errors |= ERROR_RECEIVE_VECTOR;
            return;
        }
        self.request(vector, false);
    }
}
