//! What a kernel of each protocol finds when it is entered.

mod images;

use std::io::Write;

use boot::{Image, Part, Protocol, Ram, detect, detect_over_xen};
use images::{
    CODE, CONTENTS, Case, MIB, SPAN, bzimage, changed, multiboot_elf, multiboot_flat,
    multiboot_header, put, pvh,
};
use machine_memory::GuestMemory;
use x86_state::CpuState;

const RAX: usize = 0;
const RBX: usize = 3;
const RSI: usize = 6;

fn is_long_mode(state: &CpuState) -> bool {
    let control = state.control;
    let paging = control.cr0 & 1 << 31 != 0 && control.cr4 & 1 << 5 != 0;
    paging && control.efer == 0x500 && state.segments.cs.rights & 1 << 13 != 0
}

fn is_protected_mode(state: &CpuState) -> bool {
    let control = state.control;
    let flat = [state.segments.cs, state.segments.ss, state.segments.ds]
        .iter()
        .all(|segment| segment.base == 0 && segment.limit == u32::MAX && segment.rights >> 14 == 3);
    flat && (control.cr0, control.cr4, control.efer) == (0x11, 0, 0)
}

/// The descriptors in memory are what the registers hold.
fn check_descriptors(case: &Case, state: &CpuState) {
    for segment in [state.segments.cs, state.segments.ds, state.segments.tr] {
        let address = state.gdt.base + u64::from(segment.selector);
        assert!(segment.selector + 7 <= state.gdt.limit);
        let descriptor = case.number(address, 8);
        assert_eq!(descriptor >> 40 & 0xf0ff, u64::from(segment.rights));
        let limit = descriptor & 0xffff | descriptor >> 32 & 0xf_0000;
        let granular = segment.rights & 1 << 15 != 0;
        let limit = if granular { limit << 12 | 0xfff } else { limit };
        assert_eq!(limit, u64::from(segment.limit));
    }
    assert_eq!(state.rflags, 2, "no interrupts");
}

#[test]
fn every_kernel_finds_what_firmware_says_of_its_memory() {
    for kernel in [bzimage(), pvh(), multiboot_flat()] {
        let case = Case::new(kernel);
        case.start().unwrap();
        assert_eq!(case.number(0x413, 2), 640);
    }
}

/// As the processor would.
fn translate(case: &Case, state: &CpuState, linear: u64) -> u64 {
    let root = case.number(state.control.cr3 + (linear >> 39) * 8, 8);
    let table = case.number((root & !0xfff) + (linear >> 30 & 511) * 8, 8);
    let page = case.number((table & !0xfff) + (linear >> 21 & 511) * 8, 8);
    assert_eq!((root & 3, table & 3, page & 0x83), (3, 3, 0x83));
    (page & !0xfff) + (linear & 0x1f_ffff)
}

#[test]
fn linux_is_entered_in_long_mode() {
    let mut case = Case::new(bzimage());
    case.modules = vec![vec![7; 0x1234]];
    case.text_screen = true;
    let state = case.start().unwrap();
    check_descriptors(&case, &state);
    assert!(is_long_mode(&state));
    assert_eq!(
        (state.segments.cs.selector, state.segments.ds.selector),
        (0x10, 0x18)
    );
    assert_eq!(state.rip, 2 * MIB + 0x200);
    for linear in [0, 0x7000, state.rip, 0xfee0_0000, 0xffff_ffff] {
        assert_eq!(translate(&case, &state, linear), linear);
    }
    assert_eq!(case.bytes(2 * MIB, CODE), bzimage()[3 * 512..]);
    let page = state.general[RSI];
    assert_eq!(case.bytes(page + 0x202, 4), b"HdrS");
    assert_eq!(case.number(page + 0x210, 1), 0xff, "type_of_loader");
    assert_eq!(case.number(page + 0x214, 4), 2 * MIB, "code32_start");
    assert_eq!(case.text(case.number(page + 0x228, 4)), "console=ttyS0");
    assert_eq!(case.number(page + 0x70, 8), 0xe_0000, "acpi_rsdp_addr");
    assert_eq!(case.number(page + 0x1ef, 1), 0, "sentinel");
    assert_eq!(case.bytes(page + 6, 2), [3, 80], "screen_info");
    let disk = case.number(page + 0x218, 4);
    assert_eq!(
        (disk, case.number(page + 0x21c, 4)),
        (SPAN - 0x2000, 0x1234)
    );
    assert_eq!(
        case.bytes(disk, 0x1235),
        [vec![7; 0x1234], vec![0]].concat()
    );
    check_map(&case, page + 0x2d0, 20, case.number(page + 0x1e8, 1));
}

