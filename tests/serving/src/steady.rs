//! The same requests for a while, by one thread that waits for all connections at once.
//!
//! [`crate::load`] has a thread for each connection: it finds mistakes, and costs as much as many
//! a server. This costs little, so that a rate tells of the server. Every answer is checked.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::Timespec;

use crate::clients::exchange::Exchange;
use crate::clients::{PATIENCE, connect};
use crate::load::Served;

/// Read at once.
const BLOCK: usize = 1 << 14;

/// Some requests in one write, and what must come back before the next.
#[derive(Clone, Debug)]
pub struct Round {
    request: Vec<u8>,
    answer: Answer,
    count: u64,
}

#[derive(Clone, Debug)]
enum Answer {
    /// These bytes.
    Is(Vec<u8>),
    /// An answer of HTTP/1.1 with status 200 and this body, whatever else its head says.
    Page(Vec<u8>),
}

impl From<Exchange> for Round {
    fn from(exchange: Exchange) -> Self {
        Self {
            request: exchange.request,
            answer: Answer::Is(exchange.answer),
            count: exchange.count,
        }
    }
}

impl Round {
    /// A page by HTTP/1.1 on a connection that stays; its body must be this one, in one piece.
    #[must_use]
    pub fn page(path: &str, body: &[u8]) -> Self {
        Self {
            request: format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(),
            answer: Answer::Page(body.to_vec()),
            count: 1,
        }
    }
}

impl Answer {
    /// Whether all of it is there.
    fn is_whole(&self, got: &[u8]) -> Result<bool> {
        let length = match self {
            Self::Is(bytes) => bytes.len(),
            Self::Page(body) => match got.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(head) => head + 4 + body.len(),
                None => return Ok(false),
            },
        };
        if got.len() < length {
            return Ok(false);
        }
        let is_right = match self {
            Self::Is(bytes) => got == bytes,
            Self::Page(body) => {
                got.len() == length && got.starts_with(b"HTTP/1.1 200 ") && got.ends_with(body)
            }
        };
        ensure!(is_right, "the answer is {:?}", excerpt(got));
        Ok(true)
    }
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(300).collect()
}

struct Connection<'a> {
    stream: TcpStream,
    rounds: &'a [Round],
    /// The round that is under way.
    at: usize,
    got: Vec<u8>,
}

impl Connection<'_> {
    fn ask(&mut self) -> Result<()> {
        self.got.clear();
        let request = &self.rounds[self.at].request;
        self.stream.write_all(request).context("sending")
    }

    /// Reads what there is; the number of requests if it was the last of a round's answers.
    fn hear(&mut self) -> Result<Option<u64>> {
        let before = self.got.len();
        self.got.resize(before + BLOCK, 0);
        let length = self.stream.read(&mut self.got[before..]);
        let length = length.context("receiving")?;
        self.got.truncate(before + length);
        ensure!(
            length > 0,
            "the server closed the connection after {:?}",
            excerpt(&self.got)
        );
        let round = &self.rounds[self.at];
        let is_whole = round.answer.is_whole(&self.got)?;
        if is_whole {
            self.at = (self.at + 1) % self.rounds.len();
        }
        Ok(is_whole.then_some(round.count))
    }
}

/// Makes the rounds one after the other and from the beginning again, on so many connections at
/// once; no round begins after `limit`.
///
/// # Errors
/// At the first answer that is missing or not the right one.
///
/// # Panics
/// Without rounds.
pub fn drive(port: u16, connections: usize, rounds: &[Round], limit: Duration) -> Result<Served> {
    assert!(!rounds.is_empty(), "there is something to ask");
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut all = Vec::with_capacity(connections);
    for number in 0..connections {
        all.push(open(&epoll, port, number, rounds)?);
    }
    let started = Instant::now();
    all.iter_mut().try_for_each(Connection::ask)?;
    let (mut requests, mut under_way) = (0, connections);
    let mut events = Vec::with_capacity(connections);
    while under_way > 0 {
        wait(&epoll, &mut events)?;
        let is_over = started.elapsed() > limit;
        for event in events.drain(..) {
            let connection = &mut all[event.data.u64() as usize];
            let Some(count) = connection.hear()? else {
                continue;
            };
            requests += count;
            if is_over {
                under_way -= 1;
            } else {
                connection.ask()?;
            }
        }
    }
    Ok(Served::some(requests, started))
}

fn open<'a>(
    epoll: &OwnedFd,
    port: u16,
    number: usize,
    rounds: &'a [Round],
) -> Result<Connection<'a>> {
    let stream = connect(port)?;
    let data = EventData::new_u64(number as u64);
    epoll::add(epoll, &stream, data, EventFlags::IN)?;
    Ok(Connection {
        stream,
        rounds,
        at: 0,
        got: Vec::with_capacity(2 * BLOCK),
    })
}

fn wait(epoll: &OwnedFd, events: &mut Vec<Event>) -> Result<()> {
    let patience = Timespec {
        tv_sec: PATIENCE.as_secs() as i64,
        tv_nsec: 0,
    };
    epoll::wait(
        epoll,
        rustix::buffer::spare_capacity(events),
        Some(&patience),
    )?;
    if events.is_empty() {
        bail!("no answer within {PATIENCE:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Answers every `?` on some connections with what `answer` says to the how manieth it is.
    fn server(connections: usize, answer: fn(usize) -> &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let serve = move |mut stream: TcpStream| {
            let mut byte = [0];
            for number in 0.. {
                let is_asked = matches!(stream.read(&mut byte), Ok(1));
                if !is_asked || stream.write_all(answer(number).as_bytes()).is_err() {
                    break;
                }
            }
        };
        thread::spawn(move || {
            for _ in 0..connections {
                let (stream, _) = listener.accept().expect("a client");
                thread::spawn(move || serve(stream));
            }
        });
        port
    }

    fn rounds() -> [Round; 1] {
        let mut exchange = Exchange::default();
        exchange.add("?", "yes");
        [exchange.into()]
    }

    #[test]
    fn all_connections_are_served_until_the_time_is_up() {
        let port = server(3, |_| "yes");
        let served = drive(port, 3, &rounds(), Duration::from_millis(50)).expect("it answers");
        assert!(served.requests >= 3, "{served:?}");
        assert!(served.elapsed >= Duration::from_millis(50));
    }

    #[test]
    fn a_wrong_answer_fails_all() {
        let port = server(1, |number| if number < 5 { "yes" } else { "yet" });
        drive(port, 1, &rounds(), Duration::from_secs(10)).expect_err("the sixth is wrong");
    }

    #[test]
    fn a_page_has_a_head_a_status_and_a_body() {
        let answer = Round::page("/", b"body").answer;
        let whole = |text: &str| answer.is_whole(text.as_bytes()).ok();
        assert_eq!(whole("HTTP/1.1 200 OK\r\nDate: x\r\n\r\nbody"), Some(true));
        assert_eq!(whole("HTTP/1.1 200 OK\r\nDate: x\r\n\r\nbo"), Some(false));
        assert_eq!(whole("HTTP/1.1 200 OK\r\nDate"), Some(false));
        assert_eq!(whole("HTTP/1.1 404 No\r\n\r\nbody"), None);
        assert_eq!(whole("HTTP/1.1 200 OK\r\n\r\nbodies"), None);
    }
}
