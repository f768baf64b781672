//! Defines how a pooled client connects, and how long it waits.

use std::time::Duration;

use super::{super::TrustedRoots, Origin, Proxies};

/// How a [`PooledClient`](super::PooledClient) connects and how long it waits.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// The certificate authorities that servers are verified against.
    pub trust: TrustedRoots,
    /// The origins to which requests may go over plain HTTP. Every other `http://` URL is refused.
    pub plaintext_origins: Vec<Origin>,
    /// The proxies that requests go through.
    pub proxies: Proxies,
    /// The longest times without progress.
    pub timeouts: PoolTimeouts,
    /// How many unused connections are kept for each origin.
    pub max_idle_per_origin: usize,
    /// How long an unused connection is kept. It should be shorter than the server's own limit, so that a request
    /// seldom meets a connection that the server is closing.
    pub idle_timeout: Duration,
}

impl PoolConfig {
    /// The settings for HTTPS only, without proxies, with the default timeouts and at most 32 unused connections for
    /// each origin, for 15 seconds.
    #[must_use]
    pub fn new(trust: TrustedRoots) -> Self {
        Self {
            trust,
            plaintext_origins: Vec::new(),
            proxies: Proxies::default(),
            timeouts: PoolTimeouts::default(),
            max_idle_per_origin: 32,
            idle_timeout: Duration::from_secs(15),
        }
    }
}

/// The longest times without progress at each stage of a request. None of them limits a whole transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolTimeouts {
    /// From resolving the host name to the end of the TLS handshake.
    pub connect: Duration,
    /// Between two pieces of the request that the socket accepts. The time in which the caller's body has no data does
    /// not count.
    pub send: Duration,
    /// From the last byte of the request that the socket accepted to the head of the response.
    pub response: Duration,
    /// Between two pieces of the response body.
    pub receive: Duration,
}

impl Default for PoolTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            send: Duration::from_secs(15),
            response: Duration::from_secs(30),
            receive: Duration::from_secs(15),
        }
    }
}