/// Entries of 20 or 24 bytes: address, length, type.
fn check_map(case: &Case, address: u64, size: u64, count: u64) {
    let entry = |index| {
        let at = address + index * size;
        (
            case.number(at, 8),
            case.number(at + 8, 8),
            case.number(at + 16, 4),
        )
    };
    let entries: Vec<_> = (0..count).map(entry).collect();
    let expected = [
        (0, 0xa_0000, 1),
        (0xa_0000, 0x4_0000, 2),
        (0xe_0000, 0x2000, 3),
        (0xe_2000, 0x1_e000, 2),
        (MIB, 15 * MIB, 1),
    ];
    assert_eq!(entries, expected);
}

#[test]
fn linux_without_a_64_bit_entry_is_entered_in_protected_mode() {
    for kernel in [
        changed(bzimage(), 0x236, &[0, 0]),
        // The field did not exist then.
        changed(bzimage(), 0x206, &[0x0b, 2]),
    ] {
        let case = Case::new(kernel);
        let state = case.start().unwrap();
        assert!(is_protected_mode(&state));
        check_descriptors(&case, &state);
        assert_eq!((state.rip, state.general[RSI]), (2 * MIB, 0x7000));
    }
}

#[test]
fn a_relocatable_kernel_evades_a_hole_and_another_does_not() {
    let ram = Ram::new(&[(0, 2 * MIB + 0x1000), (5 * MIB, 11 * MIB)]).unwrap();
    let mut case = Case::new(bzimage());
    case.ram = ram;
    assert_eq!(case.start().unwrap().rip, 6 * MIB + 0x200);
    case.kernel = changed(bzimage(), 0x234, &[0]);
    assert!(case.start().is_err());
}

#[test]
fn the_initial_disk_stays_where_the_kernel_reaches_it() {
    let mut case = Case::new(changed(
        bzimage(),
        0x22c,
        &(8 * MIB as u32 - 1).to_le_bytes(),
    ));
    case.modules = vec![vec![7; 0x1000]];
    case.start().unwrap();
    assert_eq!(case.number(0x7218, 4), 8 * MIB - 0x1000);
    case.ram = Ram::new(&[(0, 7 * MIB), (8 * MIB, 8 * MIB)]).unwrap();
    case.start().unwrap();
    assert_eq!(case.number(0x7218, 4), 7 * MIB - 0x1000);
}

#[test]
fn nothing_lies_in_the_hole_below_4_gib_or_above() {
    const GIB: u64 = 1 << 30;
    for kernel in [bzimage(), pvh(), multiboot_elf()] {
        let file = tempfile::tempfile().unwrap();
        // Sparse: only what is loaded exists.
        file.set_len(5 * GIB).unwrap();
        let mut case = Case::new(kernel);
        case.memory = GuestMemory::new(file, 5 * GIB).unwrap();
        case.ram = Ram::new(&[(0, 3 * GIB), (4 * GIB, GIB)]).unwrap();
        case.modules = vec![vec![7; 0x1000]];
        let state = case.start().unwrap();
        let disk = match (state.general[RSI], state.general[RAX]) {
            (0x7000, _) => case.number(0x7218, 4),
            (_, 0) => case.number(case.number(0x7000 + 16, 8), 8),
            _ => case.number(case.number(0x7000 + 24, 4), 4),
        };
        assert!(disk + 0x1000 <= 3 * GIB);
        assert_eq!(case.bytes(disk, 2), [7, 7]);
    }
}

