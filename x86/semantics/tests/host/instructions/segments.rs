//! Segment registers, and what leads to other segments, with the segments of Linux and some of a local
//! table. `fs` is left alone: the host's threads need it.

use host_processor::{Bench, CODE, End, LocalKind, LocalSegment, MEMORY, Mode, Registers};

use super::stepping::check;
use super::tables::Tables;
use oracle::with_bench;

/// Selectors of Linux: 32-bit code, data, 64-bit code.
const CODE_PROTECTED: u16 = 0x23;
const DATA: u16 = 0x2b;
const CODE_LONG: u16 = 0x33;
/// Registers in the order of encoding.
const RBX: usize = 3;
const RSP: usize = 4;
/// Segment registers in the order of encoding.
const ES: u8 = 0;
const SS: u8 = 2;
const DS: u8 = 3;
const GS: u8 = 5;

/// Numbers in the local table.
const CODE_BIG: u16 = 6;
const CODE_SMALL: u16 = 7;
const STACK_SMALL: u16 = 11;

/// The selector of a local segment.
const fn local(number: u16) -> u16 {
    8 * number + 7
}

/// The local table. What lies in the bench's memory can be read and written, what lies in its code run.
fn segments() -> Vec<(u16, LocalSegment)> {
    use LocalKind::{Code, Data, DataDown};
    let plain = |kind, base: u64, limit| LocalSegment {
        kind,
        base: base as u32,
        limit,
        in_pages: false,
        is_big: true,
        is_restricted: false,
        is_absent: false,
    };
    let data = plain(Data, MEMORY, 0xfff);
    let down = plain(DataDown, MEMORY, 0xff);
    let code = plain(Code, CODE, 0xfff);
    let restricted = |segment| LocalSegment {
        is_restricted: true,
        ..segment
    };
    let small = |segment| LocalSegment {
        is_big: false,
        ..segment
    };
    let absent = |segment| LocalSegment {
        is_absent: true,
        ..segment
    };
    let in_pages = |limit, segment| LocalSegment {
        limit,
        in_pages: true,
        ..segment
    };
    vec![
        (0, data),
        (1, restricted(data)),
        (2, in_pages(1, data)),
        (3, small(down)),
        (4, in_pages(0, down)),
        (5, plain(Code, MEMORY, 0xfff)),
        (CODE_BIG, code),
        (CODE_SMALL, small(code)),
        (8, absent(data)),
        (9, absent(code)),
        (10, restricted(plain(Code, MEMORY, 0x7f))),
        (STACK_SMALL, small(plain(Data, MEMORY, 0x1fff))),
        // Nothing is at 12.
        (
            13,
            LocalSegment {
                limit: 0xf_ffff,
                ..data
            },
        ),
        (14, restricted(down)),
    ]
}

/// Every selector worth trying: of both tables, and beyond them, in the name of all levels.
fn selectors() -> impl Iterator<Item = u16> {
    // What is at 15 says which processor it is.
    let global = (0..20).filter(|&index| index != 15).map(|index| 8 * index);
    let local = (0..17).map(|index| 8 * index + 4);
    global
        .chain(local)
        .chain([0xfff8, 0xfffc])
        .flat_map(|selector| (0..4).map(move |level| selector + level))
}

/// Runs a test with the local table set.
fn with_segments(test: impl Fn(&mut Bench, &Tables)) {
    with_bench(|bench| {
        for (number, segment) in segments() {
            if let Err(error) = bench.set_local(number, &segment) {
                println!("SKIPPED: the host has no local descriptor table: {error}");
                return;
            }
        }
        let tables = Tables::of(bench);
        test(bench, &tables);
    });
}

fn registers() -> Registers {
    let mut registers = Registers::default();
    registers.general[RBX] = MEMORY + 0x100;
    registers.general[RSP] = MEMORY + 0x800;
    registers
}

/// `mov eax, selector; mov SEGMENT, eax`.
fn load(segment: u8, selector: u16) -> Vec<u8> {
    let mut code = vec![0xb8];
    code.extend(u32::from(selector).to_le_bytes());
    code.extend([0x8e, 0xc0 | segment << 3]);
    code
}

/// Puts the segment back that 32-bit code has.
fn restore(segment: u8) -> Vec<u8> {
    load(segment, DATA)
}

fn check_all<'c>(
    bench: &mut Bench,
    tables: &Tables,
    mode: Mode,
    given: &Registers,
    programs: impl Iterator<Item = Vec<u8>> + 'c,
) -> (u32, u32) {
    let (mut done, mut raised) = (0, 0);
    for code in programs {
        match check(bench, mode, &code, given, tables) {
            End::Done => done += 1,
            End::Raised { .. } => raised += 1,
        }
    }
    println!("{mode:?}: {done} came to their end, {raised} raised an exception");
    (done, raised)
}

