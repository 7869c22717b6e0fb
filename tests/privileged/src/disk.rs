//! A hard disk whose first sector loads the image and enters it as a PVH loader does.

use iced_x86::IcedError;
use iced_x86::code_asm::*;

use crate::descriptor::{CODE, DATA, flat, segment};
use crate::layout::IMAGE;

/// Where the sector is loaded by a BIOS.
const BOOT: u32 = 0x7c00;
/// Where a chunk is loaded first, within the reach of INT 13h.
const LOW: u32 = 0x1_0000;
const SECTOR: usize = 512;
/// Sectors that are read at a time.
const CHUNK: u32 = 64;
/// A cylinder of a disk with 16 heads and 63 sectors a track.
pub(crate) const CYLINDER: usize = 16 * 63 * SECTOR;

/// The disk.
pub(crate) fn file(image: &[u8]) -> Result<Vec<u8>, IcedError> {
    let chunks = image.len().div_ceil(SECTOR * CHUNK as usize);
    let chunks = u32::try_from(chunks).expect("the image is small");
    let mut disk = sector(chunks)?;
    disk.extend_from_slice(image);
    disk.resize(disk.len().next_multiple_of(CYLINDER), 0);
    Ok(disk)
}

/// Places within the sector: the packet that INT 13h reads, what INT 15h moves by, the GDT and the
/// pointer to it.
const PACKET: u32 = BOOT + 0x180;
const MOVE: u32 = BOOT + 0x190;
const DESCRIPTORS: u32 = BOOT + 0x1c0;
const POINTER: u32 = BOOT + 0x1d8;
const PROTECTED: u32 = BOOT + 0x100;

fn sector(chunks: u32) -> Result<Vec<u8>, IcedError> {
    let mut sector = load(chunks)?;
    assert!(sector.len() <= 0x100);
    sector.resize(0x100, 0);
    sector.extend(enter()?);
    assert!(sector.len() <= 0x180);
    sector.resize(0x180, 0);
    // Its size, how many sectors, where to, the first sector.
    sector.extend([
        16,
        0,
        CHUNK as u8,
        0,
        0,
        0,
        (LOW >> 4) as u8,
        (LOW >> 12) as u8,
    ]);
    sector.extend(1u64.to_le_bytes());
    // Two descriptors of the BIOS, from where, where to, two more.
    let data = |base| segment(base, 0xffff, DATA, 0);
    for descriptor in [
        0,
        0,
        data(LOW),
        data(IMAGE),
        0,
        0,
        0,
        flat(CODE, 0),
        flat(DATA, 0),
    ] {
        sector.extend(descriptor.to_le_bytes());
    }
    sector.extend(23u16.to_le_bytes());
    sector.extend(DESCRIPTORS.to_le_bytes());
    sector.resize(SECTOR - 2, 0);
    sector.extend([0x55, 0xaa]);
    Ok(sector)
}

/// Reads `chunks` chunks, moves each behind the first megabyte, and enters protected mode.
fn load(chunks: u32) -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(16)?;
    let mut again = a.create_label();
    a.xor(ax, ax)?;
    for register in [ds, es, ss] {
        a.mov(register, ax)?;
    }
    a.mov(sp, BOOT)?;
    a.mov(cx, chunks)?;
    a.set_label(&mut again)?;
    a.push(cx)?;
    a.mov(si, PACKET)?;
    a.mov(ax, 0x4200)?;
    a.mov(dl, 0x80)?;
    a.int(0x13)?;
    a.add(word_ptr(PACKET + 8), CHUNK as i32)?;
    a.mov(si, MOVE)?;
    a.mov(cx, CHUNK * SECTOR as u32 / 2)?;
    a.mov(ax, 0x8700)?;
    a.int(0x15)?;
    // The base of the third descriptor, without its lowest byte.
    a.add(
        word_ptr(MOVE + 3 * 8 + 3),
        ((CHUNK * SECTOR as u32) >> 8) as i32,
    )?;
    a.pop(cx)?;
    a.dec(cx)?;
    a.jne(again)?;
    // The address line 20 is opened by the system control port.
    a.in_(al, 0x92)?;
    a.or(al, 2)?;
    a.and(al, !1)?;
    a.out(0x92, al)?;
    a.cli()?;
    a.lgdt(fword_ptr(POINTER))?;
    a.mov(eax, cr0)?;
    a.or(eax, 1)?;
    a.mov(cr0, eax)?;
    let mut bytes = vec![0x66, 0xea];
    bytes.extend(PROTECTED.to_le_bytes());
    bytes.extend([8, 0]);
    a.db(&bytes)?;
    a.assemble(BOOT.into())
}

fn enter() -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(32)?;
    a.mov(eax, 16)?;
    for register in [ds, es, ss] {
        a.mov(register, eax)?;
    }
    a.mov(eax, IMAGE)?;
    a.jmp(eax)?;
    a.assemble(PROTECTED.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_whole_cylinders_and_the_mark_of_a_boot_sector() {
        let disk = file(&[1; 700]).expect("it can be assembled");
        assert_eq!(disk.len() % CYLINDER, 0);
        assert_eq!(&disk[510..512], &[0x55, 0xaa]);
        assert_eq!(&disk[512..514], &[1, 1]);
    }
}
