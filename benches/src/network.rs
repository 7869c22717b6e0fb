//! Servers under load by clients of this host, and bulk transfers, each way.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serving::clients::exchange::{self, Exchange};
use serving::clients::http::{self, Body, Request};
use serving::machine::tail;
use serving::steady::{self, Round};

use crate::bulk::{self, Way};
use crate::measure::add;
use crate::options::Options;
use crate::peer::Bench;
use crate::place::{self, Place, Server};
use crate::row::{Promise, Row, Unit, median};
use crate::workload::compile_java;

/// Clients at once.
const CONNECTIONS: usize = 16;
/// Requests of one write, where they come in pipelines.
const PIPELINE: usize = 16;
const VALUE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const PAGE: usize = 1024;

/// What is asked of a server, for one line of the report.
#[derive(Clone, Copy, Debug)]
struct Load {
    name: &'static str,
    what: What,
    promise: Option<Promise>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// Again and again, on all connections.
    Rounds(fn() -> Vec<Round>),
    /// Bytes on one connection.
    Bulk(Way),
}

impl Load {
    const fn rounds(name: &'static str, rounds: fn() -> Vec<Round>, least: f64) -> Self {
        Self {
            name,
            what: What::Rounds(rounds),
            promise: Some(Promise::RatioAtLeast(least)),
        }
    }

    const fn bulk(name: &'static str, way: Way) -> Self {
        Self {
            name,
            what: What::Bulk(way),
            promise: Some(Promise::AtLeast(5_000_000_000)),
        }
    }

    const fn unpromised(mut self) -> Self {
        self.promise = None;
        self
    }

    const fn unit(&self) -> Unit {
        match self.what {
            What::Rounds(_) => Unit::Requests,
            What::Bulk(_) => Unit::Bits,
        }
    }

    fn row(&self) -> Row {
        Row::new(self.name, self.unit(), self.promise)
    }

    /// One figure.
    fn run(&self, port: u16, window: Duration) -> Result<u64> {
        match self.what {
            What::Rounds(rounds) => {
                let served = steady::drive(port, CONNECTIONS, &rounds(), window)?;
                Ok(served.rate() as u64)
            }
            What::Bulk(way) => bulk::run(port, way, window),
        }
    }
}

const SERVER: Server = Server {
    words: &[],
    files: &[],
    prepare: |_| Ok(()),
    ready: has_page,
    has_peer: false,
};

const REDIS: Server = Server {
    words: &[
        "redis-server",
        "--bind",
        "{address}",
        "--port",
        "{port}",
        "--save",
        "",
        "--appendonly",
        "no",
        "--protected-mode",
        "no",
    ],
    ready: |port| exchange::ask(port, "PING\r\n", "+PONG\r\n"),
    has_peer: true,
    ..SERVER
};

const MEMCACHED: Server = Server {
    words: &[
        "memcached",
        "-t",
        "2",
        "-u",
        "root",
        "-l",
        "{address}",
        "-p",
        "{port}",
    ],
    ready: |port| exchange::ask(port, "mn\r\n", "MN\r\n"),
    ..SERVER
};

const NGINX: Server = Server {
    words: &["nginx", "-e", "stderr", "-c", "{site}/configuration"],
    files: &[(
        "configuration",
        "
        daemon off; master_process off; user root; pid {site}/pid;
        events { worker_connections 2048; }
        http {
            access_log off; sendfile on; keepalive_requests 1000000000; root {folder};
            server { listen {address}:{port}; }
        }
        ",
    )],
    prepare: |bench| Ok(std::fs::write(bench.folder.path().join("page"), page())?),
    ..SERVER
};

const NODE: Server = Server {
    words: &["node", "{programs}/page.js", "{address}", "{port}"],
    ..SERVER
};

const JAVA: Server = Server {
    // Without the property, Nagle's algorithm and a late acknowledgement cost 40 ms natively.
    words: &[
        "java",
        "-Dsun.net.httpserver.nodelay=true",
        "-cp",
        "{folder}",
        "Page",
        "{address}",
        "{port}",
    ],
    prepare: |bench| compile_java(bench, "Page"),
    ..SERVER
};

/// The servers with their loads.
const SERVERS: &[(Server, &[Load])] = &[
    (
        REDIS,
        &[
            Load::rounds("redis", || redis(1), 0.5),
            Load::rounds("redis-pipeline-16", || redis(PIPELINE), 0.6),
        ],
    ),
    (
        MEMCACHED,
        &[
            Load::rounds("memcached", || memcached(1), 0.5),
            Load::rounds("memcached-pipeline-16", || memcached(PIPELINE), 0.6),
        ],
    ),
    (NGINX, &[Load::rounds("nginx-1k", http, 0.5)]),
    (
        NODE,
        &[Load::rounds("node-http-1k", http, 0.0).unpromised()],
    ),
    (
        JAVA,
        &[Load::rounds("java-http-1k", http, 0.0).unpromised()],
    ),
    (
        bulk::SERVER,
        &[
            Load::bulk("bulk-to-client", Way::ToClient),
            Load::bulk("bulk-to-server", Way::ToServer),
        ],
    ),
];

