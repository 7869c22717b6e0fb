//! The kernel's main function.
#![expect(
    unsafe_code,
    reason = "the layer below calls the main function by name"
)]

use guest_config::MachineConfig;
use guest_config::command_line::device_places;
use guest_hal::report::{End, end};
use guest_hal::{boot, virtio};

/// What the root is called where devices have names instead of numbers.
const ROOT_TAG: &str = "root";

#[unsafe(no_mangle)]
fn husk_kernel_main() -> ! {
    let config = match boot::command_line() {
        Some(line) => {
            announce_devices(line);
            Ok(MachineConfig::from_command_line(line))
        }
        None => MachineConfig::decode(&boot::config_bytes()),
    };
    match config {
        Ok(config) => start(&config),
        Err(error) => end(
            End::Panic,
            format_args!("the configuration cannot be read: {error}"),
        ),
    }
}

/// Makes the devices known that a command line tells of. What is not understood is not there.
fn announce_devices(line: &[u8]) {
    for place in device_places(line) {
        virtio::announce(&place);
    }
}

fn start(config: &MachineConfig) -> ! {
    let mut open = |number| guest_drivers::open(number, tag(config, number));
    if let Some(network) = &config.network {
        guest_kernel::net::network::configure(network, |network| {
            guest_drivers::net::open(network.device, "eth0")
        });
    }
    guest_linux::start::start(config, &mut open)
}

/// The name of a device; none for the console. The root's is fixed, a volume's its source.
fn tag(config: &MachineConfig, number: u32) -> Option<&[u8]> {
    let (root, volumes) = config.mounts.split_first()?;
    if root.device == number {
        return Some(ROOT_TAG.as_bytes());
    }
    let volume = volumes.iter().find(|volume| volume.device == number)?;
    Some(volume.source.as_bytes())
}
