//! Descriptor tables beside the bench's memory.

use host_processor::Bench;
use x86_paging::{Access, Privilege};
use x86_semantics::{Cpu, Exception, Memory, Size};
use x86_state::{Segment, Table};

use oracle::Pages;

/// Where the tables are, for the functions only.
const GLOBAL: u64 = 0xffff_fe00_0000_0000;
const LOCAL: u64 = GLOBAL + 0x1_0000;
/// Rights of a local table.
const LOCAL_RIGHTS: u16 = 0x82;
/// Last offset of Linux' global table, of 16 descriptors.
const GLOBAL_LIMIT: u16 = 127;

/// Linux' global table as far as a program can tell (`asm/segment.h`): code and data of the kernel,
/// of programs, the task and the local table of two descriptors each, and none for threads.
const LINUX: [u64; 15] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0,
    0x0000_8b00_0000_206f,
    0x0000_0000_ffff_fe00,
    0x0000_8200_0000_ffff,
    0x0000_0000_ffff_fe00,
    0,
    0,
    0,
];

/// The tables that the host's processor has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    local: Vec<u64>,
}

impl Tables {
    pub(crate) fn of(bench: &Bench) -> Self {
        let local = bench.local_table().expect("the table that was set");
        Self { local }
    }

    /// Gives a virtual CPU the tables' places.
    pub(crate) fn install(&self, cpu: &mut Cpu) {
        cpu.gdt = Table {
            base: GLOBAL,
            limit: GLOBAL_LIMIT,
        };
        if !self.local.is_empty() {
            cpu.segments.ldt = Segment {
                selector: 0x50,
                base: LOCAL,
                limit: 8 * self.local.len() as u32 - 1,
                rights: LOCAL_RIGHTS,
            };
        }
    }

    /// The bytes from an address in one of the tables on.
    fn bytes(&self, address: u64) -> Vec<u8> {
        let (table, at) = if address >= LOCAL {
            (self.local.as_slice(), address - LOCAL)
        } else {
            (LINUX.as_slice(), address - GLOBAL)
        };
        let bytes = table.iter().flat_map(|descriptor| descriptor.to_le_bytes());
        bytes.skip(at as usize).take(8).collect()
    }
}

/// Memory with tables that only the processor itself sees.
pub(crate) struct World<'t> {
    pub(crate) pages: Pages,
    pub(crate) tables: &'t Tables,
}

impl Memory for World<'_> {
    fn read(&mut self, address: u64, size: Size, access: Access) -> Result<u64, Exception> {
        if access.privilege != Privilege::Implicit {
            return self.pages.read(address, size, access);
        }
        let mut value = [0; 8];
        value.copy_from_slice(&self.tables.bytes(address));
        Ok(size.cut(u64::from_le_bytes(value)))
    }

    fn write(
        &mut self,
        address: u64,
        size: Size,
        value: u64,
        privilege: Privilege,
    ) -> Result<(), Exception> {
        self.pages.write(address, size, value, privilege)
    }

    fn read_bytes(
        &mut self,
        address: u64,
        into: &mut [u8],
        access: Access,
    ) -> Result<(), Exception> {
        self.pages.read_bytes(address, into, access)
    }

    fn write_bytes(
        &mut self,
        address: u64,
        bytes: &[u8],
        privilege: Privilege,
    ) -> Result<(), Exception> {
        self.pages.write_bytes(address, bytes, privilege)
    }

    fn exchange(
        &mut self,
        address: u64,
        size: Size,
        old_and_new: (u64, u64),
        privilege: Privilege,
    ) -> Result<bool, Exception> {
        assert!(
            privilege != Privilege::Implicit,
            "Linux marks all segments as loaded"
        );
        self.pages.exchange(address, size, old_and_new, privilege)
    }
}
