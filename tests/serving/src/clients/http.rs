//! HTTP/1.1, as much as the servers here speak.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

use super::connect;
use crate::load::{Plan, Served, drive};

/// Longest head that is read.
const HEAD_MAX: u64 = 1 << 16;

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Of the page.
    pub path: &'a str,
    /// Sent by POST, as JSON, unless empty.
    pub body: &'a str,
    /// Whether the connection shall stay.
    pub keep_alive: bool,
}

impl<'a> Request<'a> {
    /// A GET that keeps the connection.
    pub const fn get(path: &'a str) -> Self {
        Self {
            path,
            body: "",
            keep_alive: true,
        }
    }

    fn text(&self) -> String {
        let (path, body) = (self.path, self.body);
        let method = if body.is_empty() { "GET" } else { "POST" };
        let connection = if self.keep_alive {
            "keep-alive"
        } else {
            "close"
        };
        let length = match body.len() {
            0 => String::new(),
            length => {
                format!("Content-Type: application/json\r\nContent-Length: {length}\r\n")
            }
        };
        format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n{length}\r\n{body}"
        )
    }
}

/// What came before the body.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Option<u64>,
    is_chunked: bool,
    keeps: bool,
}

impl Client {
    /// # Errors
    /// When nobody answers there.
    pub fn connect(port: u16) -> Result<Self> {
        connect(port).map(Self::new)
    }

    /// On a connection that is there.
    pub fn new(stream: TcpStream) -> Self {
        let stream = BufReader::with_capacity(1 << 16, stream);
        Self { stream }
    }

    /// Makes a request, whose status must be 200; whether the connection stays.
    ///
    /// # Errors
    /// When the answer is no answer, another status, or not what `body` takes.
    pub fn ask(&mut self, request: &Request<'_>, body: &mut dyn Write) -> Result<bool> {
        let text = request.text();
        let sent = self.stream.get_mut().write_all(text.as_bytes());
        sent.context("sending")?;
        self.answer(body)
    }

    /// Reads an answer.
    pub fn answer(&mut self, body: &mut dyn Write) -> Result<bool> {
        let head = read_head(&mut self.stream).context("the answer's head")?;
        let copied = self.copy(&head, body).context("the answer's body")?;
        ensure!(head.status == 200, "status {}", head.status);
        let missing = head.length.is_some_and(|length| length != copied);
        ensure!(!missing, "{copied} bytes of {:?}", head.length);
        Ok(head.keeps && (head.is_chunked || head.length.is_some()))
    }

    fn copy(&mut self, head: &Head, body: &mut dyn Write) -> Result<u64> {
        if head.is_chunked {
            return self.copy_chunks(body);
        }
        let length = head.length.unwrap_or(u64::MAX);
        copy(&mut self.stream, length, body)
    }

    fn copy_chunks(&mut self, body: &mut dyn Write) -> Result<u64> {
        let mut sum = 0;
        loop {
            let line = read_line(&mut self.stream)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = u64::from_str_radix(digits, 16).context("a chunk's length")?;
            let copied = copy(&mut self.stream, length, body)?;
            ensure!(copied == length, "{copied} bytes of a chunk of {length}");
            let end = read_line(&mut self.stream)?;
            ensure!(end.is_empty(), "{end:?} behind a chunk");
            sum += length;
            if length == 0 {
                return Ok(sum);
            }
        }
    }
}

fn copy(from: &mut impl Read, length: u64, to: &mut dyn Write) -> Result<u64> {
    let mut left = length;
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let part = buffer.get_mut(..most).unwrap_or_default();
        let count = from.read(part)?;
        if count == 0 {
            break;
        }
        to.write_all(part.get(..count).unwrap_or_default())?;
        left -= count as u64;
    }
    Ok(length - left)
}

fn read_line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    stream.take(HEAD_MAX).read_line(&mut line)?;
    let line = line.strip_suffix('\n').context("the connection ends")?;
    Ok(line.trim_end_matches('\r').to_owned())
}

fn read_head(stream: &mut BufReader<TcpStream>) -> Result<Head> {
    let mut lines = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return parse_head(&lines);
        }
        lines.push(line);
    }
}

fn parse_head(lines: &[String]) -> Result<Head> {
    let mut lines = lines.iter();
    let first = lines.next().context("no status line")?;
    let status = first.split(' ').nth(1).context("no status")?;
    let mut head = Head {
        status: status.parse().context("the status")?,
        keeps: first.starts_with("HTTP/1.1"),
        ..Head::default()
    };
    for line in lines {
        let (name, value) = line.split_once(':').context("no header")?;
        let value = value.trim().to_lowercase();
        match name.to_lowercase().as_str() {
            "content-length" => head.length = Some(value.parse()?),
            "transfer-encoding" => head.is_chunked = value.contains("chunked"),
            "connection" if value.contains("close") => head.keeps = false,
            _ => {}
        }
    }
    Ok(head)
}

/// A body that must be this.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Just this.
    Is(&'a str),
    /// This somewhere in it.
    Has(&'a str),
}

impl Body<'_> {
    fn check(self, body: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(body);
        let right = match self {
            Self::Is(wanted) => text == wanted,
            Self::Has(wanted) => text.contains(wanted),
        };
        let excerpt: String = text.chars().take(200).collect();
        ensure!(right, "the body is {excerpt:?}, not {self:?}");
        Ok(())
    }
}

/// A request on a connection, or on a new one if there is none; the connection if it stays.
pub fn ask(
    client: Option<Client>,
    port: u16,
    request: &Request<'_>,
    body: Body<'_>,
) -> Result<Option<Client>> {
    let mut client = client.map_or_else(|| Client::connect(port), Ok)?;
    let mut bytes = Vec::new();
    let keeps = client.ask(request, &mut bytes)?;
    body.check(&bytes)?;
    Ok(Some(client).filter(|_| keeps && request.keep_alive))
}

/// Many clients with the same request.
pub fn load(port: u16, plan: Plan, request: Request<'_>, body: Body<'_>) -> Served {
    drive(
        plan,
        |_| Ok(None),
        |client: &mut Option<Client>, _, _| {
            *client = ask(client.take(), port, &request, body)?;
            Ok(1)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answered(answer: &'static str) -> Result<(bool, String)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let server = std::thread::spawn(move || -> Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut request = [0; 1024];
            let _ = stream.read(&mut request)?;
            Ok(stream.write_all(answer.as_bytes())?)
        });
        let mut body = Vec::new();
        let keeps = Client::connect(port)?.ask(&Request::get("/"), &mut body)?;
        server.join().expect("no panic")?;
        Ok((keeps, String::from_utf8(body)?))
    }

    #[test]
    fn bodies_end_in_three_ways() {
        for (answer, keeps, body) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
                true,
                "ab",
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab",
                false,
                "ab",
            ),
            ("HTTP/1.1 200 OK\r\n\r\nabc", false, "abc"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\n\r\n",
                true,
                "abc0123456789",
            ),
        ] {
            let found = answered(answer).expect(answer);
            assert_eq!(found, (keeps, body.to_owned()), "{answer}");
        }
    }

    #[test]
    fn answers_that_are_none_are_refused() {
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            "hello\r\n\r\n",
        ] {
            answered(answer).expect_err(answer);
        }
    }
}
