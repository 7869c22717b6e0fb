//! The kernel's main function.
#![expect(
    unsafe_code,
    reason = "the layer below calls the main function by name"
)]

use guest_config::MachineConfig;
use guest_hal::boot;
use guest_hal::report::{End, end};

#[unsafe(no_mangle)]
fn husk_kernel_main() -> ! {
    let config = match boot::command_line() {
        Some(line) => Ok(MachineConfig::from_command_line(line)),
        None => MachineConfig::decode(&boot::config_bytes()),
    };
    match config {
        Ok(config) => guest_linux::start::start(&config, &mut guest_drivers::fuse::open),
        Err(error) => end(
            End::Panic,
            format_args!("the configuration cannot be read: {error}"),
        ),
    }
}
