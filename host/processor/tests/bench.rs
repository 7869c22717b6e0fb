//! What goes in comes out.

use host_processor::{Bench, End, Extended, MEMORY, MEMORY_SIZE, Mode, Registers};

const INVALID_OPCODE: u8 = 6;
const PAGE_FAULT: u8 = 14;
const DIVIDE_ERROR: u8 = 0;
const ALIGNMENT_CHECK: u8 = 17;

/// Does something at the bench, if the host has one.
fn with_bench(work: impl FnOnce(&mut Bench)) {
    match Bench::new() {
        Ok(mut bench) => work(&mut bench),
        Err(error) => println!("SKIPPED: the host gives no place for code: {error}"),
    }
}

/// A register each of its own.
fn some() -> Registers {
    Registers {
        general: std::array::from_fn(|at| 0x1234_5678_0000_0000 + at as u64),
        flags: 0x8d5,
    }
}

#[test]
fn no_code_changes_nothing() {
    with_bench(|bench| {
        for flags in [0, 0x8d5, 0x400, 0x4_0000] {
            bench.load(Mode::Long, &[]);
            let given = Registers { flags, ..some() };
            let mut registers = given;
            assert_eq!(bench.run(&mut registers), End::Done);
            assert_eq!(registers, given);
        }
    });
}

#[test]
fn code_of_32_bits_has_half_of_each_register() {
    with_bench(|bench| {
        let mut registers = some();
        registers.general = registers.general.map(|value| value & 0xffff_ffff);
        // inc eax; dec ecx, both a prefix in 64-bit code
        bench.load(Mode::Protected, &[0x40, 0x49]);
        let given = registers;
        assert_eq!(bench.run(&mut registers), End::Done);
        assert_eq!(registers.general[0], given.general[0] + 1);
        assert_eq!(registers.general[1], given.general[1] - 1);
        assert_eq!(registers.general[2..8], given.general[2..8]);
    });
}

#[test]
fn memory_is_read_and_written() {
    with_bench(|bench| {
        for mode in [Mode::Protected, Mode::Long] {
            bench.memory()[..4].copy_from_slice(&7_u32.to_le_bytes());
            let mut registers = some();
            registers.general[3] = MEMORY;
            registers.general[7] = MEMORY + MEMORY_SIZE as u64 - 4;
            // mov eax, [rbx]; mov [rdi], eax
            bench.load(mode, &[0x8b, 0x03, 0x89, 0x07]);
            assert_eq!(bench.run(&mut registers), End::Done);
            assert_eq!(registers.general[0], 7);
            assert_eq!(bench.memory()[MEMORY_SIZE - 4..], 7_u32.to_le_bytes());
        }
    });
}

#[test]
fn what_is_raised_comes_with_the_registers_before_it() {
    with_bench(|bench| {
        let given = Registers {
            general: [0x1000_0000; 16],
            flags: 0x8d5,
        };
        let raised = |vector, error, address| End::Raised {
            vector,
            error,
            address,
        };
        for (code, end) in [
            // ud2
            (&[0x0f, 0x0b][..], raised(INVALID_OPCODE, 0, 0)),
            // mov ecx, [rax + 8]
            (&[0x8b, 0x48, 0x08], raised(PAGE_FAULT, 4, 0x1000_0008)),
            // nop; mov [rax], ecx
            (&[0x90, 0x89, 0x08], raised(PAGE_FAULT, 6, 0x1000_0000)),
            // div al: 0 by 0
            (&[0xf6, 0xf0], raised(DIVIDE_ERROR, 0, 0)),
        ] {
            for mode in [Mode::Long, Mode::Protected] {
                bench.load(mode, code);
                let mut registers = given;
                assert_eq!(bench.run(&mut registers), end, "{mode:?} {code:x?}");
                assert_eq!(registers.general[..8], given.general[..8]);
                assert_eq!(registers.flags, given.flags);
            }
        }
        bench.load(Mode::Long, &[]);
        let mut registers = given;
        assert_eq!(bench.run(&mut registers), End::Done);
    });
}

/// Vector registers of their own.
#[test]
fn alignment_is_checked() {
    with_bench(|bench| {
        for mode in [Mode::Protected, Mode::Long] {
            let mut registers = some();
            registers.general = registers.general.map(|value| value & 0xffff_ffff);
            registers.flags |= 0x4_0000;
            registers.general[3] = MEMORY + 1;
            // mov ecx, [rbx]
            bench.load(mode, &[0x8b, 0x0b]);
            let given = registers;
            let end = bench.run_extended(&mut registers, &mut vectors());
            let (vector, error, address) = (ALIGNMENT_CHECK, 0, 0);
            let raised = End::Raised {
                vector,
                error,
                address,
            };
            assert_eq!(end, raised);
            assert_eq!(registers.general[..8], given.general[..8]);
        }
    });
}

fn vectors() -> Extended {
    let mut extended = Extended::default();
    for number in 0..16 {
        extended.set_vector(number, std::array::from_fn(|at| (number * 32 + at) as u8));
    }
    extended
}

/// Does something at the bench, if the host has AVX, too.
fn with_vectors(work: impl FnOnce(&mut Bench)) {
    if is_x86_feature_detected!("avx") {
        with_bench(work);
    } else {
        println!("SKIPPED: the host has no AVX");
    }
}

#[test]
fn vectors_go_in_and_come_out() {
    with_vectors(|bench| {
        let mut extended = vectors();
        bench.load(Mode::Long, &[]);
        assert_eq!(bench.run_extended(&mut some(), &mut extended), End::Done);
        // vmovaps ymm3, ymm7
        bench.load(Mode::Long, &[0xc5, 0xfc, 0x28, 0xdf]);
        assert_eq!(bench.run_extended(&mut some(), &mut extended), End::Done);
        let before = vectors();
        for number in 0..16 {
            let from = if number == 3 { 7 } else { number };
            assert_eq!(extended.vector(number), before.vector(from), "{number}");
        }
    });
}

#[test]
fn floating_point_exceptions_come_with_the_state_before_them() {
    const FLOATING_POINT: u8 = 19;
    const DIVIDE_BY_ZERO_UNMASKED: u32 = 0x1f80 & !(1 << 9);
    with_vectors(|bench| {
        let mut extended = Extended::default();
        extended.bytes[24..28].copy_from_slice(&DIVIDE_BY_ZERO_UNMASKED.to_le_bytes());
        let one = std::array::from_fn(|at| 1_f32.to_le_bytes()[at % 4]);
        extended.set_vector(1, one);
        // divps xmm1, xmm0
        bench.load(Mode::Long, &[0x0f, 0x5e, 0xc8]);
        let end = bench.run_extended(&mut some(), &mut extended);
        let raised = matches!(
            end,
            End::Raised {
                vector: FLOATING_POINT,
                ..
            }
        );
        assert!(raised, "{end:?}");
        assert_eq!(extended.vector(1), one);
        // Ours is as before, or this would raise, too.
        assert_eq!(
            std::hint::black_box(1_f32) / std::hint::black_box(0.0),
            f32::INFINITY
        );
    });
}
