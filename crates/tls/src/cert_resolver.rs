//! Selects the certificate for each handshake, and lets the certificates be replaced while the server runs.
//!
//! Invariant: there is always at least one [`ServerIdentity`], and each was checked before it came here. A handshake
//! sees the old certificates or the new ones, never a mixture.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{IdentityStore, ServerIdentity};

/// Selects the certificate for the requested server name, else the first one.
pub struct CertResolver {
    current: ArcSwap<IdentityStore>,
}

impl CertResolver {
    /// Creates a resolver with these identities.
    #[must_use]
    pub fn new(identities: impl Into<IdentityStore>) -> Self {
        Self { current: ArcSwap::from_pointee(identities.into()) }
    }

    /// Uses these identities from the next handshake on. Running connections keep theirs.
    pub fn replace(&self, identities: impl Into<IdentityStore>) {
        self.current.store(Arc::new(identities.into()));
    }

    /// Returns the default identity of the next handshake.
    #[must_use]
    pub fn current(&self) -> Arc<ServerIdentity> {
        Arc::clone(self.current.load().first())
    }

    /// Returns all identities of the next handshake.
    #[must_use]
    pub fn identities(&self) -> Arc<IdentityStore> {
        self.current.load_full()
    }
}

impl ResolvesServerCert for CertResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().select(hello.server_name(), hello.signature_schemes()).certified_key())
    }
}

// rustls requires Debug of a resolver; the contents are not printed.
impl fmt::Debug for CertResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertResolver").finish_non_exhaustive()
    }
}
