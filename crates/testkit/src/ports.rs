//! Ports for servers.

use rand::Rng as _;
use std::{io, net::TcpListener, ops::Range};

/// Below the ports that systems give to outgoing connections: no client of another test takes one between the look here
/// and the start of the server, or while a server is down.
const PORTS: Range<u16> = 10_240..32_000;
const ATTEMPTS_MAX: usize = 1_000;

/// Servers that listen on two ports take the second one so far above the first.
const PAIR_DISTANCE: u16 = 10_000;

/// A port of 127.0.0.1 that nobody listens on now.
///
/// # Errors
/// When none is found.
pub fn free_port() -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for _ in 0..ATTEMPTS_MAX {
        match TcpListener::bind(("127.0.0.1", rand::rng().random_range(PORTS))) {
            Ok(listener) => return Ok(listener.local_addr()?.port()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A port like [`free_port`], and the one that is 10,000 above it is free as well.
pub(crate) fn free_port_pair() -> io::Result<u16> {
    for _ in 0..ATTEMPTS_MAX {
        let port = free_port()?;
        let second = port + PAIR_DISTANCE;
        if second < PORTS.end && TcpListener::bind(("127.0.0.1", second)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrNotAvailable.into())
}
