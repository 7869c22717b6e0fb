//! What the guest starts from.

use std::path::Path;

use boot::{Acpi, BootError, Entry, Guest, Image, Module, Part, Protocol, Ram};
use engine_contract::{Machine, MemoryRange};
use machine_bus::GuestAddress;
use x86_state::CpuState;

use super::hypervisor;
use crate::arguments::BootOptions;
use crate::error::Failure;

/// Kernel, initial RAM disk or modules, command line.
pub(super) struct Files {
    kernel: Image,
    modules: Vec<Image>,
    command_line: Vec<u8>,
    protocol: Protocol,
}

impl Files {
    /// Opens the files, and looks whether there is anything to start.
    pub(super) fn open(options: &BootOptions) -> Result<Self, Failure> {
        use std::os::unix::ffi::OsStrExt;
        let kernel = open(Part::Kernel, "--kernel", &options.kernel)?;
        let protocol = hypervisor::protocol(options.hypervisor, &kernel);
        let protocol = protocol.map_err(|error| failed("--kernel", &options.kernel, error))?;
        let modules = options.initrd.iter();
        let modules = modules.map(|path| open_module(path, options.memory));
        let modules = modules.collect::<Result<_, _>>()?;
        Ok(Self {
            kernel,
            modules,
            command_line: options.append.as_bytes().to_vec(),
            protocol,
        })
    }

    /// Loads them; returns the state in which the first virtual CPU starts.
    pub(super) fn load(&self, machine: &dyn Machine, acpi: Acpi) -> Result<CpuState, Failure> {
        let memory = machine.memory();
        let regions = memory.regions().iter();
        let ranges: Vec<_> = regions
            .map(|region| (region.guest, region.length))
            .collect();
        let ram = Ram::new(&ranges)?;
        let modules: Vec<Module<'_>> = self
            .modules
            .iter()
            .map(|image| Module {
                image,
                arguments: b"",
            })
            .collect();
        let guest = Guest {
            kernel: &self.kernel,
            modules: &modules,
            command_line: &self.command_line,
            ram: &ram,
            acpi: Some(acpi),
            text_screen: false,
        };
        let map = ram.map(Some(acpi.tables));
        machine.describe_memory(map.iter().map(described).collect());
        Ok(self.protocol.load(memory, &guest)?)
    }
}

fn described(entry: &Entry) -> MemoryRange {
    MemoryRange {
        start: GuestAddress(entry.range.start()),
        length: entry.range.length(),
        kind: entry.kind as u32,
    }
}

fn open(part: Part, option: &str, path: &Path) -> Result<Image, Failure> {
    Image::open(part, path).map_err(|error| failed(option, path, error))
}

/// A file that cannot fit should be refused by its name and not by where it would lie.
fn open_module(path: &Path, memory: u64) -> Result<Image, Failure> {
    let module = open(Part::Module, "--initrd", path)?;
    if module.length() < memory {
        return Ok(module);
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let (length, memory) = (mib(module.length()), mib(memory));
    Err(Failure::new(
        format_args!("--initrd {}", path.display()),
        format_args!("it has {length} MiB, and the machine's memory {memory}"),
        "give the machine more with --memory",
    ))
}

fn failed(option: &str, path: &Path, error: BootError) -> Failure {
    let remedy = match &error {
        BootError::Read { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
            "check the path"
        }
        _ => "",
    };
    Failure::new(format_args!("{option} {}", path.display()), error, remedy)
}
