use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use proptest::prelude::*;
use x86_state::Control;

use crate::access::{Access, FaultCode, Kind, PageFault, Privilege};
use crate::mode::{Mode, Paging};
use crate::walk::{EntrySize, MarkedTables, Rights, Tables};

const PG_WP: u64 = 1 << 31 | 1 << 16;
const PSE: u64 = 1 << 4;
const PAE: u64 = 1 << 5;
const PGE: u64 = 1 << 7;
const SMEP: u64 = 1 << 20;
const SMAP: u64 = 1 << 21;
const LMA: u64 = 1 << 10;
const NXE: u64 = 1 << 11;

const P: u64 = 1;
const RW: u64 = 2;
const US: u64 = 4;
const A: u64 = 0x20;
const D: u64 = 0x40;
const PS: u64 = 0x80;
const G: u64 = 0x100;
const XD: u64 = 1 << 63;
const ALL: u64 = P | RW | US;

/// Entries by their address; zeros elsewhere.
#[derive(Default)]
struct Memory {
    entries: RefCell<HashMap<u64, u64>>,
    /// An entry that another processor writes just before this one is first replaced.
    race: Cell<Option<(u64, u64)>>,
}

impl Memory {
    fn set(&self, address: u64, entry: u64) {
        self.entries.borrow_mut().insert(address, entry);
    }

    fn get(&self, address: u64) -> u64 {
        *self.entries.borrow().get(&address).unwrap_or(&0)
    }
}

impl Tables for Memory {
    fn load(&self, address: u64, size: EntrySize) -> u64 {
        let bytes = if size == EntrySize::Four { 4 } else { 8 };
        assert_eq!(address % bytes, 0);
        self.get(address)
    }
}

impl MarkedTables for Memory {
    fn replace(&self, address: u64, _: EntrySize, before: u64, after: u64) -> bool {
        if let Some((place, entry)) = self.race.take() {
            self.set(place, entry);
        }
        let is_same = self.get(address) == before;
        if is_same {
            self.set(address, after);
        }
        is_same
    }
}

fn paging(cr4: u64, efer: u64) -> Paging {
    let control = Control {
        cr0: PG_WP,
        cr3: 0x1018,
        cr4,
        efer,
        ..Control::default()
    };
    Paging::new(&control, 40)
}

fn four_level() -> Paging {
    paging(PAE | PGE, LMA | NXE)
}

const READ: Access = Access::supervisor(Kind::Read);
const WRITE: Access = Access::supervisor(Kind::Write);

fn physical(paging: &Paging, memory: &Memory, linear: u64) -> Result<u64, PageFault> {
    let mapping = paging.translate(memory, linear, READ);
    mapping.map(|mapping| mapping.physical)
}

/// Tables for `0x7f_8040_3abc`: one, two, one and three as indices.
const LINEAR: u64 = 1 << 39 | 2 << 30 | 1 << 21 | 3 << 12 | 0xabc;
const ENTRIES: [u64; 4] = [0x1008, 0x2010, 0x3008, 0x4018];

fn mapped(bits: [u64; 4]) -> Memory {
    let memory = Memory::default();
    let tables = [0x2000, 0x3000, 0x4000, 0xa_b765_4000];
    for ((place, table), bits) in ENTRIES.into_iter().zip(tables).zip(bits) {
        memory.set(place, table | bits);
    }
    memory
}

#[test]
fn without_paging_an_address_is_itself_in_32_bits() {
    let paging = Paging::new(&Control::default(), 40);
    assert_eq!(paging.mode(), Mode::None);
    let memory = Memory::default();
    for kind in [Kind::Read, Kind::Write, Kind::Fetch] {
        let mapping = paging.translate(&memory, 0x1_8000_1234, Access::user(kind));
        assert_eq!(mapping.map(|mapping| mapping.physical), Ok(0x8000_1234));
    }
}

#[test]
fn two_levels_of_32_bits_lead_to_pages_of_4_kib_and_4_mib() {
    let memory = Memory::default();
    memory.set(0x1000 + 4 * 0x3ff, 0x5000 | ALL);
    memory.set(0x5000 + 4 * 2, 0xdead_b000 | ALL);
    // Bits 13 and 20 are bits 32 and 39 of the address.
    memory.set(0x1000 + 4, 0x0c00_0000 | 1 << 13 | 1 << 20 | PS | ALL);
    let paging_with = |cr4| paging(cr4, NXE);
    let paging = paging_with(PSE);
    assert_eq!(paging.mode(), Mode::Bits32);
    assert_eq!(physical(&paging, &memory, 0xffc0_2fff), Ok(0xdead_bfff));
    assert_eq!(physical(&paging, &memory, 0x0040_1234), Ok(0x81_0c00_1234));
    // Without the extension, bit 7 means nothing: it is a table, in which there is nothing.
    let found = physical(&paging_with(0), &memory, 0x0040_1234);
    assert_eq!(found.map_err(|fault| fault.code), Err(FaultCode::empty()));
}

