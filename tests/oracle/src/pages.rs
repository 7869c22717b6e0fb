//! The memory that the bench has, for the functions.

use host_processor::{MEMORY, MEMORY_SIZE};
use x86_paging::{Access, Kind, Privilege};
use x86_semantics::{Exception, Memory, Size};

/// Error code of a page fault: by a program, while writing.
const USER: u32 = 4;
const WRITING: u32 = 2;

/// A copy of the bench's memory; around it there is none.
pub struct Pages(pub Vec<u8>);

impl Pages {
    fn place(&self, address: u64, bytes: usize, writes: bool) -> Result<usize, Exception> {
        let code = USER | if writes { WRITING } else { 0 };
        let at = address.wrapping_sub(MEMORY);
        let end = MEMORY_SIZE as u64;
        if at >= end {
            return Err(Exception::Page { code, address });
        }
        if at + bytes as u64 > end {
            let address = MEMORY + end;
            return Err(Exception::Page { code, address });
        }
        Ok(at as usize)
    }
}

impl Memory for Pages {
    fn read(&mut self, address: u64, size: Size, access: Access) -> Result<u64, Exception> {
        let count = size.bytes() as usize;
        let at = self.place(address, count, access.kind == Kind::Write)?;
        let mut value = [0; 8];
        value[..count].copy_from_slice(&self.0[at..][..count]);
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
        let at = self.place(address, count, true)?;
        self.0[at..][..count].copy_from_slice(&value.to_le_bytes()[..count]);
        Ok(())
    }

    fn exchange(
        &mut self,
        address: u64,
        size: Size,
        (old, new): (u64, u64),
        privilege: Privilege,
    ) -> Result<bool, Exception> {
        let kind = Kind::Write;
        let is_old = self.read(address, size, Access { kind, privilege })? == old;
        if is_old {
            self.write(address, size, new, privilege)?;
        }
        Ok(is_old)
    }

    fn read_bytes(
        &mut self,
        address: u64,
        into: &mut [u8],
        access: Access,
    ) -> Result<(), Exception> {
        let at = self.place(address, into.len(), access.kind == Kind::Write)?;
        into.copy_from_slice(&self.0[at..][..into.len()]);
        Ok(())
    }

    fn write_bytes(&mut self, address: u64, bytes: &[u8], _: Privilege) -> Result<(), Exception> {
        let at = self.place(address, bytes.len(), true)?;
        self.0[at..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}
