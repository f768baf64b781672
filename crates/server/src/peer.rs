//! Describes the client of a connection: its address, the server's address and the TLS parameters.
//!
//! Invariant: this data comes from the socket or from a trusted proxy, never from an untrusted client.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::HeaderMap;

use rustls::{CipherSuite, ProtocolVersion, ServerConnection};

use super::{TrustedProxies, forwarded_headers};
use portcullis_tls::ClientChain;

/// The client of a connection; every request carries it as an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address of the client; IPv4-mapped IPv6 addresses are converted to IPv4.
    pub address: SocketAddr,
    /// Server address that the client connected to.
    pub local: SocketAddr,
    /// Host, optionally with a port, that a trusted proxy received from the client; the client chose it freely.
    pub forwarded_host: Option<Arc<str>>,
    /// Parameters that the TLS handshake negotiated.
    pub tls: TlsInfo,
}

impl Peer {
    /// Returns this peer with the data that a trusted proxy sent in the headers of a request.
    pub(super) fn with_forwarded(mut self, headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        let Some(said) = forwarded_headers::parse_headers(headers, self.address.ip(), proxies) else { return self };
        if said.is_plaintext && !PLAINTEXT_WARNING_LOGGED.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                proxy = %self.address.ip(),
                "a proxy forwards requests that it received over plain HTTP: passwords travel there in clear text"
            );
        }
        if said.client != self.address.ip() {
            // The port was the proxy's.
            self.address = SocketAddr::new(said.client, 0);
        }
        if said.is_forwarded {
            // The certificate is the proxy's, and would sign in every client that connects through it.
            self.tls.certificate = None;
        }
        self.forwarded_host = said.host;
        self
    }
}

/// Whether the warning about plain HTTP in front of a proxy has been logged.
static PLAINTEXT_WARNING_LOGGED: AtomicBool = AtomicBool::new(false);

/// Parameters that a TLS handshake negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// Protocol version.
    pub version: Option<ProtocolVersion>,
    /// Cipher suite.
    pub cipher: Option<CipherSuite>,
    /// Host name that the client requested (SNI); `None` for clients that connect by IP address.
    pub server_name: Option<Arc<str>>,
    /// Certificate chain that the client presented, if one was requested; it was valid at the time of the handshake. A
    /// proxy that forwards requests presents its own certificate, not the clients'.
    pub certificate: Option<ClientChain>,
}

impl TlsInfo {
    pub(super) fn from_connection(connection: &ServerConnection) -> Self {
        Self {
            version: connection.protocol_version(),
            cipher: connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            server_name: connection.server_name().map(Arc::from),
            certificate: connection.peer_certificates().and_then(ClientChain::new),
        }
    }
}
