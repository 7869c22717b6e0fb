//! The seccomp filter: the boundary of a cell.
//!
//! Everything traps (the kernel gets `SIGSYS` and serves the call) except the few
//! calls of [`guest_abi::cell::ALLOWED_SYSTEM_CALLS`], from the stub's own text, with
//! arguments that can do no harm. Classic BPF, 32 bits at a time, little endian
//! (`linux/seccomp.h`, `linux/filter.h`).

use guest_abi::cell::CHANNEL_FD;
use guest_abi::layout::{STUB_BASE, STUB_SPAN};

use crate::calls;

/// `struct sock_filter`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    operand: u32,
}

const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const GREATER_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

const RET_ALLOW: u32 = 0x7fff_0000;
const RET_TRAP: u32 = 0x0003_0000;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const POINTER_LOW: u32 = 8;
const POINTER_HIGH: u32 = 12;

const fn argument_low(index: u32) -> u32 {
    16 + 8 * index
}

const fn argument_high(index: u32) -> u32 {
    argument_low(index) + 4
}

const fn load(offset: u32) -> Instruction {
    Instruction {
        code: LOAD,
        jump_true: 0,
        jump_false: 0,
        operand: offset,
    }
}

const fn equal(value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code: EQUAL,
        jump_true,
        jump_false,
        operand: value,
    }
}

const fn at_least(value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code: GREATER_EQUAL,
        jump_true,
        jump_false,
        operand: value,
    }
}

const fn finish(value: u32) -> Instruction {
    Instruction {
        code: RETURN,
        jump_true: 0,
        jump_false: 0,
        operand: value,
    }
}

const TRAP: Instruction = finish(RET_TRAP);
const ALLOW: Instruction = finish(RET_ALLOW);

/// The filter. Each block ends in a return; a jump's distance counts the instructions
/// to skip, within its block.
pub(crate) static FILTER: [Instruction; 51] = [
    // Native 64-bit calls only: no int 0x80, no x32 (its numbers match nothing below).
    load(ARCHITECTURE),
    equal(AUDIT_ARCH_X86_64, 1, 0),
    TRAP,
    // From the stub's text only.
    load(POINTER_HIGH),
    equal((STUB_BASE >> 32) as u32, 1, 0),
    TRAP,
    load(POINTER_LOW),
    at_least((STUB_BASE + STUB_SPAN) as u32, 0, 1),
    TRAP,
    load(NUMBER),
    // No further conditions.
    equal(calls::SYS_RT_SIGRETURN as u32, 4, 0),
    equal(calls::SYS_EXIT_GROUP as u32, 3, 0),
    equal(calls::SYS_CLOSE as u32, 2, 0),
    equal(calls::SYS_MUNMAP as u32, 1, 0),
    equal(calls::SYS_MPROTECT as u32, 0, 1),
    ALLOW,
    // futex: waiting and waking, nothing with owners, queues or priorities.
    equal(calls::SYS_FUTEX as u32, 0, 5),
    load(argument_low(1)),
    equal(calls::FUTEX_WAIT as u32, 2, 0),
    equal(calls::FUTEX_WAKE as u32, 1, 0),
    TRAP,
    ALLOW,
    // madvise: giving pages back, and hints.
    equal(calls::SYS_MADVISE as u32, 0, 8),
    load(argument_low(2)),
    equal(9, 5, 0),
    equal(14, 4, 0),
    equal(15, 3, 0),
    equal(22, 2, 0),
    equal(23, 1, 0),
    TRAP,
    ALLOW,
    // mmap: of a descriptor, shared, at a fixed address. Those that there are are the machine's
    // memory, a socket, and files that were handed over to be read.
    equal(calls::SYS_MMAP as u32, 0, 7),
    load(argument_low(3)),
    equal(calls::MAP_FLAGS as u32, 1, 0),
    TRAP,
    load(argument_high(3)),
    equal(0, 1, 0),
    TRAP,
    ALLOW,
    // recvmsg: what the monitor hands over, without waiting.
    equal(calls::SYS_RECVMSG as u32, 1, 0),
    TRAP,
    load(argument_low(0)),
    equal(CHANNEL_FD as u32, 1, 0),
    TRAP,
    load(argument_high(0)),
    equal(0, 1, 0),
    TRAP,
    load(argument_low(2)),
    equal(calls::RECEIVE_FLAGS as u32, 1, 0),
    TRAP,
    ALLOW,
];

/// `struct sock_fprog`.
#[repr(C)]
pub(crate) struct Program {
    pub(crate) length: u16,
    pub(crate) filter: *const Instruction,
}
