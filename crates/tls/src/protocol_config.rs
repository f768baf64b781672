//! Builds the rustls server configuration: protocol versions, cipher suites, application protocols, session tickets.

use std::sync::Arc;

use rustls::{
    CipherSuite, ServerConfig,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, cipher_suite as suites},
    },
    server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert},
    version::{TLS12, TLS13},
};

use super::{ClientTrust, MinimumVersion, provider::provider};

/// Application protocols that the server offers, the preferred one first (RFC 7301 names).
const APPLICATION_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The TLS configurations of the server, one for each order of the cipher suites.
///
/// AES-128 is preferred, because it is fastest wherever the hardware supports AES. Only the client can determine
/// whether its hardware does: a client without AES support offers `ChaCha20` first, and gets it.
pub struct RustlsConfigs {
    aes_first: Arc<ServerConfig>,
    chacha_first: Arc<ServerConfig>,
}

impl RustlsConfigs {
    /// Selects the configuration for a client by its `ClientHello`.
    #[must_use]
    pub fn for_client(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        Arc::clone(if prefers_chacha(hello.cipher_suites()) { &self.chacha_first } else { &self.aes_first })
    }
}

/// Whether the first suite is a `ChaCha20` suite. Placeholder suites that test the server's tolerance (GREASE, RFC
/// 8701) do not count.
fn prefers_chacha(suites: &[CipherSuite]) -> bool {
    let is_grease = |suite: &CipherSuite| u16::from(*suite) & 0x0f0f == 0x0a0a;
    let first = suites.iter().find(|suite| !is_grease(suite));
    first.is_some_and(|suite| suite.as_str().is_some_and(|name| name.contains("CHACHA20")))
}

/// Builds the TLS configurations with the certificates of `resolver`, and with client certificates verified by
/// `clients`. Both are queried at the time of each handshake.
///
/// Fails only if the operating system returns no random bytes for the session ticket keys.
pub fn server_config<R: ResolvesServerCert + 'static>(
    minimum: MinimumVersion,
    resolver: &Arc<R>,
    clients: &Arc<ClientTrust>,
) -> Result<RustlsConfigs, rustls::Error> {
    // Tickets replace the in-memory session cache: clients open many short connections, and a ticket costs the server
    // no memory. The keys rotate every six hours and never leave the process.
    let tickets = Arc::new(ClientAuthTicketer { tickets: aws_lc_rs::Ticketer::new()?, clients: Arc::clone(clients) });
    let aes_first = [
        suites::TLS13_AES_128_GCM_SHA256,
        suites::TLS13_AES_256_GCM_SHA384,
        suites::TLS13_CHACHA20_POLY1305_SHA256,
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    let mut chacha_first = aes_first;
    chacha_first.sort_by_key(|suite| !prefers_chacha(&[suite.suite()]));
    let config = |order: &[rustls::SupportedCipherSuite]| {
        let provider = CryptoProvider { cipher_suites: order.to_vec(), ..provider() };
        build_config(provider, minimum, Arc::clone(resolver) as _, Arc::clone(clients), Arc::clone(&tickets) as _)
    };
    Ok(RustlsConfigs { aes_first: Arc::new(config(&aes_first)?), chacha_first: Arc::new(config(&chacha_first)?) })
}

fn build_config(
    provider: CryptoProvider,
    minimum: MinimumVersion,
    resolver: Arc<dyn ResolvesServerCert>,
    clients: Arc<ClientTrust>,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, rustls::Error> {
    let versions = match minimum {
        MinimumVersion::Tls12 => &[&TLS13, &TLS12][..],
        MinimumVersion::Tls13 => &[&TLS13][..],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(resolver);
    config.alpn_protocols = APPLICATION_PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    config.ticketer = tickets;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ignore_client_order = true;
    // An attacker who recorded early data can replay it, and a repeated request is not always harmless.
    config.max_early_data_size = 0;
    Ok(config)
}

/// Issues session tickets, except while clients are asked for certificates: a resumed session carries the certificate
/// of the first one without verifying it again, so it would outlive the certificate's expiry and the authority's
/// removal.
#[derive(Debug)]
struct ClientAuthTicketer {
    tickets: Arc<dyn ProducesTickets>,
    clients: Arc<ClientTrust>,
}

impl ProducesTickets for ClientAuthTicketer {
    fn enabled(&self) -> bool {
        !self.clients.is_enabled() && self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if self.clients.is_enabled() { None } else { self.tickets.encrypt(plain) }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        if self.clients.is_enabled() { None } else { self.tickets.decrypt(cipher) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AES: CipherSuite = CipherSuite::TLS13_AES_256_GCM_SHA384;
    const CHACHA: CipherSuite = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
    const GREASE: CipherSuite = CipherSuite::Unknown(0x3a3a);

    #[test]
    fn only_a_client_that_puts_chacha20_first_prefers_it() {
        assert!(prefers_chacha(&[CHACHA, AES]));
        assert!(prefers_chacha(&[GREASE, CHACHA, AES]));
        assert!(prefers_chacha(&[CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256]));
        assert!(!prefers_chacha(&[AES, CHACHA]));
        assert!(!prefers_chacha(&[CipherSuite::Unknown(0x1305), CHACHA]));
        assert!(!prefers_chacha(&[]));
    }
}
