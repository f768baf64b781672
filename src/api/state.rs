//! What every request can reach.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{health::Readiness, realm::Realm};
use crate::{
    access::Gate,
    auth::{Authenticator, ChallengeScheme},
    registry::Registry,
};

/// The parts that the surface is built on.
#[derive(Clone)]
pub struct Parts {
    /// The engine.
    pub registry: Registry,
    /// The gate; exchanged when the policy changes.
    pub gate: Arc<ArcSwap<Gate>>,
    /// Who is asking.
    pub authenticator: Arc<Authenticator>,
    /// Where the token endpoint is, as seen from outside; exchanged when the host names change.
    pub realm: Arc<ArcSwap<Realm>>,
    /// How callers without credentials are asked for them.
    pub challenge: ChallengeScheme,
    /// How long a request body may rest before it is given up.
    pub idle_timeout: Duration,
    /// The certificate authority that the server made for itself, in PEM, if it did.
    pub authority: AuthorityCertificate,
    /// Whether browsers are told to speak nothing but HTTPS to this host for the next year
    /// (`Strict-Transport-Security`, RFC 6797).
    ///
    /// They then do so on every port of the host and let nobody click a warning away. That is right where the operator
    /// brought a certificate for the host, and too much where we made our own: the host often serves other things in
    /// plain HTTP, and when the CA is made anew, its people would be locked out for a year.
    pub is_https_for_good: bool,
}

/// The certificate of the server's own authority, as it is at the moment of the call. Clients trust it; it has no secrets.
pub type AuthorityCertificate = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The state of the HTTP surface, shared by all requests.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

pub(super) struct Shared {
    pub(super) parts: Parts,
    pub(super) readiness: Readiness,
}

impl Api {
    /// The surface over these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared { parts, readiness: Readiness::default() }))
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0.parts.registry
    }

    pub(super) fn gate(&self) -> arc_swap::Guard<Arc<Gate>> {
        self.0.parts.gate.load()
    }

    pub(super) fn authenticator(&self) -> &Authenticator {
        &self.0.parts.authenticator
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.0.parts
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }
}
