//! Puts a kernel and what it is told into a machine's memory.
//!
//! Other people's kernels speak one of three protocols: [`linux`], [`pvh`] and [`multiboot`];
//! [`detect`] says which, [`detect_over_xen`] for a machine in which guests find Xen below
//! themselves. [`Protocol::load`] loads a [`Guest`] and answers with the state of the first virtual
//! CPU; [`start`] does both. Files are hostile: nothing here panics, indexes or believes a number
//! before it is checked, and what goes where is settled (`claims`) before it is written. Which
//! memory and which tables the machine has is the caller's decision.
//!
//! Husk's own kernel ([`KERNEL`], [`load`]) is an ordinary ELF file, embedded here by the build script. Its segments
//! go to guest-physical memory at the distance they have in linear space; where the engine
//! maps the image, those that are never written stay in the file of the running program,
//! which holds the kernel at a page's start. The boot information says where everything is.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)
)]

mod claims;
mod cpu;
mod detect;
mod error;
mod executable;
mod guest;
mod image;
pub mod linux;
pub mod multiboot;
pub mod pvh;
mod ram;

pub use detect::{Protocol, detect, detect_over_xen, start};
pub use error::BootError;
pub use guest::{Acpi, Guest, MODULES_MAX, Module};
pub use image::{Image, KERNEL_MAX, Part};
pub use ram::{ABOVE_LEGACY, Entry, Kind, LEGACY, RANGES_MAX, Ram, Range};

pub mod ring0;

use elf::ElfBytes;
use elf::abi::{PF_W, PT_LOAD};
use elf::endian::LittleEndian;
use guest_abi::boot::{
    BootInfo, MAGIC, RAM_RANGES_MAX, RamRange, SEGMENTS_MAX, SOURCE_IMAGE, SOURCE_MEMORY, Segment,
    VERSION,
};
use guest_abi::layout::{self, page_up};
use guest_config::MachineConfig;
use machine_memory::GuestMemory;
use zerocopy::IntoBytes;

#[repr(C, align(4096))]
struct PageAligned<T: ?Sized>(T);

static ALIGNED: &PageAligned<[u8]> = &PageAligned(*include_bytes!(env!("HUSK_KERNEL")));

/// The kernel for Linux programs; begins at a page's start in the program's file as well.
pub static KERNEL: &[u8] = &ALIGNED.0;

/// What the boot information needs besides the kernel and the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Bytes of memory the program may use.
    pub memory_limit: u64,
    /// Devices on their pages.
    pub devices: u32,
    /// Physical memory, for a kernel at ring 0; empty for a cell.
    pub ram: [RamRange; RAM_RANGES_MAX],
    /// Bytes of guest-physical space, sparse; memory in it appears when touched.
    pub span: u64,
    /// Time-stamp counter when the monitor started.
    pub started_tsc: u64,
    /// Random bytes.
    pub entropy: [u8; 64],
    /// `AT_HWCAP` and `AT_HWCAP2` of the host.
    pub hwcap: (u64, u64),
    /// `AT_MINSIGSTKSZ` of the host.
    pub signal_stack_min: u64,
    /// The host's own host takes back what memory is free, so that large pages are dear.
    pub large_pages_are_dear: bool,
}

/// Loads `kernel` and everything it is told. With `image`, the offset of the kernel in a
/// file that the engine maps, its read-only parts stay there. Returns the linear address of
/// the kernel's entry.
///
/// # Errors
/// When the kernel's file is damaged, or something does not fit the memory.
pub fn load(
    memory: &GuestMemory,
    kernel: &[u8],
    image: Option<u64>,
    config: &MachineConfig,
    facts: &Facts,
) -> Result<u64, BootError> {
    let (entry, segments, segment_count) = load_kernel(memory, kernel, image)?;
    let encoded = config.encode().map_err(|_| BootError::Encode)?;
    if encoded.len() as u64 > layout::CONFIG_MAX {
        return Err(BootError::ConfigTooLong(encoded.len()));
    }
    memory.write(layout::CONFIG, &encoded)?;
    let info = BootInfo {
        magic: MAGIC,
        version: VERSION,
        vcpus: facts.vcpus,
        ram_span: facts.span,
        memory_limit: facts.memory_limit,
        config_length: encoded.len() as u64,
        devices: facts.devices,
        segment_count,
        entry,
        started_tsc: facts.started_tsc,
        entropy: facts.entropy,
        hwcap: facts.hwcap.0,
        hwcap2: facts.hwcap.1,
        signal_stack_min: facts.signal_stack_min,
        large_pages_are_dear: u64::from(facts.large_pages_are_dear),
        ram: facts.ram,
        segments,
    };
    memory.write(layout::BOOT_INFO, info.as_bytes())?;
    Ok(entry)
}

type LoadedKernel = (u64, [Segment; SEGMENTS_MAX], u32);

