//! Files and machines that cannot work: each ends in one sentence that says what and why, and
//! never in a panic.

mod images;

use std::path::Path;

use boot::{Acpi, BootError, Image, KERNEL_MAX, MODULES_MAX, Part, Ram, Range};
use images::{
    CODE, CONTENTS, Case, FLAT_HEADER, LOAD, MIB, NOTE, PROGRAM_HEADERS, SPAN, Segment, bzimage,
    changed, elf, multiboot_elf, multiboot_flat, multiboot_header, note, pvh,
};
use proptest::prelude::*;

const KERNELS: [fn() -> Vec<u8>; 4] = [bzimage, pvh, multiboot_flat, multiboot_elf];

/// The sentence in which it ends.
fn refusal(case: &Case) -> String {
    let error = case.start().expect_err("refused").to_string();
    let sentence = error.starts_with("the ") || error.starts_with("a segment");
    assert!(sentence || error.starts_with("there are"), "{error}");
    assert!(
        error.ends_with(')') || error.contains("described"),
        "{error}"
    );
    error
}

/// What a kernel is changed to be, and what the sentence must say.
type Row = (Vec<u8>, &'static [&'static str]);

fn check(rows: impl IntoIterator<Item = Row>) {
    for (index, (kernel, words)) in rows.into_iter().enumerate() {
        let error = refusal(&Case::new(kernel));
        for word in words {
            assert!(error.contains(word), "row {index}: no {word:?} in: {error}");
        }
    }
}

#[test]
fn files_that_end_too_soon() {
    // The kernel, and where the last byte that is loaded lies; Linux's may lack padding.
    let contents = CONTENTS as usize;
    for (whole, last) in [
        (bzimage(), bzimage().len() - 16),
        (pvh(), contents + 0x1400),
        (multiboot_flat(), 0x120),
        (multiboot_elf(), contents + 0x1000),
    ] {
        assert!(Case::new(whole[..last].to_vec()).start().is_ok() || whole == bzimage());
        let lengths = (1..0x280)
            .chain((0x280..last).step_by(97))
            .chain([last - 1]);
        for length in lengths.filter(|length| *length < last) {
            refusal(&Case::new(whole[..length].to_vec()));
        }
    }
    assert!(matches!(
        Case::new(vec![]).start(),
        Err(BootError::Empty(Part::Kernel))
    ));
}

#[test]
fn linux_headers() {
    let with = |at, value: &[u8]| changed(bzimage(), at, value);
    let all = &[0xff; 8][..];
    check([
        (with(0x1fe, &[0]), &["unknown kind"][..]),
        (with(0x202, b"hdrs"), &["unknown kind"]),
        (with(0x206, &[9, 2]), &["2.09", "2.10", "2.6.31"]),
        (with(0x206, &[0, 0]), &["0.00"]),
        (with(0x201, &[0]), &["no bzImage"]),
        (with(0x211, &[0]), &["zImage", "bzImage"]),
        (with(0x1f1, &[0xff]), &["kernel ends", "code"]),
        (
            with(0x1f4, all.first_chunk::<4>().unwrap()),
            &["kernel ends", "code"],
        ),
        (with(0x1f4, &[0; 4]), &["kernel ends", "code"]),
        (
            with(0x1f4, &(CODE as u32 / 16 + 1).to_le_bytes()),
            &["kernel ends"],
        ),
        (with(0x258, all), &["pref_address", "0xffffffffffffffff"]),
        (with(0x258, &[0; 8]), &["pref_address"]),
        (with(0x258, &0x9_0000_u64.to_le_bytes()), &["pref_address"]),
        (with(0x258, &(1_u64 << 32).to_le_bytes()), &["pref_address"]),
        (with(0x230, &[0; 4]), &["kernel_alignment"]),
        (with(0x230, &[0x30, 0, 0, 0]), &["kernel_alignment"]),
        (
            with(0x230, &[0, 0, 0, 0x80]),
            &["the kernel needs", "--memory"],
        ),
        (
            with(0x260, &[0xff; 4]),
            &["the kernel needs 4294967295", "--memory"],
        ),
        (
            with(0x238, &[5, 0, 0, 0]),
            &["13 bytes", "takes 5", "--append"],
        ),
    ]);
}

