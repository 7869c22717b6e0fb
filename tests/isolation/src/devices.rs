//! Well set up virtio devices whose drivers write what they like: to rings, requests, registers,
//! configuration and data.
//!
//! A script is a sequence of steps: bytes anywhere in memory, a request that is well made but
//! for what it says, or an access to registers. After each the driver may notify.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backend_fs::service::{FuseService, Reply, Request};
use backend_fs::{Access, DirectoryService, Export, Limits, Locks, Owner};
use device_virtio::console::{Console, Input, Output};
use device_virtio::fs::{FileSystem, QUEUE_REQUESTS, QUEUE_URGENT};
use device_virtio::rng::Rng;
use device_virtio::{VirtioDevice, VirtioMmio};
use guest_abi::fuse::{InHeader, Opcode};
use machine_bus::{Device, NoLine};
use machine_memory::GuestMemory;
use zerocopy::IntoBytes;

use crate::script::Script;
use crate::virtio::{RINGS, memory_of};

/// Bytes of memory; steps reach the first half.
const SPAN: u64 = 1 << 17;
/// Between two queues' rings.
const RINGS_STEP: u64 = 0x8000;
const QUEUE_SIZE: u16 = 16;
/// Chains that the driver has under way, of two descriptors each.
const SLOTS: u16 = QUEUE_SIZE / 2;
/// Where requests are put, and answers; a page for each slot.
const REQUESTS: u64 = 0x1_0000;
const ANSWERS: u64 = 0x1_8000;
const PAGE: u64 = 0x1000;
/// Registers and configuration (virtio 1.2, 4.2.2).
const REGISTERS: u64 = 0x140;
/// How often the driver lets others run after it notified.
const TURNS: u32 = 64;
const CONFIG: u64 = 0x100;

/// A chain for a queue.
struct Chain {
    queue: u16,
    request: Vec<u8>,
    /// Bytes for the answer, at most a page.
    room: u16,
}

/// A driver of one device.
struct Driver {
    device: VirtioMmio,
    memory: GuestMemory,
    /// How many chains of each queue were made.
    made: [u16; 2],
}

impl Driver {
    /// Negotiates, with or without indirect descriptors and event index, and places the queues.
    fn start(device: Box<dyn VirtioDevice>, features: u8) -> Self {
        let queues = device.queue_sizes().len();
        let memory = memory_of(SPAN);
        let driver = Self {
            device: VirtioMmio::new(device, memory.clone(), Arc::new(NoLine)),
            memory,
            made: [0; 2],
        };
        let own = driver.get(0x10) & u32::from(features >> 2);
        for (register, value) in [
            (0x70, 1),
            (0x70, 3),
            (0x24, 1),
            (0x20, 1),
            (0x24, 0),
            (0x20, u32::from(features & 3) << 28 | own),
            (0x70, 11),
        ] {
            driver.set(register, value);
        }
        for (queue, base) in (0..queues).zip((0..).step_by(RINGS_STEP as usize)) {
            driver.set(0x30, queue as u32);
            driver.set(0x38, QUEUE_SIZE.into());
            for (register, ring) in [0x80, 0x90, 0xa0].into_iter().zip(RINGS) {
                driver.set(register, ring as u32 + base);
            }
            driver.set(0x44, 1);
        }
        driver.set(0x70, 15);
        assert_eq!(driver.get(0x70), 15, "it was set up well");
        driver
    }

    fn set(&self, register: u64, value: u32) {
        self.device.write(register, &value.to_le_bytes());
    }