#[test]
fn pvh_kernels_find_the_start_info() {
    let mut case = Case::new(pvh());
    case.modules = vec![vec![7; 0x1234], vec![8; 1]];
    let state = case.start().unwrap();
    assert!(is_protected_mode(&state));
    check_descriptors(&case, &state);
    assert_eq!(state.rip, MIB + 0x10);
    let file = CONTENTS as usize + 0x1000;
    assert_eq!(case.bytes(MIB, 0x400), pvh()[file..file + 0x400]);
    assert_eq!(case.bytes(MIB + 0x400, 16), [0; 16]);
    let info = state.general[RBX];
    assert_eq!(case.number(info, 4), 0x336e_c578);
    assert_eq!(case.number(info + 4, 8), 1, "version, no flags");
    assert_eq!(case.text(case.number(info + 24, 8)), "console=ttyS0");
    assert_eq!(case.number(info + 32, 8), 0xe_0000, "root pointer");
    assert_eq!(case.number(info + 12, 4), 2, "modules");
    let list = case.number(info + 16, 8);
    for (at, length, byte) in [(list, 0x1234, 7), (list + 32, 1, 8)] {
        let (start, size) = (case.number(at, 8), case.number(at + 8, 8));
        assert_eq!((size, case.bytes(start, 1)), (length, vec![byte]));
        assert_eq!(case.text(case.number(at + 16, 8)), "arguments");
    }
    check_map(
        &case,
        case.number(info + 40, 8),
        24,
        case.number(info + 48, 4),
    );
}

#[test]
fn multiboot_kernels_find_the_information() {
    for (kernel, entry, first) in [
        (multiboot_flat(), MIB + 0x60, 0x20),
        (multiboot_elf(), MIB + 0x20, CONTENTS as usize),
    ] {
        let mut case = Case::new(kernel.clone());
        case.modules = vec![vec![7; 0x1234], vec![8; 1]];
        let state = case.start().unwrap();
        assert!(is_protected_mode(&state));
        check_descriptors(&case, &state);
        assert_eq!((state.rip, state.general[RAX]), (entry, 0x2bad_b002));
        assert_eq!(case.bytes(MIB, 0x100), kernel[first..first + 0x100]);
        let info = state.general[RBX];
        assert_eq!(case.number(info, 4), 0b10_0100_1101, "what is there");
        assert_eq!(case.number(info + 4, 4), 640);
        assert_eq!(case.number(info + 8, 4), 15 << 10);
        assert_eq!(case.text(case.number(info + 16, 4)), "kernel console=ttyS0");
        assert_eq!(case.text(case.number(info + 64, 4)), "husk");
        assert_eq!(case.number(info + 20, 4), 2, "modules");
        let list = case.number(info + 24, 4);
        for (at, length, byte) in [(list, 0x1234, 7), (list + 16, 1, 8)] {
            let (start, end) = (case.number(at, 4), case.number(at + 4, 4));
            assert!(start.is_multiple_of(4096) && start >= MIB + 0x8000);
            assert_eq!((end - start, case.bytes(start, 1)), (length, vec![byte]));
            assert_eq!(case.text(case.number(at + 8, 4)), "disk arguments");
        }
        let (length, map) = (case.number(info + 44, 4), case.number(info + 48, 4));
        assert_eq!(case.number(map, 4), 20, "without the size itself");
        check_map(&case, map + 4, 24, length / 24);
    }
}

