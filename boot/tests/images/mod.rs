//! Small kernels, made here, of every protocol; and a machine to load them into.
#![allow(dead_code, reason = "each test file uses a part")]

use boot::{Acpi, BootError, Guest, Image, Module, Part, Protocol, Ram, Range};
use machine_memory::GuestMemory;
use x86_state::CpuState;

pub(crate) const MIB: u64 = 1 << 20;

/// Changes bytes at an offset.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

pub(crate) fn changed(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    put(&mut bytes, at, value);
    bytes
}

/// Bytes of the code of [`bzimage`].
pub(crate) const CODE: usize = 0x800;

/// A bzImage: two sectors of set-up code, then a pattern.
pub(crate) fn bzimage() -> Vec<u8> {
    let mut image = vec![0; 3 * 512];
    for (at, value) in [
        (0x1f1, &[2][..]),
        (0x1f4, &(CODE as u32 / 16).to_le_bytes()),
        (0x1fe, &0xaa55_u16.to_le_bytes()),
        (0x201, &[0x66]),
        (0x202, b"HdrS"),
        (0x206, &0x20f_u16.to_le_bytes()),
        (0x211, &[1]),
        (0x22c, &0x7fff_ffff_u32.to_le_bytes()),
        (0x230, &0x20_0000_u32.to_le_bytes()),
        (0x234, &[1]),
        (0x236, &1_u16.to_le_bytes()),
        (0x238, &2047_u32.to_le_bytes()),
        (0x258, &(2 * MIB).to_le_bytes()),
        (0x260, &(MIB as u32).to_le_bytes()),
    ] {
        put(&mut image, at, value);
    }
    image.extend((0..CODE).map(|index| index as u8));
    image
}

/// A program header of a 64-bit file: type, file range, address, and length in memory.
pub(crate) struct Segment {
    pub(crate) kind: u32,
    pub(crate) file: (u64, u64),
    pub(crate) address: u64,
    pub(crate) memory: u64,
}

/// Where the contents of [`elf`] begin.
pub(crate) const CONTENTS: u64 = 0x1000;
pub(crate) const PROGRAM_HEADERS: usize = 64;

/// A 64-bit ELF file with these segments and 8 KiB of contents, the first of them `notes`.
pub(crate) fn elf(entry: u64, segments: &[Segment], notes: &[u8]) -> Vec<u8> {
    let mut file = vec![0; CONTENTS as usize];
    put(&mut file, 0, b"\x7fELF\x02\x01\x01");
    put(&mut file, 16, &[2, 0, 62, 0, 1]);
    put(&mut file, 24, &entry.to_le_bytes());
    put(&mut file, 32, &(PROGRAM_HEADERS as u64).to_le_bytes());
    put(&mut file, 52, &[64, 0, 56, 0, segments.len() as u8]);
    for (index, segment) in segments.iter().enumerate() {
        let at = PROGRAM_HEADERS + index * 56;
        put(&mut file, at, &segment.kind.to_le_bytes());
        for (index, value) in [
            segment.file.0,
            // The linear address is another.
            segment.address.wrapping_add(1 << 46),
            segment.address,
            segment.file.1,
            segment.memory,
            4,
        ]
        .into_iter()
        .enumerate()
        {
            put(&mut file, at + 8 + index * 8, &value.to_le_bytes());
        }
    }
    file.extend((0..0x2000).map(|index: u32| index as u8 | 1));
    put(&mut file, CONTENTS as usize, notes);
    file
}

pub(crate) const LOAD: u32 = 1;
pub(crate) const NOTE: u32 = 4;

pub(crate) fn note(owner: &[u8], kind: u32, contents: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    for number in [owner.len() as u32, contents.len() as u32, kind] {
        note.extend(number.to_le_bytes());
    }
    for part in [owner, contents] {
        note.extend(part);
        note.resize(note.len().next_multiple_of(4), 0);
    }
    note
}

/// A PVH kernel at 1 MiB, 1 KiB of which come from the file.
pub(crate) fn pvh() -> Vec<u8> {
    let mut notes = note(b"GNU\0", 3, b"12345");
    notes.extend(note(b"Xen\0", 18, &0x10_0010_u32.to_le_bytes()));
    let segments = [
        Segment {
            kind: LOAD,
            file: (CONTENTS + 0x1000, 0x400),
            address: MIB,
            memory: 0x8000,
        },
        Segment {
            kind: NOTE,
            file: (CONTENTS, notes.len() as u64),
            address: 0,
            memory: 0,
        },
    ];
    elf(0xdead, &segments, &notes)
}

