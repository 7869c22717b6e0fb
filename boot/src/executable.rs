//! ELF files of either width: their loadable segments and notes.
//!
//! Only headers are read here; segments go from the file to guest memory.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt::Debug;

use machine_memory::GuestMemory;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes, KnownLayout, Unaligned};

use crate::claims::Claims;
use crate::error::BootError;
use crate::guest::SEGMENT;
use crate::image::Image;
use crate::ram::Range;

pub(crate) const MAGIC: [u8; 4] = *b"\x7fELF";
/// Most program headers of a kernel.
const HEADERS_MAX: u16 = 64;
/// Most bytes of notes that are looked at.
const NOTES_MAX: u64 = 64 << 10;

const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const TYPE_EXECUTABLE: u16 = 2;
const TYPE_POSITION_INDEPENDENT: u16 = 3;
const MACHINE_386: u16 = 3;
const MACHINE_X86_64: u16 = 62;
const LOAD: u32 = 1;
const NOTE: u32 = 4;

#[derive(FromBytes, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Identification {
    magic: [u8; 4],
    class: u8,
    data: u8,
    version: u8,
    rest: [u8; 9],
    kind: U16,
    machine: U16,
    file_version: U32,
}

/// What follows in a 32-bit file.
#[derive(FromBytes, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header32 {
    entry: U32,
    headers: U32,
    sections: U32,
    flags: U32,
    counts: Counts,
}

/// What follows in a 64-bit file.
#[derive(FromBytes, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Header64 {
    entry: U64,
    headers: U64,
    sections: U64,
    flags: U32,
    counts: Counts,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Counts {
    header_size: U16,
    entry_size: U16,
    entries: U16,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Program32 {
    kind: U32,
    offset: U32,
    linear: U32,
    physical: U32,
    file_size: U32,
    memory_size: U32,
    flags: U32,
    alignment: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Unaligned)]
#[repr(C)]
struct Program64 {
    kind: U32,
    flags: U32,
    offset: U64,
    linear: U64,
    physical: U64,
    file_size: U64,
    memory_size: U64,
    alignment: U64,
}

/// A program header of either width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    kind: u32,
    offset: u64,
    linear: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}

/// What an ELF file says of itself.
#[derive(Debug)]
pub(crate) struct Executable {
    entry: u64,
    programs: Vec<Program>,
}

/// Where the program headers are.
struct Place {
    entry: u64,
    headers: u64,
    counts: Counts,
}

/// A note: its owner (without the zero), type and contents.
pub(crate) struct Note<'n> {
    pub(crate) owner: &'n [u8],
    pub(crate) kind: u32,
    pub(crate) contents: &'n [u8],
}

impl Executable {
    /// Reads the headers of a file that begins with [`MAGIC`].
    pub(crate) fn parse(image: &Image) -> Result<Self, BootError> {
        let head: Identification = image.value(0, "its ELF header")?;
        check("e_ident[EI_DATA]", head.data, &[LITTLE_ENDIAN], "1")?;
        let machines = [MACHINE_386, MACHINE_X86_64];
        check("e_machine", head.machine.get(), &machines, "3 or 62 (x86)")?;
        let kinds = [TYPE_EXECUTABLE, TYPE_POSITION_INDEPENDENT];
        check("e_type", head.kind.get(), &kinds, "2 or 3 (executable)")?;
        check(
            "e_ident[EI_CLASS]",
            head.class,
            &[CLASS_32, CLASS_64],
            "1 or 2",
        )?;
        if head.class == CLASS_32 {
            let rest: Header32 =
                image.value(size_of::<Identification>() as u64, "its ELF header")?;
            let place = Place {
                entry: rest.entry.get().into(),
                headers: rest.headers.get().into(),
                counts: rest.counts,
            };
            Self::read::<Program32>(image, &place)
        } else {
            let rest: Header64 =
                image.value(size_of::<Identification>() as u64, "its ELF header")?;
            let place = Place {
                entry: rest.entry.get(),
                headers: rest.headers.get(),
                counts: rest.counts,
            };
            Self::read::<Program64>(image, &place)
        }
    }

    fn read<P>(image: &Image, place: &Place) -> Result<Self, BootError>
    where
        P: FromBytes + IntoBytes + Into<Program>,
    {
        let size = size_of::<P>() as u64;
        let found = u64::from(place.counts.entry_size.get());
        check(
            "e_phentsize",
            found,
            &[size],
            "not the size of a program header",
        )?;
        let count = place.counts.entries.get();
        if !(1..=HEADERS_MAX).contains(&count) {
            return Err(field("e_phnum", count.into(), "1 to 64 is accepted"));
        }
        let mut programs = Vec::new();
        for index in 0..u64::from(count) {
            let offset = index.checked_mul(size);
            let offset = offset.and_then(|offset| offset.checked_add(place.headers));
            let offset = offset.ok_or_else(|| field("e_phoff", place.headers, "out of range"))?;
            let program: P = image.value(offset, "its program headers")?;
            programs.push(program.into());
        }
        let entry = place.entry;
        let executable = Self { entry, programs };
        for program in executable.loadable() {
            program.check(image)?;
        }
        if executable.loadable().next().is_none() {
            return Err(BootError::NoEntry("nothing in it is to be loaded"));
        }
        Ok(executable)
    }

