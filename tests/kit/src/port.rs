//! Ports that stay free while nobody listens on them.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Below the range from which systems take the near end of an outgoing connection: 32768 and up on
/// Linux, 49152 and up elsewhere. A port of that range can be gone when a server comes back to it,
/// and a client which connects to it meanwhile can even end up connected to itself.
const PORTS: Range<u16> = 20_000..32_000;

/// Listens on a free port of 127.0.0.1, one that two tests at a time hardly ever choose both.
pub(crate) fn listen() -> TcpListener {
    let length = PORTS.end - PORTS.start;
    let first = (RandomState::new().hash_one(std::process::id()) % u64::from(length)) as u16;
    (0..length)
        .map(|step| PORTS.start + (first + step) % length)
        .find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .unwrap_or_else(|| panic!("no port of {PORTS:?} is free on 127.0.0.1"))
}

/// Ports of 127.0.0.1 that were free just now. Whoever wants them must be ready to find them taken.
pub(crate) fn several<const COUNT: usize>() -> [u16; COUNT] {
    // All of them listen before the first is let go, so that none is there twice.
    let listeners = [(); COUNT].map(|()| listen());
    listeners.map(|listener| listener.local_addr().expect("it has an address").port())
}
