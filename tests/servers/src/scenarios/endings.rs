//! A program's end right after it has sent: its peers get all of it, or learn that they did not.
//!
//! What is asked of a machine is asked of the same program natively first.

use std::io::{ErrorKind, Read, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cases::Missing;
use crate::programs;
use crate::site::{Place, Site};
use serving::clients::connect;
use serving::load::Served;
use serving::machine::{Machine, tail};

/// This host, as a machine sees it.
const HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2));
const HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x6875, 0x736b, 0, 0, 0, 0, 2));
/// Just so that nothing hangs.
const LIMIT: Duration = Duration::from_secs(100);
/// How late a reader begins.
const LATE: Duration = Duration::from_millis(300);
const SMALL: usize = 100_000;
const LARGE: usize = 3_000_000;

/// How fast a reader reads: so many bytes, then a rest.
#[derive(Clone, Copy, Debug)]
struct Pace(usize, Duration);

const QUICK: Pace = Pace(1 << 20, Duration::ZERO);
const SLOW: Pace = Pace(16 << 10, Duration::from_millis(5));
const SLUGGISH: Pace = Pace(64 << 10, Duration::from_millis(500));

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    InOrder,
    Reset,
}

/// What the program is told.
#[derive(Clone, Copy, Debug)]
struct Leave {
    manner: &'static str,
    end: &'static str,
    host: IpAddr,
    size: usize,
    count: usize,
}

impl Leave {
    const CALL: Self = Self {
        manner: "call",
        end: "exit",
        host: HOST_V4,
        size: SMALL,
        count: 1,
    };

    /// As a shell counts.
    fn status(&self) -> i32 {
        match self.end {
            "kill" => 137,
            "abort" => 134,
            _ => 0,
        }
    }

    fn start(&self, site: &Site<'_>) -> Result<Machine> {
        let address = match (site.place, self.manner) {
            (Place::Native, _) => loopback(self.host),
            (_, "serve" | "ignore") => Ipv4Addr::UNSPECIFIED.into(),
            _ => self.host,
        };
        let mut words = vec!["/usr/bin/python3".to_owned()];
        words.push(programs::source("leave.py").to_string_lossy().into_owned());
        words.extend([self.manner.to_owned(), self.end.to_owned()]);
        words.extend([address.to_string(), site.port.to_string()]);
        words.extend([self.size.to_string(), self.count.to_string()]);
        let mut options = ["--allow-net", "host"].map(str::to_owned).to_vec();
        options.extend(
            Site::publish(site.port)
                .into_iter()
                .filter(|_| self.listens()),
        );
        site.start_with(&options, words, None)
    }

    fn listens(&self) -> bool {
        matches!(self.manner, "serve" | "ignore")
    }

    fn ends(&self, mut machine: Machine) -> Result<()> {
        let status = machine.wait(LIMIT)?;
        let wanted = self.status();
        let said = tail(&machine.said());
        ensure!(status == wanted, "status {status}, not {wanted}: {said}");
        Ok(())
    }
}

fn loopback(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Runs a case natively, then in machines.
fn both(site: &Site<'_>, run: impl Fn(&Site<'_>) -> Result<()>) -> Result<Served> {
    let started = Instant::now();
    let machines = site.options.cpus().iter().map(|cpus| Place::Machine(*cpus));
    for place in std::iter::once(Place::Native).chain(machines) {
        let site = Site::new(site.options, place)?;
        run(&site).with_context(|| format!("{place:?}"))?;
    }
    Ok(Served::some(0, started))
}

/// Reads to the end; how many bytes there were, each the right one.
fn gather(stream: &mut TcpStream, Pace(most, rest): Pace) -> Result<(usize, Last)> {
    stream.set_read_timeout(Some(LIMIT))?;
    let (mut bytes, mut at) = (vec![0; most], 0);
    loop {
        let count = match stream.read(&mut bytes) {
            Ok(0) => return Ok((at, Last::InOrder)),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                return Ok((at, Last::Reset));
            }
            Err(error) => bail!("after {at} bytes: {error}"),
        };
        let mut came = (at..).zip(bytes.iter().take(count));
        let wrong = came.find(|(at, byte)| (at % 251) as u8 != **byte);
        ensure!(wrong.is_none(), "byte {wrong:?} is another");
        at += count;
        thread::sleep(rest);
    }
}