    /// The segments to be loaded.
    fn loadable(&self) -> impl Iterator<Item = &Program> {
        let programs = self.programs.iter();
        programs.filter(|program| program.kind == LOAD && program.memory_size > 0)
    }

    /// Loads it where its physical addresses say; what a file does not fill stays as it is.
    pub(crate) fn load(
        &self,
        image: &Image,
        memory: &GuestMemory,
        claims: &mut Claims<'_>,
    ) -> Result<(), BootError> {
        // All is checked before the first byte is written.
        for program in self.loadable() {
            claims.take(SEGMENT, program.physical, program.memory_size)?;
        }
        for program in self.loadable() {
            image.load(memory, program.physical, program.offset, program.file_size)?;
        }
        Ok(())
    }

    /// The entry as a physical address: those of most kernels are linear.
    pub(crate) fn physical_entry(&self) -> u64 {
        let mut segments = self.loadable();
        let entry = segments.find_map(|program| {
            let offset = self.entry.checked_sub(program.linear)?;
            let inside = offset < program.memory_size;
            inside.then(|| program.physical.checked_add(offset))?
        });
        entry.unwrap_or(self.entry)
    }

    /// The first that `find` finds in a note.
    pub(crate) fn find_note<T>(
        &self,
        image: &Image,
        find: impl Fn(&Note<'_>) -> Option<T>,
    ) -> Result<Option<T>, BootError> {
        for program in self.programs.iter().filter(|program| program.kind == NOTE) {
            if program.file_size > NOTES_MAX {
                let wanted = "notes of at most 64 KiB are accepted";
                return Err(field("p_filesz of a note", program.file_size, wanted));
            }
            let mut bytes = vec![0; usize::try_from(program.file_size).unwrap_or(0)];
            image.read(program.offset, &mut bytes, "its notes")?;
            let alignment = if program.alignment == 8 { 8 } else { 4 };
            let mut rest = Some(bytes.as_slice());
            while let Some((note, next)) = rest.and_then(|rest| split_note(rest, alignment)) {
                if let Some(found) = find(&note) {
                    return Ok(Some(found));
                }
                rest = next;
            }
        }
        Ok(None)
    }
}

/// The first note and what follows it.
fn split_note(bytes: &[u8], alignment: usize) -> Option<(Note<'_>, Option<&[u8]>)> {
    let (sizes, _) = <[U32; 3]>::ref_from_prefix(bytes).ok()?;
    let [owner_size, size, kind] = sizes.each_ref().map(|size| size.get());
    let owner_end = usize::try_from(owner_size).ok()?.checked_add(12)?;
    let start = owner_end.checked_next_multiple_of(alignment)?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    let owner = bytes.get(12..owner_end)?;
    let note = Note {
        owner: owner.strip_suffix(b"\0").unwrap_or(owner),
        kind,
        contents: bytes.get(start..end)?,
    };
    let next = end.checked_next_multiple_of(alignment);
    Some((note, next.and_then(|next| bytes.get(next..))))
}

impl Program {
    fn check(&self, image: &Image) -> Result<(), BootError> {
        if self.file_size > self.memory_size {
            let wanted = "more than p_memsz";
            return Err(field("p_filesz", self.file_size, wanted));
        }
        if Range::new(self.physical, self.memory_size).is_none() {
            return Err(field("p_memsz", self.memory_size, "it ends nowhere"));
        }
        let end = self.offset.checked_add(self.file_size);
        if end.is_none_or(|end| end > image.length()) {
            return Err(image.truncated("what one of its segments loads"));
        }
        Ok(())
    }
}

const fn field(field: &'static str, value: u64, wanted: &'static str) -> BootError {
    BootError::Field {
        field,
        value,
        wanted,
    }
}

fn check<T: PartialEq + Copy + Into<u64> + Debug>(
    name: &'static str,
    value: T,
    accepted: &[T],
    wanted: &'static str,
) -> Result<(), BootError> {
    let right = accepted.contains(&value);
    right
        .then_some(())
        .ok_or_else(|| field(name, value.into(), wanted))
}

impl From<Program32> for Program {
    fn from(program: Program32) -> Self {
        Self {
            kind: program.kind.get(),
            offset: program.offset.get().into(),
            linear: program.linear.get().into(),
            physical: program.physical.get().into(),
            file_size: program.file_size.get().into(),
            memory_size: program.memory_size.get().into(),
            alignment: program.alignment.get().into(),
        }
    }
}

impl From<Program64> for Program {
    fn from(program: Program64) -> Self {
        Self {
            kind: program.kind.get(),
            offset: program.offset.get(),
            linear: program.linear.get(),
            physical: program.physical.get(),
            file_size: program.file_size.get(),
            memory_size: program.memory_size.get(),
            alignment: program.alignment.get(),
        }
    }
}
