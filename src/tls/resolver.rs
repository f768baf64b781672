//! The certificates that handshakes get, exchanged while the server runs.
//!
//! Invariant: there is always at least one [`Identity`], and each was checked before it came here; a handshake sees the old
//! ones or the new ones, never a mixture.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{Identities, Identity};

/// Answers every handshake: with the certificate for the name that the client asks for, else with the first one.
pub struct CertResolver {
    current: ArcSwap<Identities>,
}

impl CertResolver {
    /// Starts with these identities.
    #[must_use]
    pub fn new(identities: impl Into<Identities>) -> Self {
        Self { current: ArcSwap::from_pointee(identities.into()) }
    }

    /// From the next handshake on, these identities. Running connections keep what they have.
    pub fn replace(&self, identities: impl Into<Identities>) {
        self.current.store(Arc::new(identities.into()));
    }

    /// The default identity of the next handshake.
    #[must_use]
    pub fn current(&self) -> Arc<Identity> {
        Arc::clone(self.current.load().first())
    }

    /// All identities of the next handshake.
    #[must_use]
    pub fn identities(&self) -> Arc<Identities> {
        self.current.load_full()
    }
}

impl ResolvesServerCert for CertResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().of(hello.server_name(), hello.signature_schemes()).certified_key())
    }
}

// rustls demands Debug of a resolver; what is inside is nobody's business.
impl fmt::Debug for CertResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertResolver").finish_non_exhaustive()
    }
}
