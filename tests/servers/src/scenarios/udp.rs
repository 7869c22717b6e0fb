//! Datagrams through a published port.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::programs;
use crate::site::Site;
use serving::load::{Plan, Served, drive};
use serving::machine::Machine;

/// Small ones, one under way for each client.
pub(super) fn echo(site: &Site<'_>) -> Result<Served> {
    run(site, Plan::new(8, 250), |round| {
        1 + (round as usize * 37) % 1400
    })
}

/// Up to the largest that fits into what the machine's network takes.
pub(super) fn large(site: &Site<'_>) -> Result<Served> {
    run(site, Plan::new(1, 30), |round| 1400 + round as usize * 2200)
}

fn run(site: &Site<'_>, plan: Plan, length: fn(u32) -> usize) -> Result<Served> {
    let mut machine = start(site)?;
    machine.wait_ready(|| ask(&open(site.port)?, b"there?"))?;
    let served = drive(
        plan,
        |_| open(site.port),
        |socket, client, round| {
            let text = format!("{client} {round} ").repeat(17_000);
            let length = length(round);
            let datagram = text.as_bytes().get(..length).context("a length")?;
            ask(socket, datagram).with_context(|| format!("{length} bytes"))?;
            Ok(1)
        },
    );
    served.check()?;
    machine.end(143)?;
    Ok(served)
}

fn start(site: &Site<'_>) -> Result<Machine> {
    let program = programs::c("peer", site.folder())?;
    let port = site.port.to_string();
    let words = [&program.to_string_lossy(), "datagrams", &port].map(str::to_owned);
    let published = format!("127.0.0.1:{port}:{port}/udp");
    site.start_with(&["--publish".to_owned(), published], words.to_vec(), None)
}

fn open(port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    Ok(socket)
}

/// One datagram, and the same back.
fn ask(socket: &UdpSocket, datagram: &[u8]) -> Result<()> {
    socket.send(datagram).context("sending")?;
    let mut answer = vec![0; 1 << 16];
    let length = socket.recv(&mut answer).context("hearing")?;
    ensure!(
        answer.get(..length) == Some(datagram),
        "{length} other bytes come back"
    );
    Ok(())
}
