//! Accesses to devices that are more than a load or a store.

use engine_emulate::Emulate;
use machines::harness::{Access, Recorder, first, machine_with, run};

/// A locked instruction reads and writes once (SDM vol. 3, 9.1.2), even where each read has another answer.
#[test]
fn a_locked_instruction_reads_a_device_once() {
    // mov ebx, 0xd0000000; lock inc dword ptr [rbx]; xchg eax, [rbx]; lock add dword ptr [rbx + 0xffe], 1; out 0xf4, al
    let code = [
        0xbb, 0, 0, 0, 0xd0, 0xf0, 0xff, 0x03, 0x87, 0x03, 0xf0, 0x83, 0x83, 0xfe, 0x0f, 0, 0, 1,
        0xe6, 0xf4,
    ];
    let mut machine = machine_with(&Emulate, &code, 1);
    let mut vcpu = first(&mut *machine);
    let world = Recorder::new(&*vcpu);
    run(&mut *vcpu, &world);
    let accesses = world.accesses();
    let stores: Vec<_> = accesses
        .iter()
        .filter_map(|access| match access {
            Access::Store(at, bytes) => Some((*at, bytes.as_slice())),
            _ => None,
        })
        .collect();
    let expected: [(u64, &[u8]); 4] = [
        (0xd000_0000, &[2, 2, 3, 4]),
        (0xd000_0000, &[0; 4]),
        (0xd000_0ffe, &[10, 10]),
        (0xd000_1000, &[11, 12]),
    ];
    assert_eq!(stores, expected);
    assert_eq!(accesses.len(), 8);
}

/// An image of x87's registers has 108 bytes (SDM vol. 1, 8.1.10), one of vector registers 512.
#[test]
fn images_of_registers_are_written_to_devices() {
    for (code, bytes) in [
        // mov ebx, 0xd0000000; fnsave [rbx]; out 0xf4, al
        (&[0xbb, 0, 0, 0, 0xd0, 0xdd, 0x33, 0xe6, 0xf4][..], 108),
        // The same with fxsave [rbx], which may leave reserved bytes.
        (&[0xbb, 0, 0, 0, 0xd0, 0x0f, 0xae, 0x03, 0xe6, 0xf4], 288),
    ] {
        let mut machine = machine_with(&Emulate, code, 1);
        let mut vcpu = first(&mut *machine);
        let world = Recorder::new(&*vcpu);
        run(&mut *vcpu, &world);
        let accesses = world.accesses();
        let lengths = accesses.iter().map(|access| match access {
            Access::Store(_, stored) => stored.len(),
            _ => 0,
        });
        assert!(lengths.sum::<usize>() >= bytes);
    }
}
