//! `/proc/self/net`: sockets, interfaces and routes in Linux' formats (`net/ipv4/tcp_ipv4.c` and its
//! like), where a word of an address is shown as this processor has it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::Write;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use guest_net::{Family, Handle, Interface, InterfaceAddress, Kind, Listed, Route, TcpState};

use crate::fs::pseudo::Tree;
use crate::net::internet::InternetSocket;
use crate::net::unix::UnixSocket;
use crate::net::{Socket, SocketFile, network};
use crate::process::current;

const WRITES: &str = "a string takes everything";
/// How long a line of an IPv4 socket is filled up to.
const TCP_WIDTH: usize = 149;
const DATAGRAM_WIDTH: usize = 127;
const TCP_HEAD: &str =
    "rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const TCP6_HEAD: &str = "  sl  local_address                         remote_address                        \
                         st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";

/// All of it.
pub(super) fn fill(tree: Tree) -> Tree {
    tree.file("tcp", || tcp(Family::V4))
        .file("tcp6", || tcp(Family::V6))
        .file("udp", || datagrams(Family::V4, Kind::Datagram))
        .file("udp6", || datagrams(Family::V6, Kind::Datagram))
        .file("icmp", || datagrams(Family::V4, Kind::Echo))
        .file("icmp6", || datagrams(Family::V6, Kind::Echo))
        .file("unix", local)
        .file("dev", interfaces)
        .file("route", routes)
        .file("if_inet6", addresses)
        .file("sockstat", || statistics(Family::V4))
        .file("sockstat6", || statistics(Family::V6))
}

/// The sockets that have a descriptor, with the numbers of their inodes.
fn open_sockets() -> Vec<(u64, Arc<dyn Socket>)> {
    let files = current().files.lock();
    let numbers = files.numbers();
    let open = numbers.into_iter().filter_map(|fd| files.get(fd).ok());
    let open: Vec<_> = open.collect();
    drop(files);
    let socket = |file: &Arc<crate::fs::OpenFile>| {
        let any: &dyn Any = &**file.file().ok()?;
        let SocketFile(socket) = any.downcast_ref()?;
        Some((file.metadata().ok()?.number, socket.clone()))
    };
    open.iter().filter_map(socket).collect()
}

/// The inodes of sockets of the stack. One that no program has any more has none.
fn inodes() -> BTreeMap<Handle, u64> {
    let sockets = open_sockets().into_iter();
    let handles = sockets.filter_map(|(number, socket)| {
        let any: &dyn Any = &*socket;
        let socket: &InternetSocket = any.downcast_ref()?;
        Some((socket.handle(), number))
    });
    handles.collect()
}

fn words(address: IpAddr) -> String {
    let mut out = String::new();
    let bytes = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    for word in bytes.as_chunks::<4>().0 {
        write!(out, "{:08X}", u32::from_le_bytes(*word)).expect(WRITES);
    }
    out
}

fn endpoint(address: SocketAddr) -> String {
    format!("{}:{:04X}", words(address.ip()), address.port())
}

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

/// What the lines of all sockets of the stack begin with, up to the inode.
fn common(at: usize, width: usize, socket: &Listed, inodes: &BTreeMap<Handle, u64>) -> String {
    let nowhere = SocketAddr::new(
        match socket.local {
            SocketAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        },
        0,
    );
    let (timer, jiffies) = match socket.handle {
        Some(_) => (0, 0),
        None => (3, socket.waits.millis() / 10),
    };
    let inode = socket.handle.and_then(|handle| inodes.get(&handle));
    let uid = match inode {
        Some(_) => current().credentials.lock().euid(),
        None => 0,
    };
    format!(
        "{at:width$}: {} {} {:02X} {:08X}:{:08X} {timer:02X}:{jiffies:08X} {:08X} {uid:5} {:8} {}",
        endpoint(socket.local),
        endpoint(socket.peer.unwrap_or(nowhere)),
        state_number(socket.state),
        socket.unsent,
        socket.unread,
        0,
        0,
        inode.copied().unwrap_or(0),
    )
}

/// The sockets of a family and of kinds for which `wanted` holds.
fn listed(family: Family, wanted: &dyn Fn(Kind) -> bool) -> Vec<Listed> {
    let mut all = network::with(|stack| stack.listed());
    all.retain(|socket| socket.family == family && wanted(socket.kind));
    all
}

