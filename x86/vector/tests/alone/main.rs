//! What the host's processor cannot be asked by a program: modes and control registers of the system.

mod any;
mod environment;
mod faults;
mod machine;
