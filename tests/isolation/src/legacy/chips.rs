//! How a script drives each chip.

use device_legacy::debug_exit::{DebugExit, DebugExitState};
use device_legacy::hpet::{Hpet, HpetState, REPLACED_PIT, REPLACED_RTC};
use device_legacy::i8042::{I8042, I8042State};
use device_legacy::pic::{Pic, PicState};
use device_legacy::pit::{Pit, PitState};
use device_legacy::pm_timer::{Pm1, Pm1State, PmTimer, PmTimerState};
use device_legacy::rtc::{Rtc, RtcState};
use device_legacy::uart::{Uart, UartState};
use device_legacy::{Nanos, StateError};

use super::{Call, Chip};

/// What all chips have: a state, and registers that a driver finds.
macro_rules! stateful {
    ($state:ty, $registers:expr) => {
        type State = $state;
        const REGISTERS: u8 = $registers;

        fn save(&self) -> $state {
            Self::save(self)
        }

        fn restore(state: $state) -> Result<Self, StateError> {
            Self::restore(state)
        }
    };
}

/// Reads a chip whose registers are bytes, as a bus does with a wide access.
fn read_bytes(call: Call, mut read: impl FnMut(u16) -> u8) -> u64 {
    let mut bytes = [0; 8];
    for (byte, at) in bytes
        .iter_mut()
        .take(call.width)
        .zip(call.offset..=u16::MAX)
    {
        *byte = read(at);
    }
    u64::from_le_bytes(bytes)
}

fn write_bytes(call: Call, mut write: impl FnMut(u16, u8)) {
    let bytes = call.value.to_le_bytes();
    for (at, byte) in (call.offset..=u16::MAX).zip(bytes.into_iter().take(call.width)) {
        write(at, byte);
    }
}

impl Chip for Uart {
    stateful!(UartState, 8);

    fn read(&mut self, call: Call) -> u64 {
        read_bytes(call, |at| Self::read(self, at, call.now))
    }

    fn write(&mut self, call: Call) {
        write_bytes(call, |at, byte| Self::write(self, at, byte, call.now));
    }

    fn outside(&mut self, call: Call) -> u64 {
        let bytes = call.value.to_le_bytes();
        match call.choice % 5 {
            0 => self.take_output().len() as u64,
            1 => self.receive(&bytes, call.now) as u64,
            2 => self.receive_break(call.now).into(),
            3 => {
                self.set_modem_lines(bytes[0]);
                0
            }
            _ => {
                self.advance(call.now);
                0
            }
        }
    }

    fn shown(&self, now: Nanos) -> (u64, Option<Nanos>) {
        assert!(self.room() <= 16, "a FIFO has 16 bytes");
        let pins = [self.irq(), self.out2(), self.rts()].map(u64::from);
        (pins[0] | pins[1] << 1 | pins[2] << 2, self.next_event(now))
    }
}

impl Chip for Pic {
    stateful!(PicState, 6);

    fn read(&mut self, call: Call) -> u64 {
        read_bytes(call, |at| Self::read(self, at))
    }

    fn write(&mut self, call: Call) {
        write_bytes(call, |at, byte| Self::write(self, at, byte));
    }

    fn outside(&mut self, call: Call) -> u64 {
        if call.choice & 3 == 0 {
            return self.acknowledge().into();
        }
        self.set_line(call.value as u8, call.choice & 4 != 0);
        0
    }

    fn shown(&self, _: Nanos) -> (u64, Option<Nanos>) {
        (self.irq().into(), None)
    }
}

impl Chip for Pit {
    stateful!(PitState, 5);

    fn read(&mut self, call: Call) -> u64 {
        read_bytes(call, |at| Self::read(self, at, call.now))
    }

    fn write(&mut self, call: Call) {
        write_bytes(call, |at, byte| Self::write(self, at, byte, call.now));
    }

    fn outside(&mut self, call: Call) -> u64 {
        self.advance(call.now);
        self.take_edges()
    }

    fn shown(&self, now: Nanos) -> (u64, Option<Nanos>) {
        let pins = u64::from(self.irq()) | u64::from(self.speaker()) << 1;
        (pins, self.next_event(now))
    }
}

impl Chip for Rtc {
    stateful!(RtcState, 2);

    fn read(&mut self, call: Call) -> u64 {
        read_bytes(call, |at| Self::read(self, at, call.now))
    }

    fn write(&mut self, call: Call) {
        write_bytes(call, |at, byte| Self::write(self, at, byte, call.now));
    }

