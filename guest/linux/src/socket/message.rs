//! Sending and receiving, with addresses and control messages.

use alloc::sync::Arc;
use alloc::vec::Vec;

use guest_hal::{LinearAddress, Nanos, time as clock};
use guest_kernel::fs::OpenFile;
use guest_kernel::fs::buffer::{Destination, Origin, Segment};
use guest_kernel::net::unix::FILES_MAX;
use guest_kernel::net::{Address, Control, Incoming, Outgoing, Sender, Socket, flag};
use guest_kernel::process::current;
use guest_kernel::signal::{self, number};
use guest_kernel::{Errno, Result, uaccess};

use super::{address, is_nonblocking, socket_of};
use crate::Return;
use crate::argument::Flags;
use crate::descriptor::{install, open_file};
use crate::file::{segment, segments};
use crate::time::read_timespec;

/// Bytes of `struct msghdr` and `struct mmsghdr`.
const HEADER: u64 = 56;
const MANY_HEADER: u64 = 64;
/// Most messages of one call (Linux' `UIO_MAXIOV`).
const MANY_MAX: u32 = 1024;
/// Most bytes of control messages (Linux' `net.core.optmem_max`).
const CONTROL_MAX: u64 = 131_072;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const SCM_CREDENTIALS: i32 = 2;
/// Bytes of `struct cmsghdr`.
const CONTROL_HEADER: usize = 16;

/// `struct msghdr`.
#[derive(Clone, Copy, Debug)]
struct Header {
    name: LinearAddress,
    name_length: u32,
    iov: LinearAddress,
    iov_count: u64,
    control: LinearAddress,
    control_length: u64,
}

impl Header {
    fn read(at: LinearAddress) -> Result<Self> {
        let mut words = [[0; 8]; HEADER as usize / 8];
        uaccess::read(at, words.as_flattened_mut())?;
        let [
            name,
            name_length,
            iov,
            iov_count,
            control,
            control_length,
            _,
        ] = words.map(u64::from_le_bytes);
        Ok(Self {
            name: LinearAddress(name),
            name_length: name_length as u32,
            iov: LinearAddress(iov),
            iov_count,
            control: LinearAddress(control),
            control_length,
        })
    }
}

/// What goes with a message.
#[derive(Debug, Default)]
struct Extras {
    files: Vec<Arc<OpenFile>>,
    sender: Option<Sender>,
    controls: Vec<Control>,
}

/// A number in a control message.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// Control messages that the program sends.
fn read_controls(header: &Header) -> Result<Extras> {
    let mut extras = Extras::default();
    if header.control.0 == 0 || header.control_length == 0 {
        return Ok(extras);
    }
    if header.control_length > CONTROL_MAX {
        return Err(Errno::ENOBUFS);
    }
    let bytes = uaccess::read_vec(header.control, header.control_length)?;
    let mut rest = bytes.as_slice();
    while rest.len() >= CONTROL_HEADER {
        let length = rest
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes)) as usize;
        if length < CONTROL_HEADER || length > rest.len() {
            return Err(Errno::EINVAL);
        }
        let level = word(rest, 8).unwrap_or_default() as i32;
        let kind = word(rest, 12).unwrap_or_default() as i32;
        let content = rest.get(CONTROL_HEADER..length).unwrap_or_default();
        add_control(&mut extras, (level, kind), content)?;
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(extras)
}

fn add_control(extras: &mut Extras, kind: (i32, i32), content: &[u8]) -> Result<()> {
    match kind {
        (SOL_SOCKET, SCM_RIGHTS) => {
            let (numbers, _) = content.as_chunks::<4>();
            if numbers.len() + extras.files.len() > FILES_MAX {
                return Err(Errno::EINVAL);
            }
            for number in numbers {
                extras.files.push(open_file(i32::from_le_bytes(*number))?);
            }
            Ok(())
        }
        (SOL_SOCKET, SCM_CREDENTIALS) => {
            let [Some(pid), Some(uid), Some(gid)] = [0, 4, 8].map(|at| word(content, at)) else {
                return Err(Errno::EINVAL);
            };
            check_sender(pid, uid, gid)?;
            extras.sender = Some(Sender { pid, uid, gid });
            Ok(())
        }
        (SOL_SOCKET, _) => Err(Errno::EINVAL),
        (level, kind) => {
            extras.controls.push((level, kind, content.to_vec()));
            Ok(())
        }
    }
}