    fn get(&self, register: u64) -> u32 {
        let mut bytes = [0; 4];
        self.device.read(register, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn config(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        self.device.read(CONFIG, &mut bytes);
        bytes
    }

    /// What lies outside is refused, which is as good as any other step.
    fn write(&self, address: u64, bytes: &[u8]) {
        let _ = self.memory.write(address, bytes);
    }

    /// Makes a chain available.
    fn send(&mut self, chain: &Chain) {
        let Some(made) = self.made.get_mut(usize::from(chain.queue)) else {
            return;
        };
        let slot = *made % SLOTS;
        *made = made.wrapping_add(1);
        let (index, place) = (*made, u64::from(slot) * PAGE);
        let [table, available, _] = RINGS.map(|ring| ring + RINGS_STEP * u64::from(chain.queue));
        let (length, room) = (chain.request.len() as u64, u64::from(chain.room));
        self.write(REQUESTS + place, &chain.request);
        let answer = [ANSWERS + place, room | WRITABLE];
        // A chain has no empty descriptor: with nothing to say, it is the answer's alone.
        let next = u64::from(slot * 2 + 1) << 48 | NEXT;
        let list = match (length, room) {
            (0, _) => [answer, [0; 2]],
            (_, 0) => [[REQUESTS + place, length], [0; 2]],
            _ => [[REQUESTS + place, length | next], answer],
        };
        let bytes: Vec<u8> = list
            .concat()
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        let head = slot * 2;
        self.write(table + 16 * u64::from(head), &bytes);
        let entry = available + 4 + 2 * u64::from(index.wrapping_sub(1) % QUEUE_SIZE);
        self.write(entry, &head.to_le_bytes());
        self.write(available + 2, &index.to_le_bytes());
    }

    /// One step of a script; `None` at its end.
    fn step(
        &mut self,
        script: &mut Script<'_>,
        request: &mut impl FnMut(&mut Script<'_>) -> Option<Chain>,
    ) -> Option<()> {
        let shape = script.byte()?;
        match shape & 3 {
            0 => {
                let address = script.number::<2>();
                self.write(address, script.bytes(usize::from(shape >> 2 & 0xf) * 4));
            }
            1 | 2 => {
                if let Some(chain) = request(script) {
                    self.send(&chain);
                }
            }
            _ => self.access(shape >> 2 & 0xf, script),
        }
        if shape & 0x80 != 0 {
            let queue = shape >> 6 & 1;
            self.set(0x50, queue.into());
            self.wait(queue, TURNS);
        }
        Some(())
    }

    /// Gives the device's thread some turns to do what it has to, so that scripts mean the same
    /// mostly; whether it does.
    fn wait(&self, queue: u8, turns: u32) -> bool {
        let [_, available, used] = RINGS.map(|ring| ring + RINGS_STEP * u64::from(queue));
        let index = |ring| {
            let mut bytes = [0; 2];
            let read = self.memory.read(ring + 2, &mut bytes);
            read.map(|()| u16::from_le_bytes(bytes)).ok()
        };
        let is_done = || index(available) == index(used) || self.get(0x70) & 0x40 != 0;
        (0..turns).any(|_| {
            std::thread::yield_now();
            is_done()
        })
    }

    /// Reads or writes registers or configuration.
    fn access(&self, shape: u8, script: &mut Script<'_>) {
        let (offset, value) = (script.number::<2>() % REGISTERS, script.number::<4>());
        let mut bytes = (value | value << 32).to_le_bytes();
        let bytes = &mut bytes[..1 << (shape >> 1 & 3)];
        // Registers proper are 32 bits wide.
        let aligned = if shape & 8 == 0 { offset & !3 } else { offset };
        if shape & 1 == 0 {
            self.device.write(aligned, bytes);
        } else {
            self.device.read(aligned, bytes);
        }
    }
}

/// Descriptor flags in the upper half of a descriptor (virtio 1.2, 2.7.5).
const NEXT: u64 = 1 << 32;
const WRITABLE: u64 = 2 << 32;

/// Lets a script drive a device; `request` makes chains of it, or does what the outside does.
fn drive(
    device: Box<dyn VirtioDevice>,
    data: &[u8],
    mut request: impl FnMut(&mut Script<'_>) -> Option<Chain>,
) {
    let mut script = Script::new(data);
    let mut driver = Driver::start(device, script.byte().unwrap_or(0));
    let config = driver.config();
    while driver.step(&mut script, &mut request).is_some() {}
    // A window's size, which the console's first four bytes are, is the outside's.
    assert_eq!(
        driver.config()[4..],
        config[4..],
        "a driver cannot change it"
    );
    let state = driver.device.save();
    driver.device.restore(&state).expect("it was reached");
    driver.set(0x70, 0);
    assert_eq!(driver.get(0x70), 0, "a reset ends everything");
}

/// Where the console's output goes.
struct Nowhere;

impl Output for Nowhere {
    fn write(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "there is something to write");
    }
}

/// A console; from outside come input and new sizes of the window.
///
/// # Panics
/// When the device does, lets its configuration be changed, or reaches a state that it refuses.
pub fn virtio_console(data: &[u8]) {
    let input = Input::default();
    input.offer(b"something to read");
    let console = Console::new(input.clone(), Box::new(Nowhere));
    drive(Box::new(console), data, |script| {
        let shape = script.byte()?;
        let length = usize::from(shape >> 2);
        match shape & 3 {
            0 => {
                input.offer(script.bytes(length));
                None
            }
            1 if length == 0 => {
                let size = script.number::<2>() as u16;
                input.resize(size, !size);
                None
            }
            1 | 2 => Some(Chain {
                queue: 1,
                request: script.bytes(length).to_vec(),
                room: 0,
            }),
            _ => Some(Chain {
                queue: 0,
                request: Vec::new(),
                room: length as u16 + 1,
            }),
        }
    });
}

/// A source of entropy.
///
/// # Panics
/// As [`virtio_console`].
pub fn virtio_rng(data: &[u8]) {
    drive(Box::new(Rng::new()), data, |script| {
        let shape = script.byte()?;
        Some(Chain {
            queue: 0,
            request: script.bytes(usize::from(shape & 7)).to_vec(),
            room: script.number::<2>() as u16 % (PAGE as u16 + 1),
        })
    });
}

/// A file system with a directory of its own, beside which lies what it must leave alone.
///
/// # Panics
/// As [`virtio_console`], and when anything outside of the directory changes.
pub fn virtio_fs(data: &[u8]) {
    let scratch = Scratch::new().expect("the temporary directory has room");
    let device = FileSystem::new("scratch", Box::new(scratch.service()));
    drive(Box::new(device), data, fuse_request);
    scratch.check().expect("nothing outside has changed");
}

/// A request whose header is right but for the operation and the node.
fn fuse_request(script: &mut Script<'_>) -> Option<Chain> {
    let [shape, opcode, node, length, ..] = script.number::<4>().to_le_bytes();
    let body = script.bytes(length.into());
    let header = InHeader {
        len: (size_of::<InHeader>() + body.len()) as u32,
        opcode: u32::from(opcode) % OPCODES,
        unique: 1,
        nodeid: u64::from(node) % 8,
        ..InHeader::default()
    };
    Some(Chain {
        queue: if shape & 1 == 0 {
            QUEUE_REQUESTS
        } else {
            QUEUE_URGENT
        },
        request: [header.as_bytes(), body].concat(),
        room: [0, 16, 120, 200, 1024, 4096][usize::from(shape >> 1) % 6],
    })
}

/// More than there are operations in ordinary use.
const OPCODES: u32 = 56;
const SECRET: &str = "what lies outside";

/// A directory to serve, and others beside it.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let scratch = Self { folder };
        let (root, outside) = (scratch.root(), scratch.outside());
        fs::create_dir_all(root.join("a/b"))?;
        fs::write(root.join("a/file"), b"content")?;
        fs::create_dir(&outside)?;
        fs::write(outside.join("secret"), SECRET)?;
        symlink("../outside", root.join("up"))?;
        symlink(outside.join("secret"), root.join("s"))?;
        Ok(scratch)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    fn service(&self) -> WithoutFallocate {
        let export = Export {
            root: self.root(),
            access: Access::ReadWrite,
            owner: Owner::Monitor,
            locks: Locks::Host,
        };
        let limits = Limits {
            nodes: 16,
            handles: 8,
            lock_owners: 4,
        };
        let service = DirectoryService::with_limits(export, limits);
        WithoutFallocate(service.expect("the root was made"))
    }

    /// Whether everything beside the root is as it was made.
    fn check(&self) -> io::Result<()> {
        let names = |path: &Path| {
            let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name()));
            let mut names = entries.collect::<io::Result<Vec<_>>>()?;
            names.sort();
            io::Result::Ok(names)
        };
        assert_eq!(names(self.folder.path())?, ["outside", "root"]);
        assert_eq!(names(&self.outside())?, ["secret"]);
        assert_eq!(fs::read_to_string(self.outside().join("secret"))?, SECRET);
        Ok(())
    }
}

