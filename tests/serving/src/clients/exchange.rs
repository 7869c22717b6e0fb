//! Protocols whose answers are known byte for byte: redis, memcached, echo.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

use super::connect;
use crate::load::{Plan, Served, drive};

/// Some requests in one write, and the answers to all of them.
#[derive(Debug, Default)]
pub struct Exchange {
    /// What is sent.
    pub request: Vec<u8>,
    /// What comes back.
    pub answer: Vec<u8>,
    /// How many requests it is.
    pub count: u64,
}

impl Exchange {
    /// Adds one.
    pub fn add(&mut self, request: &str, answer: &str) {
        self.request.extend_from_slice(request.as_bytes());
        self.answer.extend_from_slice(answer.as_bytes());
        self.count += 1;
    }

    /// Makes them, and compares.
    ///
    /// # Errors
    /// When the connection breaks or the answer is another.
    pub fn run(&self, stream: &mut TcpStream) -> Result<u64> {
        stream.write_all(&self.request).context("sending")?;
        let mut answer = vec![0; self.answer.len()];
        stream.read_exact(&mut answer).context("receiving")?;
        let differs = answer.iter().zip(&self.answer).position(|(a, b)| a != b);
        ensure!(
            differs.is_none(),
            "the answer {:?} differs from {:?} at {differs:?}",
            excerpt(&answer),
            excerpt(&self.answer)
        );
        Ok(self.count)
    }
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(200).collect()
}

/// Asks once, on a connection of its own.
///
/// # Errors
/// When the answer is not there, or another.
pub fn ask(port: u16, request: &str, answer: &str) -> Result<()> {
    let mut exchange = Exchange::default();
    exchange.add(request, answer);
    exchange.run(&mut connect(port)?).map(drop)
}

/// Many clients with what `make` says for a client and a round.
pub fn load(port: u16, plan: Plan, make: fn(u32, u32) -> Exchange) -> Served {
    drive(
        plan,
        |_| connect(port),
        |stream, client, round| make(client, round).run(stream),
    )
}

/// 48 commands of redis in a pipeline.
pub fn redis(client: u32, round: u32) -> Exchange {
    let mut exchange = Exchange::default();
    let mut tell = |words: &[&str], answer: &str| {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            let _ = write!(request, "${}\r\n{word}\r\n", word.len());
        }
        exchange.add(&request, answer);
    };
    let (counter, list) = (format!("counter:{client}"), format!("list:{client}"));
    for at in 0..8 {
        let key = format!("key:{client}:{at}");
        let value = format!("value {round} {at} {}", "x".repeat((round % 100) as usize));
        tell(&["SET", &key, &value], "+OK\r\n");
        tell(&["GET", &key], &format!("${}\r\n{value}\r\n", value.len()));
        tell(&["PING"], "+PONG\r\n");
        tell(&["INCR", &counter], &format!(":{}\r\n", round * 8 + at + 1));
        tell(&["RPUSH", &list, &key], ":1\r\n");
        tell(&["LPOP", &list], &format!("${}\r\n{key}\r\n", key.len()));
    }
    exchange
}

/// 30 commands of memcached at once.
pub fn memcached(client: u32, round: u32) -> Exchange {
    let mut exchange = Exchange::default();
    for at in 0..10 {
        let key = format!("key_{client}_{at}");
        let value = format!("{round} {at} {}", "y".repeat((round % 200) as usize));
        let length = value.len();
        exchange.add(
            &format!("set {key} {at} 0 {length}\r\n{value}\r\n"),
            "STORED\r\n",
        );
        exchange.add(
            &format!("get {key}\r\n"),
            &format!("VALUE {key} {at} {length}\r\n{value}\r\nEND\r\n"),
        );
        exchange.add(&format!("delete {key}\r\n"), "DELETED\r\n");
    }
    exchange
}

/// Bytes that come back as they are; more in every tenth round.
pub fn echo(client: u32, round: u32) -> Exchange {
    let length = if round % 10 == 9 { 40_000 } else { 100 };
    let text = format!("{client} {round} ").repeat(length / 8);
    let mut exchange = Exchange::default();
    exchange.add(&text, &text);
    exchange
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn another_answer_is_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let server = std::thread::spawn(move || {
            for answer in ["+PONG\r\n", "+PANG\r\n"] {
                let (mut stream, _) = listener.accept().expect("a client");
                stream.write_all(answer.as_bytes()).expect("sent");
            }
        });
        assert!(ask(port, "PING\r\n", "+PONG\r\n").is_ok());
        assert!(ask(port, "PING\r\n", "+PONG\r\n").is_err());
        server.join().expect("it ends");
    }
}
