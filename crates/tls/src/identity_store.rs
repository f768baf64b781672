//! Holds all certificates of the server, and selects one by the client's server name and signature schemes.
//!
//! Invariant: there is always a first certificate, and clients for which no other one fits get it.

use std::sync::Arc;

use rustls::SignatureScheme;

use super::{Hostname, ServerIdentity};

/// One or more identities, the default one first.
#[derive(Clone, Debug)]
pub struct IdentityStore {
    first: Arc<ServerIdentity>,
    others: Vec<Arc<ServerIdentity>>,
}

impl IdentityStore {
    /// Creates a store of the default identity and further ones in the order of preference.
    #[must_use]
    pub fn new(first: ServerIdentity, others: Vec<ServerIdentity>) -> Self {
        Self { first: Arc::new(first), others: others.into_iter().map(Arc::new).collect() }
    }

    /// Returns the default identity.
    #[must_use]
    pub fn first(&self) -> &Arc<ServerIdentity> {
        &self.first
    }

    /// Returns all identities, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ServerIdentity>> {
        [&self.first].into_iter().chain(&self.others)
    }

    /// Whether both contain the same certificates in the same order.
    #[must_use]
    pub fn same_certificates(&self, others: &Self) -> bool {
        self.iter().map(|identity| identity.fingerprint()).eq(others.iter().map(|identity| identity.fingerprint()))
    }

    /// Selects the identity for a client that requests `name` and supports these signature schemes. An exact name
    /// precedes a wildcard; of several certificates (an RSA and an ECDSA one), the first whose signature the client can
    /// verify is used.
    ///
    /// Clients that connect by IP address request no name; they, and clients that request an unknown name, get the
    /// first one.
    pub(super) fn select(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> &Arc<ServerIdentity> {
        let Some(name) = name.and_then(|name| name.parse::<Hostname>().ok()) else { return &self.first };
        let exact = self.iter().filter(|identity| identity.facts().lists_exactly(&name));
        let all: Vec<_> = exact.chain(self.iter().filter(|identity| identity.covers(&name))).collect();
        let can_verify =
            |identity: &&&Arc<ServerIdentity>| identity.certified_key().key.choose_scheme(schemes).is_some();
        all.iter().find(can_verify).or(all.first()).copied().unwrap_or(&self.first)
    }
}

impl From<ServerIdentity> for IdentityStore {
    fn from(identity: ServerIdentity) -> Self {
        Self::new(identity, Vec::new())
    }
}

/// The result of [`load`](super::load).
#[derive(Debug)]
pub struct LoadedIdentities {
    /// The default identity for handshakes.
    pub identity: ServerIdentity,
    /// Further identities, for clients that request one of their names.
    pub others: Vec<ServerIdentity>,
    /// Whether the certificate authority was created by this call, so that clients do not trust it yet.
    pub authority_is_new: bool,
    /// Whether the server's certificate was generated or renewed by this call.
    pub certificate_is_new: bool,
}

impl LoadedIdentities {
    /// Returns all identities, the default one first.
    #[must_use]
    pub fn identities(self) -> IdentityStore {
        IdentityStore::new(self.identity, self.others)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
    use rustls::pki_types::PrivateKeyDer;

    use super::{super::server_identity::UncheckedIdentity, *};

    const ALL: [SignatureScheme; 2] = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];

    fn identity(names: &[&str], algorithm: &'static SignatureAlgorithm) -> ServerIdentity {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        UncheckedIdentity { chain: vec![certificate.der().clone()], lines: Vec::new(), key }
            .check(SystemTime::now())
            .unwrap()
    }

    fn chosen<'a>(identities: &'a IdentityStore, name: Option<&str>, schemes: &[SignatureScheme]) -> &'a [String] {
        identities.select(name, schemes).names()
    }

    #[test]
    fn a_client_gets_the_certificate_for_the_name_that_it_asks_for_and_else_the_first() {
        let make = |names: &[&str]| identity(names, &PKCS_ECDSA_P256_SHA256);
        let identities = IdentityStore::new(make(&["a.test"]), vec![make(&["*.b.test"]), make(&["x.b.test"])]);
        for (asked, given) in [
            (Some("a.test"), "a.test"),
            (Some("A.Test"), "a.test"),
            (Some("y.b.test"), "*.b.test"),
            (Some("x.b.test"), "x.b.test"),
            (Some("z.y.b.test"), "a.test"),
            (Some("unknown.test"), "a.test"),
            (None, "a.test"),
        ] {
            assert_eq!(chosen(&identities, asked, &ALL), [given], "{asked:?}");
        }
    }

    #[test]
    fn of_two_certificates_for_a_name_a_client_gets_the_one_that_it_can_verify() {
        let (modern, common) = (&["a.test", "modern.test"], &["a.test", "common.test"]);
        let (modern, common) = (identity(modern, &PKCS_ED25519), identity(common, &PKCS_ECDSA_P256_SHA256));
        let identities = IdentityStore::new(modern, vec![common]);
        let names = |schemes: &[SignatureScheme]| chosen(&identities, Some("a.test"), schemes)[1].clone();
        assert_eq!(names(&ALL), "modern.test");
        assert_eq!(names(&[SignatureScheme::ECDSA_NISTP256_SHA256]), "common.test");
        // The handshake fails in that case, with a TLS alert that names the reason.
        assert_eq!(names(&[SignatureScheme::RSA_PSS_SHA256]), "modern.test");
    }
}
