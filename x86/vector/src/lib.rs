//! What x87, MMX, SSE and AVX instructions do, by the host's own processor.
//!
//! [`Vectors`] holds the registers of a virtual CPU. A [`Unit`] looks at a decoded instruction once and says how
//! it is done ([`Prepared`]); [`execute`] does it, as often as it is met. Most instructions run as they are
//! on the host's processor, with other registers and with a buffer for memory
//! ([`host_processor::stub`]): exact, and a few nanoseconds. What remains for us is what surrounds them:
//! whether they are available, where memory is, which exceptions are raised. Moves, and those that touch memory in
//! other ways (masked, gathered, whole images of the state), are done here.
//!
//! x87 is different: to load its registers, and to read what was raised, takes ten times as long as to work with
//! integers. What it does with usual numbers is done so (`number.rs`), with `C1` and `PE` as a processor has
//! them; the host's instruction does the rest.
//!
//! What was raised is read from the host's `MXCSR` after each instruction on floating-point numbers, which
//! takes 5 ns: as much as all else, unless the numbers are such that nothing can have been raised (`usual.rs`).
//! To leave it there until somebody asks would mix it with what our own code raises.
//!
//! Known are x87, MMX, SSE to SSE4.2 without SSE4a, AVX, AVX2, FMA, F16C, AES, PCLMULQDQ, SHA and the `XSAVE`
//! family, as far as the host has them ([`Features`]); not AVX-512, and not `XSAVES`. Instructions on general registers
//! alone are in `x86-semantics`, `XGETBV` and `XSETBV` too.
//!
//! Differences from processors:
//!
//! - `XINUSE` says that a component is in its initial state whenever it is, however it came to that.
//! - The addresses of the last x87 instruction and its operand are kept with each, as Intel's do; AMD's show
//!   them in images only while an exception waits. Their selectors are zero (SDM vol. 1, 8.1.8), and so is
//!   the opcode.
//! - `MXCSR` has no bit that allows operands without alignment, as AMD's have (`MM`).
//! - `PE` may be set beside an `OE` or `UE` that is not masked where the number that the exception's
//!   handler would make is exact.
//! - `CR0.NE` is taken for set: errors of x87 are `#MF`. Without it a PC's chips report them: whoever
//!   finds it clear when `#MF` is raised has `FERR#` to raise instead.
#![forbid(unsafe_code)]

mod address;
mod available;
mod control;
mod coverage;
mod environment;
mod execute;
mod extended;
mod features;
mod float;
mod gather;
mod masked;
mod moves;
mod mxcsr;
mod number;
mod numeric;
mod on_stack;
mod prepared;
mod registers;
mod run;
mod save;
pub mod scalar;
mod stack;
mod unit;
mod usual;
mod usual_x87;
mod x87;

pub use available::are_available;
pub use coverage::knows;
pub use execute::{execute, execute_given};
pub use features::Features;
pub use numeric::Beside;
pub use on_stack::{Choice, OnStack, on_stack};
pub use prepared::{Move, Operand, Prepared};
pub use registers::Vectors;
pub use unit::Unit;