#[test]
fn a_multiboot_kernel_is_told_about_a_screen_when_it_asks() {
    let mut kernel = multiboot_elf();
    put(
        &mut kernel,
        CONTENTS as usize,
        &multiboot_header(7, &[0; 5]),
    );
    let mut case = Case::new(kernel);
    assert!(case.start().is_err(), "there is none");
    case.text_screen = true;
    case.start().unwrap();
    assert_eq!(case.number(0x7000, 4) >> 12, 1);
    assert_eq!(case.number(0x7000 + 88, 8), 0xb_8000);
    assert_eq!(case.bytes(0x7000 + 108, 2), [16, 2]);
}

#[test]
fn files_are_loaded_like_bytes() {
    for kernel in [bzimage(), pvh(), multiboot_flat()] {
        // Long enough for every way to read a file.
        let kernel = [kernel, vec![0; 1 << 18]].concat();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&kernel).unwrap();
        let image = Image::from_file(Part::Kernel, "kernel", file).unwrap();
        let (from_file, from_bytes) = (Case::new(vec![]), Case::new(kernel));
        let states = (
            from_file.start_image(&image).unwrap(),
            from_bytes.start().unwrap(),
        );
        assert_eq!(states.0, states.1);
        let all = |case: &Case| case.bytes(0, SPAN as usize);
        assert!(all(&from_file) == all(&from_bytes));
    }
}

#[test]
fn protocols_are_told_apart() {
    let detected = |bytes: Vec<u8>| {
        let image = Image::from_bytes(Part::Kernel, "kernel", bytes).unwrap();
        detect(&image).map_err(|error| error.to_string())
    };
    let windows = changed(bzimage(), 0, b"MZ");
    assert_eq!(detected(bzimage()), Ok(Protocol::Linux));
    assert_eq!(detected(windows), Ok(Protocol::Linux));
    assert_eq!(detected(pvh()), Ok(Protocol::Pvh));
    assert_eq!(detected(multiboot_flat()), Ok(Protocol::Multiboot));
    assert_eq!(detected(multiboot_elf()), Ok(Protocol::Multiboot));
    let both = changed(pvh(), 0x800, &multiboot_header(3, &[]));
    assert_eq!(detected(both), Ok(Protocol::Multiboot));
    for (bytes, what) in [
        (b"MZ and no more".to_vec(), "UEFI"),
        (b"\x1f\x8b\x08".to_vec(), "gzip"),
        (b"QFI\xfb".to_vec(), "--disk"),
        (vec![0], "unknown kind"),
        (changed(pvh(), 0x1000 + 24 + 8, &[17]), "entry note"),
    ] {
        let error = detected(bytes).expect_err("no kernel");
        let lists = ["bzImage", "PVH", "Multiboot 1"];
        assert!(error.contains(what), "{error}");
        assert!(lists.iter().all(|name| error.contains(name)), "{error}");
    }
}

#[test]
fn above_xen_a_kernel_is_entered_by_pvh_or_not_at_all() {
    let image = |bytes| Image::from_bytes(Part::Kernel, "kernel", bytes).unwrap();
    let both = image(changed(pvh(), 0x800, &multiboot_header(3, &[])));
    for kernel in [&both, &image(pvh())] {
        assert_eq!(detect_over_xen(kernel).unwrap(), Protocol::Pvh);
    }
    let mut case = Case::new(vec![]);
    case.modules = vec![vec![7; 0x1234], vec![8; 1]];
    let state = case.start_by(&both, Protocol::Pvh).unwrap();
    assert_eq!(state.rip, MIB + 0x10);
    let list = case.number(state.general[RBX] + 16, 8);
    for (at, byte) in [(list, 7), (list + 32, 8)] {
        assert_eq!(case.bytes(case.number(at, 8), 1), [byte]);
    }
    for kernel in [bzimage(), multiboot_flat(), multiboot_elf()] {
        let error = detect_over_xen(&image(kernel)).expect_err("no entry");
        let sentence = error.to_string();
        assert!(sentence.contains("--hypervisor"), "{sentence}");
    }
    let error = detect_over_xen(&image(vec![0])).expect_err("no kernel");
    assert!(error.to_string().contains("unknown kind"), "{error}");
}
