//! The cases, a file per family.

mod control;
mod debugging;
mod fetching;
mod gates;
mod interrupts;
mod large_pages;
mod limits;
mod loads;
mod long_interrupts;
mod modes;
mod paging;
mod pointers;
mod ports;
mod queries;
mod real;
mod registers;
mod returns;
mod syscalls;
mod system;
mod tasks;
mod transfers;
mod units;
mod virtual_8086;

use crate::case::Case;
use crate::descriptor::{self, at_level, gate};

/// A segment of its own for cases.
const TEST: u16 = crate::layout::selector::TEST;

/// A task gate.
fn task_gate(selector: u16, level: u8) -> u64 {
    gate(selector, 0, at_level(descriptor::TASK, level), 0)
}

/// All cases, in the order in which they run.
pub(crate) fn all() -> Vec<Case> {
    let families = [
        modes::cases,
        loads::cases,
        pointers::cases,
        limits::cases,
        queries::cases,
        transfers::cases,
        gates::cases,
        interrupts::cases,
        returns::cases,
        long_interrupts::cases,
        tasks::cases,
        paging::cases,
        large_pages::cases,
        control::cases,
        registers::cases,
        real::cases,
        virtual_8086::cases,
        debugging::cases,
        fetching::cases,
        units::cases,
        ports::cases,
        syscalls::cases,
        system::cases,
    ];
    let cases = families.into_iter().flat_map(|family| family());
    cases.map(Case::finished).collect()
}
