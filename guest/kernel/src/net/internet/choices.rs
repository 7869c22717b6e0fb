//! Options of Internet sockets (`IPPROTO_IP`, `IPPROTO_IPV6`, `IPPROTO_TCP`, `IPPROTO_UDP`) and those
//! of all sockets that the stack honours.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::sync::atomic::Ordering;

use guest_net::{
    DatagramInfo, InterfaceId, Message, Nanos, Options as Settings, TcpInfo, TcpState,
};

use super::{Family, InternetSocket, Kind, Socket, network};
use crate::net::Control;
use crate::net::options::number;
use crate::{Errno, Result};

const SOCKET: i32 = 1;
const IP: i32 = 0;
const TCP: i32 = 6;
const UDP: i32 = 17;
const IPV6: i32 = 41;
const ICMPV6: i32 = 58;

/// Bits of [`InternetSocket::wanted`].
const PKTINFO: u32 = 1;
const TTL: u32 = 2;
const TOS: u32 = 4;
const PKTINFO6: u32 = 8;
const HOPLIMIT6: u32 = 16;
const TCLASS6: u32 = 32;

fn int(value: i32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn seconds(time: Nanos) -> i32 {
    (time.0 / 1_000_000_000) as i32
}

/// The control messages of a datagram.
pub(super) fn controls(wanted: u32, info: &DatagramInfo) -> Vec<Control> {
    let mut controls = Vec::new();
    let index = info.interface.index();
    if wanted & PKTINFO != 0
        && let Some(to) = v4(info.to)
    {
        let mut bytes = index.to_le_bytes().to_vec();
        bytes.extend(to.octets());
        bytes.extend(to.octets());
        controls.push((IP, 8, bytes));
    }
    if wanted & TTL != 0 && v4(info.to).is_some() {
        controls.push((IP, 2, int(i32::from(info.hop_limit))));
    }
    if wanted & TOS != 0 && v4(info.to).is_some() {
        controls.push((IP, 1, alloc::vec![info.traffic_class]));
    }
    if wanted & PKTINFO6 != 0 {
        let to = match info.to {
            IpAddr::V4(to) => to.to_ipv6_mapped(),
            IpAddr::V6(to) => to,
        };
        let mut bytes = to.octets().to_vec();
        bytes.extend(index.to_le_bytes());
        controls.push((IPV6, 50, bytes));
    }
    if wanted & HOPLIMIT6 != 0 {
        controls.push((IPV6, 52, int(i32::from(info.hop_limit))));
    }
    if wanted & TCLASS6 != 0 {
        controls.push((IPV6, 67, int(i32::from(info.traffic_class))));
    }
    controls
}

/// Has a datagram sent as its control messages say (`ip(7)`, `ipv6(7)`).
///
/// # Errors
/// `EINVAL` for those of IP that are not known, or say nothing that can be.
pub(super) fn heed(message: &mut Message, is_v4: bool, controls: &[Control]) -> Result<()> {
    for (level, kind, content) in controls {
        match (*level, *kind) {
            (IP, 8) if is_v4 => {
                let bytes: &[u8; 12] = content.first_chunk().ok_or(Errno::EINVAL)?;
                let [index, source, _] = bytes.as_chunks::<4>().0 else {
                    return Err(Errno::EINVAL);
                };
                heed_place(message, u32::from_le_bytes(*index), Ipv4Addr::from(*source))?;
            }
            (IP, 2) if is_v4 => match number(content)? {
                limit @ 1..=255 => message.hop_limit = Some(limit as u8),
                _ => return Err(Errno::EINVAL),
            },
            (IP, 1) if is_v4 => match *content.as_slice() {
                [class] => message.traffic_class = Some(class),
                _ => message.traffic_class = optional_byte(number(content)?)?,
            },
            (IPV6, 50) if !is_v4 => {
                let source: &[u8; 16] = content.first_chunk().ok_or(Errno::EINVAL)?;
                let index = content.get(16..20).and_then(<[u8]>::first_chunk);
                let index = u32::from_le_bytes(*index.ok_or(Errno::EINVAL)?);
                heed_place(message, index, Ipv6Addr::from(*source).to_canonical())?;
            }
            (IPV6, 52) if !is_v4 => message.hop_limit = optional_byte(number(content)?)?,
            (IPV6, 67) if !is_v4 => message.traffic_class = optional_byte(number(content)?)?,
            (IP, _) if is_v4 => return Err(Errno::EINVAL),
            (IPV6, _) if !is_v4 => return Err(Errno::EINVAL),
            // Linux does not look at those of other levels.
            _ => {}
        }
    }
    Ok(())
}

/// A byte, or minus one for what the socket says.
fn optional_byte(value: i32) -> Result<Option<u8>> {
    match value {
        -1 => Ok(None),
        _ => u8::try_from(value).map(Some).map_err(|_| Errno::EINVAL),
    }
}

fn heed_place(message: &mut Message, index: u32, source: impl Into<IpAddr>) -> Result<()> {
    let source = source.into();
    if index != 0 {
        let interface = InterfaceId::from_index(index);
        let known =
            network::with(|stack| interface.is_some_and(|id| stack.interface(id).is_some()));
        message.interface = interface;
        if !known {
            return Err(Errno::ENODEV);
        }
    }
    message.source = Some(source).filter(|source| !source.is_unspecified());
    Ok(())
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    }
}

