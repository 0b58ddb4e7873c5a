//! A client's connection and the one to the server that answers it.
//!
//! A lane is one direction. Its reader takes whatever comes and stamps it with the time; its writer
//! waits until the network lets the piece through. A writer is *delivering* while it may be inside a
//! socket, and every change of the network waits for that to be over: this is why a fault holds when
//! its method returns.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::lost_reply::{Losses, LostReply};

/// How long a writer may be inside a socket that takes no more bytes.
const WRITE: Duration = Duration::from_millis(50);

/// What happens to bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    Passing,
    Delaying(Duration),
    Stalling,
    /// For good: such a connection does not recover.
    Swallowing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    Requests,
    Replies,
}

/// What came in one piece, and when. No bytes are the end.
struct Piece {
    arrived: Instant,
    bytes: Vec<u8>,
}

/// Where a piece may go.
enum Way<'a> {
    Open(Delivering<'a>),
    Nowhere,
    Cut,
}

/// Counts a writer that may be inside a socket.
struct Delivering<'a>(&'a Link);

pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    losses: Arc<Losses>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    network: Network,
    cut: bool,
    delivering: usize,
    losing: Option<Losing>,
}

/// A reply that is about to be lost.
struct Losing {
    reply: LostReply,
    forwarded: bool,
    swallowed: bool,
}

impl Link {
    /// Starts to carry. The link lives as long as the threads do.
    pub(super) fn open(
        client: TcpStream,
        server: TcpStream,
        network: Network,
        losses: Arc<Losses>,
    ) -> (Weak<Self>, Vec<JoinHandle<()>>) {
        for socket in [&client, &server] {
            // An accepted socket takes after its listener on some systems.
            socket.set_nonblocking(false).expect("a socket can be made to block");
            let _ = socket.set_nodelay(true);
            socket.set_write_timeout(Some(WRITE)).expect("a socket can give up on a write");
        }
        let state = State { network, cut: false, delivering: 0, losing: None };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let link = Arc::new(Self { client, server, losses, state, changed });
        let mut threads = Vec::new();
        for lane in [Lane::Requests, Lane::Replies] {
            let (sender, receiver) = channel();
            let (reader, writer) = (Arc::clone(&link), Arc::clone(&link));
            threads.push(thread::spawn(move || reader.read(lane, sender)));
            threads.push(thread::spawn(move || writer.write(lane, receiver)));
        }
        (Arc::downgrade(&link), threads)
    }

    /// Carries like `network` from now on, unless it can no more.
    pub(super) fn carry(&self, network: Network) {
        let mut state = self.state();
        if state.network != Network::Swallowing {
            state.network = network;
        }
        self.changed.notify_all();
        let is_delivering = |state: &mut State| state.delivering > 0;
        let settled = self.changed.wait_while(state, is_delivering);
        drop(settled.unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets both connections be reset, which is done when the threads have ended.
    pub(super) fn cut(&self) {
        self.state().cut = true;
        self.changed.notify_all();
        for socket in [&self.client, &self.server] {
            reset_on_close(socket);
            // Wakes the reader, and shows nothing to the other side.
            let _ = socket.shutdown(Shutdown::Read);
        }
    }

    fn read(&self, lane: Lane, pieces: Sender<Piece>) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = match self.source(lane).read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // For the other side this is an end like any other.
                Err(_) => 0,
            };
            let piece = Piece { arrived: Instant::now(), bytes: buffer[..length].to_vec() };
            if pieces.send(piece).is_err() || length == 0 {
                return;
            }
        }
    }

    fn write(&self, lane: Lane, pieces: Receiver<Piece>) {
        for piece in pieces {
            let mut rest = &piece.bytes[..];
            loop {
                match self.enter(piece.arrived) {
                    Way::Open(delivering) => {
                        let whole = rest.len() == piece.bytes.len();
                        rest = self.deliver(lane, rest, whole);
                        drop(delivering);
                    }
                    Way::Nowhere => break,
                    Way::Cut => return,
                }
                if rest.is_empty() {
                    break;
                }
            }
        }
    }

    /// Waits for its turn to deliver what arrived then.
    fn enter(&self, arrived: Instant) -> Way<'_> {
        let mut state = self.state();
        loop {
            if state.cut {
                return Way::Cut;
            }
            let wait = match state.network {
                Network::Passing => Duration::ZERO,
                Network::Delaying(delay) => delay.saturating_sub(arrived.elapsed()),
                Network::Stalling => Duration::MAX,
                Network::Swallowing => return Way::Nowhere,
            };
            if wait.is_zero() {
                state.delivering += 1;
                return Way::Open(Delivering(self));
            }
            let waited = self.changed.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Delivers some of `rest`, or the end where it is empty, and says what is left.
    fn deliver<'a>(&self, lane: Lane, rest: &'a [u8], whole: bool) -> &'a [u8] {
        match lane {
            Lane::Requests if whole => self.claim(rest),
            Lane::Replies if self.swallow(rest) => return &[],
            _ => {}
        }
        if rest.is_empty() {
            let _ = self.sink(lane).shutdown(Shutdown::Write);
            return rest;
        }
        let rest = match self.sink(lane).write(rest) {
            Ok(length) => &rest[length..],
            Err(error) if is_momentary(error.kind()) => rest,
            // Who was to read this has gone. The other lane tells.
            Err(_) => return &[],
        };
        if lane == Lane::Requests && rest.is_empty() {
            self.losing(|losing| losing.forwarded = true);
        }
        rest
    }

    /// Asks whether the reply to this request is to be lost. Before it is forwarded, for the reply
    /// can be quick.
    fn claim(&self, request: &[u8]) {
        if request.is_empty() || self.state().losing.is_some() {
            return;
        }
        if let Some(reply) = self.losses.claim(request) {
            self.state().losing = Some(Losing { reply, forwarded: false, swallowed: false });
        }
    }

    /// Whether what the server sent is lost. With its end, the loss has happened.
    fn swallow(&self, bytes: &[u8]) -> bool {
        if !bytes.is_empty() {
            return self.losing(|losing| losing.swallowed = true);
        }
        let state = self.state();
        let Some(losing) = state.losing.as_ref().filter(|losing| losing.swallowed) else {
            return false;
        };
        losing.reply.happen();
        drop(state);
        self.cut();
        true
    }

    /// Notes something of a reply that is about to be lost. Once its request is with the server and
    /// bytes have come back, the server is told that there is no more: it ends the connection after
    /// it has executed everything. A reset could overtake the request, where those bytes answered
    /// an earlier one.
    fn losing(&self, note: impl FnOnce(&mut Losing)) -> bool {
        let mut state = self.state();
        let Some(losing) = &mut state.losing else { return false };
        note(losing);
        if losing.forwarded && losing.swallowed {
            let _ = self.server.shutdown(Shutdown::Write);
        }
        true
    }

    fn source(&self, lane: Lane) -> &TcpStream {
        match lane {
            Lane::Requests => &self.client,
            Lane::Replies => &self.server,
        }
    }

    fn sink(&self, lane: Lane) -> &TcpStream {
        match lane {
            Lane::Requests => &self.server,
            Lane::Replies => &self.client,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Delivering<'_> {
    fn drop(&mut self) {
        self.0.state().delivering -= 1;
        self.0.changed.notify_all();
    }
}

/// Closing it will show the other side a reset, and no orderly end.
pub(super) fn reset_on_close(socket: &TcpStream) {
    // A socket that the other side has closed may refuse this. It needs it no more.
    let _ = set_socket_linger(socket, Some(Duration::ZERO));
}

/// Whether the socket takes bytes later: it is full, or was interrupted.
fn is_momentary(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
