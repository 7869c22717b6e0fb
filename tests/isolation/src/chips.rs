//! Chips of a PC under any calls: they do not panic, and what was saved can be restored.

use device_legacy::Nanos;
use device_legacy::hpet::{Hpet, REPLACED_PIT, REPLACED_RTC};
use device_legacy::ioapic::IoApic;
use device_legacy::lapic::{Deadline, LocalApic};

use crate::script::Script;

/// Where the timer block's interrupts may go.
const HPET_MAY: u32 = 0xff_0000 | 1 << REPLACED_PIT | 1 << REPLACED_RTC;

/// Accesses to an I/O APIC, a local APIC and a timer block, whose interrupts meet.
///
/// # Panics
/// When a chip does, or reaches a state that it refuses.
pub fn apic(data: &[u8]) {
    let mut script = Script::new(data);
    let (mut io, mut local) = (IoApic::new(), LocalApic::new(0));
    let mut hpet = Hpet::new(0xff_0000);
    let mut now = Nanos(0);
    while let Some(kind) = script.byte() {
        let (offset, value) = (script.number::<2>() as u16, script.number::<4>());
        now = Nanos(now.0.wrapping_add(value << (kind >> 4)));
        match kind & 0xf {
            0 | 1 => drop(io.write(offset & 0x10, value as u32)),
            2 => drop(io.set_line(offset as u8, value & 1 != 0)),
            3 | 4 => {
                let action = local.write(offset & 0xff0, value as u32, now);
                if let Some(device_legacy::lapic::Action::End(vector)) = action {
                    drop(io.eoi(vector));
                }
            }
            5 => drop(local.read(offset, now)),
            6 => drop(local.acknowledge()),
            7 => local.request(value as u8, offset & 1 != 0),
            8 => drop(local.raise(offset as u8)),
            9 => {
                let (tsc, at) = (value, Nanos(now.0.wrapping_add(value)));
                local.write_deadline(Some(Deadline { tsc, at }), now);
            }
            10 | 11 => {
                let bytes = value.to_le_bytes();
                let length = 1 << (kind >> 4 & 3);
                hpet.write(offset & 0x1ff, &bytes[..length], now);
            }
            12 => hpet.read(offset, &mut [0; 8], now),
            13 => local.set_on(value & 1 != 0),
            _ => drop((io.read(offset & 0x10), hpet.take_edges())),
        }
        let due = local
            .next_event(now)
            .into_iter()
            .chain(hpet.next_event(now));
        assert!(due.into_iter().all(|due| due >= now), "events are to come");
        assert!(local.pending() <= Some(u8::MAX) && hpet.lines() & !HPET_MAY == 0);
    }
    IoApic::restore(io.save()).expect("it was reached");
    LocalApic::restore(local.save()).expect("it was reached");
    Hpet::restore(hpet.save()).expect("it was reached");
}
