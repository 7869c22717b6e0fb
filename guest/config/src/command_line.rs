//! A configuration from a kernel's command line, for a kernel that no Husk monitor started.
//!
//! Words are separated by spaces; double quotes keep spaces in a word. In this order:
//!
//! * `NAME=VALUE`: the environment. Names with a dot are options instead; those that are not
//!   listed here are someone else's (as `virtio_mmio.device=`) and left alone.
//!   `husk.workdir=DIR`, `husk.hostname=NAME`, `husk.trace`,
//!   `husk.volume=TAG:PATH[:ro]` (a file system of the machine, by its tag),
//!   `husk.net=dhcp` (if there is a network device; so it is by default), `husk.net=none`,
//!   `husk.net=ADDRESS/PREFIX[,ROUTER]` (IPv4), `husk.dns=ADDRESS` (any number of times).
//! * the program, and its arguments.
//!
//! `virtio_mmio.device=PLACE` may stand anywhere: monitors append it, whatever comes before.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::{MachineConfig, MountConfig, NetworkConfig};

/// Device number of the standard streams.
pub const CONSOLE: u32 = 0;
/// Device number of the root; volumes follow.
pub const ROOT: u32 = 1;

/// Device number of the network: the last, whatever there is else.
pub const NETWORK: u32 = u32::MAX;

/// What a monitor appends for each device that cannot be looked for.
const DEVICE: &[u8] = b"virtio_mmio.device=";

/// What a machine without a monitor of its own gets.
const STACK: u64 = 8 << 20;
const FILES: (u64, u64) = (1024, 4096);
const UMASK: u32 = 0o022;
/// `S_IFCHR`: what the kernel's own console says of its streams.
const CHARACTER_DEVICE: u32 = 0o020_000;
const PATH: &[u8] = b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const HOME: &[u8] = b"HOME=/root";

/// The places of devices that cannot be looked for.
#[must_use]
pub fn device_places(line: &[u8]) -> Vec<Vec<u8>> {
    let words = words(line);
    let places = words.iter().filter_map(|word| word.strip_prefix(DEVICE));
    places.map(<[u8]>::to_vec).collect()
}

impl MachineConfig {
    /// Reads a command line. Without a program, `/sbin/init` is meant.
    #[must_use]
    pub fn from_command_line(line: &[u8]) -> Self {
        let mut config = Self {
            working_directory: b"/".to_vec(),
            hostname: String::from("husk"),
            umask: UMASK,
            stack_limit: STACK,
            file_limit: FILES,
            size_limit: (u64::MAX, u64::MAX),
            console_device: CONSOLE,
            streams: [CHARACTER_DEVICE; 3],
            network: Some(NetworkConfig {
                device: NETWORK,
                asks: true,
                ..NetworkConfig::default()
            }),
            ..Self::default()
        };
        config.mounts.push(MountConfig {
            device: ROOT,
            path: b"/".to_vec(),
            source: String::from("root"),
            overlay: true,
            read_only: false,
        });
        let mut words = words(line);
        words.retain(|word| !word.starts_with(DEVICE));
        let first = words.iter().position(|word| !config.take(word));
        let command = first.and_then(|first| words.get(first..));
        config.arguments = command.unwrap_or(&[b"/sbin/init".to_vec()]).to_vec();
        config.program = config.arguments.first().cloned().unwrap_or_default();
        for default in [PATH, HOME] {
            config.add_default(default);
        }
        config
    }

    /// Takes a word before the program; whether it was one.
    fn take(&mut self, word: &[u8]) -> bool {
        let (name, value) = split(word, b'=');
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        match (name, value) {
            (b"husk.trace", None) => self.trace = true,
            (b"husk.workdir", Some(value)) => self.working_directory = value.to_vec(),
            (b"husk.hostname", Some(value)) => self.hostname = text(value),
            (b"husk.volume", Some(value)) => self.add_volume(value),
            (b"husk.net", Some(value)) => self.set_network(value),
            (b"husk.dns", Some(value)) => self.add_resolver(value),
            (name, Some(_)) if is_foreign(name) => {}
            (name, Some(_)) if is_variable(name) => self.environment.push(word.to_vec()),
            _ => return false,
        }
        true
    }

    fn add_volume(&mut self, value: &[u8]) {
        let (tag, rest) = split(value, b':');
        let (path, mode) = split(rest.unwrap_or_default(), b':');
        self.mounts.push(MountConfig {
            device: ROOT + self.mounts.len() as u32,
            path: path.to_vec(),
            source: String::from_utf8_lossy(tag).into_owned(),
            overlay: false,
            read_only: mode == Some(b"ro"),
        });
    }

    /// What is not understood is no place, and then a server is asked.
    fn set_network(&mut self, value: &[u8]) {
        if value == b"none" {
            self.network = None;
        } else if let (Some(network), Some(place)) = (&mut self.network, place(value)) {
            (network.asks, network.ipv4) = (false, Some(place));
        }
    }

    fn add_resolver(&mut self, value: &[u8]) {
        if let (Some(network), Some(address)) = (&mut self.network, address(value)) {
            network.resolvers.push(address);
        }
    }