fn settings(socket: &InternetSocket) -> Result<Settings> {
    socket.call(|stack, handle| stack.options(handle).cloned())
}

/// The value of an option.
pub(super) fn get(socket: &InternetSocket, level: i32, name: i32) -> Result<Vec<u8>> {
    let now = settings(socket)?;
    match level {
        TCP if socket.kind == Kind::Stream => get_tcp(socket, &now, name),
        IP => get_ip(socket, &now, name),
        IPV6 if socket.family == Family::V6 => get_ipv6(socket, &now, name),
        UDP if socket.protocol == UDP as u32 => Ok(int(0)),
        TCP | IPV6 | UDP => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::ENOPROTOOPT),
    }
}

fn get_tcp(socket: &InternetSocket, now: &Settings, name: i32) -> Result<Vec<u8>> {
    Ok(match name {
        1 => int(i32::from(now.no_delay)),
        2 => int(match (now.max_segment, info(socket)?.send_mss) {
            (0, 0) => 536,
            (0, path) => path as i32,
            (asked, _) => i32::from(asked),
        }),
        3 => int(i32::from(now.cork)),
        4 => int(seconds(now.keep_idle)),
        5 => int(seconds(now.keep_interval)),
        6 => int(i32::from(now.keep_count)),
        7 => int(i32::from(now.syn_count)),
        8 => int(seconds(now.fin_timeout)),
        // What is accepted and changes nothing here: TCP_DEFER_ACCEPT, TCP_WINDOW_CLAMP.
        9 | 10 => int(0),
        11 => tcp_info(&info(socket)?),
        12 => int(i32::from(now.quick_ack)),
        // TCP_CONGESTION, sixteen bytes.
        13 => {
            let mut name = b"cubic".to_vec();
            name.resize(16, 0);
            name
        }
        18 => int((now.user_timeout.0 / 1_000_000) as i32),
        // TCP_FASTOPEN, TCP_TIMESTAMP, TCP_NOTSENT_LOWAT, TCP_INQ.
        23 => int(0),
        24 => int((network::now().0 / 1_000_000) as i32),
        25 => int(-1),
        36 => int(0),
        _ => return Err(Errno::ENOPROTOOPT),
    })
}

fn info(socket: &InternetSocket) -> Result<TcpInfo> {
    socket.call(|stack, handle| stack.tcp_info(handle))
}

/// Linux' number of a state (`include/net/tcp_states.h`).
const fn state_number(state: TcpState) -> u8 {
    match state {
        TcpState::Established => 1,
        TcpState::SynSent => 2,
        TcpState::SynReceived => 3,
        TcpState::FinWait1 => 4,
        TcpState::FinWait2 => 5,
        TcpState::TimeWait => 6,
        TcpState::Closed => 7,
        TcpState::CloseWait => 8,
        TcpState::LastAck => 9,
        TcpState::Listen => 10,
        TcpState::Closing => 11,
    }
}

