//! What an operator can choose about sockets.
//!
//! Invariant: plain, already valid data.

use std::{net::SocketAddr, time::Duration};

use super::Proxies;

/// Where to listen, and how patient to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The addresses that speak HTTPS; at least one.
    pub listen: Vec<SocketAddr>,
    /// An address that speaks plain HTTP and only sends clients to the first of `listen`.
    pub redirect: Option<SocketAddr>,
    /// Who may speak for others.
    pub proxies: Proxies,
    /// How many, and how long.
    pub limits: Limits,
}

/// How many connections, and how long each may keep us waiting. No limit concerns a whole request: layers are large and
/// lines are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's backlog.
    pub connections: usize,
    /// From the accepted connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the end of one HTTP/1 request to the complete header of the next one.
    pub header_timeout: Duration,
    /// Without a byte moved either way while a body is in flight, and without a request on an HTTP/2 connection.
    pub idle_timeout: Duration,
    /// For running transfers to finish after a shutdown began.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
