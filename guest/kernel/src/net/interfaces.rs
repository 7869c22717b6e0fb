//! Interfaces as the older `ioctl` calls show them (`netdevice(7)`).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use guest_hal::LinearAddress;
use guest_net::{Interface, InterfaceId, Stack};

use super::network;
use crate::{Errno, Result, uaccess};

/// Bytes of a name, and of `struct ifreq`.
const NAME: usize = 16;
const REQUEST: usize = 40;
const GIFCONF: u32 = 0x8912;
const GIFNAME: u32 = 0x8910;
const GIFFLAGS: u32 = 0x8913;
const GIFADDR: u32 = 0x8915;
const GIFBRDADDR: u32 = 0x8919;
const GIFNETMASK: u32 = 0x891b;
const GIFMETRIC: u32 = 0x891d;
const GIFMTU: u32 = 0x8921;
const GIFHWADDR: u32 = 0x8927;
const GIFINDEX: u32 = 0x8933;
const GIFTXQLEN: u32 = 0x8942;
const GSTAMP: u32 = 0x8906;
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

/// `IFF_*` of an interface.
#[must_use]
pub fn flags(id: InterfaceId, interface: &Interface) -> u32 {
    const UP: u32 = 1;
    const BROADCAST: u32 = 2;
    const LOOPBACK: u32 = 8;
    const RUNNING: u32 = 0x40;
    const MULTICAST: u32 = 0x1000;
    const LOWER_UP: u32 = 0x1_0000;
    let kind = if id == InterfaceId::LOOPBACK {
        LOOPBACK
    } else {
        BROADCAST | MULTICAST
    };
    let state = if interface.up {
        UP | RUNNING | LOWER_UP
    } else {
        0
    };
    kind | state
}

/// `ARPHRD_*` of an interface.
#[must_use]
pub fn hardware_type(id: InterfaceId) -> u16 {
    if id == InterfaceId::LOOPBACK {
        ARPHRD_LOOPBACK
    } else {
        ARPHRD_ETHER
    }
}

/// The interface of a name.
#[must_use]
pub fn by_name(name: &[u8]) -> Option<InterfaceId> {
    network::with(|stack| find(stack, name).map(|(id, _)| id))
}

/// The interface that has an address.
#[must_use]
pub fn by_address(address: IpAddr) -> Option<InterfaceId> {
    network::with(|stack| {
        let mut interfaces = stack.interfaces();
        interfaces
            .find(|(_, interface)| interface.has_address(address))
            .map(|(id, _)| id)
    })
}

fn find(stack: &Stack, name: &[u8]) -> Option<(InterfaceId, Interface)> {
    let mut interfaces = stack.interfaces();
    let found = interfaces.find(|(_, interface)| interface.config.name.as_bytes() == name);
    found.map(|(id, interface)| (id, interface.clone()))
}

fn first_v4(interface: &Interface) -> Option<(Ipv4Addr, u8, Option<Ipv4Addr>)> {
    interface
        .addresses
        .iter()
        .find_map(|own| match own.address {
            IpAddr::V4(address) => Some((address, own.prefix, own.broadcast())),
            IpAddr::V6(_) => None,
        })
}

/// A `struct sockaddr_in`.
fn address_bytes(address: Ipv4Addr) -> Vec<u8> {
    let mut bytes = alloc::vec![2, 0, 0, 0];
    bytes.extend(address.octets());
    bytes.resize(16, 0);
    bytes
}

fn mask(prefix: u8) -> Ipv4Addr {
    let bits = u32::MAX.checked_shl(32 - u32::from(prefix.min(32)));
    Ipv4Addr::from_bits(bits.unwrap_or(0))
}

