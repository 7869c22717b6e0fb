//! An interface of the host: frames pass as they are, with virtio's headers (`IFF_VNET_HDR`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, PoisonError};

use crate::header::{HEADER, decode, encode};
use crate::network::{Abilities, Body, Delivery, FRAME_MAX, Guest, Head, Network, Offload, Source};
use crate::watch::Watch;
use host::net::{attach_tap, set_tap_header, set_tap_offload};

/// Frames read before others have their turn.
const FRAMES: usize = 64;

/// What the reader completes, in the host's bits (`TUN_F_*`): checksums, TCP over IPv4 and IPv6,
/// congestion marks. Without checksums there can be no segments.
fn offload_bits(abilities: Abilities) -> u32 {
    if !abilities.checksum {
        return 0;
    }
    let has = [
        true,
        abilities.segments_v4,
        abilities.segments_v6,
        abilities.ecn,
    ];
    (0..).zip(has).map(|(bit, has)| u32::from(has) << bit).sum()
}

/// An interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The host has no `/dev/net/tun`.
    #[error("this host has no /dev/net/tun")]
    NoTun,
    /// This user may not.
    #[error("this user may not use it")]
    Permission,
    /// There is no such interface, or it is of another kind.
    #[error("there is no tap interface of this name")]
    NoInterface,
    /// Somebody else uses it.
    #[error("somebody else uses it")]
    Busy,
    /// The host's.
    #[error(transparent)]
    Host(#[from] io::Error),
}

/// Queues of an interface.
#[derive(Debug)]
pub struct Tap {
    queues: Vec<Queue>,
    mtu: u16,
}

#[derive(Debug)]
struct Queue {
    file: File,
    watch: Watch,
    /// Where frames are read to.
    frame: Mutex<Vec<u8>>,
}

impl Tap {
    /// Opens an existing interface with at most `queues` queues, one if it has no more.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(name: &str, queues: usize) -> Result<Self, TapError> {
        let sys = format!("/sys/class/net/{name}");
        let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        if !plain || !std::path::Path::new(&sys).join("tun_flags").exists() {
            // Attaching to a name that nobody has would make an interface.
            return Err(if std::path::Path::new("/dev/net/tun").exists() {
                TapError::NoInterface
            } else {
                TapError::NoTun
            });
        }
        let number = |file: &str| {
            let text = std::fs::read_to_string(format!("{sys}/{file}")).unwrap_or_default();
            let text = text.trim().trim_start_matches("0x").to_owned();
            let radix = if file == "mtu" { 10 } else { 16 };
            u32::from_str_radix(&text, radix).unwrap_or(0)
        };
        let flags = number("tun_flags");
        if flags & 2 == 0 {
            return Err(TapError::NoInterface);
        }
        let multi_queue = flags & 0x100 != 0;
        let count = if multi_queue { queues.max(1) } else { 1 };
        let opened = (0..count).map(|_| open_queue(name, multi_queue));
        Ok(Self {
            queues: opened.collect::<Result<_, _>>()?,
            mtu: u16::try_from(number("mtu")).unwrap_or(1500).max(68),
        })
    }

    fn queue(&self, pair: usize) -> Option<&Queue> {
        self.queues.get(pair % self.queues.len().max(1))
    }
}

fn open_queue(name: &str, multi_queue: bool) -> Result<Queue, TapError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    let file = options.open("/dev/net/tun").map_err(refused)?;
    let tap = host::net::Tap { name, multi_queue };
    attach_tap(file.as_fd(), tap).map_err(refused)?;
    set_tap_header(file.as_fd(), HEADER as u32)?;
    set_tap_offload(file.as_fd(), 0)?;
    Ok(Queue {
        watch: Watch::new(&file)?,
        file,
        frame: Mutex::new(vec![0; HEADER + FRAME_MAX]),
    })
}

fn refused(error: io::Error) -> TapError {
    match error.kind() {
        io::ErrorKind::NotFound => TapError::NoTun,
        io::ErrorKind::PermissionDenied => TapError::Permission,
        io::ErrorKind::ResourceBusy => TapError::Busy,
        io::ErrorKind::InvalidInput => TapError::NoInterface,
        _ => TapError::Host(error),
    }
}

impl Network for Tap {
    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn pairs(&self) -> usize {
        self.queues.len()
    }

    fn transmit(&self, pair: usize, frame: &mut dyn Source, offload: Offload, _: &dyn Guest) {
        if let Some(queue) = self.queue(pair) {
            // An interface that is down or full loses frames, as a cable does.
            let _ = frame.write(queue.file.as_fd(), &encode(offload, 0));
        }
    }

    fn begin(&self, guest: &dyn Guest) {
        let bits = offload_bits(guest.abilities());
        for queue in &self.queues {
            // One that cannot completes everything itself.
            let _ = set_tap_offload(queue.file.as_fd(), bits);
        }
    }

    fn wait(&self, server: usize) {
        if let Some(queue) = self.queue(server) {
            queue.watch.wait(None);
        }
    }

    fn serve(&self, server: usize, guest: &dyn Guest) {
        let Some(queue) = self.queue(server) else {
            return;
        };
        let mut frame = queue.frame.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..FRAMES {
            let Ok(count) = rustix::io::read(&queue.file, &mut frame[..]) else {
                break;
            };
            pass(guest, server, frame.get(..count).unwrap_or_default());
        }
        guest.flush(server);
    }

    fn hold(&self, server: usize) {
        if let Some(queue) = self.queue(server) {
            queue.watch.hold(&queue.file);
        }
    }

    fn rest(&self, server: usize) {
        if let Some(queue) = self.queue(server) {
            queue.watch.rest(&queue.file);
        }
    }

    fn wake(&self) {
        self.queues.iter().for_each(|queue| queue.watch.wake());
    }
}

/// Hands a frame on; one for which the guest has no buffers is lost.
fn pass(guest: &dyn Guest, pair: usize, frame: &[u8]) -> Option<Delivery> {
    let (header, body) = frame.split_first_chunk::<HEADER>()?;
    let mut head = Head::default();
    head.offload = decode(header, body.len())?;
    let mut head = |_| Some(head);
    guest.deliver(pair, 0, Body::Bytes(body), &mut head).ok()
}
