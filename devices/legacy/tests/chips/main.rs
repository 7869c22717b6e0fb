//! The chips as drivers see them.

mod hpet;
mod i8042;
mod ioapic;
mod lapic;
mod pic;
mod pit;
mod pit_naive;
mod pm_timer;
mod random;
mod rtc;
mod uart;
