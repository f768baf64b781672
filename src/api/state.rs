//! Holds the shared state of the HTTP API: registry, gate, authenticator and settings.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{readiness_cache::ReadinessCache, token_realm::TokenRealm};
use crate::{
    access::Gate,
    auth::{Authenticator, ChallengeScheme},
    clock::Clock,
    registry::Registry,
};

/// The components and settings that the HTTP API is built from.
#[derive(Clone)]
pub struct ApiComponents {
    /// The registry engine.
    pub registry: Registry,
    /// The gate, which decides on access; replaced when the policy changes.
    pub gate: Arc<ArcSwap<Gate>>,
    /// The authenticator, which verifies credentials.
    pub authenticator: Arc<Authenticator>,
    /// The URL of the token endpoint as seen from outside; replaced when the host names change.
    pub realm: Arc<ArcSwap<TokenRealm>>,
    /// The scheme of the challenge to callers without credentials.
    pub challenge: ChallengeScheme,
    /// The maximum time without a byte in a request body before the request is given up.
    pub idle_timeout: Duration,
    /// The certificate of the CA that the server created for itself, in PEM, if it did.
    pub ca_certificate: CaCertificateSource,
    /// Whether responses instruct browsers to use only HTTPS with this host for the next year
    /// (`Strict-Transport-Security`, RFC 6797).
    ///
    /// A browser applies this to every port of the host and lets its user override no certificate warning. That is
    /// right where the operator configured a certificate for the host. It is too much with a certificate of the
    /// server's own CA: the host often serves other things over plain HTTP, and a new CA would lock its users out for
    /// up to a year.
    pub sends_hsts: bool,
    /// The clock that decides which tokens are valid, and that times requests.
    pub clock: Clock,
}

/// Returns the certificate of the server's own CA in PEM, as it is at the moment of the call. Clients trust it; it
/// contains no secrets.
pub type CaCertificateSource = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The state of the HTTP API, shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<ApiInner>);

pub(super) struct ApiInner {
    pub(super) components: ApiComponents,
    pub(super) readiness: ReadinessCache,
}

impl Api {
    /// The state for these components.
    #[must_use]
    pub fn new(parts: ApiComponents) -> Self {
        Self(Arc::new(ApiInner { components: parts, readiness: ReadinessCache::default() }))
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0.components.registry
    }

    pub(super) fn gate(&self) -> arc_swap::Guard<Arc<Gate>> {
        self.0.components.gate.load()
    }

    pub(super) fn authenticator(&self) -> &Authenticator {
        &self.0.components.authenticator
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.0.components.clock
    }

    pub(super) fn components(&self) -> &ApiComponents {
        &self.0.components
    }

    pub(super) fn readiness(&self) -> &ReadinessCache {
        &self.0.readiness
    }
}