#[test]
fn three_levels_lead_to_pages_of_4_kib_and_2_mib() {
    let paging = paging(PAE, NXE);
    assert_eq!(paging.mode(), Mode::Pae);
    let memory = Memory::default();
    // CR3 names 32 bytes, of which 0x18 are below its own bits.
    memory.set(0x1000 + 8 * 3, 0x2000 | P);
    memory.set(0x1000 + 8 * 2, 0x2000 | P | RW);
    memory.set(0x2000, 0x3000 | ALL);
    memory.set(0x2008, 0xab_cde0_0000 | PS | ALL);
    memory.set(0x3010, 0xff_ffff_f000 | ALL);
    assert_eq!(physical(&paging, &memory, 0xc000_2345), Ok(0xff_ffff_f345));
    assert_eq!(physical(&paging, &memory, 0xc020_0001), Ok(0xab_cde0_0001));
    let wrong = physical(&paging, &memory, 0x8000_0000).map_err(|fault| fault.code);
    assert_eq!(wrong, Err(FaultCode::PRESENT | FaultCode::RESERVED));
}

#[test]
fn four_levels_lead_to_pages_of_three_sizes() {
    let paging = four_level();
    let memory = mapped([ALL; 4]);
    memory.set(0x2008, 0x12_4000_0000 | PS | ALL);
    memory.set(0x3000, 0x1_2340_0000 | PS | G | ALL);
    let found = |linear| {
        let found = paging.translate(&memory, linear, READ).expect("mapped");
        (found.physical, found.page_shift, found.is_global)
    };
    assert_eq!(found(LINEAR), (0xa_b765_4abc, 12, false));
    assert_eq!(
        found(1 << 39 | 1 << 30 | 0x3fff_ffff),
        (0x12_7fff_ffff, 30, false)
    );
    assert_eq!(
        found(1 << 39 | 2 << 30 | 0x1f_ffff),
        (0x1_235f_ffff, 21, true)
    );
    // What the upper bits say is a matter of canonical addresses.
    assert_eq!(
        physical(&paging, &memory, LINEAR | 0xffff << 48),
        Ok(0xa_b765_4abc)
    );
}

/// What 4.6.1 says, read sentence by sentence.
fn may(access: Access, rights: Rights, [wp, smep, smap]: [bool; 3]) -> bool {
    let user_page = rights.contains(Rights::USER);
    match (access.privilege, access.kind) {
        (Privilege::User, Kind::Read) => user_page,
        (Privilege::User, Kind::Write) => user_page && rights.contains(Rights::WRITE),
        (Privilege::User, Kind::Fetch) => user_page && rights.contains(Rights::EXECUTE),
        (_, Kind::Fetch) if user_page => !smep && rights.contains(Rights::EXECUTE),
        (_, Kind::Fetch) => rights.contains(Rights::EXECUTE),
        (Privilege::Implicit, _) if user_page && smap => false,
        (
            Privilege::Supervisor {
                alignment_check: false,
            },
            _,
        ) if user_page && smap => false,
        (_, Kind::Read) => true,
        (_, Kind::Write) => !wp || rights.contains(Rights::WRITE),
    }
}

