//! The tables as an operating system finds them: from the root pointer on.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use machine_acpi::{
    AcpiError, Board, END, Hpet, IoApic, Pci, Power, START, Serial, Tables, Virtio, Window, tables,
};
use machine_bus::{GuestAddress, Port};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn window(start: u64, length: u64) -> Window {
    let start = GuestAddress(start);
    Window { start, length }
}

/// A board with one of everything, and windows below and above 4 GiB.
fn board() -> Board {
    let power = Power {
        event: Port(0x600),
        control: Port(0x604),
        timer: Port(0x608),
        interrupt: 9,
        reset: (Port(0xcf9), 6),
        off: 5,
    };
    let pci = Pci {
        last_bus: 255,
        ecam: Some(GuestAddress(0xe000_0000)),
        ports: vec![(Port(0), Port(0xcf7)), (Port(0xd00), Port(0xffff))],
        memory: vec![window(0xc000_0000, 512 * MIB), window(1 << 40, 1 << 36)],
        inputs: [16, 17, 18, 19],
    };
    Board {
        cpus: 3,
        local_apic: GuestAddress(0xfee0_0000),
        io_apic: IoApic {
            id: 3,
            address: GuestAddress(0xfec0_0000),
        },
        power,
        pci: Some(pci),
        hpet: Some(Hpet {
            address: GuestAddress(0xfed0_0000),
            block: 0x8086_a201,
            shortest: 0x37ee,
        }),
        serial: vec![Serial {
            port: Port(0x3f8),
            interrupt: 4,
        }],
        rtc: true,
        keyboard: true,
        vga: true,
        virtio: vec![
            Virtio {
                registers: window(0xd000_0000, 0x200),
                interrupt: 5,
            },
            Virtio {
                registers: window(1 << 39, 0x200),
                interrupt: 20,
            },
        ],
    }
}

