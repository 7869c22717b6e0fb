//! `getsockopt` and `setsockopt`.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use guest_hal::{LinearAddress, Nanos};
use guest_kernel::net::Socket;
use guest_kernel::net::options::{Options, number};
use guest_kernel::process::current;
use guest_kernel::{Errno, Result, uaccess};

use super::socket_of;
use crate::Return;

const SOL_SOCKET: i32 = 1;
/// Longest value that is looked at.
const VALUE_MAX: u32 = 4096;
/// The program may have such bytes cut off.
const TIMEVAL: usize = 16;

const DEBUG: i32 = 1;
const REUSEADDR: i32 = 2;
const TYPE: i32 = 3;
const ERROR: i32 = 4;
const DONTROUTE: i32 = 5;
const BROADCAST: i32 = 6;
const SNDBUF: i32 = 7;
const RCVBUF: i32 = 8;
const KEEPALIVE: i32 = 9;
const OOBINLINE: i32 = 10;
const NO_CHECK: i32 = 11;
const PRIORITY: i32 = 12;
const LINGER: i32 = 13;
const REUSEPORT: i32 = 15;
const PASSCRED: i32 = 16;
const PEERCRED: i32 = 17;
const RCVLOWAT: i32 = 18;
const SNDLOWAT: i32 = 19;
const RCVTIMEO: i32 = 20;
const SNDTIMEO: i32 = 21;
const BINDTODEVICE: i32 = 25;
const TIMESTAMP: i32 = 29;
const ACCEPTCONN: i32 = 30;
const SNDBUFFORCE: i32 = 32;
const RCVBUFFORCE: i32 = 33;
const MARK: i32 = 36;
const PROTOCOL: i32 = 38;
const DOMAIN: i32 = 39;
const BUSY_POLL: i32 = 46;
const INCOMING_NAPI_ID: i32 = 56;

/// The options that are a truth.
fn truth(options: &Options, name: i32) -> Option<&AtomicBool> {
    Some(match name {
        REUSEADDR => &options.reuse_address,
        REUSEPORT => &options.reuse_port,
        KEEPALIVE => &options.keep_alive,
        BROADCAST => &options.broadcast,
        OOBINLINE => &options.inline_urgent,
        PASSCRED => &options.pass_credentials,
        DONTROUTE => &options.dont_route,
        TIMESTAMP => &options.timestamp,
        _ => return None,
    })
}

/// The options that are a number and mean nothing more here.
fn plain(options: &Options, name: i32) -> Option<&AtomicU32> {
    Some(match name {
        PRIORITY => &options.priority,
        MARK => &options.mark,
        RCVLOWAT => &options.receive_low,
        BUSY_POLL => &options.busy_poll,
        _ => return None,
    })
}