#[test]
fn elf_headers() {
    let with = |at, value: &[u8]| changed(pvh(), at, value);
    let program = |at, value: &[u8]| changed(pvh(), PROGRAM_HEADERS + at, value);
    let all = &[0xff; 8][..];
    check([
        (with(4, &[3]), &["EI_CLASS", "0x3"][..]),
        (with(5, &[2]), &["EI_DATA"]),
        (with(16, &[1]), &["e_type"]),
        (with(18, &[183]), &["e_machine", "0xb7"]),
        (with(32, all), &["ends before its program headers"]),
        (
            with(32, &(1_u64 << 40).to_le_bytes()),
            &["ends before its program headers"],
        ),
        (with(54, &[32, 0]), &["e_phentsize"]),
        (with(56, &[0, 0]), &["e_phnum"]),
        (with(56, &[0xff, 0xff]), &["e_phnum", "64"]),
        (program(0, &[2]), &["nothing in it is to be loaded"]),
        (program(8, all), &["kernel ends", "segments"]),
        (program(32, all), &["p_filesz", "p_memsz"]),
        (program(40, all), &["p_memsz"]),
        (
            program(40, &(1_u64 << 50).to_le_bytes()),
            &["a segment", "--memory"],
        ),
        (program(24, all), &["p_memsz", "ends nowhere"]),
        (
            program(24, &(SPAN - 0x1000).to_le_bytes()),
            &["a segment", "--memory"],
        ),
        (
            program(24, &(SPAN << 10).to_le_bytes()),
            &["a segment", "--memory"],
        ),
        (program(24, &0xb_0000_u64.to_le_bytes()), &["a segment"]),
        (
            program(24, &0x4000_u64.to_le_bytes()),
            &["a segment", "boot information"],
        ),
        (
            program(24, &0x2_8000_u64.to_le_bytes()),
            &["a segment", "command line"],
        ),
        (
            program(56 + 32, &0x2_0000_u64.to_le_bytes()),
            &["note", "64 KiB"],
        ),
        (program(56 + 8, all), &["ends before its notes"]),
    ]);
}

#[test]
fn entries_and_overlaps() {
    let load = |address, memory| Segment {
        kind: LOAD,
        file: (CONTENTS, 0x100),
        address,
        memory,
    };
    let notes = |contents: &[u8]| note(b"Xen\0", 18, contents);
    let kernel = |segments: [Segment; 2], contents: &[u8]| {
        let notes = notes(contents);
        let named = Segment {
            kind: NOTE,
            file: (CONTENTS, notes.len() as u64),
            address: 0,
            memory: 0,
        };
        let [first, second] = segments;
        elf(0, &[first, second, named], &notes)
    };
    let apart = || [load(MIB, 0x1000), load(2 * MIB, 0x1000)];
    let entry = |address: u64| kernel(apart(), &address.to_le_bytes());
    assert!(Case::new(entry(MIB + 4)).start().is_ok());
    let short = multiboot_elf();
    let at = PROGRAM_HEADERS - 40;
    check([
        (entry(0), &["entry 0x0"][..]),
        (entry(MIB + 0x1000), &["entry 0x101000"]),
        (entry(1 << 32), &["entry 0x100000000"]),
        (entry(u64::MAX), &["entry"]),
        (kernel(apart(), b"odd"), &["without an entry note"]),
        (
            kernel([load(MIB, 0x1001), load(MIB + 0x1000, 0x100)], &[0; 4]),
            &[
                "a segment of the kernel at 0x101000 lies on a segment",
                "elsewhere",
            ],
        ),
        (
            kernel([load(MIB, 0x1000), load(MIB, 0x1000)], &[0; 4]),
            &["lies on"],
        ),
        (changed(short, at, &[0xff; 8]), &["entry"]),
    ]);
}

#[test]
fn multiboot_headers() {
    let with = |index: usize, value: u32| {
        changed(
            multiboot_flat(),
            FLAT_HEADER + 12 + index * 4,
            &value.to_le_bytes(),
        )
    };
    let flags = |flags| changed(multiboot_flat(), FLAT_HEADER, &multiboot_header(flags, &[]));
    let load = MIB as u32;
    check([
        (
            changed(multiboot_flat(), FLAT_HEADER + 8, &[0; 4]),
            &["unknown kind"][..],
        ),
        (flags(0x1_0007), &["a screen"]),
        (flags(0x1_0008), &["demands", "bits 3 to 15"]),
        (flags(0x1_8000), &["demands"]),
        (flags(3), &["no entry", "no addresses"]),
        (with(0, load - 1), &["header_addr"]),
        (with(0, load + 0x41), &["header_addr"]),
        (with(0, u32::MAX), &["header_addr"]),
        (with(1, 0), &["header_addr"]),
        (with(2, load - 1), &["load_end_addr"]),
        (
            with(2, load + 0x8000),
            &["kernel ends", "Multiboot header loads"],
        ),
        (with(3, load), &["bss_end_addr"]),
        (with(3, u32::MAX), &["a segment", "--memory"]),
        (with(4, 0), &["entry 0x0"]),
        (with(4, u32::MAX), &["entry 0xffffffff"]),
    ]);
}

