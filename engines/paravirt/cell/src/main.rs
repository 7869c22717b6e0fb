//! The stub of a cell: the only code of Husk that runs in the sandboxed process
//! besides the kernel and the program.
//!
//! It starts as an ordinary static program with one descriptor, the machine's memory.
//! It maps that memory and the kernel, gives back everything the host mapped for it,
//! closes the sandbox with a seccomp filter of its own and jumps to the kernel. From
//! then on it is a few functions (its system calls) and a signal handler's first
//! instruction. It holds no policy and no secret: the guest can read and overwrite all
//! of it, and gains nothing.
#![cfg_attr(kernel_build, no_std, no_main)]

#[cfg(kernel_build)]
mod calls;
#[cfg(kernel_build)]
mod filter;
#[cfg(kernel_build)]
mod start;

#[cfg(not(kernel_build))]
fn main() {
    eprintln!("husk-cell: runs only inside a cell (start `husk run` instead)");
    std::process::exit(125);
}
