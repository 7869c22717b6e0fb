//! What tests need that compare instructions with the host's processor: the place where they are tried there, the
//! memory that it has, the registers of a program in Linux as `x86-semantics` has them, numbers to begin with, what
//! manuals leave open, and in what makers differ.

mod bench;
mod maker;
mod numbers;
mod open;
mod pages;
mod program;
mod vectors;

pub use bench::with_bench;
pub use maker::{
    end_of, is_amd, may_be_either, may_be_longer, may_differ, open_flags, open_pushed, open_upper,
};
pub use numbers::Numbers;
pub use open::{
    is_image, is_undefined, left_out, may_fault, open_conditions, open_mxcsr, undefined_flags,
};
pub use pages::Pages;
pub use program::program;
pub use vectors::{VECTOR_PARTS, vectors};
