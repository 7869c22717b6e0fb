//! The parsers of untrusted bytes as functions of one byte string each: what the fuzzer's
//! targets (`fuzz/`) and this package's tests run.
//!
//! What belongs to a service of its own lives there (`backend_fs::testing`,
//! `backend_console::testing`); here is the rest, and [`TARGETS`] lists all.
//!
//! The rings and the device page are driven by a script: the input is a sequence of
//! writes to guest memory, between which the driver rings. Nothing may panic, hang, or
//! answer more chains than the ring can hold between two rings.
#![forbid(unsafe_code)]

mod chips;
mod devices;
mod emulate;
mod instructions;
mod kernels;
mod legacy;
mod net;
mod net_stack;
mod net_user;
mod qcow2;
mod random;
mod ring;
mod script;
mod virtio;

pub use chips::apic;
pub use devices::{virtio_console, virtio_fs, virtio_rng};
pub use emulate::emulate;
pub use instructions::{instructions, instructions_tally};
pub use legacy::{hpet, legacy};
pub use net::virtio_net;
pub use net_stack::net_stack;
pub use net_user::net_user;
pub use qcow2::qcow2;
pub use random::Random;
pub use ring::{device_page, virtio_queue};
pub use virtio::{virtio_block, virtio_pci};

use guest_config::MachineConfig;

/// A target: its name and body.
pub type Target = (&'static str, fn(&[u8]));

/// Every fuzz target.
pub const TARGETS: [Target; 23] = [
    ("apic", apic),
    ("config", config),
    ("device_page", device_page),
    ("elf", elf),
    ("emulate", emulate),
    ("hpet", hpet),
    ("instructions", instructions),
    ("kernel_linux", kernels::linux),
    ("kernel_multiboot", kernels::multiboot),
    ("kernel_pvh", kernels::pvh),
    ("legacy", legacy),
    ("fuse_console", backend_console::testing::fuzz_one),
    ("fuse_directory", backend_fs::testing::fuzz_one),
    ("net_user", net_user),
    ("net_stack", net_stack),
    ("qcow2", qcow2),
    ("virtio_block", virtio_block),
    ("virtio_console", virtio_console),
    ("virtio_fs", virtio_fs),
    ("virtio_net", virtio_net),
    ("virtio_pci", virtio_pci),
    ("virtio_queue", virtio_queue),
    ("virtio_rng", virtio_rng),
];

/// The body of a target.
///
/// # Panics
/// When there is none of this name.
#[must_use]
pub fn body(name: &str) -> fn(&[u8]) {
    let target = TARGETS.iter().find(|(other, _)| *other == name);
    target.expect("the name is one of TARGETS").1
}

/// The header of an ELF file; where its table is said to lie must make sense to a loader.
///
/// # Panics
/// When the parser does, or accepts a table that no file has.
pub fn elf(data: &[u8]) {
    if let Ok(header) = guest_kernel::exec::parse(data) {
        assert!(data.starts_with(b"\x7fELF"), "an ELF file begins so");
        assert!((1..=1024).contains(&header.count), "bounded as documented");
        let table = usize::try_from(header.table).ok();
        segments(
            table
                .and_then(|start| data.get(start..))
                .unwrap_or_default(),
        );
    }
    segments(data);
}

/// Program headers: those that are accepted lie in the address space.
fn segments(table: &[u8]) {
    for segment in guest_kernel::exec::segments(table).unwrap_or_default() {
        if segment.kind == LOAD {
            let end = segment.address.checked_add(segment.memory_size);
            assert!(end.is_some_and(|end| end <= guest_abi::layout::APP_END));
            assert!(segment.file_size <= segment.memory_size);
        }
    }
}

/// `PT_LOAD` (ELF specification).
const LOAD: u32 = 1;

/// The machine's configuration: what decodes encodes to something that means the same.
///
/// # Panics
/// When the decoder does, or the two disagree.
pub fn config(data: &[u8]) {
    let Ok(config) = MachineConfig::decode(data) else {
        return;
    };
    let bytes = config.encode().expect("a vector grows");
    let again = MachineConfig::decode(&bytes);
    assert_eq!(again.as_ref(), Ok(&config), "a round trip changes nothing");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of which many are small, as numbers in formats are.
    fn bytes(random: &mut Random) -> Vec<u8> {
        let length = random.below(400);
        let byte = |random: &mut Random| {
            let limit = if random.below(3) == 0 { 256 } else { 8 };
            random.below(limit) as u8
        };
        (0..length).map(|_| byte(random)).collect()
    }

    fn survives(name: &str, body: fn(&[u8])) {
        let rounds = 1500;
        for seed in 0..rounds {
            let input = bytes(&mut Random::new(seed));
            // The name and seed of a panic are printed by the test's own output.
            println!("{name}: seed {seed}");
            body(&input);
        }
    }

    #[test]
    fn every_target_survives_random_bytes() {
        for (name, body) in TARGETS {
            body(&[]);
            survives(name, body);
        }
    }

    /// What a fuzzer once found: files in `findings`, `TARGET-what_it_was`.
    #[test]
    fn nothing_that_was_found_is_found_again() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/findings");
        for entry in std::fs::read_dir(folder).expect("it is in the repository") {
            let path = entry.expect("it can be listed").path();
            let name = path.file_name().expect("it has one").to_string_lossy();
            let (target, _) = name.split_once('-').expect("TARGET-what_it_was");
            println!("{name}");
            body(target)(&std::fs::read(&path).expect("it can be read"));
        }
    }

    #[test]
    fn headers_of_programs_that_are_almost_right_are_parsed() {
        let own = std::env::current_exe().expect("this test is a file");
        let whole = std::fs::read(own).expect("it can be read");
        let head = &whole[..256];
        elf(head);
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let mut bytes = head.to_vec();
            let at = random.below(64) as usize;
            bytes[at] = random.below(256) as u8;
            bytes.truncate(random.below(300) as usize);
            elf(&bytes);
        }
    }

    #[test]
    fn configurations_that_are_almost_right_are_decoded() {
        let config = MachineConfig {
            program: b"/bin/true".to_vec(),
            arguments: vec![b"true".to_vec(); 3],
            hostname: "machine".to_owned(),
            ..MachineConfig::default()
        };
        let right = config.encode().expect("a vector grows");
        let mut random = Random::new(2);
        for _ in 0..20_000 {
            let mut bytes = right.clone();
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.below(256) as u8;
            super::config(&bytes);
        }
    }
}