fn load_kernel(
    memory: &GuestMemory,
    kernel: &[u8],
    image: Option<u64>,
) -> Result<LoadedKernel, BootError> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(kernel);
    let file = file.map_err(|_| BootError::Kernel("no ELF header"))?;
    let headers = file.segments().ok_or(BootError::Kernel("no segments"))?;
    let mut segments = [Segment::default(); SEGMENTS_MAX];
    let mut count = 0;
    for header in headers.iter().filter(|header| header.p_type == PT_LOAD) {
        let slot = segments
            .get_mut(count)
            .ok_or(BootError::Kernel("too many segments"))?;
        let offset = header.p_vaddr.checked_sub(layout::KERNEL_BASE);
        let offset = offset.ok_or(BootError::Kernel("a segment below the kernel's base"))?;
        let end = offset
            .checked_add(header.p_memsz)
            .filter(|end| *end <= layout::KERNEL_SPAN);
        end.ok_or(BootError::Kernel("a segment beyond the kernel's range"))?;
        let bytes = file
            .segment_data(&header)
            .map_err(|_| BootError::Kernel("truncated"))?;
        let constant = header.p_flags & PF_W == 0 && header.p_filesz == header.p_memsz;
        let (source, offset) = match image {
            Some(image) if constant && header.p_offset.is_multiple_of(layout::PAGE_SIZE) => {
                (SOURCE_IMAGE, image + header.p_offset)
            }
            _ => {
                memory.write(layout::KERNEL_IMAGE + offset, bytes)?;
                (SOURCE_MEMORY, layout::KERNEL_IMAGE + offset)
            }
        };
        *slot = Segment {
            linear: header.p_vaddr,
            offset,
            length: page_up(header.p_memsz),
            protection: u64::from(protection(header.p_flags)),
            source,
        };
        count += 1;
    }
    Ok((file.ehdr.e_entry, segments, count as u32))
}

/// From ELF's order of bits to that of `PROT_READ`, `PROT_WRITE`, `PROT_EXEC`.
const fn protection(flags: u32) -> u32 {
    (flags & 4) >> 2 | flags & 2 | (flags & 1) << 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> GuestMemory {
        let file = tempfile::tempfile().unwrap();
        file.set_len(layout::FREE_START).unwrap();
        GuestMemory::new(file, layout::FREE_START).unwrap()
    }

    fn facts() -> Facts {
        Facts {
            vcpus: 1,
            memory_limit: 1 << 20,
            devices: 0,
            ram: [RamRange::default(); RAM_RANGES_MAX],
            span: layout::FREE_START,
            started_tsc: 0,
            entropy: [0; 64],
            hwcap: (0, 0),
            signal_stack_min: 2048,
            large_pages_are_dear: false,
        }
    }

    #[test]
    fn the_kernel_is_loaded_with_separate_rights() {
        let memory = memory();
        load(&memory, KERNEL, None, &MachineConfig::default(), &facts()).unwrap();
        let mut bytes = [0; size_of::<BootInfo>()];
        memory.read(layout::BOOT_INFO, &mut bytes).unwrap();
        let info: BootInfo = zerocopy::transmute!(bytes);
        assert_eq!(info.magic, MAGIC);
        let segments = &info.segments[..info.segment_count as usize];
        assert!(segments.iter().any(|segment| segment.protection == 5));
        assert!(
            segments.iter().all(|segment| segment.protection & 6 != 6),
            "W^X"
        );
    }

    #[test]
    fn a_damaged_kernel_is_refused() {
        let memory = memory();
        let config = MachineConfig::default();
        assert!(load(&memory, b"not a kernel", None, &config, &facts()).is_err());
        assert!(load(&memory, &KERNEL[..200], None, &config, &facts()).is_err());
    }

    #[test]
    fn constant_parts_stay_in_the_image() {
        let image = 0x7000;
        let memory = memory();
        let config = MachineConfig::default();
        load(&memory, KERNEL, Some(image), &config, &facts()).unwrap();
        let mut bytes = [0; size_of::<BootInfo>()];
        memory.read(layout::BOOT_INFO, &mut bytes).unwrap();
        let info: BootInfo = zerocopy::transmute!(bytes);
        let segments = &info.segments[..info.segment_count as usize];
        for segment in segments {
            let constant = segment.protection & 2 == 0;
            assert_eq!(segment.source == SOURCE_IMAGE, constant, "{segment:?}");
            if constant {
                let start = (segment.offset - image) as usize;
                let mut loaded = [0; 16];
                let physical = layout::KERNEL_IMAGE + segment.linear - layout::KERNEL_BASE;
                memory.read(physical, &mut loaded).unwrap();
                assert_eq!(loaded, [0; 16], "not copied as well");
                assert!(KERNEL.len() > start);
            }
        }
    }

    #[test]
    fn a_configuration_that_is_too_long_is_refused() {
        let config = MachineConfig {
            arguments: vec![vec![b'x'; 4 << 20]],
            ..MachineConfig::default()
        };
        let result = load(&memory(), KERNEL, None, &config, &facts());
        assert!(matches!(result, Err(BootError::ConfigTooLong(_))));
    }
}
