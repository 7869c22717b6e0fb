//! What a machine is to run, as the monitor tells the kernel.
//!
//! Without a Husk monitor it follows from the kernel's command line ([`command_line`]).
//! Encoded with postcard at guest-physical [`guest_abi::layout::CONFIG`]. Apart from
//! `guest-abi` because it needs an allocator, which the cell's stub has not.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod command_line;

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineConfig {
    /// The program: a path, or a name to be looked up in `PATH`.
    pub program: Vec<u8>,
    /// Arguments, the zeroth included.
    pub arguments: Vec<Vec<u8>>,
    /// Environment, `NAME=value`.
    pub environment: Vec<Vec<u8>>,
    /// Directory to start in, inside the machine.
    pub working_directory: Vec<u8>,
    /// Name of the machine.
    pub hostname: String,
    /// User the program runs as.
    pub user: u32,
    /// Group the program runs as.
    pub group: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
    /// Soft limit of the main stack in bytes.
    pub stack_limit: u64,
    /// Soft and hard limit of open files.
    pub file_limit: (u64, u64),
    /// Soft and hard limit of the length of a file in bytes.
    pub size_limit: (u64, u64),
    /// Signals that the program ignores from its start: bit N - 1 for signal N.
    pub ignored_signals: u64,
    /// Which device serves the standard streams.
    pub console_device: u32,
    /// What each standard stream is, as the type bits of a mode (`S_IFMT`); zero: it is closed.
    pub streams: [u32; 3],
    /// File systems of the host: the root first, then volumes.
    pub mounts: Vec<MountConfig>,
    /// The network, if there is one.
    pub network: Option<NetworkConfig>,
    /// Write the program's system calls to the log stream.
    pub trace: bool,
}

/// The network of a machine: its device, and its place there unless a server is to say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Which device leads there.
    pub device: u32,
    /// Ask for address, router and resolvers (DHCP).
    pub asks: bool,
    /// Address, length of its prefix, router if there is one.
    pub ipv4: Option<([u8; 4], u8, Option<[u8; 4]>)>,
    /// The same of IPv6.
    pub ipv6: Option<([u8; 16], u8, Option<[u8; 16]>)>,
    /// Who answers for names.
    pub resolvers: Vec<[u8; 4]>,
}

/// One directory of the host seen in the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountConfig {
    /// Which device serves it.
    pub device: u32,
    /// Where it appears, absolute.
    pub path: Vec<u8>,
    /// What `/proc/mounts` calls its source.
    pub source: String,
    /// Whether changes are kept in memory instead of reaching the host.
    pub overlay: bool,
    /// Whether changes are refused.
    pub read_only: bool,
}

impl MachineConfig {
    /// Encodes; the result must fit [`guest_abi::layout::CONFIG_MAX`] bytes.
    ///
    /// # Errors
    /// The encoder's, which a `Vec` cannot cause.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }

    /// Decodes.
    ///
    /// # Errors
    /// When the bytes are not an encoding of a configuration.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}
