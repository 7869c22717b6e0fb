//! How a cell is made: layers of isolation around a process, each tried on its own.
//!
//! The first process of new user, process, mount, IPC and UTS namespaces makes the
//! machine's memory (a file on a tmpfs of its own, whose size is the machine's limit) and
//! hands it to the monitor. While the monitor fills it, the process enters a network
//! namespace (the slowest step), exchanges the host's root for an empty read-only one,
//! gives up every capability and the right to regain any, reports and becomes the stub,
//! which maps the memory when it is loaded, waits for the word and closes the sandbox with
//! its filter. What the host refuses is reported, never passed over; the seccomp filter,
//! without which there is no boundary, is not optional.

use std::convert::Infallible;
use std::ffi::CStr;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use std::time::{Duration, Instant};

use engine_contract::{EngineError, Layer};
use guest_abi::cell::{CHANNEL_FD, DESCRIPTORS_MAX, IMAGE_FD, RAM_FD};
use host::process::{self, Child, Namespaces};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// How long to look for a message of the cell.
const LOOK: Duration = Duration::from_millis(2);

/// The stub, as the build script made it.
static STUB: &[u8] = include_bytes!(env!("HUSK_CELL"));

/// The layers, in the order of the bits of a report.
pub(crate) const LAYERS: [&str; 8] = [
    "user, process, mount, IPC and UTS namespaces",
    "network namespace",
    "memory limit by a private tmpfs",
    "empty root",
    "no new privileges",
    "no capabilities",
    "resource limits",
    "end with the monitor",
];
const NAMESPACES: usize = 0;
const NETWORK: usize = 1;
const MEMORY: usize = 2;
const ROOT: usize = 3;
const PRIVILEGES: usize = 4;
const CAPABILITIES: usize = 5;
const LIMITS: usize = 6;
const PARENT: usize = 7;

/// A cell in the making.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) child: Child,
    channel: OwnedFd,
    /// How many threads it will have.
    pub(crate) vcpus: u32,
}

impl Sandbox {
    /// Starts a cell whose memory file has `span` bytes, of which `limit` may exist, and
    /// which may map `image`.
    pub(crate) fn create(
        span: u64,
        limit: u64,
        image: Option<BorrowedFd<'_>>,
    ) -> Result<Self, EngineError> {
        let fail = |error| EngineError::new("the cell cannot be made", error);
        let stub = stub_file().map_err(fail)?;
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .map_err(fail)?;
        let beside = Beside::here();
        let child = start(|refused, namespaces| {
            let memory = (span, limit);
            let files = (&theirs, stub.as_fd(), image);
            cell((refused, namespaces), files, memory, &beside)
        })
        .map_err(|error| EngineError::new("the cell's process cannot be started", error))?;
        drop(theirs);
        Ok(Self {
            child,
            channel: ours,
            vcpus: 1,
        })
    }

    /// Waits for the machine's memory; once.
    pub(crate) fn memory(&self) -> Result<File, EngineError> {
        self.look();
        receive_memory(&self.channel).map_err(Self::ended)
    }

    fn ended(error: Errno) -> EngineError {
        EngineError::new("the cell ended while it was made", error)
    }

    /// Waits until the cell is closed but for its filter; what the host refused.
    pub(crate) fn report(&self) -> Result<Vec<Layer>, EngineError> {
        let mut refused = Refusals::default();
        self.look();
        // Plain reads and writes: the monitor's filter knows no socket calls any more.
        match rustix::io::read(&self.channel, &mut refused.0) {
            Ok(length) if length == LAYERS.len() => Ok(refused.layers()),
            Ok(_) => Err(Self::ended(Errno::PIPE)),
            Err(error) => Err(Self::ended(error)),
        }
    }