/// `struct tcp_info` (`linux/tcp.h`), up to what is known here.
fn tcp_info(info: &TcpInfo) -> Vec<u8> {
    let (send_scale, receive_scale) = info.window_scales.unwrap_or_default();
    let options = u8::from(info.timestamps)
        | u8::from(info.sack) << 1
        | u8::from(info.window_scales.is_some()) << 2;
    let mut bytes = alloc::vec![
        state_number(info.state),
        0,
        info.backoff,
        info.probes,
        info.backoff,
        options,
        send_scale & 15 | receive_scale << 4,
        0,
    ];
    let micros = |time: Nanos| (time.0 / 1000) as u32;
    let millis = |time: Nanos| (time.0 / 1_000_000) as u32;
    let mss = info.send_mss.max(1);
    let words = [
        micros(info.rto),
        micros(info.ato),
        info.send_mss,
        info.receive_mss,
        info.unacknowledged.div_ceil(mss),
        info.sacked.div_ceil(mss),
        info.lost.div_ceil(mss),
        0,
        0,
        millis(info.last_sent),
        0,
        millis(info.last_received),
        0,
        info.path_mtu,
        info.receive_window,
        micros(info.rtt),
        micros(info.rtt_variation),
        info.slow_start_threshold.div_ceil(mss),
        info.congestion_window.div_ceil(mss),
        info.send_mss,
        3,
        micros(info.rtt),
        info.receive_space,
        info.retransmits,
    ];
    bytes.extend(words.map(u32::to_le_bytes).as_flattened());
    let long = [0, u64::MAX, info.bytes_acknowledged, info.bytes_received];
    bytes.extend(long.map(u64::to_le_bytes).as_flattened());
    let rest = [
        info.segments_out,
        info.segments_in,
        info.unsent,
        micros(info.rtt_least),
    ];
    bytes.extend(rest.map(u32::to_le_bytes).as_flattened());
    bytes
}

fn get_ip(socket: &InternetSocket, now: &Settings, name: i32) -> Result<Vec<u8>> {
    let wants = |bit: u32| int(i32::from(socket.wanted.load(Ordering::Relaxed) & bit != 0));
    Ok(match name {
        1 => int(i32::from(now.traffic_class)),
        2 => int(match now.hop_limit {
            0 => 64,
            limit => i32::from(limit),
        }),
        3 => int(i32::from(now.header_included)),
        8 => wants(PKTINFO),
        10 => int(if now.dont_fragment { 2 } else { 1 }),
        11 | 15 | 24 => int(0),
        12 => wants(TTL),
        13 => wants(TOS),
        14 => int(info(socket).map_err(|_| Errno::ENOTCONN)?.path_mtu as i32),
        33 => int(i32::from(now.multicast_hop_limit)),
        34 => int(i32::from(now.multicast_loop)),
        _ => return Err(Errno::ENOPROTOOPT),
    })
}

fn get_ipv6(socket: &InternetSocket, now: &Settings, name: i32) -> Result<Vec<u8>> {
    let wants = |bit: u32| int(i32::from(socket.wanted.load(Ordering::Relaxed) & bit != 0));
    Ok(match name {
        16 => int(match now.hop_limit {
            0 => 64,
            limit => i32::from(limit),
        }),
        17 => int(now.multicast_interface.map_or(0, |id| id.index() as i32)),
        18 => int(i32::from(now.multicast_hop_limit)),
        19 => int(i32::from(now.multicast_loop)),
        23 => int(if now.dont_fragment { 2 } else { 1 }),
        24 => int(info(socket).map_err(|_| Errno::ENOTCONN)?.path_mtu as i32),
        25 => int(0),
        26 => int(i32::from(now.only_v6)),
        49 => wants(PKTINFO6),
        51 => wants(HOPLIMIT6),
        66 => wants(TCLASS6),
        67 => int(i32::from(now.traffic_class)),
        _ => return Err(Errno::ENOPROTOOPT),
    })
}

/// Sets an option.
pub(super) fn set(socket: &InternetSocket, level: i32, name: i32, value: &[u8]) -> Result<()> {
    match level {
        SOCKET => set_socket(socket, name, value),
        TCP if socket.kind == Kind::Stream => set_tcp(socket, name, value),
        IP => set_ip(socket, name, value),
        IPV6 if socket.family == Family::V6 => set_ipv6(socket, name, value),
        // Filters of ICMPv6 are the program's own optimization.
        ICMPV6 => Ok(()),
        UDP if socket.protocol == UDP as u32 => Ok(()),
        TCP | IPV6 | UDP => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::ENOPROTOOPT),
    }
}