/// Only root may say that it is somebody else.
fn check_sender(pid: u32, uid: u32, gid: u32) -> Result<()> {
    let process = current();
    let credentials = process.credentials.lock();
    let own =
        pid == process.pid && credentials.uid.contains(&uid) && credentials.gid.contains(&gid);
    if own || credentials.is_root() {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn send(fd: i32, pieces: &[Segment], to: Option<Address>, extras: Extras, flags: u32) -> Return {
    let (file, socket) = socket_of(fd)?;
    let mut data = Origin::user(pieces);
    let message = Outgoing {
        data: &mut data,
        to,
        files: extras.files,
        sender: extras.sender,
        controls: extras.controls,
        flags,
        nonblocking: is_nonblocking(&file) || flags & flag::DONTWAIT != 0,
    };
    let result = socket.send(message);
    let sent = data.done();
    match result {
        Err(_) if sent > 0 => Ok(sent),
        Err(Errno::EPIPE) => {
            if flags & flag::NOSIGNAL == 0 {
                signal::post_to_current(number::SIGPIPE);
            }
            Err(Errno::EPIPE)
        }
        Err(errno) => Err(errno),
        Ok(()) => Ok(sent),
    }
}

fn target(at: LinearAddress, length: u32) -> Result<Option<Address>> {
    if at.0 == 0 || length == 0 {
        Ok(None)
    } else {
        address::read(at, length).map(Some)
    }
}

/// `sendto`.
pub fn sendto(
    fd: i32,
    buf: LinearAddress,
    length: u64,
    flags: Flags,
    dest_addr: LinearAddress,
    addrlen: u32,
) -> Return {
    let piece = segment(buf, length)?;
    let to = target(dest_addr, addrlen)?;
    send(fd, &[piece], to, Extras::default(), flags.0)
}

/// `sendmsg`.
pub fn sendmsg(fd: i32, msg: LinearAddress, flags: Flags) -> Return {
    let header = Header::read(msg)?;
    if header.iov_count > 1024 {
        return Err(Errno::EMSGSIZE);
    }
    let pieces = segments(header.iov, header.iov_count)?;
    let to = target(header.name, header.name_length)?;
    send(fd, &pieces, to, read_controls(&header)?, flags.0)
}

/// Runs `each` for up to `count` headers; how many went well.
fn many(
    msgvec: LinearAddress,
    count: u32,
    each: &mut dyn FnMut(LinearAddress, u32) -> Return,
) -> Return {
    let mut done = 0;
    for index in 0..count.min(MANY_MAX) {
        let at = LinearAddress(msgvec.0.wrapping_add(u64::from(index) * MANY_HEADER));
        match each(at, index) {
            Ok(length) => {
                let place = LinearAddress(at.0.wrapping_add(HEADER));
                uaccess::write(place, &(length as u32).to_le_bytes())?;
                done += 1;
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// `sendmmsg`.
pub fn sendmmsg(fd: i32, msgvec: LinearAddress, vlen: u32, flags: Flags) -> Return {
    many(msgvec, vlen, &mut |at, _| sendmsg(fd, at, flags))
}

/// Receives into pieces of the program's memory; how long, and the message with what came.
fn receive(
    file: &OpenFile,
    socket: &dyn Socket,
    pieces: &[Segment],
    flags: u32,
    finish: &mut dyn FnMut(&mut Incoming<'_, '_>) -> Result<()>,
) -> Return {
    let mut into = Destination::user(pieces);
    let mut message = Incoming::new(&mut into, flags, is_nonblocking(file));
    let result = socket.receive(&mut message);
    let got = message.into.done();
    match result {
        Err(errno) if got == 0 => return Err(errno),
        _ => {}
    }
    finish(&mut message)?;
    let whole = message.whole.filter(|_| flags & flag::TRUNC != 0);
    Ok(whole.unwrap_or(got))
}

/// `recvfrom`.
pub fn recvfrom(
    fd: i32,
    buf: LinearAddress,
    length: u64,
    flags: Flags,
    src_addr: LinearAddress,
    addrlen: LinearAddress,
) -> Return {
    let (file, socket) = socket_of(fd)?;
    let piece = segment(buf, length)?;
    receive(&file, &*socket, &[piece], flags.0, &mut |message| {
        if src_addr.0 == 0 {
            return Ok(());
        }
        match &message.from {
            Some(from) => address::write(from, src_addr, addrlen),
            None => uaccess::write(addrlen, &[0; 4]),
        }
    })
}

/// `recvmsg`.
pub fn recvmsg(fd: i32, msg: LinearAddress, flags: Flags) -> Return {
    let header = Header::read(msg)?;
    let (file, socket) = socket_of(fd)?;
    if header.iov_count > 1024 {
        return Err(Errno::EMSGSIZE);
    }
    let pieces = segments(header.iov, header.iov_count)?;
    receive(&file, &*socket, &pieces, flags.0, &mut |message| {
        write_answer(msg, &header, message)
    })
}

/// Writes what `recvmsg` says beside the data.
fn write_answer(msg: LinearAddress, header: &Header, message: &mut Incoming<'_, '_>) -> Result<()> {
    let field = |offset: u64| LinearAddress(msg.0.wrapping_add(offset));
    if header.name.0 != 0 {
        let bytes = message.from.as_ref().map_or_else(Vec::new, address::bytes);
        let room = (header.name_length as usize).min(bytes.len());
        uaccess::write(header.name, bytes.get(..room).unwrap_or_default())?;
        uaccess::write(field(8), &(bytes.len() as u32).to_le_bytes())?;
    }
    let (controls, fits) = controls_of(header, message)?;
    uaccess::write(header.control, &controls)?;
    uaccess::write(field(40), &(controls.len() as u64).to_le_bytes())?;
    let mut answered = message.answered | message.flags & flag::CMSG_CLOEXEC;
    if !fits {
        answered |= flag::CTRUNC;
    }
    uaccess::write(field(48), &answered.to_le_bytes())
}

/// The control messages that fit, and whether all do. Files that came get descriptors.
fn controls_of(header: &Header, message: &mut Incoming<'_, '_>) -> Result<(Vec<u8>, bool)> {
    let room = header.control_length as usize;
    let mut out = Vec::new();
    let mut fits = true;
    let mut controls: Vec<Control> = core::mem::take(&mut message.controls);
    if let Some(sender) = message.sender {
        let words = [sender.pid, sender.uid, sender.gid].map(u32::to_le_bytes);
        controls.push((SOL_SOCKET, SCM_CREDENTIALS, words.as_flattened().to_vec()));
    }
    for (level, kind, content) in controls {
        fits &= put_control(&mut out, room, (level, kind), &content);
    }
    let files = core::mem::take(&mut message.files);
    if !files.is_empty() {
        let count = room.saturating_sub(out.len() + CONTROL_HEADER) / 4;
        fits &= files.len() <= count;
        let close_on_exec = message.flags & flag::CMSG_CLOEXEC != 0;
        let mut numbers = Vec::new();
        for file in files.into_iter().take(count) {
            match install(file, close_on_exec) {
                Ok(fd) => numbers.extend((fd as u32).to_le_bytes()),
                Err(_) => fits = false,
            }
        }
        if !numbers.is_empty() {
            put_control(&mut out, room, (SOL_SOCKET, SCM_RIGHTS), &numbers);
        }
    }
    Ok((out, fits))
}

/// Appends a control message, cut off where the room ends; whether it fits.
fn put_control(out: &mut Vec<u8>, room: usize, (level, kind): (i32, i32), content: &[u8]) -> bool {
    let left = room.saturating_sub(out.len());
    if left < CONTROL_HEADER {
        return false;
    }
    let count = content.len().min(left - CONTROL_HEADER);
    out.extend(((CONTROL_HEADER + count) as u64).to_le_bytes());
    out.extend(level.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend_from_slice(content.get(..count).unwrap_or_default());
    out.resize(out.len().next_multiple_of(8).min(room), 0);
    count == content.len()
}

/// `recvmmsg`.
pub fn recvmmsg(
    fd: i32,
    msgvec: LinearAddress,
    vlen: u32,
    flags: Flags,
    timeout: LinearAddress,
) -> Return {
    const WAITFORONE: u32 = 0x10000;
    let deadline = if timeout.0 == 0 {
        None
    } else {
        let timeout = read_timespec(timeout)?;
        Some(clock::monotonic().saturating_add(timeout))
    };
    let is_over = |at: Option<Nanos>| at.is_some_and(|at| clock::monotonic() >= at);
    many(msgvec, vlen, &mut |at, index| {
        if index > 0 && is_over(deadline) {
            return Err(Errno::EAGAIN);
        }
        let patient = index == 0 || flags.0 & WAITFORONE == 0;
        let more = if patient { 0 } else { flag::DONTWAIT };
        recvmsg(fd, at, Flags(flags.0 & !WAITFORONE | more))
    })
}
