//! What a machine reaches.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, ToSocketAddrs as _};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cases::Missing;
use crate::site::Site;
use serving::load::Served;

/// A name of the world.
const NAME: &str = "deb.debian.org";
/// Lines of the page.
const LINES: usize = 20_000;
const LIMIT: Duration = Duration::from_secs(60);
/// When curl cannot connect.
const NOT_CONNECTED: i32 = 7;

fn page() -> String {
    (0..LINES).map(|line| format!("line {line}\n")).collect()
}

/// A web server in this process, until the process ends; how often it was asked.
fn serve(port: u16) -> Result<&'static AtomicU32> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let asked: &AtomicU32 = Box::leak(Box::default());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            asked.fetch_add(1, Ordering::Relaxed);
            let answered = answer(stream);
            if let Err(error) = answered {
                println!("our own web server: {error:#}");
            }
        }
    });
    Ok(asked)
}

fn answer(mut stream: std::net::TcpStream) -> Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    let page = page();
    let length = page.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{page}"
    )?;
    Ok(())
}

/// curl in a machine with these options, from the gateway, which stands for this host.
fn fetch(site: &Site<'_>, options: &[String]) -> Result<(i32, String)> {
    let url = format!("http://10.0.2.2:{}/", site.port);
    let words = ["/usr/bin/curl", "-sS", "--max-time", "20", &url].map(str::to_owned);
    let mut machine = site.start_with(options, words.to_vec(), None)?;
    let status = machine.wait(LIMIT)?;
    Ok((status, machine.said()))
}

pub(super) fn host_allowed(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let asked = serve(site.port)?;
    let (status, said) = fetch(site, &["--allow-net", "host"].map(str::to_owned))?;
    ensure!(
        status == 0,
        "status {status}: {}",
        serving::machine::tail(&said)
    );
    ensure!(said == page(), "another page of {} bytes", said.len());
    ensure!(asked.load(Ordering::Relaxed) == 1, "asked more than once");
    Ok(Served::some(1, started))
}

pub(super) fn host_refused(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let asked = serve(site.port)?;
    let (status, said) = fetch(site, &[])?;
    let refused = status == NOT_CONNECTED && asked.load(Ordering::Relaxed) == 0;
    ensure!(
        refused,
        "status {status}: {}",
        serving::machine::tail(&said)
    );
    Ok(Served::some(1, started).saying(serving::machine::tail(&said)))
}

/// By the C library, and by a question of our own to the machine's resolver.
const LOOK_UP: &str = r#"
import socket, sys
name = sys.argv[1]
print("library", socket.getaddrinfo(name, 80, socket.AF_INET)[0][4][0])
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
question = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.sendto(question, ("10.0.2.3", 53))
answer = s.recv(2000)
assert answer[:2] == question[:2] and answer[3] & 15 == 0, answer
print("resolver", int.from_bytes(answer[6:8], "big"), "answers")
"#;

pub(super) fn names(site: &Site<'_>) -> Result<Served> {
    let here = (NAME, 80).to_socket_addrs();
    if here.map_or(0, Iterator::count) == 0 {
        bail!(Missing(format!("this host cannot resolve {NAME}")));
    }
    let started = Instant::now();
    let words = ["/usr/bin/python3", "-c", LOOK_UP, NAME].map(str::to_owned);
    let mut machine = site.start_with(&[], words.to_vec(), None)?;
    let status = machine.wait(LIMIT)?;
    let said = machine.said();
    let tail = serving::machine::tail(&said);
    ensure!(status == 0, "status {status}: {tail}");
    let address = said.lines().find_map(|line| line.strip_prefix("library "));
    let address: Ipv4Addr = address.context("no address")?.parse()?;
    ensure!(!address.is_unspecified(), "{tail}");
    Ok(Served::some(2, started).saying(tail))
}
