//! Bytes on one connection, as fast as they go.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serving::clients::connect;

use crate::c;
use crate::place::Server;

/// Of one request.
const LENGTH: u64 = 64 << 20;
const BLOCK: usize = 1 << 17;

/// `programs/bulk.c`
pub(crate) const SERVER: Server = Server {
    words: &["{folder}/bulk", "{address}", "{port}"],
    files: &[],
    prepare: |bench| c::build(bench.folder.path(), "bulk").map(drop),
    ready: |port| transfer(&mut connect(port)?, Way::ToServer, 1),
    has_peer: false,
};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    ToClient,
    ToServer,
}

/// Bits a second.
///
/// # Errors
/// When the connection breaks.
pub(crate) fn run(port: u16, way: Way, window: Duration) -> Result<u64> {
    let mut stream = connect(port)?;
    let (started, mut bytes) = (Instant::now(), 0);
    while started.elapsed() < window {
        transfer(&mut stream, way, LENGTH)?;
        bytes += LENGTH;
    }
    Ok((bytes as f64 * 8.0 / started.elapsed().as_secs_f64()) as u64)
}

fn transfer(stream: &mut TcpStream, way: Way, length: u64) -> Result<()> {
    let verb = match way {
        Way::ToClient => b'g',
        Way::ToServer => b'p',
    };
    let [a, b, c, d, e, f, g, h] = length.to_le_bytes();
    stream.write_all(&[verb, a, b, c, d, e, f, g, h])?;
    match way {
        Way::ToClient => take(stream, length),
        Way::ToServer => give(stream, length),
    }
}

fn take(stream: &mut TcpStream, length: u64) -> Result<()> {
    let (mut left, mut block) = (length as usize, vec![0; BLOCK]);
    while left > 0 {
        let most = left.min(BLOCK);
        let got = stream.read(&mut block[..most]).context("receiving")?;
        ensure!(got > 0, "the server closed the connection");
        left -= got;
    }
    Ok(())
}

fn give(stream: &mut TcpStream, length: u64) -> Result<()> {
    let (mut left, block) = (length as usize, vec![0; BLOCK]);
    while left > 0 {
        let most = left.min(BLOCK);
        left -= stream.write(&block[..most]).context("sending")?;
    }
    let mut heard = [0; 8];
    stream.read_exact(&mut heard).context("the length")?;
    let heard = u64::from_le_bytes(heard);
    ensure!(heard == length, "the server got {heard} bytes of {length}");
    Ok(())
}
