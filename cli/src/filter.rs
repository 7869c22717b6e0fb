//! Seccomp filters that search: system call numbers lie in a tree, not in a chain.
//!
//! The host tries a new filter with every number there is, so a chain of N comparisons
//! costs N² of them at the start of each machine (0.3 ms for ours) and N for each call whose
//! arguments are looked at. Classic BPF: `linux/filter.h`, `linux/seccomp.h`.

use seccompiler::sock_filter as Instruction;

const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What is allowed of a call whose number is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Everything.
    Any,
    /// The low half of argument `.0` is one of `.1`.
    OneOf(u32, &'static [u32]),
    /// Nothing; it answers this instead of what all others do.
    Refuse(u16),
}

/// Calls with the numbers from `first` to `last`.
#[derive(Clone, Copy, Debug)]
struct Range {
    first: u32,
    last: u32,
    check: Check,
}

/// The program that allows `calls` and answers `errno` to all others. Code of another
/// architecture (`int 0x80`) ends the process.
pub(crate) fn program(calls: &[(u32, Check)], errno: u16) -> Vec<Instruction> {
    let mut sorted = calls.to_vec();
    sorted.sort_unstable_by_key(|(number, _)| *number);
    sorted.dedup();
    let mut ranges: Vec<Range> = Vec::new();
    for (number, check) in sorted {
        match ranges.last_mut() {
            Some(range)
                if range.last + 1 == number && range.check == Check::Any && check == Check::Any =>
            {
                range.last = number;
            }
            _ => ranges.push(Range {
                first: number,
                last: number,
                check,
            }),
        }
    }
    let mut program = vec![
        load(ARCHITECTURE),
        jump(EQUAL, AUDIT_ARCH_X86_64, 1, 0),
        finish(KILL_PROCESS),
        load(NUMBER),
    ];
    program.extend(search(&ranges, ERRNO | u32::from(errno)));
    program
}

/// Finds the number among `ranges`, ascending. Every path ends in a return.
fn search(ranges: &[Range], refuse: u32) -> Vec<Instruction> {
    let (left, right) = ranges.split_at(ranges.len() / 2);
    match (left, right) {
        ([], []) => vec![finish(refuse)],
        ([], [range, ..]) => leaf(range, refuse),
        (left, [middle, ..]) => {
            let below = search(left, refuse);
            let skip = u8::try_from(below.len()).expect("a list of calls this long has a tree");
            let mut code = vec![jump(AT_LEAST, middle.first, skip, 0)];
            code.extend(below);
            code.extend(search(right, refuse));
            code
        }
        (_, []) => unreachable!("the right half is the longer one"),
    }
}

fn leaf(range: &Range, refuse: u32) -> Vec<Instruction> {
    let mut code = vec![
        jump(AT_LEAST, range.last + 1, 1, 0),
        jump(AT_LEAST, range.first, 1, 0),
        finish(refuse),
    ];
    match range.check {
        Check::Any => code.push(finish(ALLOW)),
        Check::Refuse(errno) => code.push(finish(ERRNO | u32::from(errno))),
        Check::OneOf(argument, values) => {
            code.push(load(ARGUMENTS + 8 * argument));
            for &value in values {
                code.extend([jump(EQUAL, value, 0, 1), finish(ALLOW)]);
            }
            code.push(finish(refuse));
        }
    }
    code
}

const fn load(offset: u32) -> Instruction {
    jump(LOAD, offset, 0, 0)
}

const fn finish(value: u32) -> Instruction {
    jump(RETURN, value, 0, 0)
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program answers, and after how many instructions.
    fn answer(program: &[Instruction], architecture: u32, call: u32, argument: u32) -> (u32, u32) {
        let (mut at, mut value, mut steps) = (0, 0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            steps += 1;
            let taken = match code {
                LOAD if k == NUMBER => Err(call),
                LOAD if k == ARCHITECTURE => Err(architecture),
                LOAD => Err(argument),
                EQUAL => Ok(value == k),
                AT_LEAST => Ok(value >= k),
                RETURN => return (k, steps),
                _ => panic!("unknown instruction {code:#x}"),
            };
            match taken {
                Ok(true) => at += usize::from(jt),
                Ok(false) => at += usize::from(jf),
                Err(loaded) => value = loaded,
            }
        }
    }

    #[test]
    fn what_is_listed_is_allowed_and_nothing_else() {
        let odd: Vec<(u32, Check)> = (0..200).step_by(7).map(|n| (n, Check::Any)).collect();
        let mut calls = odd.clone();
        calls.extend([(16, Check::OneOf(1, &[5, 9])), (8, Check::Any)]);
        calls.push((435, Check::Refuse(38)));
        let program = program(&calls, 1);
        for number in (0..600).chain([0x4000_0000, u32::MAX]) {
            let listed = calls.iter().find(|(listed, _)| *listed == number);
            for argument in [0, 5, 9, u32::MAX] {
                let expected = match listed {
                    Some((_, Check::Any)) => ALLOW,
                    Some((_, Check::OneOf(_, values))) if values.contains(&argument) => ALLOW,
                    Some((_, Check::Refuse(errno))) => ERRNO | u32::from(*errno),
                    _ => ERRNO | 1,
                };
                let (got, steps) = answer(&program, AUDIT_ARCH_X86_64, number, argument);
                assert_eq!(got, expected, "{number} {argument}");
                assert!(steps < 20);
            }
            assert_eq!(answer(&program, 0x4000_0003, number, 0).0, KILL_PROCESS);
        }
    }

    #[test]
    fn nothing_listed_allows_nothing() {
        let program = program(&[], 1);
        assert_eq!(answer(&program, AUDIT_ARCH_X86_64, 0, 0).0, ERRNO | 1);
    }
}