/// Options of all sockets that mean something here; their values are kept already.
fn set_socket(socket: &InternetSocket, name: i32, value: &[u8]) -> Result<()> {
    const BINDTODEVICE: i32 = 25;
    if name == BINDTODEVICE {
        let end = value.iter().position(|&byte| byte == 0);
        let device = value.get(..end.unwrap_or(value.len())).unwrap_or_default();
        let id = match device {
            [] => None,
            name => Some(super::super::interfaces::by_name(name).ok_or(Errno::ENODEV)?),
        };
        return socket.change_settings(|settings| settings.interface = id);
    }
    let known = [2, 6, 7, 8, 9, 10, 13, 15];
    if !known.contains(&name) {
        return Err(Errno::ENOPROTOOPT);
    }
    let options = socket.options();
    let is_set = |flag: &core::sync::atomic::AtomicBool| flag.load(Ordering::Relaxed);
    let (sends, receives) = options.buffers_set();
    socket.change_settings(|settings| {
        settings.reuse_address = is_set(&options.reuse_address);
        settings.reuse_port = is_set(&options.reuse_port);
        settings.broadcast = is_set(&options.broadcast);
        settings.keep_alive = is_set(&options.keep_alive);
        settings.urgent_inline = is_set(&options.inline_urgent);
        settings.linger = options
            .linger()
            .map(|seconds| Nanos::from_secs(u64::from(seconds)));
        if sends {
            settings.send_buffer = options.send_buffer();
        }
        if receives {
            settings.receive_buffer = options.receive_buffer();
        }
    })
}

fn set_tcp(socket: &InternetSocket, name: i32, value: &[u8]) -> Result<()> {
    const CONGESTION: i32 = 13;
    if name == CONGESTION {
        let is_known = [&b"cubic"[..], b"reno"]
            .iter()
            .any(|known| value.starts_with(known));
        return if is_known { Ok(()) } else { Err(Errno::ENOENT) };
    }
    let number = number(value)?;
    let on = number != 0;
    let positive = |most: i32| {
        (1..=most)
            .contains(&number)
            .then_some(number as u64)
            .ok_or(Errno::EINVAL)
    };
    match name {
        1 => socket.change_settings(|settings| settings.no_delay = on),
        2 if (0..=32_767).contains(&number) && (number == 0 || number >= 88) => {
            socket.change_settings(|settings| settings.max_segment = number as u16)
        }
        2 => Err(Errno::EINVAL),
        3 => socket.change_settings(|settings| settings.cork = on),
        4 => {
            let time = Nanos::from_secs(positive(32_767)?);
            socket.change_settings(|settings| settings.keep_idle = time)
        }
        5 => {
            let time = Nanos::from_secs(positive(32_767)?);
            socket.change_settings(|settings| settings.keep_interval = time)
        }
        6 => {
            let count = positive(127)? as u8;
            socket.change_settings(|settings| settings.keep_count = count)
        }
        7 => {
            let count = positive(127)? as u8;
            socket.change_settings(|settings| settings.syn_count = count)
        }
        8 => {
            let time = Nanos::from_secs(number.max(0) as u64);
            socket.change_settings(|settings| settings.fin_timeout = time)
        }
        12 => socket.change_settings(|settings| settings.quick_ack = on),
        18 if number >= 0 => {
            let time = Nanos::from_millis(number as u64);
            socket.change_settings(|settings| settings.user_timeout = time)
        }
        18 => Err(Errno::EINVAL),
        // TCP_DEFER_ACCEPT, TCP_WINDOW_CLAMP, TCP_FASTOPEN, TCP_NOTSENT_LOWAT: hints.
        9 | 10 | 23 | 25 => Ok(()),
        _ => Err(Errno::ENOPROTOOPT),
    }
}

fn want(socket: &InternetSocket, bit: u32, value: &[u8]) -> Result<()> {
    let on = small(value)? != 0;
    if on {
        socket.wanted.fetch_or(bit, Ordering::Relaxed);
    } else {
        socket.wanted.fetch_and(!bit, Ordering::Relaxed);
    }
    Ok(())
}

/// A number that may also be given as one byte.
fn small(value: &[u8]) -> Result<i32> {
    match value {
        [] => Err(Errno::EINVAL),
        [byte] | [byte, _] | [byte, _, _] => Ok(i32::from(*byte)),
        _ => number(value),
    }
}

fn byte(value: &[u8]) -> Result<u8> {
    u8::try_from(small(value)?).map_err(|_| Errno::EINVAL)
}