    /// Looks for the cell's message for a while before sleeping: the host likes to wake a
    /// sleeper on the processor of whoever sent the message, which is busy.
    fn look(&self) {
        let start = Instant::now();
        while start.elapsed() < LOOK {
            let mut channel = [PollFd::new(&self.channel, PollFlags::IN)];
            if !matches!(poll(&mut channel, Some(&Timespec::default())), Ok(0)) {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Tells the stub that the memory is loaded.
    pub(crate) fn loaded(&self) -> Result<(), EngineError> {
        self.send(b"up")
    }

    /// Hands a file over to the cell; `token` comes with it. Nobody waits for a cell that does not
    /// take what it gets.
    pub(crate) fn hand_over(&self, token: u64, file: BorrowedFd<'_>) -> Result<(), Errno> {
        send_file(&self.channel, &token.to_le_bytes(), file)
    }

    /// Lets the stub start the kernel.
    pub(crate) fn release(&self) -> Result<(), EngineError> {
        self.send(b"go")
    }

    fn send(&self, word: &[u8; 2]) -> Result<(), EngineError> {
        let sent = rustix::io::write(&self.channel, word);
        sent.map(drop)
            .map_err(|error| EngineError::new("the cell cannot be started", error))
    }
}

/// The processors that the cell is made on: the others, where the host would put it as often
/// as not on the one on which the monitor prepares the machine meanwhile.
struct Beside {
    all: CpuSet,
    others: CpuSet,
}

impl Beside {
    fn here() -> Option<Self> {
        let all = sched_getaffinity(None).ok()?;
        let mut others = all;
        others.unset(sched_getcpu());
        (others.count() > 0).then_some(Self { all, others })
    }
}

/// Error numbers by layer; zero: not refused.
#[derive(Clone, Copy, Debug, Default)]
struct Refusals([u8; LAYERS.len()]);

impl Refusals {
    /// Notes how a layer went; the result, if it went well.
    fn note<T>(&mut self, layer: usize, result: Result<T, Errno>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.0[layer] = u8::try_from(error.raw_os_error()).unwrap_or(u8::MAX);
                None
            }
        }
    }

    fn layers(self) -> Vec<Layer> {
        let refused = LAYERS
            .into_iter()
            .zip(self.0)
            .filter(|(_, errno)| *errno != 0);
        refused
            .map(|(name, errno)| Layer {
                name,
                refusal: Some(Errno::from_raw_os_error(i32::from(errno)).to_string()),
            })
            .collect()
    }
}

/// Starts the cell's process with as many namespaces as the host allows: all; without one for
/// users, which takes privilege; none.
fn start(mut child: impl FnMut(Refusals, Namespaces) -> Infallible) -> std::io::Result<Child> {
    let all = Namespaces::ALL.without(Namespaces::NET);
    let error = match process::start(all, || child(Refusals::default(), all)) {
        Ok(child) => return Ok(child),
        Err(error) => error,
    };
    let mut refused = Refusals::default();
    let errno = error.raw_os_error().unwrap_or(Errno::PERM.raw_os_error());
    refused.note::<()>(NAMESPACES, Err(Errno::from_raw_os_error(errno)));
    let fewer = all.without(Namespaces::USER);
    process::start(fewer, || child(refused, fewer))
        .or_else(|_| process::start(Namespaces::NONE, || child(refused, Namespaces::NONE)))
}

fn stub_file() -> Result<File, Errno> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("husk-cell", flags)?;
    let mut rest = STUB;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    let seals = rustix::fs::SealFlags::WRITE
        | rustix::fs::SealFlags::SHRINK
        | rustix::fs::SealFlags::GROW
        | rustix::fs::SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    // A file that is open for writing cannot be executed: open it anew.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// The cell's side, from its first instruction to the exec.
fn cell(
    (mut refused, namespaces): (Refusals, Namespaces),
    (channel, stub, image): (&OwnedFd, BorrowedFd<'_>, Option<BorrowedFd<'_>>),
    (span, limit): (u64, u64),
    beside: &Option<Beside>,
) -> Infallible {
    if let Some(beside) = beside {
        // Only for speed.
        let _ = sched_setaffinity(None, &beside.others);
    }
    let _ = rustix::process::setsid();
    let death =
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    refused.note(PARENT, death);
    if namespaces.contains(Namespaces::USER) {
        let mapped = map_user();
        refused.note(NAMESPACES, mapped);
    }
    let private = private_memory(span, limit);
    let (memory, mount) = refused.note(MEMORY, private).unzip();
    let memory = memory.map_or_else(|| plain_memory(limit), Ok);
    let Ok(memory) = memory else {
        process::exit_now(80)
    };
    if send_file(channel, b"memory", memory.as_fd()).is_err() {
        process::exit_now(81);
    }
    let network = process::unshare(Namespaces::NET);
    let network = network.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::PERM));
    refused.note(NETWORK, network);
    // In the host's own view of its mounts, this would empty the host's root.
    let root = if namespaces.contains(Namespaces::MOUNT) {
        empty_root(mount)
    } else {
        Err(Errno::PERM)
    };
    refused.note(ROOT, root);
    let limits = resource_limits();
    refused.note(LIMITS, limits);
    let privileges = rustix::thread::set_no_new_privs(true);
    refused.note(PRIVILEGES, privileges);
    let capabilities = drop_capabilities();
    refused.note(CAPABILITIES, capabilities);
    if rustix::io::write(channel, &refused.0).is_err() {
        process::exit_now(81);
    }
    // The death signal may have been reset by the changes of credentials.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    if let Some(beside) = beside {
        let _ = sched_setaffinity(None, &beside.all);
    }
    let Ok(stub) = hand_over(&memory, image, channel, stub) else {
        process::exit_now(83)
    };
    let _ = process::execute(stub.as_fd(), c"husk-cell");
    process::exit_now(84)
}