/// Gathers all that is to come, and no less.
fn gather_all(stream: &mut TcpStream, size: usize, pace: Pace) -> Result<()> {
    let got = gather(stream, pace)?;
    ensure!(got == (size, Last::InOrder), "{got:?} of {size} bytes");
    Ok(())
}

fn listen(host: IpAddr, port: u16) -> Result<TcpListener> {
    let at = SocketAddr::new(loopback(host), port);
    match TcpListener::bind(at) {
        Err(error) if at.is_ipv6() && error.kind() == ErrorKind::AddrNotAvailable => {
            bail!(Missing("this host has no IPv6".to_owned()))
        }
        listener => Ok(listener?),
    }
}

/// Readers of the streams that the program opens.
fn readers(leave: Leave, port: u16, pace: Pace) -> Result<JoinHandle<Result<()>>> {
    let listener = listen(leave.host, port)?;
    Ok(thread::spawn(move || {
        let streams: std::io::Result<Vec<_>> = listener.incoming().take(leave.count).collect();
        read_late(streams?, leave.size, pace)
    }))
}

/// All at once, after a while.
fn read_late(streams: Vec<TcpStream>, size: usize, pace: Pace) -> Result<()> {
    thread::sleep(LATE);
    let read = |mut stream: TcpStream| thread::spawn(move || gather_all(&mut stream, size, pace));
    let threads: Vec<_> = streams.into_iter().map(read).collect();
    let mut threads = threads.into_iter();
    threads.try_for_each(|thread| thread.join().expect("no panic"))
}

fn called(site: &Site<'_>, leave: Leave, pace: Pace) -> Result<Served> {
    both(site, |site| {
        let readers = readers(leave, site.port, pace)?;
        leave.ends(leave.start(site)?)?;
        readers.join().expect("no panic")
    })
}

pub(super) fn exit(site: &Site<'_>) -> Result<Served> {
    called(site, Leave::CALL, QUICK)
}

pub(super) fn exit_slow_reader(site: &Site<'_>) -> Result<Served> {
    let leave = Leave {
        size: LARGE,
        ..Leave::CALL
    };
    called(site, leave, SLOW)
}

pub(super) fn kill(site: &Site<'_>) -> Result<Served> {
    let leave = Leave {
        end: "kill",
        ..Leave::CALL
    };
    called(site, leave, SLOW)
}

pub(super) fn abort(site: &Site<'_>) -> Result<Served> {
    let leave = Leave {
        end: "abort",
        size: LARGE,
        ..Leave::CALL
    };
    called(site, leave, SLOW)
}

pub(super) fn several(site: &Site<'_>) -> Result<Served> {
    let leave = Leave {
        count: 8,
        ..Leave::CALL
    };
    called(site, leave, SLOW)
}

pub(super) fn v6(site: &Site<'_>) -> Result<Served> {
    let leave = Leave {
        host: HOST_V6,
        ..Leave::CALL
    };
    called(site, leave, QUICK)
}

/// A server's callers, which have asked.
fn callers(site: &Site<'_>, leave: Leave) -> Result<(Machine, Vec<TcpStream>)> {
    let mut machine = leave.start(site)?;
    let said = site.path("said");
    machine.wait_ready(|| {
        let said = std::fs::read_to_string(&said)?;
        ensure!(said.contains("ready"), "not yet");
        Ok(())
    })?;
    let streams: Result<Vec<_>> = (0..leave.count).map(|_| ask(site.port)).collect();
    Ok((machine, streams?))
}

fn ask(port: u16) -> Result<TcpStream> {
    let mut stream = connect(port)?;
    stream.write_all(b"go\n")?;
    Ok(stream)
}