pub(crate) fn multiboot_header(flags: u32, addresses: &[u32]) -> Vec<u8> {
    let magic = 0x1bad_b002_u32;
    let checksum = 0_u32.wrapping_sub(magic).wrapping_sub(flags);
    let words = [magic, flags, checksum];
    let words = words.iter().chain(addresses);
    words.flat_map(|word| word.to_le_bytes()).collect()
}

/// Where the header of [`multiboot_flat`] is.
pub(crate) const FLAT_HEADER: usize = 0x40;

/// A flat Multiboot kernel at 1 MiB that begins at 0x20 in its file.
pub(crate) fn multiboot_flat() -> Vec<u8> {
    let addresses = [
        MIB as u32 + 0x20,
        MIB as u32,
        MIB as u32 + 0x100,
        MIB as u32 + 0x8000,
        MIB as u32 + 0x60,
    ];
    let mut file: Vec<u8> = (0..0x200_u32).map(|index| index as u8).collect();
    put(
        &mut file,
        FLAT_HEADER,
        &multiboot_header(0x1_0003, &addresses),
    );
    file
}

/// A Multiboot kernel as ELF, entered by its linear address.
pub(crate) fn multiboot_elf() -> Vec<u8> {
    let segment = Segment {
        kind: LOAD,
        file: (CONTENTS, 0x1000),
        address: MIB,
        memory: 0x8000,
    };
    elf(
        (1 << 46) + MIB + 0x20,
        &[segment],
        &multiboot_header(3, &[]),
    )
}

/// A machine with 16 MiB of memory and what is to be loaded.
pub(crate) struct Case {
    pub(crate) memory: GuestMemory,
    pub(crate) ram: Ram,
    pub(crate) kernel: Vec<u8>,
    pub(crate) modules: Vec<Vec<u8>>,
    pub(crate) command_line: Vec<u8>,
    pub(crate) acpi: Option<Acpi>,
    pub(crate) text_screen: bool,
}

pub(crate) const SPAN: u64 = 16 * MIB;

impl Case {
    pub(crate) fn new(kernel: Vec<u8>) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SPAN).unwrap();
        let tables = Range::new(0xe_0000, 0x2000).unwrap();
        Self {
            memory: GuestMemory::new(file, SPAN).unwrap(),
            ram: Ram::new(&[(0, SPAN)]).unwrap(),
            kernel,
            modules: vec![],
            command_line: b"console=ttyS0".to_vec(),
            acpi: Some(Acpi {
                rsdp: 0xe_0000,
                tables,
            }),
            text_screen: false,
        }
    }

    pub(crate) fn start(&self) -> Result<CpuState, BootError> {
        let kernel = Image::from_bytes(Part::Kernel, "kernel", self.kernel.clone())?;
        self.start_image(&kernel)
    }

    pub(crate) fn start_image(&self, kernel: &Image) -> Result<CpuState, BootError> {
        self.start_by(kernel, boot::detect(kernel)?)
    }

    pub(crate) fn start_by(
        &self,
        kernel: &Image,
        protocol: Protocol,
    ) -> Result<CpuState, BootError> {
        let mut images = Vec::new();
        for module in &self.modules {
            images.push(Image::from_bytes(Part::Module, "disk", module.clone())?);
        }
        let module = |image| Module {
            image,
            arguments: b"arguments",
        };
        let modules: Vec<Module<'_>> = images.iter().map(module).collect();
        let guest = Guest {
            kernel,
            modules: &modules,
            command_line: &self.command_line,
            ram: &self.ram,
            acpi: self.acpi,
            text_screen: self.text_screen,
        };
        protocol.load(&self.memory, &guest)
    }

    pub(crate) fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory.read(address, &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn number(&self, address: u64, length: usize) -> u64 {
        let bytes = self.bytes(address, length);
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// A text up to its zero.
    pub(crate) fn text(&self, address: u64) -> String {
        let bytes = self.bytes(address, 256);
        let text = bytes.split(|byte| *byte == 0).next().unwrap();
        String::from_utf8(text.to_vec()).unwrap()
    }
}