fn set_ip(socket: &InternetSocket, name: i32, value: &[u8]) -> Result<()> {
    match name {
        1 => {
            let class = small(value)? as u8;
            socket.change_settings(|settings| settings.traffic_class = class)
        }
        2 => {
            let limit = match small(value)? {
                -1 => 0,
                limit @ 1..=255 => limit as u8,
                _ => return Err(Errno::EINVAL),
            };
            socket.change_settings(|settings| settings.hop_limit = limit)
        }
        3 if socket.kind == Kind::Raw => {
            let on = small(value)? != 0;
            socket.change_settings(|settings| settings.header_included = on)
        }
        3 => Err(Errno::ENOPROTOOPT),
        8 => want(socket, PKTINFO, value),
        10 => {
            let on = small(value)? == 2;
            socket.change_settings(|settings| settings.dont_fragment = on)
        }
        12 => want(socket, TTL, value),
        13 => want(socket, TOS, value),
        // IP_RECVERR, IP_FREEBIND, IP_BIND_ADDRESS_NO_PORT, IP_MULTICAST_ALL: hints here.
        11 | 15 | 24 | 49 => small(value).map(drop),
        32 => {
            let id = multicast_interface(value)?;
            socket.change_settings(|settings| settings.multicast_interface = id)
        }
        33 => {
            let limit = byte(value)?;
            socket.change_settings(|settings| settings.multicast_hop_limit = limit)
        }
        34 => {
            let on = small(value)? != 0;
            socket.change_settings(|settings| settings.multicast_loop = on)
        }
        35 | 36 => membership4(socket, value, name == 35),
        _ => Err(Errno::ENOPROTOOPT),
    }
}

fn octets(value: &[u8], at: usize) -> Option<Ipv4Addr> {
    let bytes: &[u8; 4] = value.get(at..)?.first_chunk()?;
    Some(Ipv4Addr::from(*bytes))
}

/// The interface of a `struct in_addr`, `struct ip_mreq` or `struct ip_mreqn`.
fn multicast_interface(value: &[u8]) -> Result<Option<InterfaceId>> {
    let (address, index) = if value.len() >= 12 {
        (
            octets(value, 4),
            number(value.get(8..).unwrap_or_default())?,
        )
    } else if value.len() >= 8 {
        (octets(value, 4), 0)
    } else {
        (octets(value, 0), 0)
    };
    if index != 0 {
        return Ok(InterfaceId::from_index(index as u32));
    }
    let address = address.ok_or(Errno::EINVAL)?;
    if address.is_unspecified() {
        return Ok(None);
    }
    super::super::interfaces::by_address(IpAddr::V4(address))
        .map(Some)
        .ok_or(Errno::EADDRNOTAVAIL)
}

fn membership4(socket: &InternetSocket, value: &[u8], joins: bool) -> Result<()> {
    if value.len() < 8 {
        return Err(Errno::EINVAL);
    }
    let group = IpAddr::V4(octets(value, 0).ok_or(Errno::EINVAL)?);
    member(socket, group, multicast_interface(value)?, joins)
}

fn member(
    socket: &InternetSocket,
    group: IpAddr,
    interface: Option<InterfaceId>,
    joins: bool,
) -> Result<()> {
    socket.call(|stack, handle| {
        if joins {
            stack.join_group(handle, group, interface)
        } else {
            stack.leave_group(handle, group, interface)
        }
    })
}

fn set_ipv6(socket: &InternetSocket, name: i32, value: &[u8]) -> Result<()> {
    match name {
        16 => {
            let limit = match number(value)? {
                -1 => 0,
                limit @ 0..=255 => limit as u8,
                _ => return Err(Errno::EINVAL),
            };
            socket.change_settings(|settings| settings.hop_limit = limit)
        }
        17 => {
            let id = InterfaceId::from_index(number(value)? as u32);
            socket.change_settings(|settings| settings.multicast_interface = id)
        }
        18 => {
            let limit = byte(value)?;
            socket.change_settings(|settings| settings.multicast_hop_limit = limit)
        }
        19 => {
            let on = number(value)? != 0;
            socket.change_settings(|settings| settings.multicast_loop = on)
        }
        20 | 21 => {
            let bytes: &[u8; 16] = value.first_chunk().ok_or(Errno::EINVAL)?;
            let group = IpAddr::V6(Ipv6Addr::from(*bytes));
            let index = number(value.get(16..).unwrap_or_default())? as u32;
            member(socket, group, InterfaceId::from_index(index), name == 20)
        }
        23 => {
            let on = number(value)? == 2;
            socket.change_settings(|settings| settings.dont_fragment = on)
        }
        26 => {
            let on = number(value)? != 0;
            socket.change_settings(|settings| settings.only_v6 = on)
        }
        49 => want(socket, PKTINFO6, value),
        51 => want(socket, HOPLIMIT6, value),
        66 => want(socket, TCLASS6, value),
        67 => {
            let class = number(value)?.max(0) as u8;
            socket.change_settings(|settings| settings.traffic_class = class)
        }
        // IPV6_RECVERR, IPV6_AUTOFLOWLABEL, IPV6_ADDR_PREFERENCES, IPV6_CHECKSUM: hints here.
        7 | 25 | 70 | 72 => Ok(()),
        _ => Err(Errno::ENOPROTOOPT),
    }
}
