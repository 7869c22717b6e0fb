//! Walks through page tables by the processor and by `x86/paging`, compared: the page that is
//! reached, the fault, and the marks that are left.

mod place;

use std::arch::x86_64::__cpuid_count;
use std::cell::RefCell;

use engine_contract::{Stop, Vcpu};
use machine_memory::GuestMemory;
use x86_paging::{
    Access, EntrySize, FaultCode, Kind, MarkedTables, Mode, PageFault, Paging, Privilege, Tables,
};
use x86_state::CpuState;

use crate::needs_kvm;
use machines::harness::{Numbers, Recorder, first};
use place::{BITS_32, FOUR_LEVEL, Level, MARKS, P, PAE, PS, RW, SYSTEM, US, Walk};

const ACCESSED: u64 = 0x20;
const XD: u64 = 1 << 63;
/// Cases of each mode.
const CASES: u32 = 600;

/// The guest's memory, but for the entries of the walk, which are kept apart.
struct Copied<'m> {
    memory: &'m GuestMemory,
    walk: Walk,
    entries: RefCell<Vec<u64>>,
}

impl Copied<'_> {
    fn level(&self, address: u64) -> Option<usize> {
        let mut levels = self.walk.levels.iter();
        levels.position(|level| level.place == address)
    }
}

impl Tables for Copied<'_> {
    fn load(&self, address: u64, size: EntrySize) -> u64 {
        assert_eq!(size, self.walk.size);
        match self.level(address) {
            Some(level) => self.entries.borrow()[level],
            None => place::load(self.memory, address, size),
        }
    }
}

impl MarkedTables for Copied<'_> {
    fn replace(&self, address: u64, _: EntrySize, before: u64, after: u64) -> bool {
        let level = self.level(address).expect("an entry of the walk");
        let entry = &mut self.entries.borrow_mut()[level];
        assert_eq!(*entry, before);
        *entry = after;
        true
    }
}

/// `bits` in all but one of so many cases.
fn mostly(numbers: &mut Numbers, count: u64, bits: u64) -> u64 {
    if numbers.random().is_multiple_of(count) {
        0
    } else {
        bits
    }
}

/// `bits` in one of so many cases.
fn seldom(numbers: &mut Numbers, count: u64, bits: u64) -> u64 {
    bits ^ mostly(numbers, count, bits)
}

fn any_of(numbers: &mut Numbers, bits: u64) -> u64 {
    numbers.random() & bits
}

/// What the processor can do: `SMEP` and `SMAP` in CR4, pages of 1 GiB; bits of a physical address.
struct Abilities {
    control: u64,
    has_huge_pages: bool,
    physical_bits: u32,
}

impl Abilities {
    fn found() -> Self {
        let extended = __cpuid_count(7, 0).ebx;
        let smep = u64::from(extended >> 7 & 1) << 20;
        let smap = u64::from(extended >> 20 & 1) << 21;
        Self {
            control: smep | smap,
            has_huge_pages: __cpuid_count(0x8000_0001, 0).edx >> 26 & 1 != 0,
            physical_bits: __cpuid_count(0x8000_0008, 0).eax & 0xff,
        }
    }

    fn can_be_page(&self, level: &Level) -> bool {
        level
            .page
            .is_some_and(|(_, bits)| bits < 30 || self.has_huge_pages)
    }

    /// Bits that must be zero in some entries: beyond an address, and below a large page's.
    fn must_be_zero(&self, numbers: &mut Numbers, mode: Mode, page: Option<(u64, u32)>) -> u64 {
        match (mode, page) {
            (Mode::Bits32, Some((_, 22))) => 1 << 21,
            (Mode::Bits32, _) => 0,
            (_, Some((_, bits))) if bits > 12 && any_of(numbers, 1) != 0 => {
                1 << (13 + numbers.random() % u64::from(bits - 13))
            }
            _ => {
                let beyond = u64::from(self.physical_bits);
                1 << (beyond + numbers.random() % (52 - beyond))
            }
        }
    }
}

/// One case: the tables, the registers, and what is done.
#[derive(Debug)]
struct Case {
    entries: Vec<u64>,
    state: CpuState,
    access: Access,
}

impl Case {
    fn new(walk: &Walk, numbers: &mut Numbers, abilities: &Abilities) -> Self {
        let kinds = [Kind::Read, Kind::Write, Kind::Fetch];
        let number = numbers.random() % 3;
        let (is_program, alignment_check) = (any_of(numbers, 1) != 0, any_of(numbers, 1) != 0);
        let privilege = if is_program {
            Privilege::User
        } else {
            Privilege::Supervisor { alignment_check }
        };
        let mut state = walk.start();
        let wants = [
            (3, walk.linear),
            (1, number),
            // Always one, ports for everybody, and perhaps AC.
            (6, 0x3002 | u64::from(alignment_check) << 18),
            (7, if is_program { walk.program } else { SYSTEM }),
            (2, u64::from(is_program)),
            (5, any_of(numbers, 0xffff_ffff)),
        ];
        for (register, value) in wants {
            state.general[register] = value;
        }
        if walk.mode == Mode::FourLevel {
            for (from, to) in [(6, 12), (7, 13), (2, 11), (5, 14)] {
                state.general[to] = state.general[from];
            }
        }
        let control = &mut state.control;
        control.cr0 ^= any_of(numbers, 1 << 16);
        // Global pages and, where it means something, large ones.
        control.cr4 |= any_of(numbers, abilities.control | 1 << 7 | 1 << 4);
        control.efer ^= any_of(numbers, 1 << 11);
        Self {
            entries: entries(walk, numbers, abilities),
            state,
            access: Access {
                kind: kinds[number as usize],
                privilege,
            },
        }
    }
}

