//! Performs the TLS handshake on an accepted connection, after an optional PROXY protocol header.
//!
//! Invariant: the handshake ends within the handshake timeout, whatever the client does.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible, ServerConfig, server::Acceptor};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{Accept, LazyConfigAcceptor, StartHandshake, server::TlsStream};
use tracing::{debug, warn};

use super::{
    TrustedProxies,
    lingering_close::LingeringClose,
    listener::AcceptedConnection,
    plaintext_http::{self, RedirectPort},
    proxy_protocol,
    write_timeout::WriteTimeout,
};
use portcullis_tls::{Hostname, RustlsConfigs, acme::Challenges};

/// A TCP stream with a write timeout and a lingering close.
type GuardedStream = WriteTimeout<LingeringClose<TcpStream>>;

/// A connection after its TLS handshake.
pub(super) struct TlsConnection {
    pub(super) stream: TlsStream<GuardedStream>,
    /// Address of the client: the socket's peer, or the address in a trusted proxy's PROXY header.
    pub(super) peer: SocketAddr,
    /// Server address that the client connected to: the socket's local address, or the one in the PROXY header.
    pub(super) local: SocketAddr,
}

/// Content type of a TLS record that starts a handshake (RFC 8446, 5.1).
const HANDSHAKE_CONTENT_TYPE: u8 = 0x16;

/// Settings and shared state of a handshake.
pub(super) struct HandshakeContext<'a> {
    pub(super) tls: &'a RustlsConfigs,
    pub(super) challenges: Option<&'a Challenges>,
    pub(super) hostnames: &'a [Hostname],
    pub(super) proxies: &'a TrustedProxies,
    pub(super) handshake_timeout: Duration,
    pub(super) idle_timeout: Duration,
}

/// Performs the handshake. Returns `None` if it failed, which has been logged; a plain HTTP client has been answered.
pub(super) async fn accept_tls(
    accepted: AcceptedConnection,
    reception: &HandshakeContext<'_>,
) -> Option<TlsConnection> {
    let peer = accepted.peer;
    match tokio::time::timeout(reception.handshake_timeout, negotiate(accepted, reception)).await {
        Ok(Ok(secured)) => secured,
        Ok(Err(error)) => {
            debug!(%peer, reason = %reason(&error), "TLS handshake failed");
            None
        }
        Err(_) => {
            debug!(%peer, reason = "handshake timed out", "TLS handshake failed");
            None
        }
    }
}

async fn negotiate(
    accepted: AcceptedConnection,
    reception: &HandshakeContext<'_>,
) -> io::Result<Option<TlsConnection>> {
    let Some(AcceptedConnection { stream, peer, local, .. }) =
        proxy_protocol::receive(accepted, reception.proxies).await
    else {
        return Ok(None);
    };
    let mut beginning = [0; proxy_protocol::DETECTION_LEN];
    let length = stream.peek(&mut beginning).await?;
    if length == 0 {
        // Port scanners and health checks connect and close without sending anything.
        return Ok(None);
    }
    if proxy_protocol::is_header(&beginning[..length]) {
        warn!(%peer, "connection closed: unexpected PROXY header; see trusted_proxies and proxy_protocol");
        return Ok(None);
    }
    if beginning[0] != HANDSHAKE_CONTENT_TYPE {
        answer_plaintext(stream, peer, local, reception.hostnames).await?;
        return Ok(None);
    }
    let guarded = WriteTimeout::new(LingeringClose::new(stream), reception.idle_timeout);
    let begun = LazyConfigAcceptor::new(Acceptor::default(), guarded).await?;
    let hello = begun.client_hello();
    let validation =
        reception.challenges.and_then(Challenges::tls_config).filter(|_| Challenges::is_validation(&hello));
    if let Some(validation) = validation {
        return answer_validation(begun, validation, peer).await;
    }
    let config = reception.tls.for_client(&hello);
    let stream = complete(begun.into_stream(config)).await?;
    Ok(Some(TlsConnection { stream, peer, local }))
}

/// Completes the handshake, and closes the connection cleanly if it fails. A TLS 1.3 client may already send data
/// before it receives the alert that rejects its certificate: without the lingering close, it would see a reset
/// connection instead of the alert.
async fn complete(handshake: Accept<GuardedStream>) -> io::Result<TlsStream<GuardedStream>> {
    match handshake.into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, mut stream)) => {
            let _ = stream.shutdown().await;
            Err(error)
        }
    }
}

/// While an ACME directory validates this server's names, a client may be its validation server. That client expects a
/// handshake with the validation certificate and nothing else (RFC 8737, 3).
async fn answer_validation(
    begun: StartHandshake<GuardedStream>,
    validation: Arc<ServerConfig>,
    peer: SocketAddr,
) -> io::Result<Option<TlsConnection>> {
    let mut proven = begun.into_stream(validation).await?;
    debug!(%peer, "completed the handshake of an ACME validation server");
    proven.shutdown().await?;
    Ok(None)
}

async fn answer_plaintext(
    mut stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    hostnames: &[Hostname],
) -> io::Result<()> {
    let Some(head) = plaintext_http::read_head(&mut stream).await else {
        debug!(%peer, "connection closed: the client sent neither TLS nor HTTP");
        return Ok(());
    };
    debug!(%peer, "the client sent plain HTTP to the TLS port; answered with the https URL");
    let url = plaintext_http::https_url(&head, hostnames, RedirectPort::FromHostHeader(local.port()));
    plaintext_http::send_and_close(stream, &plaintext_http::https_required_response(&head, &url)).await
}

/// Describes why a handshake failed, for the log.
pub(super) fn reason(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => alert_reason(*alert),
        Some(Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        )) => "the client supports only TLS versions older than tls.minimum_version".to_owned(),
        Some(Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon)) => {
            "the client offers only outdated cipher suites".to_owned()
        }
        Some(Error::NoCertificatesPresented) => "the client sent no certificate; tls.client requires one".to_owned(),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the client's certificate is not from an authority in tls.client.ca".to_owned()
        }
        Some(Error::InvalidCertificate(reason)) => format!("the client's certificate is not accepted: {reason}"),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => "the client closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

fn alert_reason(alert: AlertDescription) -> String {
    let words = if alert == AlertDescription::UnknownCA {
        "the client does not trust our certificate authority; give it our ca.crt"
    } else if alert == AlertDescription::BadCertificate || alert == AlertDescription::CertificateUnknown {
        "the client rejected our certificate; it may not trust our ca.crt, or connect to a name that the certificate lacks"
    } else if alert == AlertDescription::CertificateExpired {
        "the client considers our certificate expired; compare the clocks"
    } else if alert == AlertDescription::ProtocolVersion {
        "the client and this server have no TLS version in common"
    } else if alert == AlertDescription::UserCanceled {
        "the client cancelled the handshake"
    } else {
        return format!("the client sent the TLS alert {alert:?}");
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_our_authority_is_described_as_such() {
        let error = io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(AlertDescription::UnknownCA));
        assert!(reason(&error).contains("does not trust our certificate authority"));
    }
}
