//! Responses to ACME challenges, by which a directory verifies control over a name.
//!
//! Invariant: a response exists only while its [`ChallengeGuard`] does. Outside of a validation, the server does not
//! offer `acme-tls/1`, and no path of the redirect port is special.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::RwLock;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::PrivateKeyDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::super::provider::provider;

/// ALPN protocol of a validation (RFC 8737, 6.2).
const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// Maximum length of a token in bytes; tokens usually have about 43 characters.
const MAX_CHALLENGE_TOKEN_LEN: usize = 256;

/// Validity of a challenge certificate. Validation servers do not check it, and the response is removed much sooner.
const CERTIFICATE_VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);

/// The challenge responses that are active at this moment.
pub struct Challenges {
    answers: Arc<ChallengeResponses>,
    /// Separate from the configuration for clients: no session tickets and no client certificates.
    config: Arc<ServerConfig>,
}

#[derive(Default)]
struct ChallengeResponses {
    /// Certificates by the validated name, in lower case.
    tls: RwLock<HashMap<String, Arc<CertifiedKey>>>,
    /// Key authorizations by token.
    http: RwLock<HashMap<String, String>>,
}

impl Challenges {
    /// Creates a set without responses. Fails only if the TLS library rejects its own defaults.
    pub fn new() -> Result<Arc<Self>, rustls::Error> {
        let answers = Arc::new(ChallengeResponses::default());
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ValidationCertResolver(Arc::clone(&answers))));
        config.alpn_protocols = vec![ACME_TLS_ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        Ok(Arc::new(Self { answers, config: Arc::new(config) }))
    }

    /// Returns the TLS configuration for validation servers; `None` while no TLS-ALPN validation is running.
    #[must_use]
    pub fn tls_config(&self) -> Option<Arc<ServerConfig>> {
        (!self.answers.tls.read().is_empty()).then(|| Arc::clone(&self.config))
    }

    /// Whether the client is a validation server: it offers that one protocol and no other.
    #[must_use]
    pub fn is_validation(hello: &ClientHello<'_>) -> bool {
        let offered = hello.alpn().map(|mut offered| (offered.next(), offered.next()));
        offered == Some((Some(ACME_TLS_ALPN), None))
    }

    /// Returns the response to a request for `/.well-known/acme-challenge/TOKEN`.
    #[must_use]
    pub fn http_response(&self, token: &str) -> Option<String> {
        self.answers.http.read().get(token).cloned()
    }

    /// Answers handshakes for `name` with a certificate that contains `digest` until the returned [`ChallengeGuard`] is
    /// dropped. The certificate is valid at `now`, and for some time before and after.
    pub fn prove_by_tls(&self, name: &str, digest: &[u8], now: SystemTime) -> Result<ChallengeGuard, ChallengeError> {
        // rcgen panics on another length, and the digest depends on data from the directory.
        if digest.len() != 32 {
            return Err(ChallengeError::Digest);
        }
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.not_before = (now - CERTIFICATE_VALIDITY).into();
        params.not_after = (now + CERTIFICATE_VALIDITY).into();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| ChallengeError::Digest)?;
        let key = provider().key_provider.load_private_key(key)?;
        let name = name.to_ascii_lowercase();
        self.answers.tls.write().insert(name.clone(), Arc::new(CertifiedKey::new(vec![certificate], key)));
        Ok(ChallengeGuard { answers: Arc::clone(&self.answers), target: ResponseKey::Tls(name) })
    }

    /// Answers requests for `token` with `authorization`, until the returned [`ChallengeGuard`] is dropped.
    pub fn prove_by_http(&self, token: &str, authorization: &str) -> Result<ChallengeGuard, ChallengeError> {
        let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if token.is_empty() || token.len() > MAX_CHALLENGE_TOKEN_LEN || !token.bytes().all(in_alphabet) {
            return Err(ChallengeError::Token);
        }
        self.answers.http.write().insert(token.to_owned(), authorization.to_owned());
        Ok(ChallengeGuard { answers: Arc::clone(&self.answers), target: ResponseKey::Http(token.to_owned()) })
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenges").finish_non_exhaustive()
    }
}

/// A challenge response; removed on drop.
#[must_use = "the answer is gone when this is dropped"]
pub struct ChallengeGuard {
    answers: Arc<ChallengeResponses>,
    target: ResponseKey,
}

enum ResponseKey {
    Tls(String),
    Http(String),
}

impl Drop for ChallengeGuard {
    fn drop(&mut self) {
        match &self.target {
            ResponseKey::Tls(name) => drop(self.answers.tls.write().remove(name)),
            ResponseKey::Http(token) => drop(self.answers.http.write().remove(token)),
        }
    }
}

/// Why a challenge cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum ChallengeError {
    /// The directory's token contains characters outside base64url (RFC 8555, 8.3).
    #[error("the token of the directory's challenge is malformed")]
    Token,
    /// The digest does not have the length of SHA-256.
    #[error("the digest of the directory's challenge is malformed")]
    Digest,
    /// The challenge's certificate could not be generated.
    #[error("the challenge's certificate could not be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// The TLS library rejects the key that was just generated.
    #[error("the challenge's key could not be used: {0}")]
    Key(#[from] rustls::Error),
}

struct ValidationCertResolver(Arc<ChallengeResponses>);

impl ResolvesServerCert for ValidationCertResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        self.0.tls.read().get(&name).cloned()
    }
}

impl fmt::Debug for ValidationCertResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidationCertResolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_gone_with_its_proof() {
        let challenges = Challenges::new().unwrap();
        assert!(challenges.tls_config().is_none());
        let by_tls = challenges.prove_by_tls("Registry.example", &[7; 32], SystemTime::now()).unwrap();
        let by_http = challenges.prove_by_http("to-ken", "to-ken.thumb").unwrap();
        assert!(challenges.tls_config().is_some());
        assert!(challenges.answers.tls.read().contains_key("registry.example"));
        assert_eq!(challenges.http_response("to-ken").as_deref(), Some("to-ken.thumb"));
        assert_eq!(challenges.http_response("other"), None);
        drop((by_tls, by_http));
        assert!(challenges.tls_config().is_none());
        assert_eq!(challenges.http_response("to-ken"), None);
    }

    #[test]
    fn what_a_hostile_directory_asks_to_be_repeated_is_refused() {
        let challenges = Challenges::new().unwrap();
        for token in ["", "a/b", "a\r\nX: y", "<script>", "ä", &"a".repeat(257)] {
            assert!(matches!(challenges.prove_by_http(token, "x"), Err(ChallengeError::Token)), "{token}");
        }
        assert!(matches!(
            challenges.prove_by_tls("a.example", &[1; 31], SystemTime::now()),
            Err(ChallengeError::Digest)
        ));
        assert!(challenges.prove_by_tls("ä\u{0}", &[1; 32], SystemTime::now()).is_err());
        assert!(challenges.tls_config().is_none());
    }
}