/// Gives the descriptors that the stub uses their numbers; where its own file went.
fn hand_over(
    memory: &File,
    image: Option<BorrowedFd<'_>>,
    channel: &OwnedFd,
    stub: BorrowedFd<'_>,
) -> std::io::Result<OwnedFd> {
    // Out of the way first: any of them may have a number that another is to get.
    let above = |descriptor| rustix::io::fcntl_dupfd_cloexec(descriptor, IMAGE_FD + 1);
    let (memory, channel, stub) = (
        above(memory.as_fd())?,
        above(channel.as_fd())?,
        above(stub)?,
    );
    let image = image.map(above).transpose()?;
    process::duplicate_to(memory.as_fd(), RAM_FD)?;
    process::duplicate_to(channel.as_fd(), CHANNEL_FD)?;
    if let Some(image) = image {
        process::duplicate_to(image.as_fd(), IMAGE_FD)?;
    }
    Ok(stub)
}

/// Makes us user and group 1 of our namespace; nobody else exists in it.
fn map_user() -> Result<(), Errno> {
    let write = |path: &str, text: &str| {
        let result = std::fs::write(path, text);
        result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    };
    let (user, group) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    // Inside, the identifiers read as the overflow ones until they are mapped, so the
    // outer ones are taken from what /proc says of our parent's view.
    let (user, group) = outer_ids().unwrap_or((user, group));
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("1 {user} 1"))?;
    write("/proc/self/gid_map", &format!("1 {group} 1"))
}

static OUTER_IDS: std::sync::OnceLock<(u32, u32)> = std::sync::OnceLock::new();

/// Notes who the monitor is; before the cell is started.
pub(crate) fn note_ids() {
    OUTER_IDS.get_or_init(|| {
        (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        )
    });
}

fn outer_ids() -> Option<(u32, u32)> {
    OUTER_IDS.get().copied()
}

/// A file on a tmpfs that has `limit` bytes, large pages where asked for; and the tmpfs, mounted
/// nowhere.
fn private_memory(span: u64, limit: u64) -> Result<(File, OwnedFd), Errno> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let fd = context.as_fd();
    rustix::mount::fsconfig_set_string(fd, "size", limit.to_string())?;
    rustix::mount::fsconfig_set_string(fd, "nr_inodes", "8")?;
    rustix::mount::fsconfig_set_string(fd, "mode", "0700")?;
    // A host without large pages in tmpfs refuses the option; the memory works without.
    let _ = rustix::mount::fsconfig_set_string(fd, "huge", "advise");
    rustix::mount::fsconfig_create(fd)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = rustix::mount::fsmount(fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&mount, ".", flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::ftruncate(&file, span)?;
    Ok((file.into(), mount))
}

/// Where the host forbids a private tmpfs: a file of exactly the limit's length.
fn plain_memory(limit: u64) -> Result<File, Errno> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("husk-memory", flags)?;
    rustix::fs::ftruncate(&file, limit)?;
    let seals = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW;
    rustix::fs::fcntl_add_seals(&file, seals | rustix::fs::SealFlags::SEAL)?;
    Ok(file.into())
}

/// Exchanges the host's root for an empty one. The memory's file system is put into the old tree, to
/// be detached with it: to give up a mount takes the host 0.1 ms, and so does to give up many.
fn empty_root(memory: Option<OwnedFd>) -> Result<(), Errno> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)?;
    if let Some(memory) = memory {
        // A host that has no such place takes the longer way.
        let _ = mount_on(c"/proc", &memory);
    }
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "size", "4096")?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "mode", "0000")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let root = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    mount_on(c"/", &root)?;
    rustix::process::fchdir(&root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

fn mount_on(place: &CStr, mount: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), "", CWD, place, flags)
}

fn resource_limits() -> Result<(), Errno> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let host = getrlimit(Resource::Nofile).maximum;
    let most = Some(host.map_or(DESCRIPTORS_MAX, |host| host.min(DESCRIPTORS_MAX)));
    let few = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Core, none)?;
    setrlimit(Resource::Nofile, few)
}

fn drop_capabilities() -> Result<(), Errno> {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // An older host does not know the newest ones; without CAP_SETPCAP (no user
            // namespace) the bounding set stays, and no-new-privileges makes it moot.
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(error) => return Err(error),
        }
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    rustix::thread::set_capabilities(None, sets)
}

fn send_file(channel: &OwnedFd, words: &[u8], file: BorrowedFd<'_>) -> Result<(), Errno> {
    let descriptors = [file];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Errno::NOMEM);
    }
    let bytes = [IoSlice::new(words)];
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(channel, &bytes, &mut ancillary, flags).map(drop)
}

fn receive_memory(channel: &OwnedFd) -> Result<File, Errno> {
    let mut word = [0; 6];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(&mut word)];
    rustix::net::recvmsg(channel, &mut bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.map(File::from).ok_or(Errno::PIPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_takes_no_file_keeps_nobody_waiting() {
        let (ours, _theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("two descriptors");
        let file = stub_file().expect("a memory file");
        let sent = (0..10_000).try_for_each(|_| send_file(&ours, b"token...", file.as_fd()));
        assert!(matches!(sent, Err(Errno::AGAIN | Errno::TOOMANYREFS)));
    }
}
