//! How an x86-64 processor translates linear addresses: page tables, rights and page faults.
//!
//! [`Paging`] is what the control registers say. [`Paging::translate`] is the processor's walk for
//! one access, with its rights, its fault and the accessed and dirty bits that it leaves behind;
//! [`Paging::look`] is a debugger's, which has all rights and leaves nothing. Tables are read
//! through [`Tables`], and marked through [`MarkedTables`], which whoever has the memory implements.
//!
//! After the SDM, vol. 3, chapter 4 (sections are named at the code), in its four modes without
//! the fifth level, protection keys and shadow stacks, which CPUID has to hide. Where
//! implementations may differ, this is chosen:
//!
//! * Accessed and dirty bits are set when the access is allowed, those of all levels at once. An
//!   access that faults leaves none.
//! * The four top entries of PAE paging are read at each walk instead of when CR3 is loaded
//!   (4.4.1), and wrong ones are page faults: whoever emulates a processor with registers for them
//!   has to look at them when it loads CR3.
//!
//! What is not here: whether an address is canonical, which is a matter of segments
//! (`#GP` or `#SS`); and the TLB: a walk starts from the tables each time.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod access;
mod entry;
mod mode;
#[cfg(test)]
mod tests;
mod walk;

pub use access::{Access, FaultCode, Kind, PageFault, Privilege};
pub use mode::{Mode, Paging};
pub use walk::{EntrySize, Mapping, MarkedTables, Rights, Tables};
