//! The image: the entry's code, the test kernel, its tables, and the cases' records.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::case::Case;
use crate::layout::{self, IMAGE};
use crate::record::field;
use crate::runtime::{self, Blob};
use crate::tables;

/// The entry's code, then pointers for it.
const ENTRY_BYTES: u32 = 0x400;

/// The image as it is loaded at `layout::IMAGE`, where it is entered in protected mode.
pub(crate) fn build(cases: &[Case]) -> Result<Vec<u8>, IcedError> {
    let tables = tables::all();
    let mut contents = Contents::new(IMAGE + ENTRY_BYTES);
    let source = contents.end();
    let mut copies = Vec::new();
    for table in &tables {
        copies.push((table.address, contents.add(&table.bytes), table.bytes.len()));
    }
    let set_back = runtime::copies(&tables, source);
    contents.align();
    let first = contents.end();
    let records = records(cases, first);
    contents.add(&records);
    contents.align();
    let runtime = runtime::assemble(&set_back, first)?;
    for Blob { address, bytes } in runtime.blobs {
        contents.align();
        copies.push((address, contents.add(&bytes), bytes.len()));
    }
    contents.align();
    let mut image = entry(&copies, runtime.start)?;
    assert!(image.len() <= ENTRY_BYTES as usize);
    image.resize(ENTRY_BYTES as usize, 0);
    image.extend(contents.bytes);
    Ok(image)
}

/// Bytes that lie one after the other from an address on.
struct Contents {
    start: u32,
    bytes: Vec<u8>,
}

impl Contents {
    fn new(start: u32) -> Self {
        let bytes = Vec::new();
        Self { start, bytes }
    }

    fn end(&self) -> u32 {
        self.start + u32::try_from(self.bytes.len()).expect("the image is small")
    }

    fn add(&mut self, bytes: &[u8]) -> u32 {
        let address = self.end();
        self.bytes.extend_from_slice(bytes);
        address
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Zeroes the memory that cases use, copies everything to its place, and starts.
fn entry(copies: &[(u32, u32, usize)], start: u32) -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(32)?;
    a.cli()?;
    a.cld()?;
    a.xor(eax, eax)?;
    a.mov(edi, layout::RUNTIME)?;
    a.mov(ecx, (layout::PML4 - layout::RUNTIME) / 4)?;
    a.rep().stosd()?;
    for (destination, source, length) in copies {
        a.mov(edi, *destination)?;
        a.mov(esi, *source)?;
        a.mov(
            ecx,
            u32::try_from(length.div_ceil(4)).expect("tables are small"),
        )?;
        a.rep().movsd()?;
    }
    a.mov(eax, start)?;
    a.jmp(eax)?;
    a.assemble(IMAGE.into())
}

/// The records, one after the other, then what they point to.
fn records(cases: &[Case], first: u32) -> Vec<u8> {
    let size = u32::try_from(cases.len()).expect("there are few cases") * field::SIZE;
    let mut lists = Contents::new(first + size);
    let mut bytes = Vec::new();
    for (index, case) in (0..).zip(cases) {
        let next = first + (index + 1) * field::SIZE;
        let next = if next == first + size { 0 } else { next };
        bytes.extend(record(case, next, &mut lists));
    }
    bytes.extend(lists.bytes);
    bytes
}

/// A record under construction.
struct Record(Vec<u8>);

impl Record {
    fn put(&mut self, offset: u32, bytes: &[u8]) {
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn put_32(&mut self, offset: u32, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }

    /// A list's address and, 4 bytes later, its length.
    fn put_list(&mut self, offset: u32, address: u32, count: usize) {
        self.put_32(offset, address);
        self.put_32(offset + 4, u32::try_from(count).expect("lists are short"));
    }
}

fn record(case: &Case, next: u32, lists: &mut Contents) -> Vec<u8> {
    let mut record = Record(vec![0; field::SIZE as usize]);
    let name = lists.add(format!("{}\0", case.name).as_bytes());
    lists.align();
    record.put_32(field::NEXT, next);
    record.put_32(field::NAME, name);
    record.put_32(field::ENTRY, case.entry as u32);
    record.put_32(field::WIDE, u32::from(case.mode.bits() == 64));
    record.put_32(field::CR0, case.cr0);
    record.put_32(field::CR3, case.cr3);
    record.put_32(field::CR4, case.cr4);
    record.put_32(field::EFER, case.efer);
    record.put(field::TR, &case.tr.to_le_bytes());
    record.put(field::LDTR, &case.ldtr.to_le_bytes());
    for (offset, selector) in (field::SEGMENTS..).step_by(2).zip(case.segments) {
        record.put(offset, &selector.to_le_bytes());
    }
    record.put(field::RIP, &case.rip.to_le_bytes());
    record.put(field::RFLAGS, &case.rflags.to_le_bytes());
    for (offset, value) in (field::GENERAL..).step_by(8).zip(case.general) {
        record.put(offset, &value.to_le_bytes());
    }
    for (offset, value) in (field::DEBUG..).step_by(4).zip(case.debug) {
        record.put_32(offset, value);
    }
    put_lists(&mut record, case, lists);
    record.0
}

fn put_lists(record: &mut Record, case: &Case, lists: &mut Contents) {
    record.put_list(field::PATCHES, lists.end(), case.patches.len());
    for (address, bytes) in &case.patches {
        lists.add(&address.to_le_bytes());
        lists.add(
            &u32::try_from(bytes.len())
                .expect("patches are short")
                .to_le_bytes(),
        );
        lists.add(bytes);
        lists.align();
    }
    record.put_list(field::PROBES, lists.end(), case.probes.len());
    for (address, count) in &case.probes {
        lists.add(&address.to_le_bytes());
        lists.add(&count.to_le_bytes());
    }
    record.put_list(field::MSRS, lists.end(), case.registers.len());
    for (number, value) in &case.registers {
        lists.add(&number.to_le_bytes());
        lists.add(&value.to_le_bytes());
    }
    record.put_list(field::MSR_PROBES, lists.end(), case.register_probes.len());
    for number in &case.register_probes {
        lists.add(&number.to_le_bytes());
    }
}
