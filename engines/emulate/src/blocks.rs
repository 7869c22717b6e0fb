//! Code in decoded form: blocks of operations, by page.
//!
//! A block is the instructions from one address to the next that goes elsewhere, within a page; all of its memory
//! is an arena's, which is given up as a whole. Blocks are found by a table of jumps, which holds for a
//! generation of translations, or by the physical page in which they lie. Whoever writes to the code of
//! a page has its blocks forgotten: the page goes, and a new generation begins.

use std::cell::Cell;
use std::collections::HashMap;

use bumpalo::Bump;
use iced_x86::Instruction;
use x86_vector::Prepared;

use crate::core::Core;
use crate::mode::Mode;

/// Jumps that are remembered.
const JUMPS: usize = 1 << 12;

/// What an operation does: to the virtual CPU, then it calls the next.
pub(crate) type Run<'a> = fn(&mut Core<'a>, Ops<'a>);

/// Operations of a block from one on, which is the one that is done.
pub(crate) type Ops<'a> = &'a [Op<'a>];

/// One instruction in decoded form: what every execution of it needs, and no more, for those of a block lie side
/// by side.
///
/// What the fields mean is each function's own affair, but for `next` and `count`.
pub(crate) struct Op<'a> {
    pub(crate) run: Run<'a>,
    /// Displacement of a memory operand, an immediate without one, or where a jump leads.
    pub(crate) wide: u64,
    pub(crate) more: &'a More<'a>,
    /// An immediate beside a memory operand, whose sign is extended.
    pub(crate) value: i32,
    /// A register.
    pub(crate) first: General,
    /// Another, or the base of a memory operand.
    pub(crate) second: General,
    /// The index of a memory operand, and above it by how much it is shifted.
    pub(crate) index: u8,
    /// Instructions of the block up to this one, which counts.
    pub(crate) count: u8,
}

/// What few operations need, or rarely; what jumps need first.
#[repr(C, align(64))]
pub(crate) struct More<'a> {
    /// Where a jump leads, once that was found: taken, and not; a call comes back by the latter.
    pub(crate) links: [Link<'a>; 2],
    /// Where the instruction lies, and what follows it.
    pub(crate) rip: u64,
    pub(crate) next: u64,
    pub(crate) instruction: Instruction,
    /// How it is done, if it is one of x87's or of vectors.
    pub(crate) vector: Option<&'a Prepared>,
}

/// The number of a general register. A type of its own, for there are no others to be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum General {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

impl General {
    /// All of them, in the order of encoding.
    pub(crate) const ALL: [Self; 16] = [
        Self::Rax,
        Self::Rcx,
        Self::Rdx,
        Self::Rbx,
        Self::Rsp,
        Self::Rbp,
        Self::Rsi,
        Self::Rdi,
        Self::R8,
        Self::R9,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
    ];
}

/// Of the links of [`More`].
pub(crate) const TAKEN: usize = 0;
pub(crate) const NOT_TAKEN: usize = 1;

impl More<'_> {
    /// Whether an address lies in the instruction's page.
    pub(crate) const fn is_near(&self, to: u64) -> bool {
        self.rip & !0xfff == to & !0xfff
    }
}

/// A block that was found, and the key under which it may be taken.
pub(crate) struct Link<'a> {
    pub(crate) key: Cell<u64>,
    pub(crate) to: Cell<Option<Ops<'a>>>,
}

impl<'a> Link<'a> {
    /// For a block in the same page: as long as this one may be taken, that one may.
    pub(crate) const ALWAYS: u64 = u64::MAX;

    /// One that leads nowhere.
    pub(crate) const fn nowhere() -> Self {
        Self {
            key: Cell::new(Self::ALWAYS),
            to: Cell::new(None),
        }
    }

    pub(crate) fn set(&self, key: u64, to: Ops<'a>) {
        self.key.set(key);
        self.to.set(Some(to));
    }
}

/// Calls that are remembered.
const RETURNS: usize = 16;

/// The calls that have not come back, of which the oldest are forgotten.
pub(crate) struct Returns<'a> {
    all: [Option<(&'a More<'a>, u64)>; RETURNS],
    top: usize,
}

