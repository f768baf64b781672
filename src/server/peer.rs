//! Who is at the other end of a connection, as far as the transport knows.
//!
//! Invariant: these are the socket's own facts, never a header's claims.

use std::{net::SocketAddr, sync::Arc};

use rustls::{CipherSuite, ProtocolVersion, ServerConnection};

use crate::tls::ClientChain;

/// The other end of a connection; every request carries it as an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address; an IPv4 client is one, also on an IPv6 socket.
    pub address: SocketAddr,
    /// Our address that the client connected to.
    pub local: SocketAddr,
    /// What the handshake agreed upon.
    pub tls: Agreed,
}

/// What a TLS handshake agreed upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The protocol version.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub cipher: Option<CipherSuite>,
    /// The host name that the client asked for; clients that connect by IP address ask for none.
    pub server_name: Option<Arc<str>>,
    /// The certificate that the client showed, if it was asked for one: good at the time of the handshake.
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
