//! A processor and a memory.

use x86_paging::{Access, Privilege};
use x86_semantics::{Cpu, Exception, Flags, Memory, Size};
use x86_state::{Control, Segment, Segments};

pub(crate) const OSFXSR: u64 = 1 << 9;
pub(crate) const OSXSAVE: u64 = 1 << 18;
/// Protection, paging, `MP`.
const CR0: u64 = 0x8000_0033;
/// What is raised where there is nothing.
const NOWHERE: Exception = Exception::Protection(0xfe);

/// Memory from address zero on.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    fn at(&mut self, address: u64, count: usize) -> Result<&mut [u8], Exception> {
        let from = self.0.get_mut(address as usize..).ok_or(NOWHERE)?;
        from.get_mut(..count).ok_or(NOWHERE)
    }
}

impl Memory for Bytes {
    fn read(&mut self, address: u64, size: Size, _: Access) -> Result<u64, Exception> {
        let mut value = [0; 8];
        let count = size.bytes() as usize;
        value[..count].copy_from_slice(self.at(address, count)?);
        Ok(u64::from_le_bytes(value))
    }

    fn write(
        &mut self,
        address: u64,
        size: Size,
        value: u64,
        _: Privilege,
    ) -> Result<(), Exception> {
        let count = size.bytes() as usize;
        let there = self.at(address, count)?;
        there.copy_from_slice(&value.to_le_bytes()[..count]);
        Ok(())
    }

    fn exchange(
        &mut self,
        _: u64,
        _: Size,
        _: (u64, u64),
        _: Privilege,
    ) -> Result<bool, Exception> {
        Err(NOWHERE)
    }

    fn read_bytes(&mut self, address: u64, into: &mut [u8], _: Access) -> Result<(), Exception> {
        into.copy_from_slice(self.at(address, into.len())?);
        Ok(())
    }

    fn write_bytes(&mut self, address: u64, bytes: &[u8], _: Privilege) -> Result<(), Exception> {
        self.at(address, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }
}

/// A program in 64-bit code, all of whose units are there.
pub(crate) fn cpu() -> Cpu {
    let flat = Segment {
        limit: u32::MAX,
        rights: 0xc0f3,
        ..Segment::default()
    };
    let code = Segment {
        selector: 0x33,
        rights: 0xa0fb,
        ..flat
    };
    Cpu {
        general: [0; 16],
        rip: 0,
        flags: Flags::from_bits(0),
        system_flags: 2,
        segments: Segments {
            cs: code,
            ds: flat,
            ss: flat,
            ..Segments::default()
        },
        control: Control {
            cr0: CR0,
            cr4: OSFXSR | OSXSAVE | 1 << 10,
            efer: 0x500,
            xcr0: 7,
            ..Control::default()
        },
        ..Cpu::default()
    }
}

/// The same in real mode.
pub(crate) fn real() -> Cpu {
    let mut cpu = cpu();
    let segment = Segment {
        limit: 0xffff,
        rights: 0x93,
        ..Segment::default()
    };
    cpu.control.cr0 = 0x10;
    cpu.control.efer = 0;
    cpu.segments.cs = segment;
    cpu.segments.ds = segment;
    cpu.segments.ss = segment;
    cpu
}