/// A directory's service that does not hear of FALLOCATE: a lucky one would fill the host's disk.
struct WithoutFallocate(DirectoryService);

impl FuseService for WithoutFallocate {
    fn serve(&mut self, request: &mut dyn Request, reply: &mut dyn Reply) -> u32 {
        self.0.serve(&mut Filtered { request, at: 0 }, reply)
    }
}

struct Filtered<'r> {
    request: &'r mut dyn Request,
    at: usize,
}

impl Request for Filtered<'_> {
    fn remaining(&self) -> usize {
        self.request.remaining()
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let count = self.request.read(into);
        // Where the opcode's lowest byte is (`InHeader`).
        let opcode = 4_usize.checked_sub(self.at).filter(|&at| at < count);
        if let Some(byte) = opcode.and_then(|at| into.get_mut(at))
            && u32::from(*byte) == Opcode::Fallocate as u32
        {
            *byte = 0;
        }
        self.at += count;
        count
    }

    fn copy_to_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> io::Result<usize> {
        self.request.copy_to_file(file, offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// A step that sends a request and notifies its queue.
    fn request(queue: u8, what: &[u8]) -> Vec<u8> {
        [&[0x81 | queue << 6], what].concat()
    }

    /// A request of FUSE: its opcode, node and body.
    fn fuse(opcode: Opcode, node: u8, body: &[u8]) -> Vec<u8> {
        let what = [&[10, opcode as u8, node, body.len() as u8], body].concat();
        request(1, &what)
    }

    /// Changes some bytes of a right script and puts some in.
    fn almost(right: &[u8], random: &mut Random) -> Vec<u8> {
        let mut bytes = right.to_vec();
        for _ in 0..=random.below(6) {
            let at = random.below(bytes.len() as u64) as usize;
            if random.below(3) == 0 {
                bytes.splice(at..at, random.bits().to_le_bytes());
            } else {
                bytes[at] = random.below(256) as u8;
            }
        }
        bytes
    }

    fn survives(body: fn(&[u8]), steps: &[Vec<u8>]) {
        let right = [&[3], &steps.concat()[..]].concat();
        body(&right);
        let mut random = Random::new(5);
        for _ in 0..300 {
            body(&almost(&right, &mut random));
        }
    }

    #[test]
    fn the_console_survives_drivers_that_are_almost_right() {
        let send = request(1, &[5 << 2 | 1, b'h', b'e', b'l', b'l', b'o']);
        let receive = request(0, &[63 << 2 | 3]);
        let resize = request(0, &[1, 80, 25]);
        survives(virtio_console, &[receive.clone(), send, resize, receive]);
    }

    #[test]
    fn the_source_of_entropy_survives_drivers_that_are_almost_right() {
        let ask = request(0, &[0, 0, 4]);
        survives(virtio_rng, &[ask.clone(), ask.clone(), ask]);
    }

    #[test]
    fn the_file_system_survives_drivers_that_are_almost_right() {
        let steps = [
            fuse(
                Opcode::Init,
                0,
                &[7, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            fuse(Opcode::Lookup, 1, b"a\0"),
            fuse(Opcode::Lookup, 2, b"file\0"),
            fuse(Opcode::Lookup, 1, b"up\0"),
            fuse(Opcode::Open, 3, &[2, 0, 0, 0, 0, 0, 0, 0]),
            fuse(Opcode::Symlink, 1, b"x\0../outside\0"),
            fuse(Opcode::Mkdir, 1, b"\xff\x01\0\0\0\0\0\0d\0"),
            fuse(Opcode::Unlink, 2, b"../../outside/secret\0"),
            fuse(Opcode::Lookup, 1, b"..\0"),
        ];
        survives(virtio_fs, &steps);
    }

    /// What a script's requests do to a directory.
    fn served(steps: &[Vec<u8>]) -> Scratch {
        let scratch = Scratch::new().expect("there is room");
        let device = FileSystem::new("scratch", Box::new(scratch.service()));
        let mut driver = Driver::start(Box::new(device), 0);
        let steps = steps.concat();
        let mut script = Script::new(&steps);
        while driver.step(&mut script, &mut fuse_request).is_some() {
            assert!(driver.wait(1, u32::MAX), "it is served");
        }
        scratch
    }

    #[test]
    fn requests_of_a_script_are_served_and_filling_the_disk_is_not() {
        let made = served(&[fuse(Opcode::Mkdir, 1, b"\xff\x01\0\0\0\0\0\0made\0")]);
        assert!(made.root().join("made").is_dir());
        let mut allocate = [0; 32];
        allocate[16..24].copy_from_slice(&(1_u64 << 20).to_le_bytes());
        let allocated = served(&[
            fuse(Opcode::Lookup, 1, b"a\0"),
            fuse(Opcode::Lookup, 2, b"file\0"),
            fuse(Opcode::Open, 3, &[2, 0, 0, 0, 0, 0, 0, 0]),
            fuse(Opcode::Fallocate, 3, &allocate),
        ]);
        let length = fs::metadata(allocated.root().join("a/file"))
            .expect("it is there")
            .len();
        assert_eq!(length, 7);
    }

    #[test]
    #[should_panic(expected = "right: [\"secret\"]")]
    fn what_changes_outside_is_noticed() {
        let scratch = Scratch::new().expect("there is room");
        fs::write(scratch.outside().join("new"), b"").expect("there is room");
        scratch.check().expect("it can be read");
    }
}
