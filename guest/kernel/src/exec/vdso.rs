//! The vDSO: a small shared library of the kernel's in every program, by which C
//! libraries read clocks without a system call.
//!
//! An ELF image of one page, built here around the code of [`guest_hal::vdso`], as C
//! libraries look for it: dynamic symbols with the version `LINUX_2.6`. The page below
//! shows the machine's clock page.

use alloc::vec::Vec;

use guest_abi::layout::PAGE_SIZE;
use guest_hal::{LinearAddress, Protection, boot, vdso};

use crate::mm::{AddressSpace, Place, Source};
use crate::{Errno, Result};

const NAMES: [&str; 4] = [
    "__vdso_clock_gettime",
    "__vdso_gettimeofday",
    "__vdso_time",
    "__vdso_getcpu",
];
const SONAME: &str = "linux-vdso.so.1";
const VERSION: &str = "LINUX_2.6";

/// Where the parts of the image lie.
const HEADERS: usize = 64;
const SYMBOLS: usize = 192;
const HASH: usize = 320;
const VERSIONS: usize = 352;
const DEFINITIONS: usize = 368;
const DYNAMIC: usize = 432;
const STRINGS: usize = 608;
const CODE: usize = 768;

/// Maps the vDSO; the address of its ELF header.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn map(memory: &mut AddressSpace) -> Result<LinearAddress> {
    let at = memory.find_below(memory.top(), 2 * PAGE_SIZE, PAGE_SIZE)?;
    let clock = Source::Device(boot::CLOCK_PAGE);
    memory.map(
        Place::Fixed(LinearAddress(at)),
        PAGE_SIZE,
        Protection::READ,
        clock,
    )?;
    let start = LinearAddress(at + PAGE_SIZE);
    let protection = Protection::READ.union(Protection::EXECUTE);
    memory.map(
        Place::Fixed(start),
        PAGE_SIZE,
        protection,
        Source::Anonymous,
    )?;
    let (_, area) = memory.area_at(start).ok_or(Errno::ENOMEM)?;
    area.private_memory()
        .ok_or(Errno::ENOMEM)?
        .write(0, &image());
    Ok(start)
}

/// Little-endian fields, one after the other.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn half(mut self, values: &[u16]) -> Self {
        self.0
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }

    fn word(mut self, values: &[u32]) -> Self {
        self.0
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }

    fn long(mut self, values: &[u64]) -> Self {
        self.0
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }
}

/// The image; at most a page.
fn image() -> Vec<u8> {
    let (code, functions) = vdso::image();
    let (strings, offsets) = strings();
    let end = CODE + code.len();
    let mut image = alloc::vec![0; end];
    let mut put = |at: usize, bytes: &[u8]| {
        image
            .iter_mut()
            .skip(at)
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
    };
    put(0, &file_header());
    put(HEADERS, &program_headers(end as u64));
    put(SYMBOLS, &symbols(&offsets, functions));
    put(HASH, &Bytes::default().word(&[1, 5, 1, 0, 2, 3, 4, 0]).0);
    put(VERSIONS, &Bytes::default().half(&[0, 2, 2, 2, 2]).0);
    put(DEFINITIONS, &definitions(&offsets));
    put(
        DYNAMIC,
        &dynamic(strings.len() as u64, u64::from(offsets[4])),
    );
    put(STRINGS, &strings);
    put(CODE, code);
    image
}

/// All names with their offsets: the functions, the library, the version.
fn strings() -> (Vec<u8>, [u32; 6]) {
    let mut bytes = alloc::vec![0];
    let mut offsets = [0; 6];
    let names = NAMES.into_iter().chain([SONAME, VERSION]);
    for (offset, name) in offsets.iter_mut().zip(names) {
        *offset = bytes.len() as u32;
        bytes.extend(name.bytes());
        bytes.push(0);
    }
    (bytes, offsets)
}

fn file_header() -> Vec<u8> {
    let ident = Bytes(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec());
    let header = ident
        .half(&[3, 62])
        .word(&[1])
        .long(&[0, HEADERS as u64, 0])
        .word(&[0]);
    header.half(&[64, 56, 2, 64, 0, 0]).0
}

fn program_headers(end: u64) -> Vec<u8> {
    let load = Bytes::default()
        .word(&[1, 5])
        .long(&[0, 0, 0, end, end, PAGE_SIZE]);
    let at = DYNAMIC as u64;
    let length = (STRINGS - DYNAMIC) as u64;
    load.word(&[2, 4]).long(&[at, at, at, length, length, 8]).0
}

fn symbols(names: &[u32; 6], functions: [usize; 4]) -> Vec<u8> {
    let null = Bytes::default().long(&[0; 3]);
    let all = names
        .iter()
        .zip(functions)
        .fold(null, |symbols, (name, function)| {
            // A global function of section 1.
            let value = (CODE + function) as u64;
            symbols.word(&[*name, 0x0001_0012]).long(&[value, 16])
        });
    all.0
}

/// The base definition (the library itself) and that of the version.
fn definitions(names: &[u32; 6]) -> Vec<u8> {
    let [.., library, version] = *names;
    let base = Bytes::default()
        .half(&[1, 1, 1, 1])
        .word(&[hash(SONAME), 20, 28, library, 0]);
    base.half(&[1, 0, 2, 1])
        .word(&[hash(VERSION), 20, 0, version, 0])
        .0
}

fn dynamic(strings_length: u64, library: u64) -> Vec<u8> {
    let entries = [
        (14, library),
        (4, HASH as u64),
        (5, STRINGS as u64),
        (6, SYMBOLS as u64),
        (10, strings_length),
        (11, 24),
        (0x6fff_fff0, VERSIONS as u64),
        (0x6fff_fffc, DEFINITIONS as u64),
        (0x6fff_fffd, 2),
        (0, 0),
    ];
    entries
        .into_iter()
        .fold(Bytes::default(), |bytes, (tag, value)| {
            bytes.long(&[tag, value])
        })
        .0
}

/// The hash of the System V ABI, chapter 5.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0u32, |hash, byte| {
        let sum = (hash << 4).wrapping_add(u32::from(byte));
        let high = sum & 0xf000_0000;
        (sum ^ high >> 24) & !high
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_do_not_overlap_and_fit_a_page() {
        let (strings, offsets) = strings();
        assert!(HEADERS + program_headers(0).len() <= SYMBOLS);
        assert!(SYMBOLS + symbols(&offsets, [0; 4]).len() <= HASH);
        assert!(DEFINITIONS + definitions(&offsets).len() <= DYNAMIC);
        assert!(DYNAMIC + dynamic(0, 0).len() <= STRINGS);
        assert!(STRINGS + strings.len() <= CODE);
        assert!(image().len() <= PAGE_SIZE as usize);
    }

    #[test]
    fn the_version_has_the_hash_that_libraries_look_for() {
        assert_eq!(hash(VERSION), 0x03ae_75f6);
    }
}