fn entries(walk: &Walk, numbers: &mut Numbers, abilities: &Abilities) -> Vec<u64> {
    let mut entries = vec![0; walk.levels.len()];
    for (entry, level) in entries.iter_mut().zip(walk.levels) {
        let is_last = level.next.is_none();
        let is_page = is_last || abilities.can_be_page(level) && any_of(numbers, 1) != 0;
        let page = level.page.filter(|_| is_page);
        let leads_to = page.map_or_else(|| level.next.unwrap_or(0), |(page, _)| page);
        *entry = leads_to | mostly(numbers, 16, P);
        if !level.is_full {
            continue;
        }
        *entry |= if is_page && !is_last { PS } else { 0 };
        *entry |= mostly(numbers, 5, RW) | mostly(numbers, 5, US);
        // Marks, "global", and what is the system's own.
        *entry |= any_of(numbers, MARKS | 0xf00);
        let wrong = abilities.must_be_zero(numbers, walk.mode, page);
        *entry |= seldom(numbers, 10, wrong);
        if walk.size == EntrySize::Eight {
            *entry |= seldom(numbers, 6, XD);
        }
        if walk.mode == Mode::FourLevel {
            *entry |= any_of(numbers, 0x7ff << 52);
        }
        if is_page {
            break;
        }
    }
    entries
}

/// What the processor did.
fn outcome(walk: &Walk, state: &CpuState) -> Result<(), PageFault> {
    let [code, address, faulted] = match walk.mode {
        Mode::FourLevel => [8, 9, 10].map(|register| state.general[register]),
        _ => [6, 7, 2].map(|register| state.general[register] & 0xffff_ffff),
    };
    let is_fault = if walk.mode == Mode::FourLevel {
        faulted == 1
    } else {
        faulted == 2
    };
    let mut code = FaultCode::from_bits_retain(code as u32);
    // QEMU's emulation of a processor says one without the other, which cannot be (SDM vol. 3, 4.7).
    let is_present = code.intersects(FaultCode::PRESENT | FaultCode::RESERVED);
    code.set(FaultCode::PRESENT, is_present);
    if is_fault {
        Err(PageFault { address, code })
    } else {
        Ok(())
    }
}

/// Compares many cases.
fn compare(walk: Walk) {
    let abilities = Abilities::found();
    let mut machine = walk.machine();
    let memory = machine.memory().clone();
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let (mut reached, mut refused) = (0, 0);
    for number in 0..CASES {
        let case = Case::new(&walk, &mut numbers, &abilities);
        let context = format!("case {number}: {case:x?}");
        if check(
            &walk,
            &case,
            (&memory, abilities.physical_bits),
            &mut *vcpu,
            &world,
            &context,
        ) {
            reached += 1;
        } else {
            refused += 1;
        }
    }
    assert!(
        reached > CASES / 6 && refused > CASES / 6,
        "{reached} {refused}"
    );
}

/// Compares one; whether the page was reached.
fn check(
    walk: &Walk,
    case: &Case,
    (memory, physical_bits): (&GuestMemory, u32),
    vcpu: &mut dyn Vcpu,
    world: &Recorder,
    context: &str,
) -> bool {
    walk.describe_task(memory);
    for (level, entry) in walk.levels.iter().zip(&case.entries) {
        place::store(memory, level.place, walk.size, *entry);
    }
    let tables = Copied {
        memory,
        walk: *walk,
        entries: RefCell::new(case.entries.clone()),
    };
    let paging = Paging::new(&case.state.control, physical_bits);
    assert_eq!(paging.mode(), walk.mode);
    let offset = match case.access.kind {
        Kind::Read => 4,
        Kind::Write => 8,
        Kind::Fetch => 0,
    };
    let expected = paging.translate(&tables, walk.linear + offset, case.access);
    vcpu.set_state(&case.state).expect("a possible state");
    let stop = vcpu.run(world).expect("it runs");
    assert_eq!(stop, Stop::Kicked, "{context}");
    let state = vcpu.state().expect("its registers");
    assert_eq!(outcome(walk, &state), expected.map(|_| ()), "{context}");
    let left = walk.levels.iter().map(|level| {
        let entry = place::load(memory, level.place, walk.size);
        // QEMU's emulation of a processor marks the pointers of PAE, too, which have no such bit.
        let extra = if level.is_full { 0 } else { ACCESSED };
        entry & !extra
    });
    let left: Vec<u64> = left.collect();
    let Ok(mapping) = expected else {
        // Processors may mark what they used before the fault.
        let differ = left
            .iter()
            .zip(&case.entries)
            .map(|(one, other)| one ^ other);
        assert_eq!(
            differ.fold(0, |all, bits| all | bits) & !ACCESSED,
            0,
            "{context}"
        );
        return false;
    };
    assert_eq!(left, *tables.entries.borrow(), "{context}");
    let register = if walk.mode == Mode::FourLevel { 14 } else { 5 };
    let value = state.general[register] & 0xffff_ffff;
    match case.access.kind {
        Kind::Read => {
            let name = place::page_name(mapping.physical);
            assert_eq!(value, u64::from(name), "{context}");
        }
        Kind::Write => {
            let written = place::load(memory, mapping.physical, EntrySize::Four);
            assert_eq!(written, value, "{context}");
        }
        Kind::Fetch => assert_eq!(state.rip, walk.linear + 2, "{context}"),
    }
    true
}

#[test]
fn four_levels_are_walked_as_by_the_processor() {
    needs_kvm!("walks of four levels");
    compare(FOUR_LEVEL);
}

#[test]
fn pae_is_walked_as_by_the_processor() {
    needs_kvm!("walks of PAE");
    compare(PAE);
}

#[test]
fn two_levels_are_walked_as_by_the_processor() {
    needs_kvm!("walks of two levels");
    compare(BITS_32);
}
