//! A guest's memory as it starts: descriptor tables, page tables for all kinds of paging, handlers.
//!
//! The first gibibyte is mapped to itself from below 2 MiB in small pages; the 2 MiB behind are the first ones again in
//! large ones, or in 32-bit paging the 4 MiB behind. The page of the local APIC lies where it always does. The halves of
//! the address space are the same.

use engine_contract::MemoryRange;
use machine_bus::GuestAddress;

/// Bytes of the guest's memory, and of what lies beside it.
pub(super) const SIZE: usize = 0x6_0000;
pub(super) const GUARD: usize = 0x4000;
/// Fills what lies beside it.
pub(super) const MARK: u8 = 0xa5;

/// The port by which a guest ends its run.
pub(super) const END: u8 = 0xf4;

/// Where things lie.
pub(super) const GDT: u64 = 0x1000;
pub(super) const IDT: u64 = 0x2000;
pub(super) const TASK: u64 = 0x3000;
const OTHER_TASK: u64 = 0x3800;
const HANDLERS: u64 = 0x4000;
pub(super) const LONG_ROOT: u64 = 0x8000;
const LONG_THIRD: u64 = 0x9000;
const DIRECTORY: u64 = 0xa000;
const TABLE: u64 = 0xb000;
const HIGH_DIRECTORY: u64 = 0xc000;
pub(super) const PAE_ROOT: u64 = 0xd000;
pub(super) const SMALL_ROOT: u64 = 0xe000;
const SMALL_TABLE: u64 = 0xf000;
pub(super) const CODE: u64 = 0x1_0000;
pub(super) const DATA: u64 = 0x2_0000;
pub(super) const STACK: u64 = 0x3_0000;
/// Of the inner level.
const INNER_STACK: u64 = 0x3_8000;
/// Pages that programs may use whatever level they have.
const SHARED: u64 = 0x4_0000;

/// Selectors.
pub(super) const CODE_LONG: u16 = 0x08;
pub(super) const FLAT: u16 = 0x10;
const CODE_PROTECTED: u16 = 0x18;
pub(super) const TASK_SELECTOR: u16 = 0x50;
const OTHER_TASK_SELECTOR: u16 = 0x70;

/// Bytes of the tables.
pub(super) const GDT_LIMIT: u16 = 0xff;
pub(super) const TASK_LIMIT: u32 = 0x7ff;

/// Descriptors from the first on: code of 64, 32 and 16 bits and flat data of both outer levels, small data, tasks, gates,
/// segments that grow down, that conform and that cannot be read or written.
const DESCRIPTORS: [u64; 21] = [
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_9b00_0000_ffff,
    0x000f_9b00_0000_ffff,
    0x0000_9302_0000_ffff,
    0x00af_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x000f_fb00_0000_ffff,
    // The task, in two places for long mode.
    0x0000_8900_3000_07ff,
    0,
    0x0000_8200_5000_00ff,
    0,
    0x0000_8900_3800_0067,
    // A call gate, and one of a task.
    0x0000_ec00_0018_4100,
    0x0000_e500_0070_0000,
    0x00cf_f600_1000_0010,
    0x00cf_9e00_0000_ffff,
    0x00cf_f000_0000_ffff,
    0x0000_f202_0000_0fff,
];

/// All of it, as Xen tells it.
pub(super) const RANGE: MemoryRange = MemoryRange {
    start: GuestAddress(0),
    length: SIZE as u64,
    kind: 1,
};

/// How a guest's memory begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) is_long: bool,
    pub(super) is_real: bool,
    /// Its pages are a program's.
    pub(super) is_user: bool,
    /// A handler goes on behind the first byte of what was refused, instead of ending the run.
    pub(super) goes_on: bool,
}

/// Memory that is written by pieces.
pub(super) struct Image(pub(super) Vec<u8>);

impl Image {
    pub(super) fn new(shape: Shape) -> Self {
        let mut image = Self(vec![0; SIZE]);
        image.put_descriptors();
        image.put_tasks(shape.is_long);
        image.put_handlers(shape);
        image.put_tables(shape.is_user);
        image
    }

