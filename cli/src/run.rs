//! `husk run`: a program of this host in a machine of its own.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use backend_console::{ConsoleService, Streams};
use backend_fs::service::FuseService;
use backend_fs::{Access, DirectoryService, Export, Limits, Owner};
use boot::Facts;
use device_virtio::fs::{FsDevice, QUEUE_REQUESTS, QUEUE_URGENT};
use engine_contract::{Engine, EngineError, Machine, Resources, Stop, VcpuId, World};
use engine_paravirt::Paravirt;
use guest_abi::layout;
use guest_abi::report::ReportPage;
use guest_config::{MachineConfig, MountConfig};
use machine_bus::{GuestAddress, Port, Vector};
use machine_memory::MemoryError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::arguments::{RunOptions, Volume};
use crate::clock::Clock;
use crate::error::{Failure, say};
use crate::image::Image;
use crate::stats::{self, Measured};
use crate::{confine, ending, signals};

/// Least memory a machine can have.
const MEMORY_MIN: u64 = 2 << 20;
/// Device number of the standard streams.
const CONSOLE: u32 = 0;
/// Device number of the root; volumes follow.
const ROOT: u32 = 1;
/// Stack of a thread that serves a device.
const THREAD_STACK: usize = 256 << 10;

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::new(
            error.action,
            error.reason,
            "`husk engines` shows what this host allows",
        )
    }
}

impl From<MemoryError> for Failure {
    fn from(error: MemoryError) -> Self {
        Self::new("the machine's memory", error, "")
    }
}

/// Runs the program; the exit status.
pub(crate) fn run(options: &RunOptions, started: u64) -> Result<u8, Failure> {
    check_memory(options.memory)?;
    check_program(options)?;
    host::allocator::one_arena();
    raise_file_limit();
    let held = signals::hold();
    let config = configuration(options)?;
    let engine = Paravirt;
    let image = engine.maps_image().then(Image::open).transpose()?;
    let creation = engine.create(Resources {
        memory: options.memory,
        vcpus: 1,
        image: image.as_ref().map(|image| image.file.as_fd()),
    })?;
    // The host makes the cell meanwhile.
    let services = services(options)?;
    let facts = facts(options, started)?;
    confine::drop_privileges()?;
    let mut machine = creation.finish()?;
    let offset = image.map(|image| image.offset);
    boot::load(machine.memory(), boot::KERNEL, offset, &config, &facts)
        .map_err(|error| Failure::new("the machine cannot be prepared", error, ""))?;
    let mut vcpu = machine.vcpu(VcpuId(0))?;
    vcpu.prepare()?;
    let line = machine.signals()?;
    let clock = Clock::new(machine.memory())?;
    let threads = Threads {
        machine: machine.as_ref(),
    };
    for (number, service) in (CONSOLE..).zip(services) {
        threads.device(number, service)?;
    }
    threads.start("signals", move || signals::forward(&held, &line))?;
    threads.start("clock", move || clock.keep())?;
    confine::close()?;
    warn_of_missing_layers(machine.as_ref())?;
    let released = host::cpu::tsc();
    let stop = vcpu.run(&Nowhere)?;
    let ended = host::cpu::tsc();
    finish(
        options,
        machine.as_ref(),
        stop,
        [started, released, ended],
        engine.name(),
    )
}

/// A machine with less than all layers runs, but nobody shall be able to say they did not know.
fn warn_of_missing_layers(machine: &dyn Machine) -> Result<(), Failure> {
    let missing = machine.missing_layers()?;
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|layer| layer.name).collect();
        let why = format!("this host refuses: {}", names.join("; "));
        let remedy = "the system call filter holds; `husk engines` says what is refused and why";
        say(&Failure::new("isolation", why, remedy).to_string());
    }
    Ok(())
}

fn finish(
    options: &RunOptions,
    machine: &dyn Machine,
    stop: Stop,
    [started, released, ended]: [u64; 3],
    engine: &'static str,
) -> Result<u8, Failure> {
    let page = machine.memory().page::<ReportPage>(layout::REPORT_PAGE)?;
    let program = options
        .command
        .first()
        .map_or(String::new(), |name| name.display().to_string());
    let result = ending::status(&page, stop, &program, options.memory);
    if let Some(to) = &options.stats {
        let measured = Measured {
            engine,
            started,
            released,
            ended,
            memory_limit: options.memory,
            touched: machine.touched_bytes(),
            missing: machine
                .missing_layers()?
                .iter()
                .map(|layer| layer.name)
                .collect(),
            exit_status: result
                .as_ref()
                .map_or_else(|failure| failure.status, |status| *status),
        };
        stats::write(to, &page, &measured)?;
    }
    result
}

/// An option that nobody knows looks like a program to the parser.
fn check_program(options: &RunOptions) -> Result<(), Failure> {
    let name = options
        .command
        .first()
        .map(|name| name.to_string_lossy().into_owned());
    match name.unwrap_or_default().as_str() {
        "" => Err(Failure::new(
            "command line",
            "the program's name is empty",
            "name a program",
        )),
        name if name.starts_with('-') => {
            let remedy = "`husk run --help` shows the options; a program of that name is ./NAME";
            Err(Failure::new(
                format_args!("command line: {name}"),
                "unknown option",
                remedy,
            ))
        }
        _ => Ok(()),
    }
}

