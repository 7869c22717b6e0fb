//! Runs a case on the host and by its function, for many operands.

use host_processor::{Bench, End, Mode, Registers};
use x86_semantics::{Flags, Size};

use super::encoding::Code;
use super::undefined::Undefined;
use crate::numbers::{Numbers, cases};
use oracle::with_bench;

/// Random operands of each case and size.
const CASES: u64 = 4000;
const DIVIDE_ERROR: u8 = 0;

/// What an instruction left in `rax`, `rdx` and the flags.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Done {
        low: u64,
        high: Option<u64>,
        flags: Flags,
    },
    DivideError,
}

impl Outcome {
    pub(crate) const fn of(low: u64, flags: Flags) -> Self {
        let high = None;
        Self::Done { low, high, flags }
    }

    pub(crate) const fn of_pair(low: u64, high: u64, flags: Flags) -> Self {
        let high = Some(high);
        Self::Done { low, high, flags }
    }
}

type Model = Box<dyn Fn(Size, [u64; 3], Flags) -> Outcome>;

/// One instruction and what it should do with `rax`, `rcx` and `rdx`.
pub(crate) struct Case {
    name: &'static str,
    code: Code,
    model: Model,
    sizes: &'static [Size],
    /// The size of `rax` as operand and result, if it is not that of the others.
    result: Option<Size>,
    mode: Mode,
    /// Whether it works with two registers, which for bytes are `ah` and `al`.
    pairs: bool,
    undefined: Undefined,
    /// Whether the host has the instruction.
    is_there: bool,
}

impl Case {
    pub(crate) fn new(
        name: &'static str,
        code: Code,
        model: impl Fn(Size, [u64; 3], Flags) -> Outcome + 'static,
    ) -> Self {
        Self {
            name,
            code,
            model: Box::new(model),
            sizes: &Size::ALL,
            result: None,
            mode: Mode::Long,
            pairs: false,
            undefined: Box::new(|_, _| Some(0)),
            is_there: true,
        }
    }

    pub(crate) fn sizes(mut self, sizes: &'static [Size]) -> Self {
        self.sizes = sizes;
        self
    }

    pub(crate) fn result(mut self, size: Size) -> Self {
        self.result = Some(size);
        self
    }

    pub(crate) fn protected(mut self) -> Self {
        self.mode = Mode::Protected;
        self
    }

    pub(crate) fn needs(mut self, is_there: bool) -> Self {
        self.is_there = is_there;
        self
    }

    pub(crate) fn pairs(mut self) -> Self {
        self.pairs = true;
        self
    }

    pub(crate) fn undefined(
        mut self,
        undefined: impl Fn(Size, [u64; 3]) -> Option<u64> + 'static,
    ) -> Self {
        self.undefined = Box::new(undefined);
        self
    }

    /// Whether its operands and result are in `ah` and `al`.
    fn is_halved(&self, size: Size) -> bool {
        self.pairs && size == Size::Byte
    }

    fn run(&self, bench: &mut Bench, size: Size, numbers: &mut Numbers) {
        bench.load(self.mode, &(self.code)(size));
        let mut registers = Registers::default();
        for general in &mut registers.general {
            *general = numbers.random();
        }
        let result = self.result.unwrap_or(size);
        let sizes = [result, size, size];
        let values = sizes.map(|size| numbers.value(size));
        registers.flags = numbers.random() & Flags::MASK;
        if self.mode == Mode::Protected {
            registers.general = registers.general.map(|value| value & 0xffff_ffff);
        }
        for ((general, size), value) in registers.general.iter_mut().zip(sizes).zip(values) {
            *general = *general & !size.mask() | value;
        }
        if self.is_halved(size) {
            registers.general[0] = registers.general[0] & !0xff00 | values[2] << 8;
        }
        let given = registers;
        let end = bench.run(&mut registers);
        let model = (self.model)(size, values, Flags::from_bits(given.flags));
        let undefined = (self.undefined)(size, values);
        if let Some(why) = self.differs(size, (end, &registers), &model, undefined) {
            let name = self.name;
            panic!(
                "{name} {size:?} of {values:x?}, flags {:x}: {why}",
                given.flags
            );
        }
    }

    /// Why the host's outcome is not the function's.
    fn differs(
        &self,
        size: Size,
        (end, registers): (End, &Registers),
        model: &Outcome,
        undefined: Option<u64>,
    ) -> Option<String> {
        let is_divide_error = matches!(
            end,
            End::Raised {
                vector: DIVIDE_ERROR,
                ..
            }
        );
        let Outcome::Done { low, high, flags } = *model else {
            return (!is_divide_error).then(|| format!("the host ends in {end:x?}"));
        };
        if end != End::Done {
            return Some(format!("the host ends in {end:x?}, not in {low:x}"));
        }
        let undefined = undefined?;
        let mut there = (registers.general[0], registers.general[2]);
        if self.is_halved(size) {
            there.1 = there.0 >> 8;
        }
        let result = self.result.unwrap_or(size);
        let there = (result.cut(there.0), result.cut(there.1));
        let here = (low, high.unwrap_or(there.1));
        // A product of bytes is a word in `ax`, as the function has it in two halves.
        let bits = (registers.flags ^ flags.bits()) & Flags::MASK & !undefined;
        (there != here || bits != 0).then(|| {
            let flags = (registers.flags & Flags::MASK, flags.bits());
            format!(
                "the host has {there:x?}, not {here:x?}; flags {flags:x?}, differing in {bits:x}"
            )
        })
    }
}

/// Runs all cases, each with its sizes and many operands.
pub(crate) fn check(all: &[Case]) {
    with_bench(|bench| {
        let (there, missing): (Vec<_>, Vec<_>) = all.iter().partition(|case| case.is_there);
        for case in &missing {
            println!("SKIPPED: the host has no {}", case.name);
        }
        println!("{} instructions skipped", missing.len());
        for case in there {
            for &size in case.sizes {
                let mut numbers = Numbers::new();
                (0..cases(CASES)).for_each(|_| case.run(bench, size, &mut numbers));
            }
        }
    });
}