/// A server ends with answers that nobody has read yet.
pub(super) fn published(site: &Site<'_>) -> Result<Served> {
    let leave = Leave {
        manner: "serve",
        size: 400_000,
        count: 5,
        ..Leave::CALL
    };
    both(site, |site| {
        let (machine, streams) = callers(site, leave)?;
        let reader = thread::spawn(move || read_late(streams, leave.size, SLOW));
        leave.ends(machine)?;
        reader.join().expect("no panic")
    })
}

/// A server ends that has not read what its callers said: they learn of it.
pub(super) fn unread(site: &Site<'_>) -> Result<Served> {
    let leave = Leave {
        manner: "ignore",
        size: 100,
        count: 2,
        ..Leave::CALL
    };
    both(site, |site| {
        let (machine, streams) = callers(site, leave)?;
        leave.ends(machine)?;
        for mut stream in streams {
            let (_, last) = gather(&mut stream, QUICK)?;
            ensure!(last == Last::Reset, "{last:?}");
        }
        Ok(())
    })
}

/// What was sent by datagrams has left when the program has.
pub(super) fn datagrams(site: &Site<'_>) -> Result<Served> {
    let leave = Leave {
        manner: "datagrams",
        count: 40,
        ..Leave::CALL
    };
    both(site, |site| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, site.port))?;
        leave.ends(leave.start(site)?)?;
        socket.set_read_timeout(Some(LATE))?;
        let mut bytes = [0; 100];
        let came = (0..).take_while(|_| socket.recv(&mut bytes).is_ok());
        let came = came.count();
        ensure!(came == leave.count, "{came} of {}", leave.count);
        Ok(())
    })
}

/// A program that sends as much as is taken, and the stream of it that nobody reads.
fn stuffed(site: &Site<'_>, end: &'static str) -> Result<(Machine, TcpStream)> {
    let leave = Leave {
        manner: "stuff",
        end,
        ..Leave::CALL
    };
    let listener = listen(leave.host, site.port)?;
    let machine = leave.start(site)?;
    let (stream, _) = listener.accept()?;
    let deadline = Instant::now() + LIMIT;
    while sent(site).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    Ok((machine, stream))
}

/// How many bytes the program says it has sent.
fn sent(site: &Site<'_>) -> Result<usize> {
    let said = std::fs::read_to_string(site.path("said"))?;
    let line = said.lines().find_map(|line| line.strip_prefix("sent "));
    Ok(line.context("it says nothing yet")?.trim().parse()?)
}

/// The peer of a stream that was cut off sees a reset, not an end.
fn is_reset(site: &Site<'_>, stream: &mut TcpStream) -> Result<String> {
    let sent = sent(site)?;
    let (got, last) = gather(stream, QUICK)?;
    ensure!(last == Last::Reset, "{last:?} after {got} of {sent} bytes");
    ensure!(got < sent, "{got} bytes, and {sent} were sent");
    Ok(format!("{got} of {sent} bytes"))
}

/// A peer that never reads keeps no machine.
pub(super) fn never_read(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let (mut machine, mut stream) = stuffed(site, "exit")?;
    let status = machine.wait(LIMIT)?;
    ensure!(status == 0, "status {status}: {}", tail(&machine.said()));
    let said = is_reset(site, &mut stream)?;
    Ok(Served::some(0, started).saying(said))
}

/// Whoever ends husk while it still sends has ended it.
pub(super) fn interrupted(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let (mut machine, mut stream) = stuffed(site, "exit")?;
    let reader = thread::spawn(move || gather(&mut stream, SLUGGISH));
    thread::sleep(LATE);
    let status = machine.stop()?;
    ensure!(status == 0, "status {status}: {}", tail(&machine.said()));
    let (got, last) = reader.join().expect("no panic")?;
    ensure!(last == Last::Reset, "{last:?} after {got} bytes");
    Ok(Served::some(0, started))
}

/// A monitor that is killed in the middle of a stream resets it.
pub(super) fn monitor_killed(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let (machine, mut stream) = stuffed(site, "stay")?;
    drop(machine);
    let said = is_reset(site, &mut stream)?;
    Ok(Served::some(0, started).saying(said))
}