fn check_memory(memory: u64) -> Result<(), Failure> {
    if memory < MEMORY_MIN {
        let why = format!("{} KiB is too little for a machine", memory >> 10);
        return Err(Failure::new("--memory", why, "give it at least 2M"));
    }
    let host = rustix::system::sysinfo();
    let total = (host.totalram as u64 + host.totalswap as u64) * u64::from(host.mem_unit);
    if memory > total {
        let why = format!(
            "{} MiB is more than this host has ({} MiB)",
            memory >> 20,
            total >> 20
        );
        return Err(Failure::new("--memory", why, "give the machine less"));
    }
    Ok(())
}

/// Serving files takes descriptors: as many as the host allows.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Refused means fewer files at once, which the file server answers for itself.
    let _ = setrlimit(Resource::Nofile, raised);
}

fn facts(options: &RunOptions, started: u64) -> Result<Facts, Failure> {
    let mut entropy = [0; 64];
    let filled = rustix::rand::getrandom(&mut entropy, rustix::rand::GetRandomFlags::empty());
    if filled != Ok(entropy.len()) {
        return Err(Failure::new(
            "random numbers",
            "this host has none to give",
            "",
        ));
    }
    let (hwcap, hwcap2) = rustix::param::linux_hwcap();
    Ok(Facts {
        vcpus: 1,
        memory_limit: options.memory,
        devices: ROOT + 1 + options.volume.len() as u32,
        started_tsc: started,
        entropy,
        hwcap: (hwcap as u64, hwcap2 as u64),
        signal_stack_min: rustix::param::linux_minsigstksz() as u64,
    })
}

fn configuration(options: &RunOptions) -> Result<MachineConfig, Failure> {
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
        ignored_signals: host::inherited::ignored_signals(),
        console_device: CONSOLE,
        open_streams: (0..3)
            .filter(|&number| host::inherited::was_open(number))
            .fold(0, |open, number| open | 1 << number),
        mounts: mounts(options),
        trace: options.trace,
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

/// What serves one device.
enum Service {
    Console(ConsoleService),
    Directory(Box<DirectoryService>),
}

/// The services in the order of their device numbers.
fn services(options: &RunOptions) -> Result<Vec<Service>, Failure> {
    let limits = Limits::shared_by(1 + options.volume.len());
    let console = ConsoleService::new(streams()?)
        .map_err(|error| Failure::new("the standard streams", error, ""))?;
    let root = options.root.as_deref().unwrap_or(Path::new("/"));
    let root_service = directory("--root", root, Access::ReadOnly, limits)?;
    let mut services = vec![Service::Console(console), root_service];
    for Volume {
        host, read_only, ..
    } in &options.volume
    {
        let access = if *read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        services.push(directory("--volume", host, access, limits)?);
    }
    Ok(services)
}

fn directory(
    option: &str,
    root: &Path,
    access: Access,
    limits: Limits,
) -> Result<Service, Failure> {
    let export = Export {
        root: root.to_owned(),
        access,
        owner: Owner::of_process(),
    };
    let service = DirectoryService::with_limits(export, limits)
        .map_err(|error| Failure::new(option, error, "give a directory that exists"))?;
    Ok(Service::Directory(Box::new(service)))
}

fn streams() -> Result<Streams, Failure> {
    let copy = |number, stream: BorrowedFd<'_>| -> Result<Option<OwnedFd>, Failure> {
        let open = host::inherited::was_open(number);
        let copied = open.then(|| stream.try_clone_to_owned()).transpose();
        copied.map_err(|error| Failure::new("the standard streams", error, ""))
    };
    Ok(Streams {
        stdin: copy(0, std::io::stdin().as_fd())?,
        stdout: copy(1, std::io::stdout().as_fd())?,
        stderr: copy(2, std::io::stderr().as_fd())?,
        log: copy(2, std::io::stderr().as_fd())?,
    })
}

/// What a machine whose kernel talks through shared pages reaches beyond its memory.
struct Nowhere;

impl World for Nowhere {
    fn port_read(&self, _: Port, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn port_write(&self, _: Port, _: &[u8]) {}

    fn mmio_read(&self, _: GuestAddress, data: &mut [u8]) {
        data.fill(0xff);
    }

    fn mmio_write(&self, _: GuestAddress, _: &[u8]) {}

    fn take_interrupt(&self, _: VcpuId) -> Option<Vector> {
        None
    }
}

/// Starts the monitor's threads.
struct Threads<'m> {
    machine: &'m dyn Machine,
}

impl Threads<'_> {
    fn start(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        let builder = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(THREAD_STACK);
        let started = builder.spawn(body);
        started
            .map(drop)
            .map_err(|error| Failure::new("a thread", error, ""))
    }

    fn device(&self, number: u32, service: Service) -> Result<(), Failure> {
        let memory = self.machine.memory();
        let device = FsDevice::new(number, "husk", memory, self.machine.doorbells()?)?;
        match service {
            Service::Console(console) => {
                let urgent = console.try_clone();
                let urgent = urgent.map_err(|error| Failure::new("the console", error, ""))?;
                self.queue("console", &device, QUEUE_REQUESTS, console)?;
                self.queue("console-urgent", &device, QUEUE_URGENT, urgent)
            }
            Service::Directory(directory) => {
                self.queue("files", &device, QUEUE_REQUESTS, *directory)
            }
        }
    }

    fn queue(
        &self,
        name: &str,
        device: &FsDevice,
        queue: u16,
        mut service: impl FuseService + 'static,
    ) -> Result<(), Failure> {
        let device = device.clone();
        self.start(name, move || device.serve(queue, &mut service))
    }
}
