//! Chips of a PC, and twins of them: whatever a driver and the outside do, a chip that was
//! saved and restored in between goes on exactly as the one that was not.
//!
//! One target has all small chips ([`legacy`]): they have the same few calls, so that one
//! script drives each of them, and none needs a corpus of its own. The timer block has one of
//! its own ([`hpet`]), since its registers are wide.

mod chips;

use std::fmt::Debug;

use device_legacy::debug_exit::DebugExit;
use device_legacy::hpet::Hpet;
use device_legacy::i8042::I8042;
use device_legacy::pic::Pic;
use device_legacy::pit::Pit;
use device_legacy::pm_timer::{Pm1, PmTimer};
use device_legacy::rtc::Rtc;
use device_legacy::uart::Uart;
use device_legacy::{Nanos, StateError};

use crate::script::Script;
use chips::ROUTES;

/// One call of a chip.
#[derive(Clone, Copy, Debug)]
struct Call {
    /// Where a driver reads or writes.
    offset: u16,
    /// What the outside does.
    choice: u8,
    /// What is written, or what the outside has.
    value: u64,
    /// Bytes of an access.
    width: usize,
    now: Nanos,
}

/// A chip as a script drives it. What a call answers stands for all that can be seen.
trait Chip: Sized {
    type State: PartialEq + Debug;

    /// Registers that a driver finds.
    const REGISTERS: u8;

    /// A driver reads.
    fn read(&mut self, call: Call) -> u64;

    /// A driver writes.
    fn write(&mut self, call: Call);

    /// The outside does something, such as pushing a key.
    fn outside(&mut self, call: Call) -> u64;

    /// The levels of its pins, and when it wants to be looked at.
    fn shown(&self, now: Nanos) -> (u64, Option<Nanos>);

    fn save(&self) -> Self::State;

    fn restore(state: Self::State) -> Result<Self, StateError>;
}

/// Lets the rest of a script drive a chip and its twin.
fn drive<C: Chip>(mut chip: C, script: &mut Script<'_>) {
    let mut twin = C::restore(chip.save()).expect("a chip begins possible");
    let (mut now, mut latest) = (Nanos(0), Nanos(0));
    while let Some(kind) = script.byte() {
        // Time may wrap: then it stands until it comes to where it was.
        now = Nanos(now.0.wrapping_add(step(script)));
        latest = latest.max(now);
        let choice = script.byte().unwrap_or(0);
        let call = Call {
            offset: match choice {
                0xff => script.number::<2>() as u16,
                near => (near % C::REGISTERS).into(),
            },
            choice,
            value: script.number::<4>() << (kind & 0x20),
            width: 1 << (kind >> 3 & 3),
            now,
        };
        match kind & 7 {
            0 | 1 => assert_eq!(chip.read(call), twin.read(call)),
            2..=4 => {
                chip.write(call);
                twin.write(call);
            }
            5 | 6 => assert_eq!(chip.outside(call), twin.outside(call)),
            _ => twin = C::restore(twin.save()).expect("it was reached"),
        }
        let shown = chip.shown(latest);
        assert_eq!(shown, twin.shown(latest));
        assert!(
            shown.1.is_none_or(|due| due >= latest),
            "events are to come"
        );
    }
    let state = chip.save();
    assert_eq!(state, twin.save());
    C::restore(state).expect("it was reached");
}

/// Nanoseconds that pass: few, some, or as many as there are.
fn step(script: &mut Script<'_>) -> u64 {
    let Some(shape) = script.byte() else {
        return 0;
    };
    u64::from(shape & 0x0f) << (shape >> 4 << 2)
}

/// The small chips: the first byte says which one the rest drives.
///
/// # Panics
/// When a chip does, reaches a state that it refuses, or goes on otherwise when it was saved
/// and restored.
pub fn legacy(data: &[u8]) {
    let mut script = Script::new(data);
    let first = script.byte().unwrap_or(0);
    let script = &mut script;
    match first & 7 {
        0 => drive(Uart::new(), script),
        1 => drive(Pic::new(), script),
        2 => drive(Pit::new(), script),
        3 => drive(Rtc::new(u64::from(first) << 32, Nanos(0)), script),
        4 => drive(I8042::new(), script),
        5 => drive(Pm1::new(first >> 3), script),
        6 => drive(PmTimer::new(), script),
        _ => drive(DebugExit::new(), script),
    }
}

