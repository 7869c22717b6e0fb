//! Kernels of others: files that are loaded, or refused, and nothing else.
//!
//! Each target puts the magic numbers of its protocol in place, so that the input gets past
//! the first look.

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

/// A bzImage whose set-up header begins with the input.
pub(crate) fn linux(data: &[u8]) {
    let mut file = [vec![0; SETUP_HEADER], data.to_vec()].concat();
    file.resize(file.len().max(0x210), 0);
    file[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    file[0x202..0x206].copy_from_slice(b"HdrS");
    start(file);
}

/// An ELF file.
pub(crate) fn pvh(data: &[u8]) {
    start([b"\x7fELF", data].concat());
}

/// A file that begins with a Multiboot header, of which the input's first bytes are the flags.
pub(crate) fn multiboot(data: &[u8]) {
    let (flags, rest) = data.split_at(data.len().min(4));
    let mut word = [0; 4];
    word[..flags.len()].copy_from_slice(flags);
    let magic = 0x1bad_b002_u32;
    let sum = magic.wrapping_add(u32::from_le_bytes(word));
    let checksum = 0_u32.wrapping_sub(sum).to_le_bytes();
    start([&magic.to_le_bytes(), &word, &checksum, rest].concat());
}

fn start(file: Vec<u8>) {
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
    match boot::start(&memory(), &guest) {
        Ok(state) => assert!(state.rip < SPAN, "it is entered where there is memory"),
        Err(BootError::Memory(error)) => panic!("written where no memory is: {error}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