/// Lines of IPv4 sockets are filled up, others are not.
fn push_line(out: &mut String, family: Family, width: usize, line: &str) {
    let width = match family {
        Family::V4 => width,
        Family::V6 => 0,
    };
    writeln!(out, "{line:<width$}").expect(WRITES);
}

/// What the line of a connection ends with: time-outs in hundredths of a second, window, threshold.
fn congestion(handle: Handle) -> String {
    let info = network::with(|stack| stack.tcp_info(handle)).unwrap_or_default();
    let (rto, ato) = (info.rto.millis() / 10, info.ato.millis() / 10);
    let threshold = i32::try_from(info.slow_start_threshold).ok();
    let threshold = threshold
        .filter(|&threshold| threshold < i32::MAX)
        .unwrap_or(-1);
    let window = info.congestion_window;
    format!(" 1 0000000000000000 {rto} {ato} 0 {window} {threshold}")
}

fn tcp(family: Family) -> Vec<u8> {
    let inodes = inodes();
    let mut out = String::new();
    let head = match family {
        Family::V4 => format!("  sl  local_address {TCP_HEAD}"),
        Family::V6 => String::from(TCP6_HEAD),
    };
    push_line(&mut out, family, TCP_WIDTH, &head);
    let sockets = listed(family, &|kind| kind == Kind::Stream);
    for (at, socket) in sockets.iter().enumerate() {
        let rest = match (socket.state, socket.handle) {
            (TcpState::Listen, _) => String::from(" 1 0000000000000000 100 0 0 10 0"),
            (_, Some(handle)) => congestion(handle),
            (_, None) => String::from(" 3 0000000000000000"),
        };
        let line = common(at, 4, socket, &inodes) + &rest;
        push_line(&mut out, family, TCP_WIDTH, &line);
    }
    out.into_bytes()
}

fn datagrams(family: Family, kind: Kind) -> Vec<u8> {
    let inodes = inodes();
    let mut out = String::new();
    let head = match family {
        Family::V4 => format!("   sl  local_address {TCP_HEAD} ref pointer drops"),
        Family::V6 => format!("{TCP6_HEAD} ref pointer drops"),
    };
    push_line(&mut out, family, DATAGRAM_WIDTH, &head);
    let sockets = listed(family, &|other| other == kind);
    for (at, socket) in sockets.iter().enumerate() {
        let line = common(at, 5, socket, &inodes) + " 2 0000000000000000 0";
        push_line(&mut out, family, DATAGRAM_WIDTH, &line);
    }
    out.into_bytes()
}

fn local() -> Vec<u8> {
    const ACCEPTS: u32 = 0x1_0000;
    let mut out =
        String::from("Num       RefCount Protocol Flags    Type St Inode Path\n").into_bytes();
    for (number, socket) in open_sockets() {
        let any: &dyn Any = &*socket;
        let Some(local) = any.downcast_ref::<UnixSocket>() else {
            continue;
        };
        let (_, kind, _) = local.describe();
        let (listens, is_connected, name) = local.listed();
        let flags = if listens { ACCEPTS } else { 0 };
        let state = if is_connected { 3 } else { 1 };
        let kind = kind as u32;
        let line = format!(
            "{:016x}: 00000002 00000000 {flags:08X} {kind:04X} {state:02X} {number:5}",
            0
        );
        out.extend_from_slice(line.as_bytes());
        if !name.is_empty() {
            out.push(b' ');
            // An abstract name begins with a zero byte, and may have more.
            out.extend(name.iter().map(|&byte| if byte == 0 { b'@' } else { byte }));
        }
        out.push(b'\n');
    }
    out
}

const DEVICES_HEAD: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
";

fn interfaces() -> Vec<u8> {
    let mut out = String::from(DEVICES_HEAD);
    network::with(|stack| {
        for (_, interface) in stack.interfaces() {
            let count = interface.counters;
            writeln!(
                out,
                "{:>6}: {:7} {:7} {:4} {:4}    0     0          0 {:9} {:8} {:7}    0 {:4}    0     \
                 0       0          0",
                interface.config.name,
                count.rx_bytes,
                count.rx_frames,
                count.rx_errors,
                count.rx_dropped,
                count.multicast,
                count.tx_bytes,
                count.tx_frames,
                count.tx_dropped,
            )
            .expect(WRITES);
        }
    });
    out.into_bytes()
}

