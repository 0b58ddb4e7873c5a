//! A network in front of a server, and what can happen to it.
//!
//! The proxy listens on a port of its own and opens a connection to its target for each that it
//! accepts. Between the two, bytes travel in two directions, each with a thread that reads and one
//! that writes; [`Link`](link::Link) is such a pair of connections. What the network is like is
//! said to the proxy, which says it to every link and to those it accepts later.

mod door;
mod link;
mod lost_reply;

use std::fmt;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::door::Door;
use self::link::{Link, Network};
use self::lost_reply::Losses;
pub use self::lost_reply::LostReply;
use crate::port;

/// How long its target may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// A TCP proxy on 127.0.0.1 with faults to switch on.
///
/// A fault holds for the connections there are and for those to come, from the moment that its
/// method returns until another one's, or until [`Proxy::pass`]; [`Proxy::cut`] and
/// [`Proxy::lose_next_reply`] happen once, beside it. Dropped, the proxy cuts its connections.
///
/// Where the target does not accept a connection, the proxy resets the one it was to serve.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    door: Mutex<Option<Door>>,
}

/// What the methods of the proxy and the thread at its door have in common.
struct Shared {
    target: SocketAddr,
    losses: Arc<Losses>,
    state: Mutex<State>,
}

struct State {
    network: Network,
    /// Where connections wait to be accepted. There is none while they are refused.
    listener: Option<Arc<TcpListener>>,
    links: Vec<Held>,
}

/// A link belongs to its threads, so that its sockets close when they are done.
struct Held {
    link: Weak<Link>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Puts a proxy in front of `target`. Nobody has to listen there yet.
    pub fn start(target: SocketAddr) -> Self {
        let listener = port::listen();
        let address = listener.local_addr().expect("a listening socket has an address");
        let state = State { network: Network::Passing, listener: None, links: Vec::new() };
        let shared = Shared { target, losses: Arc::default(), state: Mutex::new(state) };
        let proxy = Self { address, shared: Arc::new(shared), door: Mutex::new(None) };
        proxy.open(&mut proxy.door(), listener);
        proxy
    }

    /// The address to connect to instead of the target's.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to use instead of the server's: `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// How many connections there are: those that are not closed on both sides yet.
    pub fn connections(&self) -> usize {
        let mut state = self.shared.state();
        state.admit(&self.shared);
        state.links.retain(|held| held.link.strong_count() > 0);
        state.links.len()
    }

    /// Back to normal: everything is passed on at once, what was kept back first. A reply that is
    /// yet to be lost no longer will be.
    ///
    /// # Panics
    ///
    /// If it must listen again after [`Proxy::refuse`] and somebody has taken its port.
    pub fn pass(&self) {
        self.shared.losses.forget();
        self.become_like(Network::Passing);
    }

    /// Everything comes so much later, in each direction: a round trip takes twice the delay more.
    pub fn delay(&self, delay: Duration) {
        self.become_like(Network::Delaying(delay));
    }

    /// Connections stay open, and nothing comes through them. It is kept, and comes after
    /// [`Proxy::pass`].
    pub fn stall(&self) {
        self.become_like(Network::Stalling);
    }

    /// Connections stay open, and what is sent through them is gone, their end included: as if a
    /// router had forgotten them. None of them recovers; after [`Proxy::pass`], new ones work.
    pub fn half_open(&self) {
        self.become_like(Network::Swallowing);
    }

    /// Resets all connections. New ones are accepted as before.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Resets all connections, and listens no more: new ones are refused until [`Proxy::pass`], or
    /// until the network is to be slow, stalled or half open instead.
    pub fn refuse(&self) {
        let mut door = self.door();
        if let Some(door) = door.take() {
            self.shared.state().listener = None;
            door.close();
        }
        // After that, so that whoever comes back at once is refused already.
        self.shared.cut();
    }

    /// Lets one request be executed, and its reply be lost.
    ///
    /// The first bytes from a client for which `is_it` is true are forwarded. The bytes that the
    /// server then sends are swallowed, the server is left to finish all that it was sent, and the
    /// connection is reset. Happens once, on one connection, under whatever else the network does;
    /// asked for several times, each request has its own.
    ///
    /// `is_it` sees what came in one piece: usually one request, or several that were sent in one
    /// go. One of more than 64 KiB comes in several, and is known by its beginning. `is_it` must not
    /// call the proxy.
    pub fn lose_next_reply(
        &self,
        is_it: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    ) -> LostReply {
        self.shared.losses.expect(Box::new(is_it))
    }

    fn become_like(&self, network: Network) {
        let mut door = self.door();
        self.shared.become_like(network);
        if door.is_none() {
            self.open(&mut door, listen_again(self.address));
        }
    }

    fn open(&self, door: &mut Option<Door>, listener: TcpListener) {
        listener.set_nonblocking(true).expect("a socket can be made not to block");
        let listener = Arc::new(listener);
        self.shared.state().listener = Some(Arc::clone(&listener));
        let shared = Arc::clone(&self.shared);
        *door = Some(Door::open(listener, move || shared.state().admit(&shared)));
    }

    fn door(&self) -> MutexGuard<'_, Option<Door>> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
    }
}

impl Shared {
    fn become_like(&self, network: Network) {
        let mut state = self.state();
        state.network = network;
        state.links.iter().filter_map(|held| held.link.upgrade()).for_each(|l| l.carry(network));
    }

    /// Resets every connection, and returns when that is done.
    fn cut(&self) {
        let mut state = self.state();
        // To their clients, those that wait to be accepted are connected.
        state.admit(self);
        let links = std::mem::take(&mut state.links);
        drop(state);
        links.iter().filter_map(|held| held.link.upgrade()).for_each(|link| link.cut());
        for thread in links.into_iter().flat_map(|held| held.threads) {
            // One that panicked, in somebody's predicate, has said so.
            let _ = thread.join();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Accepts those that wait. Under the lock, so that each connection either is a link, or is
    /// still waiting, but never between the two.
    fn admit(&mut self, shared: &Shared) {
        let Some(listener) = self.listener.clone() else { return };
        self.links.retain(|held| held.link.strong_count() > 0);
        while let Ok((client, _)) = listener.accept() {
            match TcpStream::connect_timeout(&shared.target, PATIENCE) {
                Ok(server) => {
                    let losses = Arc::clone(&shared.losses);
                    let (link, threads) = Link::open(client, server, self.network, losses);
                    self.links.push(Held { link, threads });
                }
                Err(_) => link::reset_on_close(&client),
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("target", &self.target).finish_non_exhaustive()
    }
}

fn listen_again(address: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) if Instant::now() >= deadline => {
                panic!("the proxy cannot listen on {address} again: {error}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}