#[test]
fn selectors_are_loaded_or_refused() {
    with_segments(|bench, tables| {
        for mode in [Mode::Protected, Mode::Long] {
            let programs = [ES, SS, DS, GS].into_iter().flat_map(|segment| {
                selectors().map(move |selector| {
                    // ...; mov ecx, SEGMENT
                    let read = vec![0x8c, 0xc1 | segment << 3];
                    [load(segment, selector), read, restore(segment)].concat()
                })
            });
            let (done, raised) = check_all(bench, tables, mode, &registers(), programs);
            assert!(done > 40 && raised > 200);
            // push imm32; pop gs; mov ecx, gs; the same of 16 bits
            let programs = selectors().flat_map(|selector| {
                let [low, high] = selector.to_le_bytes();
                let wide = vec![0x68, low, high, 0x34, 0x12, 0x0f, 0xa9, 0x8c, 0xe9];
                let narrow = vec![0x66, 0x68, low, high, 0x66, 0x0f, 0xa9, 0x8c, 0xe9];
                [wide, narrow].map(|code| [code, restore(GS)].concat())
            });
            check_all(bench, tables, mode, &registers(), programs);
            // mov cs, eax
            let code = [0x8e, 0xc8];
            let end = check(bench, mode, &code, &registers(), tables);
            assert!(matches!(end, End::Raised { vector: 6, .. }));
        }
    });
}

#[test]
fn pointers_bring_their_selector() {
    with_segments(|bench, tables| {
        let loads: [(&[u8], u8, &[Mode]); 4] = [
            (&[0xc4], ES, &[Mode::Protected]),
            (&[0xc5], DS, &[Mode::Protected]),
            (&[0x0f, 0xb2], SS, &[Mode::Protected, Mode::Long]),
            (&[0x0f, 0xb5], GS, &[Mode::Protected, Mode::Long]),
        ];
        for (opcode, segment, modes) in loads {
            for &mode in modes {
                let programs = selectors().map(|selector| {
                    let [low, high] = selector.to_le_bytes();
                    // mov dword ptr [rbx], 0x11223344; mov word ptr [rbx + 4], selector
                    let mut code = vec![0xc7, 0x03, 0x44, 0x33, 0x22, 0x11];
                    code.extend([0x66, 0xc7, 0x43, 0x04, low, high]);
                    // lXs ecx, [rbx]; mov edx, SEGMENT
                    code.extend(opcode);
                    code.extend([0x0b, 0x8c, 0xc2 | segment << 3]);
                    [code, restore(segment)].concat()
                });
                check_all(bench, tables, mode, &registers(), programs);
            }
        }
    });
}

#[test]
fn limits_and_rights_are_kept() {
    let offsets = [
        0_u32, 0x7c, 0x7d, 0xfc, 0xfd, 0xff, 0x100, 0xffc, 0xffd, 0xfff, 0x1000, 0x1ffc,
    ];
    with_segments(|bench, tables| {
        for (segment, prefix) in [(ES, 0x26), (DS, 0x3e), (SS, 0x36)] {
            // The code's segments do not lie in the memory.
            let there = segments().into_iter();
            let there = there.filter(|(number, _)| ![CODE_BIG, CODE_SMALL].contains(number));
            let programs = there.flat_map(|(number, _)| {
                let selector = local(number);
                offsets.into_iter().flat_map(move |offset| {
                    // mov edx, offset; mov ecx, SEGMENT:[edx], or the other way
                    let mut at = vec![0xba];
                    at.extend(offset.to_le_bytes());
                    [0x8b, 0x89].map(|opcode| {
                        let access = vec![prefix, opcode, 0x0a];
                        let parts = [load(segment, selector), at.clone(), access];
                        [parts.concat(), restore(segment)].concat()
                    })
                })
            });
            let mode = Mode::Protected;
            let (done, raised) = check_all(bench, tables, mode, &registers(), programs);
            assert!(done > 50 && raised > 50);
        }
    });
}

#[test]
fn a_small_stack_uses_half_of_its_pointer() {
    with_segments(|bench, tables| {
        for pointer in [0x800, 0x1234_0800, 0x1234_0002, 0x1234_0004, 0x1234_2000] {
            let mut given = registers();
            given.general[RSP] = pointer;
            // push ebx; pusha; mov ecx, esp; popa; pop edx
            let work = vec![0x53, 0x60, 0x89, 0xe1, 0x61, 0x5a];
            let code = [load(SS, local(STACK_SMALL)), work, restore(SS)].concat();
            check(bench, Mode::Protected, &code, &given, tables);
        }
    });
}