    fn outside(&mut self, call: Call) -> u64 {
        match call.choice & 3 {
            0 => self.set_time(call.value, call.now),
            1 => self.set_byte(call.value as u8, (call.value >> 8) as u8),
            2 => self.set_memory_size(call.value, call.now.0),
            _ => self.advance(call.now),
        }
        0
    }

    fn shown(&self, now: Nanos) -> (u64, Option<Nanos>) {
        (self.irq().into(), self.next_event(now))
    }
}

impl Chip for I8042 {
    stateful!(I8042State, 2);

    fn read(&mut self, call: Call) -> u64 {
        read_bytes(call, |at| Self::read(self, at))
    }

    fn write(&mut self, call: Call) {
        write_bytes(call, |at, byte| Self::write(self, at, byte));
    }

    fn outside(&mut self, call: Call) -> u64 {
        match call.choice % 3 {
            0 => self.take_reset().into(),
            1 => {
                let codes = call.value.to_le_bytes();
                self.push_key(&codes[..call.width]).into()
            }
            _ => {
                self.advance();
                0
            }
        }
    }

    fn shown(&self, _: Nanos) -> (u64, Option<Nanos>) {
        (u64::from(self.irq()) << 8 | u64::from(self.lights()), None)
    }
}

impl Chip for Pm1 {
    stateful!(Pm1State, 6);

    fn read(&mut self, call: Call) -> u64 {
        read_bytes(call, |at| Self::read(self, at, call.now))
    }

    fn write(&mut self, call: Call) {
        write_bytes(call, |at, byte| Self::write(self, at, byte, call.now));
    }

    fn outside(&mut self, call: Call) -> u64 {
        match call.choice & 3 {
            0 => return self.take_power_off().into(),
            1 => self.press_power_button(),
            2 => self.press_sleep_button(),
            _ => self.advance(call.now),
        }
        0
    }

    fn shown(&self, now: Nanos) -> (u64, Option<Nanos>) {
        (self.irq().into(), self.next_event(now))
    }
}

impl Chip for PmTimer {
    stateful!(PmTimerState, 1);

    fn read(&mut self, call: Call) -> u64 {
        Self::read(self, call.offset, call.now).into()
    }

    fn write(&mut self, call: Call) {
        Self::write(self, call.offset, call.value as u32, call.now);
    }

    fn outside(&mut self, _: Call) -> u64 {
        0
    }

    fn shown(&self, _: Nanos) -> (u64, Option<Nanos>) {
        (0, None)
    }
}

impl Chip for DebugExit {
    stateful!(DebugExitState, 1);

    fn read(&mut self, call: Call) -> u64 {
        read_bytes(call, |at| Self::read(self, at))
    }

    fn write(&mut self, call: Call) {
        write_bytes(call, |at, byte| Self::write(self, at, byte));
    }

    fn outside(&mut self, _: Call) -> u64 {
        self.take_exit().map_or(u64::MAX, u64::from)
    }

    fn shown(&self, _: Nanos) -> (u64, Option<Nanos>) {
        (self.irq().into(), None)
    }
}

/// Where a timer block's interrupts may go.
pub(super) const ROUTES: u32 = 0xff_0000;

impl Chip for Hpet {
    stateful!(HpetState, 20);

    fn read(&mut self, call: Call) -> u64 {
        let mut bytes = [0; 8];
        let place = hpet_place(call.offset);
        Self::read(self, place, &mut bytes[..call.width], call.now);
        u64::from_le_bytes(bytes)
    }

    fn write(&mut self, call: Call) {
        let bytes = call.value.to_le_bytes();
        Self::write(
            self,
            hpet_place(call.offset),
            &bytes[..call.width],
            call.now,
        );
    }

    fn outside(&mut self, call: Call) -> u64 {
        self.advance(call.now);
        self.take_edges().into()
    }

    fn shown(&self, now: Nanos) -> (u64, Option<Nanos>) {
        let may = if self.replaces_legacy() {
            ROUTES | 1 << REPLACED_PIT | 1 << REPLACED_RTC
        } else {
            ROUTES
        };
        assert_eq!(self.lines() & !may, 0, "interrupts go where they may");
        (self.lines().into(), self.next_event(now))
    }
}

/// Registers by number, each as a whole or its upper half; an offset out of the ordinary is
/// taken as it is.
fn hpet_place(offset: u16) -> u16 {
    let upper = 4 * (offset & 1);
    match offset >> 1 {
        near @ 0..4 => [0x00, 0x10, 0x20, 0xf0][usize::from(near)] + upper,
        timers @ 4..10 => 0x100 + 0x20 * (timers / 2 - 2) + 8 * (timers & 1) + upper,
        _ => offset,
    }
}
