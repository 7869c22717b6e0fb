//! The devices on the machine's PCI bus: a source of entropy, disks, volumes, a network.

use std::path::Path;
use std::sync::Arc;

use backend_block::{Disk, Format, Options};
use backend_fs::{Access, DirectoryService, Export, Limits, Locks, Owner};
use device_virtio::block::{Block, THREADS};
use device_virtio::fs::FileSystem;
use device_virtio::net::{Config, Net};
use device_virtio::rng::Rng;
use machine_board::Board;
use machine_memory::GuestMemory;

use crate::arguments::{BootOptions, DiskOption, TaggedVolume};
use crate::error::Failure;
use crate::network;

/// Most pairs of queues of a network, whatever the number of processors.
const PAIRS_MAX: u32 = 8;

/// What is on the bus besides the source of entropy.
pub(super) struct Devices {
    disks: Vec<Arc<dyn Disk>>,
    volumes: Vec<(String, DirectoryService)>,
    network: Option<Net>,
    /// What random bytes follow from, if they are not the host's.
    seed: Option<u64>,
}

/// The disks of a machine.
pub(super) struct Disks(Vec<Arc<dyn Disk>>);

impl Devices {
    /// Opens what they need of the host.
    pub(super) fn open(options: &BootOptions) -> Result<Self, Failure> {
        let disks = options.disk.iter().map(open_disk);
        let limits = Limits::shared_by(options.volume.len().max(1));
        let volumes = options.volume.iter();
        let seed = options.determinism.seed();
        let volumes = volumes.map(|volume| {
            let (tag, service) = open_volume(volume, limits)?;
            let service = match seed {
                Some(_) => service.repeatable(),
                None => service,
            };
            Ok((tag, service))
        });
        Ok(Self {
            disks: disks.collect::<Result<_, _>>()?,
            volumes: volumes.collect::<Result<_, Failure>>()?,
            network: open_network(options)?,
            seed,
        })
    }

    /// Plugs them in, in the order of the command line: disks, then volumes,
    /// then the network.
    pub(super) fn plug(self, board: &mut Board, memory: &GuestMemory) -> Result<Disks, Failure> {
        let rng = self.seed.map_or_else(Rng::new, Rng::seeded);
        board.plug(Box::new(rng), memory)?;
        for disk in &self.disks {
            let block = Block::new(Arc::clone(disk), THREADS);
            board.plug(Box::new(block), memory)?;
        }
        for (tag, service) in self.volumes {
            let system = FileSystem::new(&tag, Box::new(service));
            board.plug(Box::new(system), memory)?;
        }
        if let Some(network) = self.network {
            board.plug(Box::new(network), memory)?;
        }
        Ok(Disks(self.disks))
    }
}

impl Disks {
    /// Makes durable what the guest wrote.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        for disk in &self.0 {
            let what = format!("--disk {}", disk.identity());
            let flushed = disk.flush();
            flushed.map_err(|error| Failure::new(what, error, "its last writes may be lost"))?;
        }
        Ok(())
    }
}

fn open_network(options: &BootOptions) -> Result<Option<Net>, Failure> {
    let pairs = options.cpus.min(PAIRS_MAX) as u16;
    if let network::Net::Tap(name, place) = options.network.net()
        && *place != network::Place::default()
    {
        let why = "an operating system says its place in a network itself";
        let remedy = format!("write --net tap={name}, and the rest inside");
        return Err(Failure::new("--net", why, remedy));
    }
    let network = options.network.open(usize::from(pairs))?;
    let mac = options.network.mac.0;
    Ok(network.map(|network| Net::new(network, Config { mac, pairs })))
}

fn open_disk(option: &DiskOption) -> Result<Arc<dyn Disk>, Failure> {
    let DiskOption {
        path,
        format,
        read_only,
        backing,
    } = option;
    let format = match format {
        Some(format) => *format,
        None => raw_for_certain(path)?,
    };
    let options = Options {
        path: path.clone(),
        format,
        read_only: *read_only,
        backing: *backing,
    };
    let disk = backend_block::open(&options);
    let disk = disk.map_err(|error| Failure::new("--disk", error, ""))?;
    Ok(Arc::from(disk))
}

/// The guest of a raw disk can make it look like something else; so nothing is guessed.
fn raw_for_certain(path: &Path) -> Result<Format, Failure> {
    match Format::guess(path) {
        Ok(Format::Qcow2) => Err(Failure::new(
            format_args!("--disk {}", path.display()),
            "it looks like a qcow2 image, and its format is not said",
            "add ,format=qcow2, or ,format=raw if its guest wrote that itself",
        )),
        // What cannot be read is refused with a reason when it is opened.
        _ => Ok(Format::Raw),
    }
}

fn open_volume(
    volume: &TaggedVolume,
    limits: Limits,
) -> Result<(String, DirectoryService), Failure> {
    let access = if volume.read_only {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let export = Export {
        root: volume.host.clone(),
        access,
        owner: Owner::of_process(),
        // A system's kernel does not ask again for a lock that it shall wait for.
        locks: Locks::Guest,
    };
    let service = DirectoryService::with_limits(export, limits)
        .map_err(|error| Failure::new("--volume", error, "give a directory that exists"))?;
    Ok((volume.tag.clone(), service))
}
