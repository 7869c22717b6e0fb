//! What the kernel is told: the program, its surroundings, its mounts.

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use guest_config::{MachineConfig, MountConfig, NetworkConfig};
use rustix::process::{Resource, getrlimit};

use super::{CONSOLE, ROOT};
use crate::arguments::RunOptions;
use crate::error::Failure;
use crate::network::Net;

/// What the kernel is told.
pub(super) fn configuration(options: &RunOptions) -> Result<MachineConfig, Failure> {
    let bytes = |text: &OsStr| text.as_bytes().to_vec();
    let program = options
        .command
        .first()
        .map(|name| bytes(name))
        .unwrap_or_default();
    let groups = rustix::process::getgroups().unwrap_or_default();
    let files = getrlimit(Resource::Nofile);
    let files = (
        files.current.unwrap_or(1 << 20).min(1 << 20),
        files.maximum.unwrap_or(1 << 20),
    );
    let size = getrlimit(Resource::Fsize);
    let size = (
        size.current.unwrap_or(u64::MAX),
        size.maximum.unwrap_or(u64::MAX),
    );
    let stack = getrlimit(Resource::Stack).current.unwrap_or(u64::MAX);
    Ok(MachineConfig {
        program,
        arguments: options
            .command
            .iter()
            .map(|argument| bytes(argument))
            .collect(),
        environment: environment(options)?,
        working_directory: working_directory(options)?.into_os_string().into_vec(),
        hostname: host_name(),
        user: rustix::process::geteuid().as_raw(),
        group: rustix::process::getegid().as_raw(),
        groups: groups
            .into_iter()
            .map(rustix::process::Gid::as_raw)
            .collect(),
        umask: umask(),
        stack_limit: stack,
        file_limit: files,
        size_limit: size,
        ignored_signals: host::inherited::ignored_signals(),
        console_device: CONSOLE,
        streams: standard_streams(),
        mounts: mounts(options),
        network: network(options),
        trace: options.trace,
    })
}

/// The type bits of each stream's mode; those that were closed are the standard library's now.
fn standard_streams() -> [u32; 3] {
    use rustix::stdio::{stderr, stdin, stdout};
    [(0, stdin()), (1, stdout()), (2, stderr())].map(|(number, stream)| {
        let was_open = host::inherited::was_open(number);
        let status = was_open.then(|| rustix::fs::fstat(stream).ok()).flatten();
        status.map_or(0, |status| status.st_mode & libc::S_IFMT)
    })
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Reading the mask means setting it; there is one thread yet.
fn umask() -> u32 {
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

/// This host's variables, unless the root is another; then those given.
fn environment(options: &RunOptions) -> Result<Vec<Vec<u8>>, Failure> {
    let mut variables: Vec<(OsString, OsString)> = match options.root {
        None => std::env::vars_os().collect(),
        Some(_) => {
            let kept = ["PATH", "TERM", "LANG"];
            let found = kept
                .into_iter()
                .filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
            found.collect()
        }
    };
    for given in &options.env {
        let bytes = given.as_bytes();
        let equals = bytes
            .iter()
            .position(|&byte| byte == b'=')
            .unwrap_or(bytes.len());
        let name = OsStr::from_bytes(&bytes[..equals]).to_owned();
        if name.is_empty() {
            return Err(Failure::new(
                "--env",
                "a variable without a name",
                "write NAME=VALUE",
            ));
        }
        variables.retain(|(other, _)| *other != name);
        match bytes.get(equals + 1..) {
            Some(value) => variables.push((name, OsStr::from_bytes(value).to_owned())),
            None => variables.extend(std::env::var_os(&name).map(|value| (name, value))),
        }
    }
    let joined = variables
        .into_iter()
        .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    Ok(joined.collect())
}

fn working_directory(options: &RunOptions) -> Result<PathBuf, Failure> {
    match (&options.workdir, &options.root) {
        (Some(directory), _) if directory.is_absolute() => Ok(directory.clone()),
        (Some(directory), _) => Err(Failure::new(
            format_args!("--workdir {}", directory.display()),
            "not an absolute path",
            "write it from / on",
        )),
        (None, Some(_)) => Ok(PathBuf::from("/")),
        (None, None) => std::env::current_dir()
            .map_err(|error| Failure::new("the working directory", error, "give --workdir")),
    }
}

/// The machine's place in the network: fixed in that of husk's own, else what a server says.
fn network(options: &RunOptions) -> Option<NetworkConfig> {
    use backend_net::user::addresses::{
        DNS_V4, GATEWAY_V4, GATEWAY_V6, GUEST_V4, GUEST_V6, PREFIX_V4, PREFIX_V6,
    };
    let device = super::network_number(options);
    match options.network.net() {
        Net::None => None,
        Net::User => Some(NetworkConfig {
            device,
            asks: false,
            ipv4: Some((GUEST_V4.octets(), PREFIX_V4, Some(GATEWAY_V4.octets()))),
            ipv6: Some((GUEST_V6.octets(), PREFIX_V6, Some(GATEWAY_V6.octets()))),
            resolvers: vec![DNS_V4.octets()],
        }),
        Net::Tap(_, place) => Some(NetworkConfig {
            device,
            asks: place.is_open(),
            ipv4: place.ipv4.map(|(address, prefix)| {
                let router = place.gateway_v4.map(|router| router.octets());
                (address.octets(), prefix, router)
            }),
            ipv6: place.ipv6.map(|(address, prefix)| {
                let router = place.gateway_v6.map(|router| router.octets());
                (address.octets(), prefix, router)
            }),
            resolvers: place.resolvers.iter().map(Ipv4Addr::octets).collect(),
        }),
    }
}

fn mounts(options: &RunOptions) -> Vec<MountConfig> {
    let root = MountConfig {
        device: ROOT,
        path: b"/".to_vec(),
        source: "root".to_owned(),
        overlay: true,
        read_only: false,
    };
    let volumes = (ROOT + 1..)
        .zip(&options.volume)
        .map(|(device, volume)| MountConfig {
            device,
            path: volume.guest.as_os_str().as_bytes().to_vec(),
            source: format!("volume{}", device - ROOT),
            overlay: false,
            read_only: volume.read_only,
        });
    std::iter::once(root).chain(volumes).collect()
}
