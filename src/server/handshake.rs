//! From an accepted connection to one that speaks TLS.
//!
//! Invariant: whatever the client does, this ends within the handshake timeout.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible, ServerConfig, server::Acceptor};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{Accept, LazyConfigAcceptor, StartHandshake, server::TlsStream};
use tracing::{debug, warn};

use super::{
    Proxies,
    farewell::Farewell,
    listener::Accepted,
    plain::{self, Port},
    proxy,
    stall::StallGuard,
};
use crate::tls::{Hostname, Protocols, acme::Challenges};

/// A socket that is watched while it is read and written, and closed with care.
type Guarded = StallGuard<Farewell<TcpStream>>;

/// A connection after its handshake.
pub(super) struct Secured {
    pub(super) stream: TlsStream<Guarded>,
    /// The client, by its own address or as a trusted proxy says.
    pub(super) peer: SocketAddr,
    /// Our address that the client connected to, likewise.
    pub(super) local: SocketAddr,
}

/// The first byte of a TLS record that opens a handshake (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// How to receive a connection.
pub(super) struct Reception<'a> {
    pub(super) tls: &'a Protocols,
    pub(super) challenges: Option<&'a Challenges>,
    pub(super) hostnames: &'a [Hostname],
    pub(super) proxies: &'a Proxies,
    pub(super) handshake_timeout: Duration,
    pub(super) idle_timeout: Duration,
}

/// Shakes hands; `None` if that did not come about, which has been logged (and the client been told, if it spoke HTTP).
pub(super) async fn receive(accepted: Accepted, reception: &Reception<'_>) -> Option<Secured> {
    let peer = accepted.peer;
    match tokio::time::timeout(reception.handshake_timeout, open(accepted, reception)).await {
        Ok(Ok(secured)) => secured,
        Ok(Err(error)) => {
            debug!(%peer, reason = %reason(&error), "TLS handshake failed");
            None
        }
        Err(_) => {
            debug!(%peer, reason = "the client took too long", "TLS handshake failed");
            None
        }
    }
}

async fn open(accepted: Accepted, reception: &Reception<'_>) -> io::Result<Option<Secured>> {
    let Some(Accepted { stream, peer, local, .. }) = proxy::receive(accepted, reception.proxies).await else {
        return Ok(None);
    };
    let mut beginning = [0; proxy::TELLING];
    let length = stream.peek(&mut beginning).await?;
    if length == 0 {
        // Port scanners and health checks connect and leave.
        return Ok(None);
    }
    if proxy::is_header(&beginning[..length]) {
        warn!(%peer, "connection closed: a PROXY header from whom we do not expect one; see trusted_proxies and proxy_protocol");
        return Ok(None);
    }
    if beginning[0] != HANDSHAKE_RECORD {
        answer_in_words(stream, peer, local, reception.hostnames).await?;
        return Ok(None);
    }
    let guarded = StallGuard::new(Farewell::new(stream), reception.idle_timeout);
    let begun = LazyConfigAcceptor::new(Acceptor::default(), guarded).await?;
    let hello = begun.client_hello();
    let validation = reception.challenges.and_then(Challenges::tls).filter(|_| Challenges::is_validation(&hello));
    if let Some(validation) = validation {
        return prove(begun, validation, peer).await;
    }
    let config = reception.tls.suited_to(&hello);
    let stream = finish(begun.into_stream(config)).await?;
    Ok(Some(Secured { stream, peer, local }))
}

/// A client of TLS 1.3 may have begun to speak before it hears that its certificate is refused: unless we wait for its end, it
/// would hear of a broken connection instead.
async fn finish(handshake: Accept<Guarded>) -> io::Result<TlsStream<Guarded>> {
    match handshake.into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, mut stream)) => {
            let _ = stream.shutdown().await;
            Err(error)
        }
    }
}

/// While an ACME directory validates our names, one of the clients may be its validation server. That one wants to see a
/// certificate and nothing else (RFC 8737, 3).
async fn prove(
    begun: StartHandshake<Guarded>,
    validation: Arc<ServerConfig>,
    peer: SocketAddr,
) -> io::Result<Option<Secured>> {
    let mut proven = begun.into_stream(validation).await?;
    debug!(%peer, "showed an ACME validation server what it wanted to see");
    proven.shutdown().await?;
    Ok(None)
}

async fn answer_in_words(
    mut stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    hostnames: &[Hostname],
) -> io::Result<()> {
    let Some(head) = plain::read_head(&mut stream).await else {
        debug!(%peer, "the client spoke neither TLS nor HTTP");
        return Ok(());
    };
    debug!(%peer, "the client spoke plain HTTP; told it to use HTTPS");
    let url = plain::https_url(&head, hostnames, Port::AsAsked(local.port()));
    plain::answer(stream, &plain::told(&head, &url)).await
}

/// Why a handshake failed, in words that help whoever reads the log.
pub(super) fn reason(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => alert_reason(*alert),
        Some(Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        )) => "the client speaks only TLS versions that are older than tls.minimum_version".to_owned(),
        Some(Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon)) => {
            "the client offers only outdated cipher suites".to_owned()
        }
        Some(Error::NoCertificatesPresented) => "the client shows no certificate, and tls.client wants one".to_owned(),
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the client's certificate is not from an authority in tls.client.ca".to_owned()
        }
        Some(Error::InvalidCertificate(reason)) => format!("the client's certificate is not accepted: {reason}"),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => "the client hung up".to_owned(),
        _ => error.to_string(),
    }
}

fn alert_reason(alert: AlertDescription) -> String {
    let words = if alert == AlertDescription::UnknownCA {
        "the client does not trust our certificate authority; give it our ca.crt"
    } else if alert == AlertDescription::BadCertificate || alert == AlertDescription::CertificateUnknown {
        "the client refuses our certificate; it may not trust our ca.crt, or connect to a name that the certificate lacks"
    } else if alert == AlertDescription::CertificateExpired {
        "the client takes our certificate for expired; compare the clocks"
    } else if alert == AlertDescription::ProtocolVersion {
        "the client speaks no TLS version that we speak"
    } else if alert == AlertDescription::UserCanceled {
        "the client changed its mind"
    } else {
        return format!("the client refused: {alert:?}");
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