fn int(value: i32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn timeval(timeout: Option<Nanos>) -> Vec<u8> {
    let nanos = timeout.map_or(0, |timeout| timeout.0);
    let words = [nanos / 1_000_000_000, nanos % 1_000_000_000 / 1000];
    words.map(u64::to_le_bytes).as_flattened().to_vec()
}

fn get(socket: &dyn Socket, name: i32) -> Result<Vec<u8>> {
    let options = socket.options();
    let (family, kind, protocol) = socket.describe();
    if let Some(truth) = truth(options, name) {
        return Ok(int(i32::from(truth.load(Ordering::Relaxed))));
    }
    if let Some(number) = plain(options, name) {
        return Ok(int(number.load(Ordering::Relaxed) as i32));
    }
    Ok(match name {
        DEBUG | NO_CHECK | INCOMING_NAPI_ID => int(0),
        TYPE => int(kind as i32),
        ERROR => int(socket.take_error().map_or(0, |errno| i32::from(errno.0))),
        SNDBUF => int(options.send_buffer() as i32),
        RCVBUF => int(options.receive_buffer() as i32),
        SNDLOWAT => int(1),
        LINGER => {
            let linger = options.linger();
            let words = [u32::from(linger.is_some()), linger.unwrap_or_default()];
            words.map(u32::to_le_bytes).as_flattened().to_vec()
        }
        RCVTIMEO => timeval(options.receive_timeout()),
        SNDTIMEO => timeval(options.send_timeout()),
        ACCEPTCONN => int(i32::from(socket.is_listening())),
        PROTOCOL => int(protocol as i32),
        DOMAIN => int(i32::from(family)),
        PEERCRED => {
            let words = match socket.peer_credentials() {
                Some(peer) => [peer.pid, peer.uid, peer.gid],
                None => [0, u32::MAX, u32::MAX],
            };
            words.map(u32::to_le_bytes).as_flattened().to_vec()
        }
        _ => return socket.option(SOL_SOCKET, name),
    })
}

fn set(socket: &dyn Socket, name: i32, value: &[u8]) -> Result<()> {
    let options = socket.options();
    if let Some(truth) = truth(options, name) {
        truth.store(number(value)? != 0, Ordering::Relaxed);
        // The network may do more for some.
        return ignore_unknown(socket.set_option(SOL_SOCKET, name, value));
    }
    if name == RCVLOWAT && number(value)? < 0 {
        return Err(Errno::EINVAL);
    }
    if let Some(plain) = plain(options, name) {
        plain.store(number(value)? as u32, Ordering::Relaxed);
        return Ok(());
    }
    match name {
        DEBUG | NO_CHECK => number(value).map(drop),
        SNDBUF | RCVBUF | SNDBUFFORCE | RCVBUFFORCE => {
            if matches!(name, SNDBUFFORCE | RCVBUFFORCE) && !is_root() {
                return Err(Errno::EPERM);
            }
            let sending = matches!(name, SNDBUF | SNDBUFFORCE);
            options.set_buffer(sending, number(value)? as u32);
            ignore_unknown(socket.set_option(SOL_SOCKET, name, value))
        }
        LINGER => {
            let on = number(value)? != 0;
            let seconds = number(value.get(4..).ok_or(Errno::EINVAL)?)?;
            options.set_linger(on.then_some(seconds as u32));
            ignore_unknown(socket.set_option(SOL_SOCKET, name, value))
        }
        RCVTIMEO | SNDTIMEO => {
            options.set_timeout(name == SNDTIMEO, read_timeval(value)?);
            Ok(())
        }
        BINDTODEVICE => socket.set_option(SOL_SOCKET, name, value),
        TYPE | ERROR | ACCEPTCONN | PROTOCOL | DOMAIN | PEERCRED | SNDLOWAT => {
            Err(Errno::ENOPROTOOPT)
        }
        _ => socket.set_option(SOL_SOCKET, name, value),
    }
}

fn is_root() -> bool {
    current().credentials.lock().is_root()
}

/// An option that is kept for all sockets need not mean anything to a family.
fn ignore_unknown(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::ENOPROTOOPT) => Ok(()),
        other => other,
    }
}

fn read_timeval(value: &[u8]) -> Result<Nanos> {
    let bytes = value.first_chunk::<TIMEVAL>().ok_or(Errno::EINVAL)?;
    let (words, _) = bytes.as_chunks::<8>();
    let mut words = words.iter().map(|word| i64::from_le_bytes(*word));
    let (seconds, micros) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::EDOM);
    }
    if seconds < 0 {
        // As on Linux: no time at all would be for ever.
        return Ok(Nanos(1));
    }
    Ok(Nanos(
        (seconds as u64)
            .saturating_mul(1_000_000_000)
            .saturating_add(micros as u64 * 1000),
    ))
}

/// `getsockopt`.
pub fn getsockopt(
    fd: i32,
    level: i32,
    optname: i32,
    optval: LinearAddress,
    optlen: LinearAddress,
) -> Return {
    let (_, socket) = socket_of(fd)?;
    let room = uaccess::read_u32(optlen)? as i32;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let value = if level == SOL_SOCKET {
        get(&*socket, optname)?
    } else {
        socket.option(level, optname)?
    };
    let count = room.min(value.len());
    uaccess::write(optval, value.get(..count).unwrap_or_default())?;
    uaccess::write(optlen, &(count as u32).to_le_bytes())?;
    Ok(0)
}

/// `setsockopt`.
pub fn setsockopt(fd: i32, level: i32, optname: i32, optval: LinearAddress, optlen: u32) -> Return {
    let (_, socket) = socket_of(fd)?;
    if optlen > i32::MAX as u32 {
        return Err(Errno::EINVAL);
    }
    let value = uaccess::read_vec(optval, u64::from(optlen.min(VALUE_MAX)))?;
    if level == SOL_SOCKET {
        set(&*socket, optname, &value)?;
    } else {
        socket.set_option(level, optname, &value)?;
    }
    Ok(0)
}
