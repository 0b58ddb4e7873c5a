//! A minimal client of the protocol that Redis and Valkey speak: commands out, RESP2 replies in.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection to a server.
///
/// After a call that timed out, its reply can still be [received](Connection::receive). After any
/// other failed call it is of no more use.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to `address`. `patience` bounds the connecting, and later each wait for bytes.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or connecting took longer than `patience`.
    pub fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        let connection = Self { stream: BufReader::new(stream) };
        connection.set_patience(patience)?;
        Ok(connection)
    }

    /// Waits so long for bytes from now on, instead of as long as it was opened with.
    ///
    /// # Errors
    ///
    /// `patience` is zero.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        let stream = self.stream.get_ref();
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))
    }

    /// Sends one command and waits for its reply. What the server refuses is a [`Reply::Error`].
    ///
    /// # Errors
    ///
    /// `TimedOut` if no bytes came for as long as the connection is patient, `UnexpectedEof` if the
    /// server closed it, and whatever else sockets report.
    pub fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> io::Result<Reply> {
        self.send(command)?;
        self.receive()
    }

    /// Sends one command without waiting for its reply.
    ///
    /// # Errors
    ///
    /// As for [`Connection::call`].
    pub fn send<A: AsRef<[u8]>>(&mut self, command: &[A]) -> io::Result<()> {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for argument in command {
            let argument = argument.as_ref();
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes).map_err(timed_out)
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    ///
    /// As for [`Connection::call`].
    pub fn receive(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| not_resp(&line))?;
        let number = || rest.parse::<i64>().map_err(|_| not_resp(&line));
        Ok(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Int(number()?),
            "$" => match usize::try_from(number()?) {
                Ok(length) => Reply::Bulk(self.bulk(length)?),
                Err(_) => Reply::Nil,
            },
            "*" => match usize::try_from(number()?) {
                Ok(length) => {
                    Reply::Array((0..length).map(|_| self.receive()).collect::<io::Result<_>>()?)
                }
                Err(_) => Reply::Nil,
            },
            _ => return Err(not_resp(&line)),
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).map_err(timed_out)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn bulk(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).map_err(timed_out)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A short text such as `OK`.
    Simple(String),
    /// A refusal, its code first: `WRONGTYPE Operation against …`.
    Error(String),
    /// A whole number.
    Int(i64),
    /// Any bytes.
    Bulk(Vec<u8>),
    /// Several replies.
    Array(Vec<Reply>),
    /// Nothing: there is no such key, or no such element.
    Nil,
}

impl Reply {
    /// The text of a [`Reply::Simple`], or of a [`Reply::Bulk`] of UTF-8.
    ///
    /// # Panics
    ///
    /// For every other reply, with what it was.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) => text.clone(),
            Self::Bulk(bytes) => {
                String::from_utf8(bytes.clone()).unwrap_or_else(|_| self.is_no("text"))
            }
            _ => self.is_no("text"),
        }
    }

    /// The number of a [`Reply::Int`], or of a [`Reply::Bulk`] that is one in digits.
    ///
    /// # Panics
    ///
    /// For every other reply, with what it was.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            Self::Bulk(_) => self.text().parse().unwrap_or_else(|_| self.is_no("whole number")),
            _ => self.is_no("whole number"),
        }
    }

    /// The elements of a [`Reply::Array`].
    ///
    /// # Panics
    ///
    /// For every other reply, with what it was.
    #[track_caller]
    pub fn array(&self) -> &[Reply] {
        match self {
            Self::Array(replies) => replies,
            _ => self.is_no("array"),
        }
    }

    #[track_caller]
    fn is_no(&self, wanted: &str) -> ! {
        panic!("the server's reply is no {wanted}: {self:?}")
    }
}

/// Sockets say `WouldBlock` where a timeout of theirs has passed.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "no bytes came in time"),
        _ => error,
    }
}

fn not_resp(line: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("not a RESP2 reply: {line:?}"))
}
