//! The engine with real guests. Where the host has no KVM worth using, every test says that it
//! was skipped; `cargo xtask nested-kvm` runs this program where there is one.

mod accesses;
mod code;
mod failures;
mod harness;
mod interrupts;
mod kicks;
mod memory;
mod processors;
mod state;
mod walks;
