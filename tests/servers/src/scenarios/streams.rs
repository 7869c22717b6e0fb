//! Streams: many at once, those that stand still, and those that end on one side.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::peer;
use crate::site::Site;
use serving::clients::{connect, exchange};
use serving::load::{Plan, Served};

/// What `peer pour` sends on a connection.
const POURED: usize = 64 << 20;
/// Connections that stand still at once.
const STILL: usize = 8;
/// How much more memory the monitor may have then.
const GROWTH_MIB: u64 = 8;

pub(super) fn echo(site: &Site<'_>) -> Result<Served> {
    let machine = super::echo(site)?;
    let served = exchange::load(site.port, Plan::new(32, 200), exchange::echo);
    served.check()?;
    machine.end(143)?;
    Ok(served)
}

/// A process's resident memory in KiB, without what it shares: the machine's memory is the
/// machine's, and by the KVM engine the monitor has it mapped.
pub(super) fn resident(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let mut lines = status.lines();
        let number = lines.find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        Ok(number.with_context(|| name.to_owned())?.parse()?)
    };
    Ok(field("VmRSS:")? - field("RssShmem:")?)
}

/// Fails when the monitor has grown.
pub(super) fn check_growth(id: u32, before: u64) -> Result<String> {
    let growth = resident(id)?.saturating_sub(before);
    let allowed = growth >> 10 <= GROWTH_MIB;
    ensure!(allowed, "the monitor has {growth} KiB more than before");
    Ok(format!("monitor {growth} KiB larger"))
}

/// The server sends, and nobody reads; the monitor must not keep it all. Then everything is read.
pub(super) fn client_stops(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let mut machine = peer(site, "pour")?;
    machine.wait_ready(|| Ok(connect(site.port)?.read_exact(&mut [0; 16])?))?;
    let before = resident(machine.id())?;
    let streams: Result<Vec<_>> = (0..STILL).map(|_| connect(site.port)).collect();
    let mut streams = streams?;
    thread::sleep(Duration::from_secs(3));
    let growth = check_growth(machine.id(), before)?;
    // The others end in the middle.
    let two = streams.get_mut(..2).context("there are more")?;
    two.iter_mut().try_for_each(read_poured)?;
    drop(streams);
    check_growth(machine.id(), before).context("afterwards")?;
    machine.end(143)?;
    Ok(Served::some(STILL as u64, started).saying(growth))
}

fn read_poured(stream: &mut TcpStream) -> Result<()> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    ensure!(bytes.len() == POURED, "{} bytes", bytes.len());
    let wrong = |&(at, byte): &(usize, &u8)| (at ^ at >> 8 ^ at >> 16) as u8 != *byte;
    let wrong = bytes.iter().enumerate().find(wrong);
    ensure!(wrong.is_none(), "byte {wrong:?} is another");
    Ok(())
}

/// The client sends, and the server reads nothing for three seconds.
pub(super) fn server_stops(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let mut machine = peer(site, "gather-late")?;
    machine.wait_ready(|| gathered(site.port, b"there?"))?;
    let before = resident(machine.id())?;
    let bytes = noise(32 << 20);
    let growth = thread::scope(|scope| {
        let send = || gathered(site.port, &bytes);
        let clients: Vec<_> = (0..STILL).map(|_| scope.spawn(send)).collect();
        thread::sleep(Duration::from_secs(2));
        let growth = check_growth(machine.id(), before);
        let mut ends = clients.into_iter();
        ends.try_for_each(|client| client.join().expect("no panic"))?;
        growth
    })?;
    machine.end(143)?;
    Ok(Served::some(STILL as u64, started).saying(growth))
}

/// Sends everything, says so, and hears what the server made of it.
fn gathered(port: u16, bytes: &[u8]) -> Result<()> {
    let mut stream = connect(port)?;
    stream.write_all(bytes).context("sending")?;
    stream.shutdown(Shutdown::Write)?;
    let mut said = String::new();
    stream.read_to_string(&mut said).context("hearing")?;
    let wanted = format!("{} {:016x}\n", bytes.len(), hash(bytes));
    ensure!(said == wanted, "the server got {said:?}, not {wanted:?}");
    Ok(())
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// The client has no more to say, and is answered all the same.
pub(super) fn client_closes_half(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let mut machine = peer(site, "gather")?;
    machine.wait_ready(|| gathered(site.port, b"there?"))?;
    let bytes = noise(100_000);
    for length in [0, 1, bytes.len()] {
        gathered(site.port, bytes.get(..length).unwrap_or_default())
            .with_context(|| format!("{length} bytes"))?;
    }
    machine.end(143)?;
    Ok(Served::some(3, started))
}

/// The server has no more to say, and hears everything all the same.
pub(super) fn server_closes_half(site: &Site<'_>) -> Result<Served> {
    let started = Instant::now();
    let mut machine = peer(site, "listen")?;
    machine.wait_ready(|| tell(site.port, 0, 0))?;
    let mut before = 0;
    for length in [1, 100_000, 4 << 20, 0] {
        tell(site.port, before, length).with_context(|| format!("{length} bytes"))?;
        before += length;
    }
    tell(site.port, before, 0).context("the sum")?;
    machine.end(143)?;
    Ok(Served::some(5, started))
}

/// Hears how much the server has got, to the end; then sends.
fn tell(port: u16, before: usize, length: usize) -> Result<()> {
    let mut stream = connect(port)?;
    let mut said = String::new();
    stream.read_to_string(&mut said).context("hearing")?;
    ensure!(
        said == format!("{before}\n"),
        "it says {said:?}, not {before}"
    );
    stream.write_all(&noise(length)).context("sending")?;
    stream.shutdown(Shutdown::Write)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_known_one() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn our_own_memory_is_seen() {
        assert!(resident(std::process::id()).expect("it runs") > 100);
    }
}