/// A line of `route`; of IPv4 only.
fn route_line(interface: &Interface, route: &Route) -> Option<String> {
    const UP: u32 = 1;
    const GATEWAY: u32 = 2;
    const HOST: u32 = 4;
    let InterfaceAddress {
        address: IpAddr::V4(destination),
        prefix,
        ..
    } = route.destination
    else {
        return None;
    };
    let mask = u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0);
    let gateway = match route.gateway {
        Some(gateway) => words(gateway),
        None => words(IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED)),
    };
    let flags = UP
        | if route.gateway.is_some() { GATEWAY } else { 0 }
        | if prefix == 32 { HOST } else { 0 };
    let destination = core::net::Ipv4Addr::from_bits(destination.to_bits() & mask);
    Some(format!(
        "{}\t{}\t{gateway}\t{flags:04X}\t0\t0\t{}\t{:08X}\t0\t0\t0",
        interface.config.name,
        words(IpAddr::V4(destination)),
        route.metric,
        mask.swap_bytes(),
    ))
}

fn routes() -> Vec<u8> {
    let mut out = String::new();
    let head =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";
    push_line(&mut out, Family::V4, DATAGRAM_WIDTH, head);
    network::with(|stack| {
        for route in stack.routes() {
            let interface = stack.interface(route.interface);
            if let Some(line) = interface.and_then(|interface| route_line(interface, route)) {
                push_line(&mut out, Family::V4, DATAGRAM_WIDTH, &line);
            }
        }
    });
    out.into_bytes()
}

/// The scope of an address as the kernel numbers it.
const fn scope(address: Ipv6Addr) -> u8 {
    if address.is_loopback() {
        0x10
    } else if address.is_unicast_link_local() {
        0x20
    } else {
        0
    }
}

fn addresses() -> Vec<u8> {
    const PERMANENT: u8 = 0x80;
    let mut out = String::new();
    network::with(|stack| {
        for (id, interface) in stack.interfaces() {
            for own in &interface.addresses {
                let IpAddr::V6(address) = own.address else {
                    continue;
                };
                writeln!(
                    out,
                    "{:032x} {:02x} {:02x} {:02x} {PERMANENT:02x} {:>8}",
                    address.to_bits(),
                    id.index(),
                    own.prefix,
                    scope(address),
                    interface.config.name,
                )
                .expect(WRITES);
            }
        }
    });
    out.into_bytes()
}

fn statistics(family: Family) -> Vec<u8> {
    let all = listed(family, &|_| true);
    let count = |wanted: &dyn Fn(&Listed) -> bool| all.iter().filter(|one| wanted(one)).count();
    let of_kind = |kind: Kind| count(&|one| one.kind == kind && one.state != TcpState::TimeWait);
    let (streams, datagrams) = (of_kind(Kind::Stream), of_kind(Kind::Datagram));
    let raw = count(&|one| matches!(one.kind, Kind::Raw(_)));
    let text = match family {
        Family::V6 => format!(
            "TCP6: inuse {streams}\nUDP6: inuse {datagrams}\nUDPLITE6: inuse 0\nRAW6: inuse {raw}\n\
             FRAG6: inuse 0 memory 0\n"
        ),
        Family::V4 => {
            let orphans = count(&|one| one.is_orphan && one.handle.is_some());
            let waiting = count(&|one| one.state == TcpState::TimeWait);
            let (memory, allocated) =
                network::with(|stack| (stack.memory_used().div_ceil(4096), stack.socket_count()));
            let used = open_sockets().len();
            format!(
                "sockets: used {used}\nTCP: inuse {streams} orphan {orphans} tw {waiting} \
                 alloc {allocated} mem {memory}\nUDP: inuse {datagrams} mem 0\n\
                 UDPLITE: inuse 0\nRAW: inuse {raw}\nFRAG: inuse 0 memory 0\n"
            )
        }
    };
    text.into_bytes()
}