#[test]
fn modules_and_command_lines() {
    for kernel in KERNELS {
        let case = |change: fn(&mut Case)| {
            let mut case = Case::new(kernel());
            change(&mut case);
            refusal(&case)
        };
        let error = case(|case| case.modules = vec![vec![0; SPAN as usize + 1]]);
        assert!(
            error.starts_with("the initial RAM disk needs 16777217 bytes"),
            "{error}"
        );
        assert!(error.contains("--memory"), "{error}");
        let error = case(|case| case.command_line = vec![b'x'; 70_000]);
        assert!(
            error.contains("70000 bytes") && error.contains("--append"),
            "{error}"
        );
        let error = case(|case| case.command_line = b"a\0b".to_vec());
        assert!(error.contains("zero byte"), "{error}");
        let error = case(|case| case.modules = vec![vec![0]; MODULES_MAX + 1]);
        assert!(error.contains("65 initial RAM disks"), "{error}");
    }
    let mut case = Case::new(bzimage());
    case.modules = vec![vec![0], vec![0]];
    assert!(refusal(&case).contains("takes 1"));
    case.modules = vec![vec![]];
    assert!(refusal(&case).contains("the initial RAM disk is an empty file"));
}

#[test]
fn machines() {
    for kernel in KERNELS {
        let mut case = Case::new(kernel());
        for length in [0x1000, 0x3_0000, MIB, MIB + 0x20] {
            case.ram = Ram::new(&[(0, length)]).unwrap();
            assert!(refusal(&case).contains("--memory"));
        }
        case.ram = Ram::new(&[(MIB, MIB)]).unwrap();
        assert!(refusal(&case).contains("the firmware's data"));
        // More than the mapping has.
        case.ram = Ram::new(&[(0, 1 << 40)]).unwrap();
        case.modules = vec![vec![1]];
        let _ = case.start();
        case.acpi = Range::new(MIB, 5).map(|tables| Acpi { rsdp: 0, tables });
        assert!(refusal(&case).contains("ACPI"));
    }
}

#[test]
fn files_of_the_host() {
    let open = |path: &Path| {
        let result = Image::open(Part::Kernel, path);
        result.expect_err("refused").to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernel");
    assert!(open(&path).contains("No such file"));
    assert!(open(folder.path()).contains("no regular file"));
    assert!(open(Path::new("/dev/zero")).contains("no regular file"));
    let file = std::fs::File::create(&path).unwrap();
    assert!(open(&path).contains("empty"));
    file.set_len(KERNEL_MAX + 1).unwrap();
    assert!(open(&path).contains("1073741825 bytes"));
    file.set_len(KERNEL_MAX).unwrap();
    Image::open(Part::Kernel, &path).unwrap();
}

#[test]
fn a_file_that_shrinks_while_it_is_read() {
    use std::io::Write;
    for kernel in KERNELS {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&kernel()).unwrap();
        let image = Image::open(Part::Kernel, file.path()).unwrap();
        for length in [0x100, 0] {
            file.as_file().set_len(length).unwrap();
            let error = Case::new(vec![]).start_image(&image);
            let error = error.expect_err("refused").to_string();
            assert!(error.contains("ends before"), "{error}");
        }
    }
}

proptest! {
    #[test]
    fn any_change_is_loaded_or_refused(
        kind in 0..KERNELS.len(),
        changes in prop::collection::vec((0..0x1100_usize, any::<[u8; 4]>()), 1..6),
        fields in prop::collection::vec((0..0x40_usize, any::<u8>()), 0..4),
        length in any::<Option<u16>>(),
        disk in 0..0x3000_usize,
    ) {
        let mut kernel = KERNELS[kind]();
        for (at, value) in changes {
            let at = at.min(kernel.len() - 4);
            images::put(&mut kernel, at, &value);
        }
        // Where headers are.
        for (at, value) in fields {
            let base = [0x1f1 + 0x40, PROGRAM_HEADERS, FLAT_HEADER, PROGRAM_HEADERS][kind];
            kernel[base + at] = value;
        }
        if let Some(length) = length {
            kernel.truncate(usize::from(length).max(1));
        }
        let mut case = Case::new(kernel);
        case.modules = vec![vec![1; disk + 1]];
        let _ = case.start();
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 1..3000)) {
        prop_assert!(Case::new(bytes).start().is_err());
    }
}
