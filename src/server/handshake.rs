//! From an accepted connection to one that speaks TLS.
//!
//! Invariant: whatever the client does, this ends within the handshake timeout.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{AlertDescription, Error, PeerIncompatible, ServerConfig, server::Acceptor};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};
use tracing::debug;

use super::{
    farewell::Farewell,
    listener::Accepted,
    plain::{self, Port},
    stall::StallGuard,
};
use crate::tls::{Hostname, Protocols, acme::Challenges};

/// A connection after its handshake.
pub(super) type Secured = TlsStream<StallGuard<Farewell<TcpStream>>>;

/// The first byte of a TLS record that opens a handshake (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// How to receive a connection.
pub(super) struct Reception<'a> {
    pub(super) tls: &'a Protocols,
    pub(super) challenges: Option<&'a Challenges>,
    pub(super) hostnames: &'a [Hostname],
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
    let Accepted { stream, peer, local } = accepted;
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        // Port scanners and health checks connect and leave.
        return Ok(None);
    }
    if first[0] != HANDSHAKE_RECORD {
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
    begun.into_stream(config).await.map(Some)
}

/// While an ACME directory validates our names, one of the clients may be its validation server. That one wants to see a
/// certificate and nothing else (RFC 8737, 3).
async fn prove(
    begun: StartHandshake<StallGuard<Farewell<TcpStream>>>,
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
