//! Configuration of the server's sockets and timeouts.
//!
//! Invariant: the values are already validated.

use std::{net::SocketAddr, time::Duration};

use super::TrustedProxies;

/// Listening addresses, trusted proxies and limits of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpServerConfig {
    /// Addresses that serve HTTPS; at least one.
    pub listen: Vec<SocketAddr>,
    /// Address that serves plain HTTP and redirects clients to the port of the first address of `listen`.
    pub redirect: Option<SocketAddr>,
    /// Reverse proxies whose forwarded client addresses are accepted.
    pub trusted_proxies: TrustedProxies,
    /// Limits on connections and timeouts.
    pub limits: ServerLimits,
}

/// Limits on connections and timeouts. None applies to a request as a whole: layers are large and connections may be
/// slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Maximum number of concurrent connections; more wait in the kernel's backlog.
    pub connections: usize,
    /// Maximum time from the accepted connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// Maximum time from the end of one HTTP/1 request to the complete header of the next one.
    pub header_timeout: Duration,
    /// Maximum time without progress while a body is transferred, and without a request on an HTTP/2 connection.
    pub idle_timeout: Duration,
    /// Maximum time for running transfers to finish after a shutdown began.
    pub drain_timeout: Duration,
}

impl Default for ServerLimits {
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
