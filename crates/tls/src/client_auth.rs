//! Verifies client certificates, in handshakes and again at each use.
//!
//! Invariant: a certificate signs in a user only if it is valid at that moment. A certificate that a handshake accepted
//! is verified again at each request, because connections may outlive the trust in an authority. The rules can be
//! replaced while the server runs.

use std::{
    collections::HashSet,
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{self, SHA256};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::{
    CertificateProof, CertifiedUser, ClientChain, ClientConfig, ClientMode, ClientUser, SourceError,
    certificate::CertificateFields, client_certificate::ProofDigest, pem_files, provider::provider,
};

/// The rules for client certificates; none if clients are not asked for one.
pub struct ClientTrust {
    rules: ArcSwapOption<ClientAuthRules>,
    algorithms: WebPkiSupportedAlgorithms,
}

struct ClientAuthRules {
    mode: ClientMode,
    user: ClientUser,
    verifier: Arc<dyn ClientCertVerifier>,
    /// Digest of the authorities and the name rule: a proof that was made under another digest is void.
    authorities_digest: ProofDigest,
    revoked: HashSet<ProofDigest>,
    /// Digest of the authorities, the revocation lists and the name rule, to detect changed files.
    fingerprint: ProofDigest,
}

impl ClientTrust {
    /// Reads the authorities and their revocation lists.
    pub fn load(config: Option<&ClientConfig>, now: SystemTime) -> Result<Self, SourceError> {
        let rules = config.map(|config| ClientAuthRules::load(config, now)).transpose()?;
        let algorithms = provider().signature_verification_algorithms;
        Ok(Self { rules: ArcSwapOption::new(rules.map(Arc::new)), algorithms })
    }

    /// Reads the files again and returns whether they have changed. An error changes nothing.
    pub fn reload(&self, config: Option<&ClientConfig>, now: SystemTime) -> Result<bool, SourceError> {
        let rules = config.map(|config| ClientAuthRules::load(config, now)).transpose()?;
        let state = |rules: &ClientAuthRules| (rules.mode, rules.fingerprint);
        let is_news = self.rules.load().as_deref().map(state) != rules.as_ref().map(state);
        if is_news {
            self.rules.store(rules.map(Arc::new));
        }
        Ok(is_news)
    }

    /// Whether clients are asked for certificates.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.rules.load().is_some()
    }

    /// Returns the user that a certificate signs in; `None` if it is not valid at `now`, or has no name under the rule.
    #[must_use]
    pub fn verify(&self, chain: &ClientChain, now: SystemTime) -> Option<CertifiedUser> {
        let rules = self.rules.load();
        let rules = rules.as_ref()?;
        let (leaf, intermediates) = chain.certificates()?;
        rules.verifier.verify_client_cert(leaf, intermediates, unix_time(now)).ok()?;
        CertifiedUser::from_certificate(leaf, rules.user, rules.authorities_digest)
    }

    /// Whether the proof from a certificate is still valid.
    #[must_use]
    pub fn is_proof_valid(&self, proof: &CertificateProof, now: SystemTime) -> bool {
        let rules = self.rules.load();
        rules.as_ref().is_some_and(|rules| {
            rules.user != ClientUser::NoUser
                && proof.authorities == rules.authorities_digest
                && !rules.revoked.contains(&proof.certificate)
                && proof.is_unexpired(now)
        })
    }
}

impl ClientAuthRules {
    fn load(config: &ClientConfig, now: SystemTime) -> Result<Self, SourceError> {
        let authorities = valid_authorities(config, now)?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            let refused =
                |error: Error| SourceError::Certificate { path: config.ca.clone(), reason: error.to_string() };
            roots.add(authority.clone()).map_err(refused)?;
        }
        let lists = config.crl.as_deref().map(revocation_lists).transpose()?.unwrap_or_default();
        let revoked = lists.iter().map(|list| revoked_certificates(list)).collect::<Result<Vec<_>, _>>();
        let unusable = |reason| SourceError::RevocationList { path: config.crl.clone().unwrap_or_default(), reason };
        let revoked = revoked.map_err(unusable)?.into_iter().flatten().collect();
        let mark = rules_digest(authorities.iter().map(AsRef::as_ref), config.user);
        let fingerprint = self::rules_digest(
            authorities.iter().map(AsRef::as_ref).chain(lists.iter().map(AsRef::as_ref)),
            config.user,
        );
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider())).with_crls(lists);
        let verifier = verifier.build().map_err(|error| unusable(error.to_string()))?;
        Ok(Self { mode: config.mode, user: config.user, verifier, authorities_digest: mark, revoked, fingerprint })
    }
}

/// Returns the authorities in the file that are valid at `now`; at least one.
fn valid_authorities(config: &ClientConfig, now: SystemTime) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let (path, mut good, mut expired) = (&config.ca, Vec::new(), None);
    for certificate in pem_files::read_certificate_set(path)? {
        let unreadable = |reason| SourceError::Certificate { path: path.clone(), reason };
        let facts = CertificateFields::parse(&certificate).map_err(unreadable)?;
        if !facts.is_authority {
            return Err(SourceError::NotAnAuthority { path: path.clone() });
        }
        // The verifier does not check the expiry of an authority that is configured as a root.
        if facts.not_after < now {
            tracing::warn!(path = %path.display(), fingerprint = %facts.fingerprint, "a client certificate authority has expired");
            expired = Some(facts.not_after);
        } else {
            good.push(certificate);
        }
    }
    match expired {
        Some(not_after) if good.is_empty() => Err(SourceError::Expired { path: path.clone(), not_after }),
        Some(_) | None => Ok(good),
    }
}

fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, SourceError> {
    let lists = pem_files::read_revocation_lists(path)?;
    if lists.is_empty() {
        let reason = "no revocation list in this file".to_owned();
        return Err(SourceError::RevocationList { path: path.to_owned(), reason });
    }
    Ok(lists)
}

/// Returns the digests of the revoked certificates, as [`CertificateProof`] contains them.
fn revoked_certificates(list: &[u8]) -> Result<Vec<ProofDigest>, String> {
    let (_, list) = CertificateRevocationList::from_der(list).map_err(|error| error.to_string())?;
    let issuer = list.issuer().as_raw();
    Ok(list
        .iter_revoked_certificates()
        .map(|revoked| ProofDigest::from_issuer_and_serial(issuer, revoked.raw_serial()))
        .collect())
}

/// Hashes the parts independently of their order in the file.
fn rules_digest<'a>(parts: impl Iterator<Item = &'a [u8]>, user: ClientUser) -> ProofDigest {
    let mut parts: Vec<_> = parts.map(|part| digest::digest(&SHA256, part).as_ref().to_vec()).collect();
    parts.sort_unstable();
    let rule = match user {
        ClientUser::CommonName => "cn",
        ClientUser::DnsName => "dns",
        ClientUser::Email => "email",
        ClientUser::NoUser => "off",
    };
    parts.push(rule.as_bytes().to_vec());
    ProofDigest::from_bytes(&parts.concat())
}

fn unix_time(now: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

impl ClientCertVerifier for ClientTrust {
    fn offer_client_auth(&self) -> bool {
        self.is_enabled()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.rules.load().as_ref().is_some_and(|rules| rules.mode == ClientMode::Required)
    }

    /// Returns no names, so clients may present any certificate: the authorities can change at any time.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.rules.load().as_ref() {
            Some(rules) => rules.verifier.verify_client_cert(end_entity, intermediates, now),
            // The rules were removed after the server had asked this client for a certificate.
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

// rustls requires Debug of a verifier.
impl fmt::Debug for ClientTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTrust").field("asks", &self.is_enabled()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
