//! MQTT 3.1.1: messages of quality 0 that come back to who publishes them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

use super::connect;
use super::exchange::Exchange;
use crate::load::{Plan, Served, drive};

/// Messages under way at once.
const BATCH: u32 = 20;

/// A connection that hears what it says about its own topic.
///
/// # Errors
/// When the broker refuses.
pub fn open(port: u16, client: u32) -> Result<TcpStream> {
    let mut stream = connect(port)?;
    let name = format!("husk-{client}-{}", stream.local_addr()?.port());
    let mut connection = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
    add_text(&mut connection, &name);
    tell(&mut stream, 0x10, &connection, &[0x20, 2, 0, 0])?;
    let mut subscription = vec![0, 1];
    add_text(&mut subscription, &topic(client));
    subscription.push(0);
    tell(&mut stream, 0x82, &subscription, &[0x90, 3, 0, 1, 0])?;
    Ok(stream)
}

/// Many clients, each on a topic of its own.
pub fn load(port: u16, plan: Plan) -> Served {
    drive(
        plan,
        |client| open(port, client),
        |stream, client, round| batch(client, round).run(stream),
    )
}

fn topic(client: u32) -> String {
    format!("husk/{client}")
}

fn batch(client: u32, round: u32) -> Exchange {
    let mut exchange = Exchange::default();
    for at in 0..BATCH {
        let mut message = Vec::new();
        add_text(&mut message, &topic(client));
        message.extend_from_slice(format!("message {round} {at}").as_bytes());
        exchange.request.extend(packet(0x30, &message));
        exchange.count += 1;
    }
    // The broker sends the same packets.
    exchange.answer.clone_from(&exchange.request);
    exchange
}

fn add_text(to: &mut Vec<u8>, text: &str) {
    to.extend_from_slice(&(text.len() as u16).to_be_bytes());
    to.extend_from_slice(text.as_bytes());
}

/// A packet with less than 128 bytes behind its head.
fn packet(kind: u8, rest: &[u8]) -> Vec<u8> {
    assert!(rest.len() < 128, "the length is one byte");
    let mut packet = vec![kind, rest.len() as u8];
    packet.extend_from_slice(rest);
    packet
}

fn tell(stream: &mut TcpStream, kind: u8, rest: &[u8], wanted: &[u8]) -> Result<()> {
    stream.write_all(&packet(kind, rest))?;
    let mut answer = vec![0; wanted.len()];
    stream
        .read_exact(&mut answer)
        .context("the broker's word")?;
    ensure!(answer == wanted, "the broker says {answer:?}");
    Ok(())
}