    /// Writes what fits.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        for (to, byte) in self.0.iter_mut().skip(at as usize).zip(bytes) {
            *to = *byte;
        }
    }

    fn quad(&mut self, at: u64, value: u64) {
        self.write(at, &value.to_le_bytes());
    }

    fn double(&mut self, at: u64, value: u64) {
        self.write(at, &(value as u32).to_le_bytes());
    }

    fn put_descriptors(&mut self) {
        for (number, descriptor) in (0..).zip(DESCRIPTORS) {
            self.quad(GDT + number * 8, descriptor);
        }
    }

    fn put_tasks(&mut self, is_long: bool) {
        if is_long {
            self.quad(TASK + 4, INNER_STACK);
            self.quad(TASK + 12, INNER_STACK - 0x800);
        } else {
            for (at, value) in [(4, INNER_STACK), (8, FLAT.into()), (28, PAE_ROOT)] {
                self.double(TASK + at, value);
            }
            let flat = FLAT.into();
            let code = u64::from(CODE_PROTECTED);
            let other = [
                (4, INNER_STACK),
                (8, flat),
                (28, PAE_ROOT),
                (32, CODE),
                (36, 2),
            ];
            for (at, value) in other {
                self.double(OTHER_TASK + at, value);
            }
            for (at, value) in [(56, INNER_STACK - 0x400), (72, flat), (76, code)] {
                self.double(OTHER_TASK + at, value);
            }
            for at in [80, 84] {
                self.double(OTHER_TASK + at, flat);
            }
        }
        // Some ports are allowed.
        self.write(TASK + 0x66, &[0x68, 0]);
        self.double(OTHER_TASK + 0x64, 0x68 << 16);
    }

    fn put_handlers(&mut self, shape: Shape) {
        for vector in 0..256 {
            let place = HANDLERS + vector * 16;
            self.write(place, &handler(vector, shape));
            if shape.is_real {
                self.double(vector * 4, place);
                continue;
            }
            let (selector, size) = if shape.is_long {
                (CODE_LONG, 16)
            } else {
                (CODE_PROTECTED, 8)
            };
            // Every second one leaves interrupts as they are.
            let rights = 0xee | vector & 1;
            let gate = place & 0xffff | u64::from(selector) << 16 | rights << 40;
            self.quad(IDT + vector * size, gate);
        }
        if !shape.is_long && !shape.is_real {
            let gate = u64::from(OTHER_TASK_SELECTOR) << 16 | 0xe5 << 40;
            self.quad(IDT + 0x50 * 8, gate);
        }
    }

    fn put_tables(&mut self, is_user: bool) {
        // Present, and can be written; a program's; large.
        let own = if is_user { 7 } else { 3 };
        for half in [0, 256, 511] {
            self.quad(LONG_ROOT + half * 8, LONG_THIRD | 7);
        }
        for (number, to) in [(0, DIRECTORY), (3, HIGH_DIRECTORY)] {
            self.quad(LONG_THIRD + number * 8, to | 7);
            self.quad(PAE_ROOT + number * 8, to | 1);
        }
        self.quad(DIRECTORY, TABLE | 7);
        self.quad(DIRECTORY + 8, 0x80 | own);
        self.quad(DIRECTORY + 16, TABLE | own & !2);
        for (number, address) in [(502, 0xfec0_0000), (503, 0xfee0_0000)] {
            self.quad(HIGH_DIRECTORY + number * 8, address | 0x80 | own);
        }
        for (number, to) in [(0, SMALL_TABLE | 7), (1, 0x80 | own), (2, SMALL_TABLE | 5)] {
            self.double(SMALL_ROOT + number * 4, to);
        }
        self.double(SMALL_ROOT + 1019 * 4, 0xfec0_0000 | 0x80 | own);
        for page in 0..512 {
            let address = page << 12;
            let bits = match address {
                // Tables are the system's.
                ..CODE => 3,
                INNER_STACK.. if address < SHARED => 3,
                SHARED.. if address < SIZE as u64 => 7,
                _ => own,
            };
            self.quad(TABLE + page * 8, address | bits);
            self.double(SMALL_TABLE + page * 4, address | bits);
        }
    }
}

/// The handler of a vector: it ends the run, or drops the error code and goes on behind the first byte of the instruction.
fn handler(vector: u64, shape: Shape) -> Vec<u8> {
    const END_CODE: [u8; 3] = [0xe6, END, 0xf4];
    if !shape.goes_on || matches!(vector, 2 | 8 | 18) {
        return END_CODE.to_vec();
    }
    let has_error = matches!(vector, 10..=14 | 17);
    let (drops, goes_on): (&[u8], &[u8]) = if shape.is_long {
        let goes_on = &[0x48, 0xff, 0x04, 0x24, 0x48, 0xcf];
        (&[0x48, 0x83, 0xc4, 8], goes_on)
    } else if shape.is_real {
        (&[], &[0x55, 0x89, 0xe5, 0xff, 0x46, 2, 0x5d, 0xcf])
    } else {
        (&[0x83, 0xc4, 4], &[0xff, 0x04, 0x24, 0xcf])
    };
    let drops = if has_error { drops } else { &[] };
    [drops, goes_on].concat()
}
