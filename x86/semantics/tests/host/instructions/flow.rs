//! Programs of a few instructions that jump, call and return, on the host and one by one.

use host_processor::{Bench, CODE, End, MEMORY, Mode, Registers};

use super::stepping;
use super::tables::Tables;
use oracle::with_bench;

/// Registers in the order of encoding.
const RAX: usize = 0;
const RCX: usize = 1;
const RSP: usize = 4;

/// Runs code both ways, which has to end at its last byte in the same state.
fn check(bench: &mut Bench, mode: Mode, code: &[u8], given: &Registers) {
    let end = stepping::check(bench, mode, code, given, &Tables::default());
    assert_eq!(end, End::Done, "{mode:?} {code:x?}");
}

/// Every set of arithmetic flags.
fn all_flags() -> impl Iterator<Item = u64> {
    let spread = |number: u64| {
        let places = [0, 2, 4, 6, 7, 11];
        (0..6).map(|at| (number >> at & 1) << places[at]).sum()
    };
    (0..64).map(spread)
}

fn registers(flags: u64) -> Registers {
    let mut registers = Registers {
        flags,
        ..Registers::default()
    };
    registers.general[RSP] = MEMORY + 4096;
    registers
}

fn in_both_modes(test: impl Fn(&mut Bench, Mode)) {
    with_bench(|bench| {
        test(bench, Mode::Protected);
        test(bench, Mode::Long);
    });
}

#[test]
fn jumps_on_each_condition() {
    in_both_modes(|bench, mode| {
        for (condition, flags) in (0..16).flat_map(|number| all_flags().map(move |at| (number, at)))
        {
            // jcc over: mov al, 1
            check(
                bench,
                mode,
                &[0x70 + condition, 2, 0xb0, 1],
                &registers(flags),
            );
            // The same with an offset of 32 bits.
            let long = [0x0f, 0x80 + condition, 2, 0, 0, 0, 0xb0, 1];
            check(bench, mode, &long, &registers(flags));
        }
    });
}

#[test]
fn loops_count_down() {
    in_both_modes(|bench, mode| {
        for (opcode, flags) in [0xe0, 0xe1, 0xe2]
            .map(|opcode| [(opcode, 0), (opcode, 1 << 6)])
            .as_flattened()
        {
            let mut given = registers(*flags);
            for count in [1, 2, 7] {
                given.general[RCX] = count;
                // again: lea eax, [rax + 1]; loop again
                check(bench, mode, &[0x8d, 0x40, 1, *opcode, 0xfb], &given);
            }
            if mode == Mode::Protected {
                // By a counter of 16 bits, above which the rest stays.
                given.general[RCX] = 0x1_0003;
                check(bench, mode, &[0x8d, 0x40, 1, 0x67, *opcode, 0xfa], &given);
            }
        }
        for count in [0, 1, 0x1_0000, 0x1_0000_0000] {
            let mut given = registers(0);
            given.general[RCX] = if mode == Mode::Long {
                count
            } else {
                count & 0xffff_ffff
            };
            // jecxz or jrcxz over: mov al, 1; with another size of addresses
            check(bench, mode, &[0xe3, 2, 0xb0, 1], &given);
            check(bench, mode, &[0x67, 0xe3, 2, 0xb0, 1], &given);
        }
    });
}

#[test]
fn calls_come_back() {
    in_both_modes(|bench, mode| {
        let given = registers(0);
        // call over; jmp end; over: inc byte ptr [rsp + 8]; ret; end:
        let code = [0xe8, 2, 0, 0, 0, 0xeb, 5, 0xfe, 0x44, 0x24, 0x08, 0xc3];
        check(bench, mode, &code, &given);
        // push 1; call over; jmp end; over: ret and take what was pushed; end:
        let word = if mode == Mode::Long { 8 } else { 4 };
        let code = [0x6a, 1, 0xe8, 2, 0, 0, 0, 0xeb, 3, 0xc2, word, 0];
        check(bench, mode, &code, &given);
        let mut given = given;
        given.general[RAX] = CODE + 4;
        // jmp rax, over: mov cl, 1
        check(bench, mode, &[0xff, 0xe0, 0xb1, 1], &given);
        given.general[RAX] = CODE + 4;
        // call rax, over: mov cl, 1; pop rcx
        check(bench, mode, &[0xff, 0xd0, 0xb1, 1, 0x59], &given);
    });
}

#[test]
fn flags_are_popped_as_far_as_a_program_may() {
    in_both_modes(|bench, mode| {
        // All but TF, which stops after the next instruction, and AC, which faults on the way out.
        for wanted in [
            0_u32,
            0x8d5,
            0x400,
            0x0000_4000,
            0x0020_0000,
            0x0001_3202,
            0x001a_0000,
        ] {
            // push imm32; popf; pushf; pop rax
            let [a, b, c, d] = wanted.to_le_bytes();
            let given = registers(0x8d5);
            check(bench, mode, &[0x68, a, b, c, d, 0x9d, 0x9c, 0x58], &given);
        }
    });
}