impl<'a> Returns<'a> {
    pub(crate) const fn new() -> Self {
        Self {
            all: [None; RETURNS],
            top: 0,
        }
    }

    /// A call, and the key of what it saw.
    #[inline(always)]
    pub(crate) const fn push(&mut self, call: &'a More<'a>, key: u64) {
        self.top = self.top.wrapping_add(1);
        self.all[self.top % RETURNS] = Some((call, key));
    }

    /// The block to which the last call comes back, if that is at `to`, still so, and known.
    #[inline(always)]
    pub(crate) fn pop(&mut self, to: u64, key: u64) -> Option<Ops<'a>> {
        let last = self.all[self.top % RETURNS];
        self.top = self.top.wrapping_sub(1);
        let (call, then) = last?;
        let block = call.links[NOT_TAKEN].to.get();
        block.filter(|_| call.next == to && then == key)
    }

    /// The block was found to which the call came back that was the last.
    pub(crate) fn learn(&self, to: u64, key: u64, block: Ops<'a>) {
        if let Some((call, then)) = self.all[self.top.wrapping_add(1) % RETURNS]
            && call.next == to
            && then == key
            && call.is_near(to)
        {
            call.links[NOT_TAKEN].set(Link::ALWAYS, block);
        }
    }
}

/// One remembered jump.
#[derive(Clone, Copy)]
struct Jump<'a> {
    rip: u64,
    key: u64,
    to: Option<Ops<'a>>,
}

/// What tells the blocks of a page apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Start {
    pub(crate) rip: u64,
    pub(crate) mode: Mode,
    /// Of the code segment, beyond which there is no code.
    pub(crate) limit: u32,
    /// Where the segment lies, if somebody is interested in single addresses; otherwise zero.
    pub(crate) base: u64,
}

/// The blocks of a virtual CPU.
pub(crate) struct Blocks<'a> {
    pub(crate) arena: &'a Bump,
    jumps: Box<[Jump<'a>; JUMPS]>,
    /// By physical address.
    pages: HashMap<u64, HashMap<Start, Ops<'a>>>,
    /// Changes of code that were seen.
    pub(crate) seen: u64,
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(arena: &'a Bump, seen: u64) -> Self {
        let none = Jump {
            rip: 0,
            key: 0,
            to: None,
        };
        let jumps = vec![none; JUMPS].into_boxed_slice();
        Self {
            arena,
            jumps: jumps
                .try_into()
                .unwrap_or_else(|_| unreachable!("there are so many")),
            pages: HashMap::new(),
            seen,
        }
    }

    const fn place(rip: u64) -> usize {
        (rip ^ rip >> 12) as usize & (JUMPS - 1)
    }

    /// A block that was jumped to before in this generation and mode.
    #[inline(always)]
    pub(crate) fn jump(&self, rip: u64, key: u64) -> Option<Ops<'a>> {
        let jump = &self.jumps[Self::place(rip)];
        if jump.rip == rip && jump.key == key {
            jump.to
        } else {
            None
        }
    }

    /// Remembers one.
    pub(crate) fn remember(&mut self, rip: u64, key: u64, to: Ops<'a>) {
        self.jumps[Self::place(rip)] = Jump {
            rip,
            key,
            to: Some(to),
        };
    }

    /// A block of a page.
    pub(crate) fn find(&self, page: u64, start: &Start) -> Option<Ops<'a>> {
        self.pages.get(&page)?.get(start).copied()
    }

    /// Keeps one.
    pub(crate) fn keep(&mut self, page: u64, start: Start, block: Ops<'a>) {
        self.pages.entry(page).or_default().insert(start, block);
    }

    /// The pages' blocks are no more; all if it is not known which. Whoever calls it begins a new generation.
    pub(crate) fn drop_pages(&mut self, pages: Option<&[u64]>) {
        let Some(pages) = pages else {
            self.pages.clear();
            return;
        };
        for page in pages {
            self.pages.remove(page);
        }
    }
}
