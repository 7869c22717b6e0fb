//! Our own kernel at ring 0, as `husk run` starts it, with a program of two system calls.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use backend_console::{ConsoleService, Streams};
use backend_fs::service::FuseService;
use backend_fs::{Access, DirectoryService, Export, Locks, Owner};
use boot::{Facts, ring0};
use device_virtio::fs::{FsDevice, QUEUE_REQUESTS, QUEUE_URGENT};
use engine_contract::{Engine, VcpuId, World};
use guest_abi::bare::{PORT_END, PORT_RING};
use guest_abi::boot::{RAM_RANGES_MAX, RamRange};
use guest_abi::layout;
use guest_abi::vcpu::ClockPage;
use guest_config::{MachineConfig, MountConfig};
use machine_bus::{GuestAddress, Port, Vector};
use machine_memory::GuestMemory;
use tempfile::TempDir;

use crate::desk::Desk;
use crate::side::{Side, Surroundings};

/// The program, and the name that it has in the machine.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));
const NAME: &str = "hello";
/// What it writes.
pub(crate) const SAID: &str = "side by side\n";
/// How its machine ends.
pub(crate) const ENDED: &str = "the kernel ends the machine";
const MEMORY: u64 = 4 << 20;
const CONSOLE: u32 = 0;
const ROOT: u32 = 1;
/// Queues of both devices that have a thread.
const QUEUES: usize = 4;
/// Nanoseconds of a tick, 32 fractional bits.
const TICK: u64 = 1 << 31;

/// Files that both machines see.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join(NAME);
        fs::write(&program, PROGRAM)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        // The first look at a file or a folder changes when it was looked at last; both machines find that done.
        std::thread::sleep(Duration::from_millis(20));
        fs::read(&program)?;
        fs::read_dir(folder.path())?.for_each(drop);
        Ok(Self(folder))
    }

    /// What the program wrote in the machine of this name.
    pub(crate) fn said(&self, machine: &str) -> Result<String> {
        Ok(fs::read_to_string(self.output(machine))?)
    }

    fn output(&self, machine: &str) -> std::path::PathBuf {
        self.0.path().with_extension(machine)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for engine in ["emulate", "kvm"] {
            // Not there: no machine wrote.
            let _ = fs::remove_file(self.output(engine));
        }
    }
}

/// What the kernel reaches: two ports.
struct Ports {
    desk: Arc<Desk>,
    ended: AtomicBool,
}

/// A machine of this engine that stands at the kernel's first instruction.
pub(crate) fn machine(engine: &dyn Engine, label: &str, files: &Files) -> Result<Side> {
    let mut side = Side::new(engine, MEMORY + (16 << 20))?;
    let entry = boot::load(
        side.memory(),
        boot::KERNEL,
        None,
        &configuration(),
        &facts(side.memory()),
    )?;
    let start = ring0::start_state(side.memory(), entry)?;
    let page = side.memory().page::<ClockPage>(layout::CLOCK_PAGE)?;
    page.multiplier.store(TICK, Ordering::Relaxed);
    page.usable.store(1, Ordering::Release);
    let desk = Arc::new(Desk::new(side.memory(), side.machine.doorbells()?));
    let output = File::create(files.output(label))?;
    let console = ConsoleService::new(Streams {
        stdin: None,
        stdout: Some(output.try_clone()?.into()),
        stderr: Some(output.try_clone()?.into()),
        log: Some(output.into()),
    })?;
    let device = FsDevice::new(CONSOLE, ("husk", 2), side.memory(), Arc::clone(&desk) as _)?;
    serve(&device, QUEUE_REQUESTS, console.try_clone()?);
    serve(&device, QUEUE_REQUESTS + 1, console.try_clone()?);
    serve(&device, QUEUE_URGENT, console);
    let device = FsDevice::new(ROOT, ("husk", 1), side.memory(), Arc::clone(&desk) as _)?;
    serve(&device, QUEUE_REQUESTS, root(files.0.path())?);
    desk.attend(QUEUES);
    desk.settle();
    let ended = AtomicBool::new(false);
    side.begin(&start, Arc::new(Ports { desk, ended }))?;
    Ok(side)
}

/// As long as this process lives.
fn serve(device: &FsDevice, queue: u16, mut service: impl FuseService + 'static) {
    let device = device.clone();
    std::thread::spawn(move || device.serve(queue, &mut service));
}

fn root(path: &Path) -> Result<DirectoryService> {
    Ok(DirectoryService::new(Export {
        root: path.to_owned(),
        access: Access::ReadOnly,
        owner: Owner::of_process(),
        locks: Locks::Host,
    })?)
}

fn configuration() -> MachineConfig {
    MachineConfig {
        program: format!("/{NAME}").into_bytes(),
        arguments: vec![NAME.as_bytes().to_vec()],
        environment: vec![b"PATH=/".to_vec()],
        working_directory: b"/".to_vec(),
        hostname: "lockstep".to_owned(),
        umask: 0o022,
        stack_limit: 8 << 20,
        file_limit: (1024, 1024),
        size_limit: (u64::MAX, u64::MAX),
        console_device: CONSOLE,
        streams: [0, 0o100_000, 0o100_000],
        mounts: vec![MountConfig {
            device: ROOT,
            path: b"/".to_vec(),
            source: "root".to_owned(),
            overlay: true,
            read_only: false,
        }],
        ..MachineConfig::default()
    }
}

/// The same for both, whatever the host is.
fn facts(memory: &GuestMemory) -> Facts {
    let mut ram = [RamRange::default(); RAM_RANGES_MAX];
    for (slot, region) in ram.iter_mut().zip(memory.regions()) {
        *slot = RamRange {
            start: region.guest,
            length: region.length,
        };
    }
    Facts {
        vcpus: 1,
        memory_limit: MEMORY,
        ram,
        span: layout::RAM_SPAN,
        devices: 2,
        started_tsc: 0,
        entropy: [0x5a; 64],
        hwcap: (0x178b_fbff, 2),
        signal_stack_min: 3376,
        large_pages_are_dear: false,
    }
}

impl World for Ports {
    fn port_read(&self, _: Port, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn port_write(&self, port: Port, _: &[u8]) {
        match port.0 {
            PORT_RING => self.desk.settle(),
            PORT_END => self.ended.store(true, Ordering::SeqCst),
            _ => {}
        }
    }

    fn mmio_read(&self, _: GuestAddress, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn mmio_write(&self, _: GuestAddress, _: &[u8]) {}

    fn take_interrupt(&self, _: VcpuId) -> Option<Vector> {
        None
    }
}

impl Surroundings for Ports {
    fn ending(&self) -> Option<String> {
        let ended = self.ended.load(Ordering::SeqCst);
        ended.then(|| ENDED.to_owned())
    }
}
