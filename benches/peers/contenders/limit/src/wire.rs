//! A connection with nothing between it and the socket.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One command after another, each answered before the next.
pub(crate) struct Wire {
    stream: TcpStream,
    out: Vec<u8>,
    read: Vec<u8>,
    at: usize,
}

impl Wire {
    /// To `redis://HOST:PORT`.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let address = url.strip_prefix("redis://").with_context(|| format!("no URL: {url}"))?;
        let stream = TcpStream::connect(address).await.with_context(|| format!("to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, out: Vec::new(), read: Vec::new(), at: 0 })
    }

    /// Begins a command of so many parts, each of which is then given to [`Wire::part`].
    pub(crate) fn command(&mut self, parts: usize) {
        self.header(b'*', parts);
    }

    pub(crate) fn part(&mut self, part: &[u8]) {
        self.header(b'$', part.len());
        self.out.extend_from_slice(part);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Sends what was begun.
    pub(crate) async fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.out).await.context("sending")?;
        self.out.clear();
        Ok(())
    }

    /// Waits for the reply. Gives every string in it to `each`; returns how many there were. A
    /// number counts for as many as it says.
    pub(crate) async fn reply(&mut self, mut each: impl FnMut(&[u8])) -> Result<usize> {
        self.read.drain(..self.at);
        self.at = 0;
        let (mut left, mut strings) = (1_usize, 0);
        while left > 0 {
            left -= 1;
            let (kind, number) = self.line().await?;
            match kind {
                b'*' => left += usize::try_from(number).unwrap_or(0),
                b'$' if number >= 0 => {
                    let length = number as usize;
                    while self.read.len() < self.at + length + 2 {
                        self.fill().await?;
                    }
                    each(&self.read[self.at..self.at + length]);
                    self.at += length + 2;
                    strings += 1;
                }
                b':' => strings += number as usize,
                _ => {}
            }
        }
        Ok(strings)
    }

    /// The kind of the next element, and the number in its line, if it is one.
    async fn line(&mut self) -> Result<(u8, i64)> {
        loop {
            let unread = &self.read[self.at..];
            if let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line = std::str::from_utf8(&unread[..end]).context("a line of text")?.trim();
                let kind = unread[0];
                if kind == b'-' {
                    bail!("the server refused: {line}");
                }
                let number = line.get(1..).and_then(|rest| rest.parse().ok()).unwrap_or(0);
                self.at += end + 1;
                return Ok((kind, number));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        self.read.reserve(1 << 16);
        match self.stream.read_buf(&mut self.read).await.context("receiving")? {
            0 => bail!("the server closed the connection"),
            _ => Ok(()),
        }
    }

    fn header(&mut self, kind: u8, number: usize) {
        self.out.push(kind);
        let mut digits = [0; 20];
        let mut first = digits.len();
        let mut rest = number;
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&digits[first..]);
        self.out.extend_from_slice(b"\r\n");
    }
}
