//! An ELF file with a PVH note: a machine enters it in protected mode, without paging.
//!
//! The file has one segment and one note (ELF specification; Xen's docs/misc/pvh.pandoc).

use crate::layout::IMAGE;

const HEADER: u32 = 52;
const PROGRAM_HEADER: u32 = 32;
const NOTE: u32 = 0x100;
const SEGMENT: u32 = 0x1000;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const PHYSICAL_ENTRY: u32 = 18;

/// A file that loads `image` at `IMAGE` and enters it there.
pub(crate) fn file(image: &[u8]) -> Vec<u8> {
    let length = u32::try_from(image.len()).expect("the image is small");
    let note = note();
    let mut file = header();
    file.extend(program_header(PT_LOAD, SEGMENT, IMAGE, length, 7));
    let note_length = u32::try_from(note.len()).expect("the note is short");
    file.extend(program_header(PT_NOTE, NOTE, 0, note_length, 4));
    file.resize(NOTE as usize, 0);
    file.extend(note);
    file.resize(SEGMENT as usize, 0);
    file.extend_from_slice(image);
    file
}

fn header() -> Vec<u8> {
    let mut header = b"\x7fELF\x01\x01\x01".to_vec();
    header.resize(16, 0);
    // An executable for a 386, version 1.
    header.extend([2, 0, 3, 0, 1, 0, 0, 0]);
    for value in [IMAGE, HEADER, 0, 0] {
        header.extend(value.to_le_bytes());
    }
    for value in [HEADER, PROGRAM_HEADER, 2, 0, 0, 0] {
        header.extend((value as u16).to_le_bytes());
    }
    header
}

fn program_header(kind: u32, offset: u32, address: u32, length: u32, flags: u32) -> Vec<u8> {
    let fields = [kind, offset, address, address, length, length, flags, 4];
    fields
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn note() -> Vec<u8> {
    let fields = [4, 4, PHYSICAL_ENTRY];
    let mut note: Vec<u8> = fields
        .iter()
        .flat_map(|value: &u32| value.to_le_bytes())
        .collect();
    note.extend(b"Xen\0");
    note.extend(IMAGE.to_le_bytes());
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_are_where_the_header_says() {
        let file = file(&[0x90; 16]);
        assert_eq!(&file[..4], b"\x7fELF");
        assert_eq!(&file[24..28], &IMAGE.to_le_bytes());
        assert_eq!(file[28], 52);
        assert_eq!(&file[44..46], &[2, 0]);
        assert_eq!(&file[52..56], &[1, 0, 0, 0]);
        assert_eq!(&file[0x1000..], &[0x90; 16]);
    }

    #[test]
    fn the_note_names_the_entry() {
        let note = note();
        assert_eq!(&note[8..12], &[18, 0, 0, 0]);
        assert_eq!(&note[12..16], b"Xen\0");
        assert_eq!(&note[16..], &IMAGE.to_le_bytes());
    }
}