/// `count` commands in each round, by turns one that sets and one that gets.
fn by_turns(count: usize, set: (String, &str), get: (&str, String)) -> Vec<Round> {
    let mut rounds = [Exchange::default(), Exchange::default()];
    for at in 0..2 * count {
        let round = &mut rounds[at / count];
        match at % 2 {
            0 => round.add(&set.0, set.1),
            _ => round.add(get.0, &get.1),
        }
    }
    rounds.map(Round::from).into()
}

fn redis(count: usize) -> Vec<Round> {
    let length = VALUE.len();
    let set = format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n${length}\r\n{VALUE}\r\n");
    let get = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
    by_turns(
        count,
        (set, "+OK\r\n"),
        (get, format!("${length}\r\n{VALUE}\r\n")),
    )
}

fn memcached(count: usize) -> Vec<Round> {
    let length = VALUE.len();
    let set = format!("set key 0 0 {length}\r\n{VALUE}\r\n");
    let got = format!("VALUE key 0 {length}\r\n{VALUE}\r\nEND\r\n");
    by_turns(count, (set, "STORED\r\n"), ("get key\r\n", got))
}

fn page() -> String {
    "x".repeat(PAGE)
}

fn http() -> Vec<Round> {
    vec![Round::page("/page", page().as_bytes())]
}

fn has_page(port: u16) -> Result<()> {
    http::ask(None, port, &Request::get("/page"), Body::Is(&page())).map(drop)
}

/// The names that the options choose.
pub(crate) fn names(options: &Options) -> impl Iterator<Item = &'static str> {
    let loads = SERVERS.iter().flat_map(|(_, loads)| *loads);
    loads
        .map(|load| load.name)
        .filter(|name| options.wants(name))
}

/// Measures what the options choose.
///
/// # Errors
/// When the host does not let us choose processors.
pub(crate) fn rows(bench: &Bench, options: &Options) -> Result<Vec<Row>> {
    share_two_processors()?;
    let mut rows = Vec::new();
    for (server, loads) in SERVERS {
        let loads: Vec<_> = loads
            .iter()
            .filter(|load| options.wants(load.name))
            .collect();
        if loads.is_empty() {
            continue;
        }
        match place::all(bench, options.cpus, server) {
            Ok(places) => rows.extend(measure_all(options, &loads, places)),
            Err(error) => rows.extend(loads.iter().map(|load| load.row().without(&error))),
        }
    }
    Ok(rows)
}

/// Clients and servers of all sides have the same two processors, however many the host has.
fn share_two_processors() -> Result<()> {
    let ours = sched_getaffinity(None)?;
    let mut two = CpuSet::new();
    let allowed = (0..CpuSet::MAX_CPU).filter(|&cpu| ours.is_set(cpu));
    allowed.take(2).for_each(|cpu| two.set(cpu));
    sched_setaffinity(None, &two).context("choosing two processors")
}

fn measure_all(options: &Options, loads: &[&Load], places: Vec<Place>) -> Vec<Row> {
    let mut rows: Vec<Row> = loads
        .iter()
        .map(|load| measure(options, load, &places))
        .collect();
    for place in places {
        let side = place.side;
        if let (Err(error), Some(row)) = (place.end(), rows.last_mut()) {
            row.medians.push((side, Err(error.context("at its end"))));
        }
    }
    rows
}

/// Side A, side B, side A, side B, and so on; before that, each once for nothing.
fn measure(options: &Options, load: &Load, places: &[Place]) -> Row {
    eprintln!("{} ...", load.name);
    let run = |place: &Place| {
        let said = || {
            format!(
                "under {}, which said: {}",
                place.side.name(),
                tail(&place.said())
            )
        };
        load.run(place.port, options.window()).with_context(said)
    };
    let mut figures: Vec<Result<Vec<u64>>> = places.iter().map(|_| Ok(Vec::new())).collect();
    for number in 0..=options.runs.max(1) {
        for (place, figures) in places.iter().zip(&mut figures) {
            add(figures, || run(place));
            if let (0, Ok(figures)) = (number, figures) {
                figures.clear();
            }
        }
    }
    let medians = figures.into_iter().map(|figures| figures.map(median));
    Row {
        medians: places.iter().map(|place| place.side).zip(medians).collect(),
        ..load.row()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let options = Options::parse_from(["benches", "--network"]);
        let names: Vec<_> = names(&options).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
    }
}
