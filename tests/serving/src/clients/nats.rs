//! NATS: messages that come back to who publishes them.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use anyhow::{Result, ensure};

use super::connect;
use crate::load::{Plan, Served, drive};

/// Messages under way at once.
const BATCH: u32 = 20;

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects, and subscribes to a topic of its own.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn open(port: u16, client: u32) -> Result<Self> {
        let stream = BufReader::new(connect(port)?);
        let mut opened = Self { stream };
        let information = opened.line()?;
        ensure!(information.starts_with("INFO "), "{information}");
        opened.tell("CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n")?;
        opened.expect("PONG")?;
        opened.tell(&format!("SUB husk.{client} 1\r\n"))?;
        Ok(opened)
    }

    /// Publishes, and hears it.
    fn batch(&mut self, client: u32, round: u32) -> Result<u64> {
        let message = |at| format!("message {round} {at}");
        let mut text = String::new();
        for at in 0..BATCH {
            let message = message(at);
            let _ = write!(text, "PUB husk.{client} {}\r\n{message}\r\n", message.len());
        }
        self.tell(&text)?;
        for at in 0..BATCH {
            let message = message(at);
            self.expect(&format!("MSG husk.{client} 1 {}", message.len()))?;
            self.expect(&message)?;
        }
        Ok(u64::from(BATCH))
    }

    fn expect(&mut self, wanted: &str) -> Result<()> {
        let line = self.line()?;
        ensure!(line == wanted, "{line:?} instead of {wanted:?}");
        Ok(())
    }

    /// The next line; the server's own questions are answered.
    fn line(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            ensure!(line.ends_with("\r\n"), "the connection ends");
            line.truncate(line.len() - 2);
            if line != "PING" {
                return Ok(line);
            }
            self.tell("PONG\r\n")?;
        }
    }

    fn tell(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.get_mut().write_all(text.as_bytes())?)
    }
}

/// Many clients, each on a topic of its own.
pub fn load(port: u16, plan: Plan) -> Served {
    drive(
        plan,
        |client| Client::open(port, client),
        |opened, client, round| opened.batch(client, round),
    )
}
