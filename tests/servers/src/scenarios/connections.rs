//! Very many connections, very short ones, and very slow ones.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::{echo, streams};
use crate::loads;
use crate::site::Site;
use crate::table::SERVERS;
use serving::clients::exchange::Exchange;
use serving::clients::http::{self, Body, Request};
use serving::clients::{PATIENCE, connect};
use serving::load::{Plan, Served, drive};

const CLIENTS: u32 = 8;
/// Connections that are open at the same time.
const OPEN: u32 = 10_000;
/// Connections that begin at the same time, and how often they do.
const BURST: usize = 2_000;
const BURSTS: u32 = 5;
/// As long as a client waits that waits for nobody in particular.
const UNHURRIED: Duration = Duration::from_secs(5);
/// Connections a second, at most.
const STORM: u32 = 5_000;

/// Opens them all, then each is answered once.
pub(super) fn ten_thousand(site: &Site<'_>) -> Result<Served> {
    let machine = echo(site)?;
    let streams = Mutex::new(Vec::new());
    let opened = drive(
        Plan {
            clients: CLIENTS,
            rounds: OPEN / CLIENTS,
            limit: Duration::from_secs(60),
        },
        |_| Ok(()),
        |(), _, _| {
            let stream = connect(site.port)?;
            streams.lock().expect("no client panics").push(stream);
            Ok(1)
        },
    );
    opened.check().context("opening")?;
    let mut streams = streams.into_inner().expect("no client panics");
    ensure!(streams.len() == OPEN as usize, "{} in time", streams.len());
    let served = answer_each(&mut streams)?;
    let kilobytes = streams::resident(machine.id())?;
    drop(streams);
    machine.end(143)?;
    let (seconds, megabytes) = (opened.elapsed.as_secs_f64(), kilobytes >> 10);
    Ok(served.saying(format!("opened in {seconds:.1} s, monitor {megabytes} MiB")))
}

fn answer_each(streams: &mut [TcpStream]) -> Result<Served> {
    let started = Instant::now();
    for (at, stream) in streams.iter_mut().enumerate() {
        let sent = stream.write_all(format!("{at:08}").as_bytes());
        sent.with_context(|| format!("telling connection {at}"))?;
    }
    for (at, stream) in streams.iter_mut().enumerate() {
        hear(stream, at)?;
    }
    Ok(Served::some(streams.len() as u64, started))
}

/// The number of a connection, back again.
fn hear(stream: &mut TcpStream, at: usize) -> Result<()> {
    let exchange = Exchange {
        request: Vec::new(),
        answer: format!("{at:08}").into_bytes(),
        count: 1,
    };
    let heard = exchange.run(stream);
    heard
        .map(drop)
        .with_context(|| format!("hearing connection {at}"))
}

/// Opens some at once, and all are answered before their clients give up.
pub(super) fn burst(site: &Site<'_>) -> Result<Served> {
    let machine = echo(site)?;
    let started = Instant::now();
    for round in 0..BURSTS {
        one_burst(site).with_context(|| format!("burst {round}"))?;
    }
    machine.end(143)?;
    Ok(Served::some(u64::from(BURSTS) * BURST as u64, started))
}

fn one_burst(site: &Site<'_>) -> Result<()> {
    let streams: Result<Vec<_>> = (0..BURST).map(|_| connect(site.port)).collect();
    let mut streams = streams?;
    let gives_up = Instant::now() + UNHURRIED * site.options.patience;
    for (at, stream) in streams.iter_mut().enumerate() {
        stream.write_all(format!("{at:08}").as_bytes())?;
    }
    for (at, stream) in streams.iter_mut().enumerate() {
        let left = gives_up.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let heard = hear(stream, at);
        heard.with_context(|| format!("at most {UNHURRIED:?}"))?;
    }
    Ok(())
}

/// Connections for one small answer each, as many a second as are wanted or can be had.
pub(super) fn storm(site: &Site<'_>) -> Result<Served> {
    let machine = echo(site)?;
    let before = streams::resident(machine.id())?;
    let seconds = if site.options.slow { 30 } else { 10 };
    let started = Instant::now();
    let plan = Plan {
        clients: CLIENTS,
        rounds: STORM / CLIENTS * seconds,
        limit: Duration::from_secs(u64::from(seconds)),
    };
    let step = |client: u32, round: u32| {
        let due = Duration::from_secs(1) * round / (STORM / CLIENTS);
        thread::sleep(due.saturating_sub(started.elapsed()));
        let mut exchange = Exchange::default();
        let text = format!("{client} {round}\n");
        exchange.add(&text, &text);
        exchange.run(&mut connect(site.port)?)
    };
    let served = drive(plan, |_| Ok(()), |(), client, round| step(client, round));
    served.check()?;
    let growth = streams::check_growth(machine.id(), before)?;
    machine.end(143)?;
    Ok(served.saying(growth))
}

/// Clients that say a byte from time to time beside others that are served meanwhile; in the end
/// they, too, are answered.
pub(super) fn slow_loris(site: &Site<'_>) -> Result<Served> {
    let server = SERVERS
        .iter()
        .find(|server| server.name == "python-threads");
    let mut machine = server.context("a server with threads")?.start(site)?;
    machine.wait_ready(|| loads::says_hello(site))?;
    let (slow, good) = thread::scope(|scope| {
        let slow = scope.spawn(|| slow_clients(site.port));
        let good = http::load(
            site.port,
            Plan::new(4, 400),
            Request::get("/hello"),
            Body::Has("hello"),
        );
        (slow.join().expect("no panic"), good)
    });
    good.check()?;
    let slow = slow.context("slow clients")?;
    machine.end(143)?;
    Ok(good.saying(format!("{slow} slow ones")))
}

fn slow_clients(port: u16) -> Result<u64> {
    let clients: Result<Vec<_>> = (0..50).map(|_| connect(port)).collect();
    let mut clients = clients?;
    for byte in "GET /hello HTTP/1.1\r\nHost: slow\r\n\r\n".bytes() {
        for client in &mut clients {
            client.write_all(&[byte])?;
        }
        thread::sleep(Duration::from_millis(100));
    }
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE))?;
        let mut answer = Vec::new();
        http::Client::new(client.try_clone()?).answer(&mut answer)?;
        ensure!(answer.starts_with(b"hello"), "another body");
    }
    Ok(clients.len() as u64)
}