/// A timer block.
///
/// # Panics
/// As [`legacy`].
pub fn hpet(data: &[u8]) {
    drive(Hpet::new(ROUTES), &mut Script::new(data));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// A driver's write of one byte.
    fn write(place: u8, value: u8) -> [u8; 7] {
        [2, 0, place, value, 0, 0, 0]
    }

    /// What drivers do first: a port's line and interrupts, the controllers' words, a rate, a
    /// periodic interrupt, a scan code set, an enabled event.
    fn right() -> Vec<Vec<u8>> {
        let of = |chip: u8, writes: &[(u8, u8)]| {
            let calls = writes.iter().map(|&(place, value)| write(place, value));
            std::iter::once(chip).chain(calls.flatten()).collect()
        };
        vec![
            of(
                0,
                &[
                    (3, 0x83),
                    (0, 1),
                    (1, 0),
                    (3, 3),
                    (2, 0xc7),
                    (4, 0x0b),
                    (1, 0x0f),
                    (0, 65),
                ],
            ),
            of(
                1,
                &[
                    (0, 0x11),
                    (1, 0x20),
                    (1, 4),
                    (1, 1),
                    (2, 0x11),
                    (3, 0x28),
                    (3, 2),
                    (3, 1),
                    (1, 0),
                    (3, 0),
                ],
            ),
            of(
                2,
                &[
                    (3, 0x34),
                    (0, 0xa9),
                    (0, 4),
                    (3, 0xb6),
                    (2, 9),
                    (2, 9),
                    (4, 3),
                ],
            ),
            of(
                3,
                &[
                    (0, 0x0b),
                    (1, 0x72),
                    (0, 0x0a),
                    (1, 0x26),
                    (0, 5),
                    (1, 0xff),
                ],
            ),
            of(
                4,
                &[
                    (1, 0x60),
                    (0, 0x45),
                    (0, 0xed),
                    (0, 7),
                    (0, 0xf4),
                    (1, 0x20),
                ],
            ),
            of(5, &[(2, 1), (3, 1), (4, 0), (5, 0x34)]),
        ]
    }

    /// Puts other calls among a driver's, changes some bytes, and repeats the whole.
    fn almost(right: &[u8], random: &mut Random) -> Vec<u8> {
        let (chip, calls) = right.split_at(1);
        let mut bytes = chip.to_vec();
        for call in calls.chunks(7).cycle().take(40) {
            if random.below(2) == 0 {
                bytes.extend(random.bits().to_le_bytes().into_iter().take(7));
            }
            let mut call = call.to_vec();
            let at = random.below(20) as usize;
            if let Some(byte) = call.get_mut(at) {
                *byte = random.below(256) as u8;
            }
            bytes.extend(call);
        }
        bytes
    }

    #[test]
    fn chips_survive_drivers_that_are_almost_right() {
        let mut random = Random::new(3);
        for right in right() {
            legacy(&right);
            for _ in 0..500 {
                legacy(&almost(&right, &mut random));
            }
        }
    }

    #[test]
    fn the_timer_block_survives_drivers_that_are_almost_right() {
        let call = |place: u8, value: u32| {
            let [a, b, c, d] = value.to_le_bytes();
            [0x12, 0x21, place, a, b, c, d]
        };
        // A periodic timer, a level triggered one, and the counter.
        let calls = [
            call(8, 0x1_004c),
            call(10, 100),
            call(10, 30),
            call(12, 0x1_0006),
            call(14, 5),
            call(2, 1),
        ];
        let right = [vec![0], calls.concat()].concat();
        let mut random = Random::new(4);
        for _ in 0..2000 {
            hpet(&almost(&right, &mut random)[1..]);
        }
    }

    /// A chip that forgets what was written to it when it is restored.
    #[derive(Debug)]
    struct Forgetful(u64);

    impl Chip for Forgetful {
        type State = u64;
        const REGISTERS: u8 = 1;

        fn read(&mut self, _: Call) -> u64 {
            self.0
        }

        fn write(&mut self, call: Call) {
            self.0 = call.value;
        }

        fn outside(&mut self, _: Call) -> u64 {
            0
        }

        fn shown(&self, _: Nanos) -> (u64, Option<Nanos>) {
            (0, None)
        }

        fn save(&self) -> u64 {
            self.0
        }

        fn restore(_: u64) -> Result<Self, StateError> {
            Ok(Self(0))
        }
    }

    #[test]
    #[should_panic(expected = "left == right")]
    fn a_chip_that_forgets_is_found() {
        let restore = [7, 0, 0, 0, 0, 0, 0];
        let script = [write(0, 9), restore].concat();
        drive(Forgetful(0), &mut Script::new(&script));
    }
}