#[test]
fn rights_are_those_of_all_levels_and_of_the_registers() {
    let privileges = [
        Privilege::User,
        Privilege::Implicit,
        Privilege::Supervisor {
            alignment_check: false,
        },
        Privilege::Supervisor {
            alignment_check: true,
        },
    ];
    let mut cases = 0;
    for (level, bit) in (0..4).flat_map(|level| [RW, US, XD, 0].map(|bit| (level, bit))) {
        let mut bits = [ALL; 4];
        bits[level] ^= bit;
        let mut rights = Rights::all();
        rights.set(Rights::WRITE, bit != RW);
        rights.set(Rights::USER, bit != US);
        rights.set(Rights::EXECUTE, bit != XD);
        for number in 0..8 {
            let flags = [0, 1, 2].map(|flag| number >> flag & 1 != 0);
            let paging = Paging {
                write_protect: flags[0],
                smep: flags[1],
                smap: flags[2],
                ..four_level()
            };
            for privilege in privileges {
                for kind in [Kind::Read, Kind::Write, Kind::Fetch] {
                    let access = Access { kind, privilege };
                    let found = paging.translate(&mapped(bits), LINEAR, access);
                    let expected = may(access, rights, flags);
                    assert_eq!(found.is_ok(), expected, "{access:?} {rights:?} {paging:?}");
                    if let Err(fault) = found {
                        assert_eq!(fault.address, LINEAR);
                        assert!(fault.code.contains(FaultCode::PRESENT));
                        assert!(!fault.code.contains(FaultCode::RESERVED));
                    }
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 4 * 4 * 8 * 4 * 3);
}

#[test]
fn a_fault_says_what_was_wanted() {
    let nothing = Memory::default();
    let code = |paging: &Paging, access| {
        let found = paging.translate(&nothing, LINEAR, access);
        found.map_err(|fault| fault.code)
    };
    let with = four_level();
    assert_eq!(code(&with, READ), Err(FaultCode::empty()));
    assert_eq!(code(&with, WRITE), Err(FaultCode::WRITE));
    let fetch = Access::user(Kind::Fetch);
    assert_eq!(code(&with, fetch), Err(FaultCode::USER | FaultCode::FETCH));
    // Fetches are told apart by those who can forbid them.
    let without = paging(PAE, LMA);
    assert_eq!(code(&without, fetch), Err(FaultCode::USER));
    let smep = paging(SMEP, NXE);
    assert_eq!(code(&smep, fetch), Err(FaultCode::USER | FaultCode::FETCH));
    // In 32-bit paging EFER.NXE means nothing, and an address has 32 bits.
    assert_eq!(code(&paging(0, NXE), fetch), Err(FaultCode::USER));
    let fault = paging(0, 0).translate(&nothing, LINEAR, READ).unwrap_err();
    assert_eq!(fault.address, LINEAR & 0xffff_ffff);
    let implicit = Access {
        kind: Kind::Read,
        privilege: Privilege::Implicit,
    };
    let smap = paging(PAE | SMAP, LMA);
    let refused = smap.translate(&mapped([ALL; 4]), LINEAR, implicit);
    assert_eq!(refused.unwrap_err().code, FaultCode::PRESENT);
}

#[test]
fn bits_that_must_be_zero_are_looked_at_in_every_entry() {
    let broken = |paging: &Paging, level: usize, bits: u64| {
        let mut entries = [ALL; 4];
        entries[level] |= bits;
        let memory = mapped(entries);
        let found = paging.translate(&memory, LINEAR, READ);
        let code = found.map_err(|fault| fault.code);
        let stays = ENTRIES.iter().all(|place| memory.get(*place) & A == 0);
        assert!(code.is_ok() || stays, "a fault marks nothing");
        code == Err(FaultCode::PRESENT | FaultCode::RESERVED)
    };
    let (with, without) = (four_level(), paging(PAE, LMA));
    for level in 0..4 {
        for bit in 40..52 {
            assert!(broken(&with, level, 1 << bit), "{level} {bit}");
        }
        for bit in 52..63 {
            assert!(!broken(&with, level, 1 << bit), "{level} {bit}");
        }
        assert!(broken(&without, level, XD));
        assert!(!broken(&with, level, XD));
    }
    assert!(broken(&with, 0, PS));
    // A large page's address has fewer bits.
    assert!(broken(&with, 1, PS | 1 << 29) && broken(&with, 1, PS | 1 << 13));
    assert!(broken(&with, 2, PS | 1 << 20) && broken(&with, 2, PS | 1 << 13));
    // In the last table, bit 7 is the memory type's.
    assert!(!broken(&with, 3, PS));

    let memory = Memory::default();
    memory.set(0x1000, PS | ALL | 1 << 21);
    let code = |paging: &Paging| physical(paging, &memory, 0).map_err(|fault| fault.code);
    let wrong = Err(FaultCode::PRESENT | FaultCode::RESERVED);
    assert_eq!(code(&paging(PSE, 0)), wrong);
    // On a processor of 36 bits, bits 17 to 20 cannot be.
    memory.set(0x1000, PS | ALL | 1 << 17);
    assert!(code(&paging(PSE, 0)).is_ok());
    let small = Paging {
        physical_bits: 36,
        ..paging(PSE, 0)
    };
    assert_eq!(code(&small), wrong);
}

#[test]
fn what_is_used_is_marked_and_what_is_refused_is_not() {
    let paging = four_level();
    let marks = |memory: &Memory| ENTRIES.map(|place| memory.get(place) & (A | D));
    let memory = mapped([ALL; 4]);
    assert!(
        paging
            .look(&memory, LINEAR)
            .is_some_and(|found| !found.is_dirty)
    );
    assert_eq!(marks(&memory), [0; 4]);
    let found = paging.translate(&memory, LINEAR, READ).expect("mapped");
    assert!(!found.is_dirty);
    assert_eq!(marks(&memory), [A; 4]);
    let found = paging.translate(&memory, LINEAR, WRITE).expect("mapped");
    assert!(found.is_dirty);
    assert_eq!(marks(&memory), [A, A, A, A | D]);
    let memory = mapped([P | RW, ALL, ALL, ALL]);
    let refused = paging.translate(&memory, LINEAR, Access::user(Kind::Write));
    assert!(refused.is_err());
    assert_eq!(marks(&memory), [0; 4]);
    // The pointers of PAE have no such bits.
    let memory = Memory::default();
    memory.set(0x1000, 0x2000 | P);
    memory.set(0x2000, PS | ALL);
    self::paging(PAE, 0)
        .translate(&memory, 0, WRITE)
        .expect("mapped");
    assert_eq!(memory.get(0x1000), 0x2000 | P);
    assert_eq!(memory.get(0x2000), PS | ALL | A | D);
}

#[test]
fn an_entry_that_changes_meanwhile_is_read_again() {
    let paging = four_level();
    let memory = mapped([ALL; 4]);
    memory.race.set(Some((ENTRIES[3], 0x7000 | ALL)));
    let found = paging.translate(&memory, LINEAR, WRITE).expect("mapped");
    assert_eq!(found.physical, 0x7abc);
    assert_eq!(memory.get(ENTRIES[3]), 0x7000 | ALL | A | D);
    // Or it is there no more.
    let memory = mapped([ALL; 4]);
    memory.race.set(Some((ENTRIES[0], 0)));
    let fault = paging.translate(&memory, LINEAR, WRITE).unwrap_err();
    assert_eq!(fault.code, FaultCode::WRITE);
    assert_eq!(memory.get(ENTRIES[3]) & (A | D), 0);
}

#[test]
fn pages_are_global_only_if_the_system_wants_them() {
    let memory = mapped([ALL, ALL, ALL, ALL | G]);
    let is_global = |paging: Paging| paging.look(&memory, LINEAR).map(|found| found.is_global);
    assert_eq!(is_global(four_level()), Some(true));
    assert_eq!(is_global(paging(PAE, LMA)), Some(false));
}

/// Whatever is read is an entry made from its address.
struct Noise(u64, bool);

impl Tables for Noise {
    fn load(&self, address: u64, _: EntrySize) -> u64 {
        let mut entry = (address ^ self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        entry ^= entry >> 29;
        if self.1 { entry | P } else { entry }
    }
}

impl MarkedTables for Noise {
    fn replace(&self, _: u64, _: EntrySize, _: u64, _: u64) -> bool {
        true
    }
}

proptest! {
    #[test]
    fn any_tables_end_in_a_page_or_a_fault(
        cr in any::<[u64; 4]>(),
        bits in 0_u32..64,
        linear in any::<u64>(),
        seed in any::<u64>(),
        present in any::<bool>(),
    ) {
        let [cr0, cr3, cr4, efer] = cr;
        let control = Control { cr0, cr3, cr4, efer, ..Control::default() };
        let paging = Paging::new(&control, bits);
        let tables = Noise(seed, present);
        let looked = paging.look(&tables, linear);
        for kind in [Kind::Read, Kind::Write, Kind::Fetch] {
            let found = paging.translate(&tables, linear, Access::user(kind));
            if let (Some(looked), Ok(found)) = (looked, found) {
                prop_assert_eq!(looked.physical, found.physical);
                prop_assert!(paging.allows(looked.rights, Access::user(kind)) || paging.mode() == Mode::None);
                prop_assert_eq!(found.physical & 0xfff, linear & 0xfff);
                prop_assert!(found.physical < 1 << 52);
            } else {
                prop_assert!(found.is_err());
            }
        }
    }
}