    fn add_default(&mut self, variable: &[u8]) {
        let (name, _) = split(variable, b'=');
        let is_set = self
            .environment
            .iter()
            .any(|other| split(other, b'=').0 == name);
        if !is_set {
            self.environment.push(variable.to_vec());
        }
    }
}

fn address(value: &[u8]) -> Option<[u8; 4]> {
    let address = core::str::from_utf8(value).ok()?.parse::<Ipv4Addr>();
    Some(address.ok()?.octets())
}

/// Address, length of its prefix, and router.
fn place(value: &[u8]) -> Option<([u8; 4], u8, Option<[u8; 4]>)> {
    let (own, router) = split(value, b',');
    let (own, prefix) = split(own, b'/');
    let prefix = core::str::from_utf8(prefix?).ok()?.parse::<u8>().ok()?;
    let own = address(own).filter(|_| prefix <= 32)?;
    match router {
        None => Some((own, prefix, None)),
        Some(router) => Some((own, prefix, Some(address(router)?))),
    }
}

/// A word's parts before and after the first `separator`.
fn split(word: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = word.splitn(2, |&byte| byte == separator);
    (parts.next().unwrap_or_default(), parts.next())
}

fn is_foreign(name: &[u8]) -> bool {
    name.contains(&b'.') && !name.contains(&b'/')
}

fn is_variable(name: &[u8]) -> bool {
    let starts_well = name.first().is_some_and(|first| !first.is_ascii_digit());
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    starts_well && name.iter().all(is_part)
}

fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    let (mut quoted, mut begun) = (false, false);
    for &byte in line {
        match byte {
            b'"' => {
                quoted = !quoted;
                begun = true;
            }
            b' ' | b'\t' | b'\n' if !quoted => {
                if begun {
                    words.push(core::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(byte);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<String> {
        let config = MachineConfig::from_command_line(line.as_bytes());
        assert_eq!(config.arguments.first(), Some(&config.program));
        let text = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
        config.arguments.iter().map(text).collect()
    }

    #[test]
    fn the_program_comes_after_the_environment() {
        assert_eq!(arguments("/bin/echo a=b  c"), ["/bin/echo", "a=b", "c"]);
        assert_eq!(
            arguments("A=1 B_2=x.y sh -c \"exit 3\""),
            ["sh", "-c", "exit 3"]
        );
        assert_eq!(arguments("./a.b=c x"), ["./a.b=c", "x"]);
        assert_eq!(arguments("prog \"\" end"), ["prog", "", "end"]);
        assert_eq!(arguments(""), ["/sbin/init"]);
    }

    #[test]
    fn devices_are_found_wherever_they_stand() {
        let line = "virtio_mmio.device=512@0x1000:5 p x virtio_mmio.device=4K@0x2000:6";
        assert_eq!(arguments(line), ["p", "x"]);
        let places = device_places(line.as_bytes());
        assert_eq!(places, [b"512@0x1000:5".as_slice(), b"4K@0x2000:6"]);
    }

    #[test]
    fn variables_have_defaults() {
        let config = MachineConfig::from_command_line(b"HOME=/ X=1 p");
        let has = |variable: &[u8]| config.environment.iter().any(|other| other == variable);
        assert!(has(b"HOME=/") && has(b"X=1") && has(PATH) && !has(HOME));
    }

    #[test]
    fn the_network_asks_unless_it_is_told() {
        let network = |line: &[u8]| MachineConfig::from_command_line(line).network;
        let asks = NetworkConfig {
            device: NETWORK,
            asks: true,
            ..NetworkConfig::default()
        };
        for line in [
            "p",
            "husk.net=dhcp p",
            "husk.net=10.0.0.1 p",
            "husk.net=1.2.3.4/33 p",
        ] {
            assert_eq!(network(line.as_bytes()), Some(asks.clone()), "{line}");
        }
        assert_eq!(network(b"husk.net=none husk.dns=1.1.1.1 p"), None);
        let told = network(b"husk.net=10.0.2.15/24,10.0.2.2 husk.dns=10.0.2.3 husk.dns=x p");
        let told = told.unwrap();
        assert!(!told.asks);
        assert_eq!(told.ipv4, Some(([10, 0, 2, 15], 24, Some([10, 0, 2, 2]))));
        assert_eq!(told.resolvers, [[10, 0, 2, 3]]);
        let alone = network(b"husk.net=10.0.2.15/24 p").unwrap();
        assert_eq!(alone.ipv4, Some(([10, 0, 2, 15], 24, None)));
        assert_eq!(network(b"husk.net=10.0.2.15/24,x p"), Some(asks));
    }

    #[test]
    fn options_are_understood() {
        let line = b"husk.workdir=/tmp husk.trace husk.volume=data:/srv:ro husk.volume=b:/b p";
        let config = MachineConfig::from_command_line(line);
        assert_eq!(
            (config.working_directory.as_slice(), config.trace),
            (&b"/tmp"[..], true)
        );
        let [root, data, b] = config.mounts.as_slice() else {
            panic!("{:?}", config.mounts)
        };
        assert_eq!((root.device, root.source.as_str()), (1, "root"));
        assert_eq!(
            (data.device, data.path.as_slice(), data.read_only),
            (2, &b"/srv"[..], true)
        );
        assert_eq!((b.device, b.source.as_str(), b.read_only), (3, "b", false));
    }
}
