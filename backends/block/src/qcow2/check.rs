//! A look at an image's own tables before anything writes to it (QEMU's qcow2 specification,
//! "Header", "Host cluster management", "Cluster mapping").
//!
//! An image whose reference counts do not cover its header and tables would hand out
//! clusters that are in use, and destroy itself; `imago` trusts them. All tables have
//! to lie inside of the file, at the start of a cluster, and to be counted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// "QFI" and 0xfb.
const MAGIC: u32 = 0x5146_49fb;
/// Where a table's entry has the address.
const ADDRESS: u64 = 0x00ff_ffff_ffff_fe00;
/// Largest tables that are looked at, in bytes, as QEMU has them.
const REFCOUNT_TABLE_MAX: u64 = 8 << 20;
const L1_TABLE_MAX: u64 = 32 << 20;
/// Bytes of a header of version 2, and of one that says how wide reference counts are.
const HEADER_V2: usize = 72;
const HEADER_V3: usize = 104;

/// Checks an image that is going to be written.
///
/// # Errors
/// When it cannot be read or its tables contradict each other.
pub(super) fn check(file: &File) -> io::Result<()> {
    let image = Image::new(file)?;
    image.covered(0)?;
    image.table(image.refcount_table, image.refcount_bytes)?;
    for &block in image.blocks.iter().filter(|&&block| block != 0) {
        image.covered(block)?;
    }
    image.table(image.l1_table, image.l1_bytes)?;
    for entry in image.entries(image.l1_table, image.l1_bytes)? {
        match entry & ADDRESS {
            0 => {}
            address => image.covered(address)?,
        }
    }
    Ok(())
}

struct Image<'f> {
    file: &'f File,
    length: u64,
    cluster: u64,
    /// Bits of a reference count, as a power of two.
    refcount_order: u32,
    refcount_table: u64,
    refcount_bytes: u64,
    /// Where the blocks of reference counts are.
    blocks: Vec<u64>,
    l1_table: u64,
    l1_bytes: u64,
}

impl<'f> Image<'f> {
    fn new(file: &'f File) -> io::Result<Self> {
        let mut header = [0; HEADER_V3];
        file.read_exact_at(header.get_mut(..HEADER_V2).unwrap_or_default(), 0)?;
        if field(&header, 0) != MAGIC {
            return Err(corrupt("it does not begin like one"));
        }
        let version = field(&header, 4);
        if version >= 3 {
            file.read_exact_at(&mut header, 0)?;
        }
        let bits = field(&header, 20);
        let refcount_order = if version >= 3 { field(&header, 96) } else { 4 };
        if !(9..=21).contains(&bits) || refcount_order > 6 {
            return Err(corrupt("its header has sizes that do not exist"));
        }
        let cluster = 1 << bits;
        let mut image = Self {
            file,
            length: file.metadata()?.len(),
            cluster,
            refcount_order,
            refcount_table: long_field(&header, 48),
            refcount_bytes: u64::from(field(&header, 56)) * cluster,
            blocks: Vec::new(),
            l1_table: long_field(&header, 40),
            l1_bytes: u64::from(field(&header, 36)) * 8,
        };
        if image.refcount_bytes > REFCOUNT_TABLE_MAX || image.l1_bytes > L1_TABLE_MAX {
            return Err(corrupt("its tables are too large"));
        }
        let blocks = image.entries(image.refcount_table, image.refcount_bytes)?;
        image.blocks = blocks.into_iter().map(|entry| entry & ADDRESS).collect();
        Ok(image)
    }

    /// The entries of a table.
    fn entries(&self, at: u64, bytes: u64) -> io::Result<Vec<u64>> {
        let end = at.checked_add(bytes).filter(|&end| end <= self.length);
        if end.is_none() || !at.is_multiple_of(self.cluster) {
            return Err(corrupt(
                "a table lies outside of the file or between clusters",
            ));
        }
        let mut content = vec![0; bytes as usize];
        self.file.read_exact_at(&mut content, at)?;
        let entries = content.chunks_exact(8).map(|bytes| long_field(bytes, 0));
        Ok(entries.collect())
    }

    /// Checks all clusters of a table.
    fn table(&self, at: u64, bytes: u64) -> io::Result<()> {
        let clusters = (0..bytes).step_by(self.cluster as usize);
        clusters
            .into_iter()
            .try_for_each(|offset| self.covered(at + offset))
    }

    /// Checks that a cluster lies in the file and is counted.
    fn covered(&self, address: u64) -> io::Result<()> {
        if address >= self.length || !address.is_multiple_of(self.cluster) {
            return Err(corrupt(
                "a table lies outside of the file or between clusters",
            ));
        }
        let number = address / self.cluster;
        let per_block = (self.cluster * 8) >> self.refcount_order;
        let block = usize::try_from(number / per_block).ok();
        let block = block.and_then(|block| self.blocks.get(block)).copied();
        let block = block.filter(|&block| block != 0 && block < self.length);
        let block = block.ok_or_else(|| corrupt("its own tables count as free space"))?;
        if self.count(block, number % per_block)? == 0 {
            return Err(corrupt("its own tables count as free space"));
        }
        Ok(())
    }

    /// A reference count; narrow ones together with what shares their byte shifted out.
    fn count(&self, block: u64, number: u64) -> io::Result<u64> {
        let width = 1_u64 << self.refcount_order;
        let bit = number * width;
        let mut bytes = [0; 8];
        let length = width.div_ceil(8) as usize;
        let place = bytes.get_mut(..length).unwrap_or_default();
        self.file.read_exact_at(place, block + bit / 8)?;
        let value = u64::from_le_bytes(bytes) >> (bit % 8);
        Ok(if width < 8 {
            value & ((1 << width) - 1)
        } else {
            value
        })
    }
}

fn corrupt(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A big-endian number of 32 bits.
fn field(bytes: &[u8], at: usize) -> u32 {
    let field = bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok());
    field.map_or(0, u32::from_be_bytes)
}

fn long_field(bytes: &[u8], at: usize) -> u64 {
    u64::from(field(bytes, at)) << 32 | u64::from(field(bytes, at + 4))
}
