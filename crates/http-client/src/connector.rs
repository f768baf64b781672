//! Opens connections: resolves the host name, connects over TCP and runs the TLS handshake.
//!
//! Invariant: a TLS connection is returned only if the server's certificate verifies for the host against the trusted
//! roots.

use std::io;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use portcullis_text::error_chain;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::ServiceExt as _;

use super::TrustedRoots;

/// Opens TCP and TLS connections with a fixed set of trusted roots.
#[derive(Clone)]
pub(super) struct Connector {
    tls: TlsConnector,
    tcp: HttpConnector,
}

impl Connector {
    /// A connector that trusts these authorities.
    pub(super) fn new(trust: &TrustedRoots) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        // A request head that waits for the acknowledgement of the previous request would cost a round trip.
        tcp.set_nodelay(true);
        Ok(Self { tls: TlsConnector::from(trust.tls_config()?), tcp })
    }

    /// Connects to a port of a host; IPv6 addresses are without brackets.
    ///
    /// Tries IPv4 after 300 ms without an answer over IPv6 (RFC 8305), so that a broken route costs no timeout.
    pub(super) async fn connect_tcp(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let uri: Uri = format!("http://{host}:{port}/").parse().map_err(|_| ConnectError::InvalidHost)?;
        let stream = self.tcp.clone().oneshot(uri).await;
        Ok(stream.map_err(|error| ConnectError::Unreachable(error_chain(&error)))?.into_inner())
    }

    /// Runs the TLS handshake of a client with `host`.
    pub(super) async fn connect_tls<S>(&self, host: &str, stream: S) -> Result<TlsStream<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::InvalidHost)?;
        self.tls.connect(name, stream).await.map_err(ConnectError::Tls)
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// Not a host name and not an address.
    InvalidHost,
    /// The host name does not resolve, or the connection failed, with the reason.
    Unreachable(String),
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls(io::Error),
}
