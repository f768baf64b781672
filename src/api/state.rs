//! Holds the shared state of the HTTP API: registry, gate, authenticator and settings.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{health::Readiness, realm::Realm};
use crate::{
    access::Gate,
    auth::{Authenticator, ChallengeScheme},
    registry::Registry,
};

/// The components and settings that the HTTP API is built from.
#[derive(Clone)]
pub struct Parts {
    /// The registry engine.
    pub registry: Registry,
    /// The gate, which decides on access; replaced when the policy changes.
    pub gate: Arc<ArcSwap<Gate>>,
    /// The authenticator, which verifies credentials.
    pub authenticator: Arc<Authenticator>,
    /// The URL of the token endpoint as seen from outside; replaced when the host names change.
    pub realm: Arc<ArcSwap<Realm>>,
    /// The scheme of the challenge to callers without credentials.
    pub challenge: ChallengeScheme,
    /// The maximum time without a byte in a request body before the request is given up.
    pub idle_timeout: Duration,
    /// The certificate of the CA that the server created for itself, in PEM, if it did.
    pub authority: AuthorityCertificate,
    /// Whether responses instruct browsers to use only HTTPS with this host for the next year
    /// (`Strict-Transport-Security`, RFC 6797).
    ///
    /// A browser applies this to every port of the host and lets its user override no certificate warning. That is
    /// right where the operator configured a certificate for the host. It is too much with a certificate of the
    /// server's own CA: the host often serves other things over plain HTTP, and a new CA would lock its users out for
    /// up to a year.
    pub is_https_for_good: bool,
}

/// Returns the certificate of the server's own CA in PEM, as it is at the moment of the call. Clients trust it; it
/// contains no secrets.
pub type AuthorityCertificate = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The state of the HTTP API, shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

pub(super) struct Shared {
    pub(super) parts: Parts,
    pub(super) readiness: Readiness,
}

impl Api {
    /// The state for these components.
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