#[test]
fn selectors_can_be_asked_about() {
    with_segments(|bench, tables| {
        for mode in [Mode::Protected, Mode::Long] {
            let asks: &[&[u8]] = &[
                &[0x0f, 0x02, 0xc1],
                &[0x66, 0x0f, 0x02, 0xc1],
                &[0x0f, 0x03, 0xc1],
                &[0x66, 0x0f, 0x03, 0xc1],
                &[0x0f, 0x00, 0xe1],
                &[0x0f, 0x00, 0xe9],
            ];
            let programs = asks.iter().flat_map(|ask| {
                selectors().map(|selector| {
                    // mov eax, 0x5a5a5a5a; mov ecx, selector; lar, lsl eax, ecx; verr, verw cx
                    let mut code = vec![0xb8, 0x5a, 0x5a, 0x5a, 0x5a, 0xb9];
                    code.extend(u32::from(selector).to_le_bytes());
                    code.extend(*ask);
                    code
                })
            });
            let (_, raised) = check_all(bench, tables, mode, &registers(), programs);
            assert_eq!(raised, 0);
        }
    });
}

/// 32-bit code has to come to its end.
fn arrives(bench: &mut Bench, tables: &Tables, code: &[u8], wanted: &str) {
    let end = check(bench, Mode::Protected, code, &registers(), tables);
    assert_eq!(end, End::Done, "{wanted}: {code:x?}");
}

/// A far jump (0xea) or call (0x9a) of 32-bit code.
fn far(opcode: u8, selector: u16, offset: u32) -> Vec<u8> {
    let mut code = vec![opcode];
    code.extend(offset.to_le_bytes());
    code.extend(selector.to_le_bytes());
    code
}

#[test]
fn far_jumps_change_the_width_of_code() {
    let base = CODE as u32;
    with_segments(|bench, tables| {
        let mut run = |code: &[u8], wanted| arrives(bench, tables, code, wanted);
        // To 64-bit code: mov rax, rbx; then by a pointer in memory back to 32-bit code: mov cl, 1
        let back = base + 34;
        let mut code = vec![0xc7, 0x03];
        code.extend(back.to_le_bytes());
        code.extend([0x66, 0xc7, 0x43, 0x04, 0x23, 0x00]);
        code.extend(far(0xea, CODE_LONG, base + 19));
        code.extend([
            0x49, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0x48, 0x89, 0xd8, 0xff, 0x2b,
        ]);
        code.extend([0xb1, 1]);
        assert_eq!(code.len(), 36);
        run(&code, "64-bit code");
        // To a segment of its own: mov cl, 1; back
        let mut code = far(0xea, local(CODE_BIG), 7);
        code.extend([0xb1, 1]);
        code.extend(far(0xea, CODE_PROTECTED, base + 16));
        run(&code, "a segment of its own");
        // To 16-bit code: mov ax, 0x1234; jmp over: mov cl, 1; over: back
        let mut code = far(0xea, local(CODE_SMALL), 7);
        code.extend([0xb8, 0x34, 0x12, 0xeb, 0x02, 0xb1, 1, 0x66]);
        code.extend(far(0xea, CODE_PROTECTED, base + 22));
        run(&code, "16-bit code");
    });
}

#[test]
fn far_calls_come_back() {
    let base = CODE as u32;
    with_segments(|bench, tables| {
        let mut run = |code: &[u8], wanted| arrives(bench, tables, code, wanted);
        // call; jmp end; a segment of its own: mov cl, 1; retf
        let mut code = far(0x9a, local(CODE_BIG), 9);
        code.extend([0xeb, 3, 0xb1, 1, 0xcb]);
        run(&code, "a segment of its own");
        // The same, and the caller's arguments go with it: push ebx; call; jmp end; retf 4
        let mut code = vec![0x53];
        code.extend(far(0x9a, local(CODE_BIG), 10));
        code.extend([0xeb, 5, 0xb1, 1, 0xca, 4, 0]);
        run(&code, "with arguments");
        // 64-bit code: push rbx; pop rcx; retf
        let mut code = far(0x9a, CODE_LONG, base + 9);
        code.extend([0xeb, 3, 0x53, 0x59, 0xcb]);
        run(&code, "64-bit code");
        // 16-bit code, which returns by a prefix: mov cx, 0x1234; retfd
        let mut code = far(0x9a, local(CODE_SMALL), 9);
        code.extend([0xeb, 5, 0xb9, 0x34, 0x12, 0x66, 0xcb]);
        run(&code, "16-bit code");
        // By a pointer of 16 bits, from code whose offsets are short: to a segment of its own.
        let mut code = far(0xea, local(CODE_BIG), 7);
        // mov dword ptr [ebx], offset and selector; call word ptr [ebx]; back; called: retf
        code.extend([
            0xc7,
            0x03,
            24,
            0,
            local(CODE_BIG) as u8,
            0,
            0x66,
            0xff,
            0x1b,
        ]);
        code.extend([0xb1, 1]);
        code.extend([0xeb, 4, 0x90, 0x90, 0x66, 0xcb, 0x90, 0x90]);
        let end = code.len() + 7;
        code.extend(far(0xea, CODE_PROTECTED, base + end as u32));
        run(&code, "a pointer of 16 bits");
    });
}