/// Serves a control call on any Internet socket.
///
/// # Errors
/// `ENOTTY` for what it does not know; `ENODEV`, `EADDRNOTAVAIL`, `EFAULT`.
pub(super) fn control(command: u32, argument: LinearAddress) -> Result<u64> {
    match command {
        GIFCONF => list(argument),
        GIFNAME => name_of_index(argument),
        GIFFLAGS | GIFADDR | GIFBRDADDR | GIFNETMASK | GIFMETRIC | GIFMTU | GIFHWADDR
        | GIFINDEX | GIFTXQLEN => about(command, argument),
        GSTAMP => Err(Errno::ENOENT),
        // Changing interfaces is the machine's configuration's affair.
        0x8914 | 0x8916 | 0x891c | 0x8922 | 0x890b | 0x890c => Err(Errno::EPERM),
        _ => Err(Errno::ENOTTY),
    }
}

fn about(command: u32, argument: LinearAddress) -> Result<u64> {
    let mut name = [0; NAME];
    uaccess::read(argument, &mut name)?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME);
    let name = name.get(..end).unwrap_or_default();
    let found = network::with(|stack| find(stack, name));
    let (id, interface) = found.ok_or(Errno::ENODEV)?;
    let no_address = Errno::EADDRNOTAVAIL;
    let answer = match command {
        GIFFLAGS => (flags(id, &interface) as u16).to_le_bytes().to_vec(),
        GIFADDR => address_bytes(first_v4(&interface).ok_or(no_address)?.0),
        GIFNETMASK => address_bytes(mask(first_v4(&interface).ok_or(no_address)?.1)),
        GIFBRDADDR => {
            let (_, _, broadcast) = first_v4(&interface).ok_or(no_address)?;
            address_bytes(broadcast.unwrap_or(Ipv4Addr::UNSPECIFIED))
        }
        GIFMTU => u32::from(interface.config.mtu).to_le_bytes().to_vec(),
        GIFHWADDR => {
            let mut bytes = hardware_type(id).to_le_bytes().to_vec();
            bytes.extend(interface.config.mac.0);
            bytes.resize(16, 0);
            bytes
        }
        GIFINDEX => id.index().to_le_bytes().to_vec(),
        GIFTXQLEN => 1000u32.to_le_bytes().to_vec(),
        _ => 0u32.to_le_bytes().to_vec(),
    };
    uaccess::write(LinearAddress(argument.0.wrapping_add(NAME as u64)), &answer)?;
    Ok(0)
}

fn name_of_index(argument: LinearAddress) -> Result<u64> {
    let index = uaccess::read_u32(LinearAddress(argument.0.wrapping_add(NAME as u64)))?;
    let found = network::with(|stack| {
        let mut interfaces = stack.interfaces();
        let found = interfaces.find(|(id, _)| id.index() == index);
        found.map(|(_, interface)| interface.config.name.clone())
    });
    let mut name = found.ok_or(Errno::ENODEV)?.into_bytes();
    name.resize(NAME, 0);
    uaccess::write(argument, &name)?;
    Ok(0)
}

/// `struct ifconf`: the interfaces that have an IPv4 address.
fn list(argument: LinearAddress) -> Result<u64> {
    let room = uaccess::read_u32(argument)? as usize;
    let buffer = uaccess::read_u64(LinearAddress(argument.0.wrapping_add(8)))?;
    let mut bytes = Vec::new();
    network::with(|stack| {
        for (_, interface) in stack.interfaces() {
            let Some((address, _, _)) = first_v4(interface) else {
                continue;
            };
            let mut entry = interface.config.name.clone().into_bytes();
            entry.resize(NAME, 0);
            entry.extend(address_bytes(address));
            entry.resize(REQUEST, 0);
            bytes.extend(entry);
        }
    });
    if buffer != 0 {
        let whole = room.min(bytes.len()) / REQUEST * REQUEST;
        bytes.truncate(whole);
        uaccess::write(LinearAddress(buffer), &bytes)?;
    }
    uaccess::write(argument, &(bytes.len() as u32).to_le_bytes())?;
    Ok(0)
}
