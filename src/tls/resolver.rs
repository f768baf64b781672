//! The certificate that handshakes get: one at a time, exchanged while the server runs.
//!
//! Invariant: there is always exactly one [`Identity`], and it was checked before it came here; a handshake sees the old
//! one or the new one, never a mixture.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::Identity;

/// Answers every handshake with the current identity, whatever name the client asks for.
///
/// Clients that connect by IP address send no name, and one certificate carries all names: there is nothing to choose.
pub struct CertResolver {
    current: ArcSwap<Identity>,
}

impl CertResolver {
    /// Starts with this identity.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { current: ArcSwap::from_pointee(identity) }
    }

    /// From the next handshake on, this identity. Running connections keep what they have.
    pub fn replace(&self, identity: Identity) {
        self.current.store(Arc::new(identity));
    }

    /// The identity of the next handshake.
    #[must_use]
    pub fn current(&self) -> Arc<Identity> {
        self.current.load_full()
    }
}

impl ResolvesServerCert for CertResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().certified_key())
    }
}

// rustls demands Debug of a resolver; what is inside is nobody's business.
impl fmt::Debug for CertResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertResolver").finish_non_exhaustive()
    }
}
