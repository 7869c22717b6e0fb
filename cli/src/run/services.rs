//! What serves the machine's devices, and the threads it does so on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use backend_console::{ConsoleService, Interrupter, Streams};
use backend_fs::service::FuseService;
use backend_fs::{Access, DirectoryService, Export, Limits, Locks, Owner};
use backend_net::Network;
use device_virtio::fs::{FsDevice, QUEUE_REQUESTS, QUEUE_URGENT};
use device_virtio::net::NetPage;
use engine_contract::Machine;

use crate::arguments::{RunOptions, Volume};
use crate::error::Failure;
use crate::network::Mac;
use crate::run::served::AtOnce;

/// Stack of a thread that serves a device.
const THREAD_STACK: usize = 256 << 10;

/// What serves one device.
pub(super) enum Service {
    Console(ConsoleService),
    Directory(Box<DirectoryService>),
}

impl Service {
    /// What ends a request that waits for somebody outside.
    pub(super) fn interrupter(&self) -> Option<Interrupter> {
        match self {
            Self::Console(console) => Some(console.interrupter()),
            Self::Directory(_) => None,
        }
    }

    /// So that it is the same in every run.
    fn repeatable(self) -> Self {
        match self {
            Self::Console(console) => Self::Console(console.repeatable()),
            Self::Directory(directory) => Self::Directory(Box::new(directory.repeatable())),
        }
    }
}

/// The services in the order of their device numbers.
pub(super) fn services(options: &RunOptions) -> Result<Vec<Service>, Failure> {
    let services = services_of_host(options)?;
    if options.determinism.seed().is_none() {
        return Ok(services);
    }
    Ok(services.into_iter().map(Service::repeatable).collect())
}

fn services_of_host(options: &RunOptions) -> Result<Vec<Service>, Failure> {
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
        locks: Locks::Host,
    };
    let service = DirectoryService::with_limits(export, limits)
        .map_err(|error| Failure::new(option, error, "give a directory that exists"))?;
    Ok(Service::Directory(Box::new(service)))
}

fn streams() -> Result<Streams, Failure> {
    Ok(Streams {
        stdin: stream(0)?,
        stdout: stream(1)?,
        stderr: stream(2)?,
        log: stream(2)?,
    })
}

/// A copy of standard input, output (1) or error, if it was open when husk was started.
pub(crate) fn stream(number: u8) -> Result<Option<OwnedFd>, Failure> {
    let copy = |stream: BorrowedFd<'_>| stream.try_clone_to_owned();
    let copied = host::inherited::was_open(number).then(|| match number {
        0 => copy(std::io::stdin().as_fd()),
        1 => copy(std::io::stdout().as_fd()),
        _ => copy(std::io::stderr().as_fd()),
    });
    let copied = copied.transpose();
    copied.map_err(|error| Failure::new("the standard streams", error, ""))
}

/// Starts a thread of the monitor.
pub(crate) fn start_thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<(), Failure> {
    let builder = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(THREAD_STACK);
    let started = builder.spawn(body);
    started
        .map(drop)
        .map_err(|error| Failure::new("a thread", error, ""))
}

/// Serves devices: by threads of the monitor, or at once.
pub(super) struct Servers<'m> {
    pub(super) machine: &'m dyn Machine,
    /// Where they work at once.
    pub(super) at_once: Option<AtOnce>,
}

impl Servers<'_> {
    /// Serves a device, each queue by itself.
    pub(super) fn device(&mut self, number: u32, service: Service) -> Result<(), Failure> {
        let memory = self.machine.memory();
        let bells = self.machine.doorbells()?;
        let queues = match service {
            Service::Console(_) => 2,
            Service::Directory(_) => 1,
        };
        let device = FsDevice::new(number, ("husk", queues), memory, bells)?;
        match service {
            Service::Console(console) => {
                let clone = || {
                    let cloned = console.try_clone();
                    cloned.map_err(|error| Failure::new("the console", error, ""))
                };
                let (urgent, patient) = (clone()?, clone()?);
                self.queue("console", &device, QUEUE_REQUESTS, console)?;
                // A read of standard input keeps nobody from writing.
                self.queue("console-input", &device, QUEUE_REQUESTS + 1, patient)?;
                self.queue("console-urgent", &device, QUEUE_URGENT, urgent)
            }
            Service::Directory(directory) => {
                let directory = match self.machine.files() {
                    Some(files) => directory
                        .handing_over(Box::new(move |token, file| files.hand_over(token, file))),
                    None => *directory,
                };
                self.queue("files", &device, QUEUE_REQUESTS, directory)
            }
        }
    }

    /// Starts those that serve a network: one waits for the machine, one for the host.
    pub(super) fn network(
        &mut self,
        number: u32,
        mac: Mac,
        network: Arc<dyn Network>,
    ) -> Result<(), Failure> {
        let (memory, bells) = (self.machine.memory(), self.machine.doorbells()?);
        let device = NetPage::new(number, mac.0, network, memory, bells)?;
        let host = device.clone();
        start_thread("net", move || device.serve())?;
        start_thread("net-host", move || host.serve_host())
    }

    fn queue(
        &mut self,
        name: &str,
        device: &FsDevice,
        queue: u16,
        mut service: impl FuseService + 'static,
    ) -> Result<(), Failure> {
        if let Some(at_once) = &mut self.at_once {
            at_once.add(device, queue, Box::new(service));
            return Ok(());
        }
        let device = device.clone();
        start_thread(name, move || device.serve(queue, &mut service))
    }
}
