//! Kernels of others: files that are loaded, or refused, and nothing else.
//!
//! Each target begins with a right file, which the input changes: an empty one starts.

use std::cell::OnceCell;

use boot::{BootError, Guest, Image, Module, Part, Ram};
use machine_memory::GuestMemory;

/// Bytes of memory of the machine.
const SPAN: u64 = 4 << 20;
/// Where Linux's set-up header begins in the file.
const SETUP_HEADER: usize = 0x1f1;

thread_local! {
    static MEMORY: OnceCell<GuestMemory> = const { OnceCell::new() };
}

fn memory() -> GuestMemory {
    let create = || {
        let file = tempfile::tempfile().expect("the host has room");
        file.set_len(SPAN).expect("the host has room");
        GuestMemory::new(file, SPAN).expect("the host has room")
    };
    MEMORY.with(|memory| memory.get_or_init(create).clone())
}

fn bzimage() -> Vec<u8> {
    with(&[
        (SETUP_HEADER, &[1, 0, 0, 0x20]),
        (0x1fe, &[0x55, 0xaa, 0, 0x66]),
        (0x202, b"HdrS\x0f\x02"),
        (0x211, &[1]),
        (
            0x22c,
            &[0xff, 0xff, 0xff, 0x7f, 0, 0, 0x10, 0, 1, 0, 1, 0, 0xff],
        ),
        (0x258, &[0, 0, 0x10]),
        (0x260, &[0, 0, 1]),
    ])
}

/// A bzImage with changes.
pub(crate) fn linux(data: &[u8]) {
    start(changed(bzimage(), SETUP_HEADER, data));
}

fn elf() -> Vec<u8> {
    with(&[
        (0, b"\x7fELF\x02\x01\x01"),
        (16, &[2, 0, 62, 0, 1]),
        (32, &[64]),
        (52, &[64, 0, 56, 0, 2]),
        // Type, place in the file, physical address, lengths.
        (64, &[1]),
        (64 + 26, &[0x10]),
        (64 + 32, &[0, 4, 0, 0, 0, 0, 0, 0, 0, 8]),
        (120, &[4, 0, 0, 0, 0, 0, 0, 0, 176]),
        (120 + 32, &[20]),
        (176, &[4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0]),
        (188, b"Xen\0\x10\0\x10\0"),
    ])
}

/// An ELF file of one segment and one note, with changes.
pub(crate) fn pvh(data: &[u8]) {
    start(changed(elf(), 0, data));
}

fn flat() -> Vec<u8> {
    with(&[
        (0, &0x1bad_b002_u32.to_le_bytes()),
        (4, &[3, 0, 1]),
        (
            14,
            &[
                0x10, 0, 0, 0, 0x10, 0, 0, 2, 0x10, 0, 0, 4, 0x10, 0, 32, 0, 0x10,
            ],
        ),
    ])
}

/// A flat file with a Multiboot header, with changes; the checksum is always right.
pub(crate) fn multiboot(data: &[u8]) {
    start(with_checksum(changed(flat(), 4, data)));
}

fn with_checksum(mut file: Vec<u8>) -> Vec<u8> {
    if let Some([a, b, c, d]) = file.get(4..8).and_then(<[u8]>::first_chunk) {
        let sum = 0x1bad_b002_u32.wrapping_add(u32::from_le_bytes([*a, *b, *c, *d]));
        let checksum = 0_u32.wrapping_sub(sum).to_le_bytes();
        let place = file.iter_mut().skip(8).zip(checksum);
        place.for_each(|(at, byte)| *at = byte);
    }
    file
}

/// A file of some sectors with these bytes in it.
fn with(parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 4096];
    for (at, bytes) in parts {
        file[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    file
}

/// The input's first two bytes say how much is cut off at the end, the others what is changed
/// from `at` on.
fn changed(mut file: Vec<u8>, at: usize, data: &[u8]) -> Vec<u8> {
    let (cut, changes) = data.split_at(data.len().min(2));
    file.iter_mut()
        .skip(at)
        .zip(changes)
        .for_each(|(byte, change)| *byte ^= change);
    let cut = cut
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    file.truncate(file.len().saturating_sub(cut).max(1));
    file
}

fn start(file: Vec<u8>) {
    if let Err(error) = load(file) {
        assert!(!error.to_string().is_empty());
    }
}

fn load(file: Vec<u8>) -> Result<(), BootError> {
    let module = Image::from_bytes(Part::Module, "disk", vec![7; 0x1001]).expect("not empty");
    let kernel = Image::from_bytes(Part::Kernel, "kernel", file).expect("not empty");
    let ram = Ram::new(&[(0, SPAN)]).expect("a range");
    let guest = Guest {
        kernel: &kernel,
        modules: &[Module {
            image: &module,
            arguments: b"arguments",
        }],
        command_line: b"console=ttyS0",
        ram: &ram,
        acpi: None,
        text_screen: true,
    };
    // Whichever it is, it is one or none.
    let _ = boot::detect_over_xen(&kernel);
    match boot::start(&memory(), &guest) {
        Ok(state) => assert!(state.rip < SPAN, "it is entered where there is memory"),
        Err(BootError::Memory(error)) => panic!("written where no memory is: {error}"),
        Err(error) => return Err(error),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_inputs_change_is_right() {
        for file in [
            super::bzimage(),
            super::elf(),
            super::with_checksum(super::flat()),
        ] {
            super::load(file).expect("it starts");
        }
    }
}
