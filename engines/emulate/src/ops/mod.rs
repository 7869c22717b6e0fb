//! Operations: what a block's instructions have become.
//!
//! Each is a function of the virtual CPU and its [`Op`] that ends in a call of the next one's, which a build with
//! optimization makes a jump. It does the ordinary case alone, in code whose segments can be looked over:
//! a translation that is not known yet, a page with code, anything odd is for [`slow`], which executes the
//! instruction as `x86-semantics` has it. The rules for such a function: it holds nothing across that last
//! call, and leaves what is long to others that are not inlined (`cargo xtask operations-check` looks whether it did).

mod arithmetic;
mod choose;
mod flow;
mod fused;
mod liveness;
mod moves;
mod scalars;
mod shifts;
mod slow;
mod strings;
mod various;
mod vectors;
mod width;

pub(crate) use slow::next as enter;

use iced_x86::{Code, FlowControl, Instruction, Mnemonic, OpKind, Register};
use x86_semantics::needs_system;

use crate::blocks::{General, Link, More, Op, Ops, Run, Start};
use crate::core::Core;

/// Whether nothing of the block follows an instruction: it goes elsewhere, or changes what blocks depend on.
pub(crate) fn ends_block(instruction: &Instruction) -> bool {
    let next = matches!(
        instruction.flow_control(),
        FlowControl::Next | FlowControl::ConditionalBranch
    );
    let conditional = instruction.flow_control() == FlowControl::ConditionalBranch;
    !next || conditional || instruction.is_invalid() || changes_mode(instruction)
}

fn changes_mode(instruction: &Instruction) -> bool {
    let loads_segment = instruction.op_count() > 0
        && instruction.op0_kind() == OpKind::Register
        && (instruction.op0_register().is_segment_register()
            || instruction.op0_register().is_cr()
            || instruction.op0_register().is_dr());
    let mnemonic = instruction.mnemonic();
    let is_quick = matches!(
        mnemonic,
        Mnemonic::Cli
            | Mnemonic::Cpuid
            | Mnemonic::Rdtsc
            | Mnemonic::Rdtscp
            | Mnemonic::Rdrand
            | Mnemonic::Rdseed
            | Mnemonic::Clflush
            | Mnemonic::Clflushopt
            | Mnemonic::Clwb
            | Mnemonic::Rdpid
            | Mnemonic::Swapgs
            | Mnemonic::Rdfsbase
            | Mnemonic::Rdgsbase
            | Mnemonic::Wrfsbase
            | Mnemonic::Wrgsbase
    );
    let others = [
        Mnemonic::Popf,
        Mnemonic::Popfd,
        Mnemonic::Popfq,
        Mnemonic::Lds,
        Mnemonic::Les,
        Mnemonic::Lss,
        Mnemonic::Lfs,
        Mnemonic::Lgs,
        Mnemonic::Pause,
    ];
    let is_pop = mnemonic == Mnemonic::Pop && loads_segment;
    needs_system(mnemonic) && !is_quick
        || others.contains(&mnemonic)
        || is_pop
        || mnemonic == Mnemonic::Mov && loads_segment
}

/// The operation of an instruction that somebody looks at.
pub(crate) fn alone<'a>(core: &mut Core<'a>, instruction: &Instruction) -> Ops<'a> {
    let mut op = draft(core, instruction, 1);
    op.run = slow::alone;
    core.blocks.arena.alloc_slice_fill_iter([op])
}

/// The operations of a block; `None` for none.
pub(crate) fn chain<'a>(
    core: &mut Core<'a>,
    instructions: &[Instruction],
    start: &Start,
) -> Option<Ops<'a>> {
    let last = instructions.last()?;
    let mut ops = Vec::with_capacity(instructions.len() + 1);
    let mut is_quick = Vec::with_capacity(instructions.len());
    for (number, instruction) in instructions.iter().enumerate() {
        let mut op = draft(core, instruction, number + 1);
        is_quick.push(choose::choose(&mut op, instruction, start, true));
        ops.push(op);
    }
    let seen = liveness::flags_seen(instructions, &is_quick);
    for (number, op) in ops.iter_mut().enumerate() {
        if is_quick[number] && !seen[number] {
            choose::choose(op, &instructions[number], start, false);
        }
    }
    if let ([.., first, jump], [.., true, true]) = (instructions, &is_quick[..])
        && let Some(run) = choose::fuse(first, jump)
    {
        ops[instructions.len() - 2].run = run;
    }
    if !ends_block(last) {
        // The block is as long as one may be, or as the page: what follows is another.
        let mut op = draft(core, last, instructions.len());
        op.run = flow::jump;
        op.wide = last.next_ip();
        ops.push(op);
    }
    Some(core.blocks.arena.alloc_slice_fill_iter(ops))
}

/// An operation that executes its instruction slowly.
fn draft<'a>(core: &mut Core<'a>, instruction: &Instruction, count: usize) -> Op<'a> {
    let arena = core.blocks.arena;
    let run: Run<'a> = if ends_block(instruction) {
        slow::last
    } else {
        slow::slow
    };
    let vector = core.unit.prepare(instruction);
    let more = More {
        links: [Link::nowhere(), Link::nowhere()],
        rip: instruction.ip(),
        next: instruction.next_ip(),
        instruction: *instruction,
        vector: vector.map(|prepared| &*arena.alloc(prepared)),
    };
    Op {
        run,
        wide: 0,
        more: arena.alloc(more),
        value: 0,
        first: General::Rax,
        second: General::Rax,
        index: 0,
        count: count as u8,
    }
}

/// The number of a general register of 16 bits and more, or of the low bytes.
fn number(register: Register) -> Option<General> {
    if !register.is_gpr() {
        return None;
    }
    let number = register.number();
    let number = match (register.size(), number) {
        (1, 4..8) => return None,
        (1, 8..) => number - 4,
        _ => number,
    };
    General::ALL.get(number).copied()
}

/// Whether an instruction does nothing but that.
fn is_nothing(instruction: &Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Nop
            | Mnemonic::Endbr64
            | Mnemonic::Endbr32
            | Mnemonic::Prefetchnta
            | Mnemonic::Prefetcht0
            | Mnemonic::Prefetcht1
            | Mnemonic::Prefetcht2
            | Mnemonic::Prefetchw
    ) && instruction.code() != Code::INVALID
}