#[test]
fn interrupts_are_returned_from() {
    let base = CODE as u32;
    with_segments(|bench, tables| {
        for flags in [0x202_u32, 0xad7, 0x20_0606] {
            // push flags; push CS; push over; iretd; mov cl, 1; over:
            let mut code = vec![0x68];
            code.extend(flags.to_le_bytes());
            code.extend([0x6a, CODE_PROTECTED as u8, 0x68]);
            code.extend((base + 15).to_le_bytes());
            code.extend([0xcf, 0xb1, 1]);
            let end = check(bench, Mode::Protected, &code, &registers(), tables);
            assert_eq!(end, End::Done, "{code:x?}");
            // mov rax, rsp; push ss; push rax; push flags; push cs; push over; iretq; mov cl, 1; over:
            let mut code = vec![0x48, 0x89, 0xe0, 0x6a, DATA as u8, 0x50, 0x68];
            code.extend(flags.to_le_bytes());
            code.extend([0x6a, CODE_LONG as u8, 0x68]);
            code.extend((base + 22).to_le_bytes());
            code.extend([0x48, 0xcf, 0xb1, 1]);
            let end = check(bench, Mode::Long, &code, &registers(), tables);
            assert_eq!(end, End::Done, "{code:x?}");
        }
        // With any stack: mov rax, rsp; push SELECTOR; ...; restore ss
        let programs = selectors().map(|selector| {
            let mut code = vec![0x48, 0x89, 0xe0, 0x68];
            code.extend(u32::from(selector).to_le_bytes());
            code.extend([0x50, 0x68, 0x02, 0x02, 0, 0, 0x6a, CODE_LONG as u8, 0x68]);
            code.extend((base + 23).to_le_bytes());
            code.extend([0x48, 0xcf]);
            [code, restore(SS)].concat()
        });
        check_all(bench, tables, Mode::Long, &registers(), programs);
    });
}

#[test]
fn code_that_may_not_be_entered_is_refused() {
    /// Beyond the limits of all segments but those of Linux.
    const BEYOND: u32 = 0x4000_0000;
    let is_tried =
        |selector: &u16| ![CODE_PROTECTED >> 2, CODE_LONG >> 2].contains(&(selector >> 2));
    with_segments(|bench, tables| {
        let programs = selectors().filter(is_tried).flat_map(|selector| {
            // push SELECTOR; push BEYOND; retf; the same with flags and iretd
            let mut pushed = vec![0x68];
            pushed.extend(u32::from(selector).to_le_bytes());
            pushed.push(0x68);
            pushed.extend(BEYOND.to_le_bytes());
            let returned = [pushed.clone(), vec![0xcb]].concat();
            let resumed = [vec![0x9c], pushed, vec![0xcf]].concat();
            [
                far(0xea, selector, BEYOND),
                far(0x9a, selector, BEYOND),
                returned,
                resumed,
            ]
        });
        let mode = Mode::Protected;
        let (done, _) = check_all(bench, tables, mode, &registers(), programs);
        assert_eq!(done, 0);
        // From 64-bit code, to what is no address: push SELECTOR; push rcx; retfq
        let mut given = registers();
        given.general[1] = 1 << 47;
        let program = |selector: u16| vec![0x6a, selector as u8, 0x51, 0x48, 0xcb];
        let programs = [CODE_LONG].into_iter().map(program);
        let (done, _) = check_all(bench, tables, Mode::Long, &given, programs);
        assert_eq!(done, 0);
        if !oracle::is_amd() {
            // Others cut off what 32-bit code cannot have, and go on there.
            println!("SKIPPED: far returns to 32-bit code from beyond it: 1 skipped");
            return;
        }
        let programs = [program(CODE_PROTECTED)].into_iter();
        let (done, _) = check_all(bench, tables, Mode::Long, &given, programs);
        assert_eq!(done, 0);
        // To what 32 bits do not say: nothing is cut off.
        given.general[1] = 1 << 32 | u64::from(BEYOND);
        let programs = [program(CODE_PROTECTED)].into_iter();
        let (done, _) = check_all(bench, tables, Mode::Long, &given, programs);
        assert_eq!(done, 0);
    });
}