/// A board with nothing that can be left out.
fn bare() -> Board {
    Board {
        cpus: 1,
        pci: None,
        hpet: None,
        serial: vec![],
        rtc: false,
        keyboard: false,
        vga: false,
        virtio: vec![],
        ..board()
    }
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let digits = bytes[at..at + length].iter().rev();
    digits.fold(0, |sum, digit| sum << 8 | u64::from(*digit))
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn piece(tables: &Tables, address: u64) -> &[u8] {
    let mut pieces = tables.pieces.iter();
    let found = pieces.find(|(start, _)| start.0 == address);
    &found.expect("a table where a pointer points").1
}

/// Follows the pointers, checks what every table has, and answers with all but the root.
fn walk(tables: &Tables) -> BTreeMap<String, Vec<u8>> {
    let root = piece(tables, tables.rsdp.0);
    assert_eq!(&root[..8], b"RSD PTR ");
    assert_eq!((root[15], number(root, 20, 4)), (2, 36));
    assert_eq!((sum(&root[..20]), sum(root)), (0, 0));
    let mut found = BTreeMap::new();
    let list = piece(tables, number(root, 24, 8)).to_vec();
    let mut pointers: Vec<u64> = list[36..].chunks(8).map(|p| number(p, 0, 8)).collect();
    found.insert("XSDT".to_owned(), list);
    while let Some(pointer) = pointers.pop() {
        let table = piece(tables, pointer);
        let name = String::from_utf8(table[..4].to_vec()).expect("letters");
        if name == "FACP" {
            pointers.extend([number(table, 36, 4), number(table, 40, 4)]);
        }
        assert!(found.insert(name, table.to_vec()).is_none(), "only once");
    }
    for (name, table) in &found {
        assert_eq!(number(table, 4, 4), table.len() as u64, "{name}");
        assert!(name == "FACS" || sum(table) == 0, "{name}");
    }
    assert_eq!(found.len() + 1, tables.pieces.len(), "all are reachable");
    found
}

fn check_places(tables: &Tables) {
    let mut end = START.0;
    let mut pieces = tables.pieces.clone();
    pieces.sort();
    for (address, bytes) in pieces {
        assert!(address.0 >= end && address.0.is_multiple_of(64));
        end = address.0 + bytes.len() as u64;
    }
    assert!(end <= tables.end.0 && tables.end <= END);
}

#[test]
fn all_tables_are_where_pointers_say() {
    let all = tables(&board()).unwrap();
    check_places(&all);
    let names: Vec<String> = walk(&all).into_keys().collect();
    let expected = ["APIC", "DSDT", "FACP", "FACS", "HPET", "MCFG", "XSDT"];
    assert_eq!(names, expected);
    let few = tables(&bare()).unwrap();
    check_places(&few);
    let names: Vec<String> = walk(&few).into_keys().collect();
    assert_eq!(names, ["APIC", "DSDT", "FACP", "FACS", "XSDT"]);
}

#[test]
fn the_fixed_description_does_not_contradict_itself() {
    let found = walk(&tables(&board()).unwrap());
    let table = &found["FACP"];
    assert_eq!(table.len(), 276);
    // 32-bit field, length, place of the extended one and its width in bits.
    for (short, length, extended) in [(56, 88, 148), (64, 89, 172), (76, 91, 208)] {
        assert_eq!(table[extended], 1, "a port");
        let bits = number(table, length, 1) * 8;
        assert_eq!(number(table, extended + 1, 1), bits);
        let address = number(table, short, 4);
        assert!(address != 0 && number(table, extended + 4, 8) == address);
    }
    // Without a block there is no length, and the other way round.
    for (short, length, extended) in [(72, 90, 196), (80, 92, 220), (84, 93, 232)] {
        assert_eq!(number(table, short, 4), 0);
        assert_eq!(number(table, length, 1), 0);
        assert_eq!(number(table, extended + 4, 8), 0);
    }
    assert_eq!(number(table, 46, 2), 9, "SCI");
    assert_eq!(number(table, 48, 4), 0, "no SMI port");
    assert_eq!(number(table, 40, 4), number(table, 140, 8), "DSDT");
    assert_eq!(number(table, 36, 4), number(table, 132, 8), "FACS");
    assert_eq!(number(table, 108, 1), 0x32, "century");
    assert_eq!(number(table, 109, 2), 0b11, "8042, VGA, RTC");
    let flags = number(table, 112, 4);
    assert_eq!(flags & 1 << 20, 0, "not hardware-reduced");
    assert_ne!(flags & 1 << 10, 0, "reset register");
    assert_eq!((number(table, 120, 8), table[128]), (0xcf9, 6));
    let found = walk(&tables(&bare()).unwrap());
    let flags = number(&found["FACP"], 109, 2);
    assert_eq!(flags, 0b10_0100, "no VGA, no RTC");
    assert_eq!(found["FACP"][108], 0);
}

/// The structures of a MADT by type.
fn structures(table: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut rest = &table[44..];
    let mut structures = Vec::new();
    while !rest.is_empty() {
        let (structure, next) = rest.split_at(rest[1].into());
        structures.push((structure[0], structure.to_vec()));
        rest = next;
    }
    structures
}

#[test]
fn every_processor_has_an_interrupt_controller() {
    for (cpus, short, long) in [(1, 1, 0), (255, 255, 0), (256, 255, 1), (300, 255, 45)] {
        let found = walk(&tables(&Board { cpus, ..bare() }).unwrap());
        let table = &found["APIC"];
        assert_eq!(number(table, 36, 4), 0xfee0_0000);
        assert_eq!(number(table, 40, 4), 1, "8259s");
        let structures = structures(table);
        let of = |kind| structures.iter().filter(move |(other, _)| *other == kind);
        assert_eq!((of(0).count(), of(9).count()), (short, long));
        for (id, (_, local)) in { of(0) }.enumerate() {
            assert_eq!((local[2], local[3]), (id as u8, id as u8));
        }
        for (id, (_, local)) in { of(9) }.enumerate() {
            let id = 255 + id as u64;
            let found = (
                number(local, 4, 4),
                number(local, 8, 4),
                number(local, 12, 4),
            );
            assert_eq!(found, (id, 1, id));
        }
        let overrides: Vec<&[u8]> = of(2).map(|(_, bytes)| &bytes[2..]).collect();
        let expected: [&[u8]; 2] = [&[0, 0, 2, 0, 0, 0, 0, 0], &[0, 9, 9, 0, 0, 0, 0xd, 0]];
        assert_eq!(overrides, expected);
        assert_eq!(of(1).count(), 1);
    }
}

#[test]
fn what_cannot_be_described_is_refused() {
    let nothing = window(0xd000_0000, 0);
    let nowhere = window(u64::MAX, 2);
    let virtio = |registers| Virtio {
        registers,
        interrupt: 5,
    };
    let pci = |change: fn(&mut Pci)| {
        let mut pci = board().pci.unwrap();
        change(&mut pci);
        Some(pci)
    };
    let serial = Serial {
        port: Port(0x3f8),
        interrupt: 16,
    };
    let high = GuestAddress(1 << 32);
    let mut power = board().power;
    power.off = 8;
    for wrong in [
        Board { cpus: 0, ..board() },
        Board {
            cpus: 5000,
            ..board()
        },
        Board {
            cpus: 4096,
            ..board()
        },
        Board {
            serial: vec![serial],
            ..board()
        },
        Board {
            serial: vec![board().serial[0]; 16],
            ..board()
        },
        Board {
            virtio: vec![virtio(nothing)],
            ..board()
        },
        Board {
            virtio: vec![virtio(nowhere)],
            ..board()
        },
        Board {
            virtio: vec![board().virtio[0]; 5000],
            ..board()
        },
        Board {
            local_apic: high,
            ..board()
        },
        Board { power, ..board() },
        Board {
            pci: pci(|pci| pci.memory[0].length = 0),
            ..board()
        },
        Board {
            pci: pci(|pci| pci.memory[0].length = u64::MAX),
            ..board()
        },
        Board {
            pci: pci(|pci| pci.ports[0].0 = Port(0xd00)),
            ..board()
        },
        Board {
            pci: pci(|pci| pci.ports[0].1 = Port(0xffff)),
            ..board()
        },
    ] {
        let error = tables(&wrong).expect_err("refused");
        assert!(error.to_string().len() > 20, "{error}");
    }
    let long = tables(&Board {
        cpus: 4096,
        ..board()
    });
    assert!(matches!(long, Err(AcpiError::TooLong(_))));
}

proptest! {
    #[test]
    fn any_board_is_described_or_refused(
        cpus in 0..400_u32,
        windows in prop::collection::vec((any::<u64>(), any::<u64>()), 0..4),
        ports in prop::collection::vec((any::<u16>(), any::<u16>()), 0..4),
        devices in 0..40_usize,
        last_bus in any::<u8>(),
        ecam in any::<Option<u64>>(),
        flags in any::<[bool; 4]>(),
    ) {
        let mut board = board();
        board.cpus = cpus;
        board.virtio = vec![board.virtio[0]; devices];
        [board.rtc, board.keyboard, board.vga] = [flags[0], flags[1], flags[2]];
        if let Some(pci) = &mut board.pci {
            pci.memory = windows.iter().map(|(start, length)| window(*start, *length)).collect();
            pci.ports = ports.iter().map(|(first, last)| (Port(*first), Port(*last))).collect();
            pci.last_bus = last_bus;
            pci.ecam = ecam.map(GuestAddress);
        }
        if flags[3] {
            board.pci = None;
        }
        if let Ok(tables) = tables(&board) {
            check_places(&tables);
            walk(&tables);
        }
    }
}

/// Disassembles the tables and compiles the result again, which finds what a disassembler
/// puts up with. Needs ACPICA's `iasl` (Debian: acpica-tools).
#[test]
fn the_reference_compiler_has_nothing_to_say() {
    if Command::new("iasl").arg("-v").output().is_err() {
        eprintln!("SKIPPED: iasl is not installed (Debian: acpica-tools)");
        return;
    }
    let many = Board {
        cpus: 300,
        ..board()
    };
    for board in [board(), bare(), many] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, table) in walk(&tables(&board).unwrap()) {
            fs::write(path(&format!("{name}.aml")), table).unwrap();
            let iasl = |arguments: [&str; 2]| {
                let mut command = Command::new("iasl");
                let output = command
                    .current_dir(&folder)
                    .args(arguments)
                    .output()
                    .unwrap();
                let stderr = String::from_utf8_lossy(&output.stderr);
                let text = format!("{}{stderr}", String::from_utf8_lossy(&output.stdout));
                assert!(output.status.success(), "{name}: {text}");
                let complaints = ["Warning", "Error", "Invalid", "Could not", "**"];
                let mut lines = text
                    .lines()
                    .filter(|line| !line.contains("0 Errors, 0 Warnings"));
                let bad = |line: &&str| complaints.iter().any(|what| line.contains(what));
                assert_eq!(lines.find(bad), None, "{name}: {text}");
            };
            iasl(["-d", &format!("{name}.aml")]);
            let text = fs::read_to_string(path(&format!("{name}.dsl"))).unwrap();
            assert!(
                !text.contains("Invalid") && !text.contains("Unknown"),
                "{text}"
            );
            iasl(["-ve", &format!("{name}.dsl")]);
        }
    }
}
