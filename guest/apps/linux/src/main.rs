//! The kernel image that runs Linux programs: the layers put together.
#![cfg_attr(kernel_build, no_std, no_main)]

#[cfg(kernel_build)]
mod image;

#[cfg(not(kernel_build))]
fn main() {
    eprintln!("husk-kernel: runs only inside a machine (use `husk run`)");
    std::process::exit(125);
}
