//! Who is at the other end of a connection, as far as the transport knows.
//!
//! Invariant: these are the socket's own facts, or what a trusted proxy says; never anybody else's claims.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::HeaderMap;

use rustls::{CipherSuite, ProtocolVersion, ServerConnection};

use super::{Proxies, forwarded};
use crate::tls::ClientChain;

/// The other end of a connection; every request carries it as an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address; an IPv4 client is one, also on an IPv6 socket.
    pub address: SocketAddr,
    /// Our address that the client connected to.
    pub local: SocketAddr,
    /// The host, perhaps with a port, that the client asked a trusted proxy for; anybody may have chosen it.
    pub forwarded_host: Option<Arc<str>>,
    /// What the handshake agreed upon.
    pub tls: Agreed,
}

impl Peer {
    /// The same, with what a trusted proxy says in the headers of a request.
    pub(super) fn forwarding(mut self, headers: &HeaderMap, proxies: &Proxies) -> Self {
        let Some(said) = forwarded::read(headers, self.address.ip(), proxies) else { return self };
        if said.is_plain && !TOLD.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                proxy = %self.address.ip(),
                "a proxy passes on requests that reached it over plain HTTP: passwords travel there in clear text"
            );
        }
        if said.client != self.address.ip() {
            // The port was the proxy's.
            self.address = SocketAddr::new(said.client, 0);
        }
        if said.is_passed_on {
            // The certificate is the proxy's, and would sign everybody in who comes through it.
            self.tls.certificate = None;
        }
        self.forwarded_host = said.host;
        self
    }
}

/// Said once is enough.
static TOLD: AtomicBool = AtomicBool::new(false);

/// What a TLS handshake agreed upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The protocol version.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub cipher: Option<CipherSuite>,
    /// The host name that the client asked for; clients that connect by IP address ask for none.
    pub server_name: Option<Arc<str>>,
    /// The certificate that the client showed, if it was asked for one: good at the time of the handshake. A proxy that passes
    /// on requests shows its own, which is none of their senders'.
    pub certificate: Option<ClientChain>,
}

impl Agreed {
    pub(super) fn of(connection: &ServerConnection) -> Self {
        Self {
            version: connection.protocol_version(),
            cipher: connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            server_name: connection.server_name().map(Arc::from),
            certificate: connection.peer_certificates().and_then(ClientChain::new),
        }
    }
}
