//! The state of an x86-64 virtual CPU as a plain value.
//!
//! What an engine can show between two instructions, and what it can be given. It
//! holds what the engines so far can show; system registers join with the first engine
//! that has any.
#![forbid(unsafe_code)]

/// The registers of a virtual CPU between two instructions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuState {
    /// `rax rcx rdx rbx rsp rbp rsi rdi r8..r15`, in the order of their encoding.
    pub general: [u64; 16],
    /// Instruction pointer.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
    /// Base of `fs`.
    pub fs_base: u64,
    /// Base of `gs`.
    pub gs_base: u64,
}
