//! What we are willing to speak: protocol versions, cipher suites, application protocols, session tickets.
//!
//! Invariant: the cryptographic provider is named here and nowhere left to a process-wide default, so a library that
//! installs another one changes nothing.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert},
    version::{TLS12, TLS13},
};

use super::{ClientTrust, MinimumVersion};

/// The application protocols that we offer, the preferred one first (RFC 7301 names).
const APPLICATION_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The one cryptographic provider: aws-lc.
///
/// Its cipher suites are AEAD with ephemeral keys only, in TLS 1.2 too: nothing of CBC, RSA key exchange or static
/// Diffie-Hellman exists in rustls to be switched off.
pub(super) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// How we speak TLS, with the certificate that `resolver` gives, and with clients' certificates as `clients` wants them, at the
/// time of each handshake.
///
/// Fails only if the system gives no random bytes for the session ticket keys.
pub fn server_config(
    minimum: MinimumVersion,
    resolver: Arc<dyn ResolvesServerCert>,
    clients: Arc<ClientTrust>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions = match minimum {
        MinimumVersion::Tls12 => &[&TLS13, &TLS12][..],
        MinimumVersion::Tls13 => &[&TLS13][..],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::clone(&clients) as _)
        .with_cert_resolver(resolver);
    config.alpn_protocols = APPLICATION_PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Tickets instead of the in-memory session cache: clients open many short connections, and a ticket costs us no
    // memory. Keys rotate every six hours and never leave the process.
    config.ticketer = Arc::new(Ticketer { tickets: aws_lc_rs::Ticketer::new()?, clients });
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // The client's order of cipher suites decides: every suite we have is sound, and only the client knows whether it has
    // AES in hardware. Go puts AES-128-GCM first where it has and ChaCha20 where it has not, which is what moves layers
    // fastest on either; our own order would put AES-256 first for all of them.
    config.ignore_client_order = false;
    Ok(Arc::new(config))
}

/// Session tickets, except while clients are asked for certificates: a resumed session brings along the certificate of the
/// first one, which nobody looks at again, and would outlive its expiry and its authority.
#[derive(Debug)]
struct Ticketer {
    tickets: Arc<dyn ProducesTickets>,
    clients: Arc<ClientTrust>,
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        !self.clients.asks() && self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if self.clients.asks() { None } else { self.tickets.encrypt(plain) }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        if self.clients.asks() { None } else { self.tickets.decrypt(cipher) }
    }
}
