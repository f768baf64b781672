//! Fetches the signing keys of one OIDC issuer (its JWKS) on demand and caches them.
//!
//! Invariant: whatever clients send, at most one request to the issuer is in progress (singleflight), and an unknown
//! key id causes at most one request a minute. A key is used at most [`STALE`] beyond the time for which the issuer's
//! response may be cached.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::sync::watch;

use super::{
    keys::{BadKeys, KeySet},
    rule::{IssuerUrl, Rule},
};
use portcullis_http_client::{FetchError, Fetcher, HttpsUrl, InvalidUrl, Limits, Trust, TrustError};

/// The time and size limits for each of the two documents: discovery and keys.
const LIMITS: Limits = Limits { time: Duration::from_secs(5), size: 256 << 10 };

/// How long keys are cached if the response has no `Cache-Control`.
const USUAL: Duration = Duration::from_secs(60 * 60);

/// The shortest time for which keys are cached, whatever `Cache-Control` contains.
const SHORTEST: Duration = Duration::from_secs(5 * 60);

/// The longest time for which keys are cached, whatever `Cache-Control` contains.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long expired keys remain in use while the issuer cannot be reached.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest interval between two fetches because of an unknown key id.
const SEARCH: Duration = Duration::from_secs(60);

/// The pause after a failed fetch.
pub(super) const RETRY: Duration = Duration::from_secs(10);

/// The identity of an issuer and where its keys come from. Keys fetched for one source are never used for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    issuer: IssuerUrl,
    jwks_uri: Option<HttpsUrl>,
    trust: Trust,
}

impl Source {
    pub(super) fn of(rule: &Rule) -> Result<Self, TrustError> {
        let trust = Trust::read(rule.ca.as_deref())?;
        Ok(Self { issuer: rule.issuer.clone(), jwks_uri: rule.jwks_uri.clone(), trust })
    }
}

/// An issuer and the cache of its keys.
pub(super) struct Issuer {
    source: Source,
    fetcher: Fetcher,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    held: Option<Held>,
    /// The time of the last failed fetch.
    failed: Option<Instant>,
    /// The time of the last fetch because of an unknown key id.
    searched: Option<Instant>,
    /// A fetch in progress; the channel is closed when it ends.
    flight: Option<watch::Receiver<()>>,
}

struct Held {
    keys: Arc<KeySet>,
    fresh_until: Instant,
}

enum Consulted {
    /// Use the cached keys, or fail if there are none: no fetch is allowed now.
    Held(Option<Arc<KeySet>>),
    /// Another caller's fetch is in progress: wait for it.
    Flight(watch::Receiver<()>),
    /// Start a fetch.
    Ask(watch::Sender<()>, watch::Receiver<()>),
}

impl Issuer {
    pub(super) fn new(source: Source) -> Result<Self, TrustError> {
        let fetcher = Fetcher::new(&source.trust)?;
        Ok(Self { source, fetcher, known: Mutex::default() })
    }

    pub(super) fn name(&self) -> &str {
        self.source.issuer.as_str()
    }

    pub(super) fn is(&self, source: &Source) -> bool {
        self.source == *source
    }

    /// The keys of the issuer, fetched again if the key id `wanted` is not cached. `None` if the issuer cannot be
    /// reached and no usable keys are cached.
    pub(super) async fn keys(self: &Arc<Self>, wanted: &str, now: Instant) -> Option<Arc<KeySet>> {
        let mut flight = match self.consult(wanted, now) {
            Consulted::Held(keys) => return keys,
            Consulted::Flight(flight) => flight,
            Consulted::Ask(landing, flight) => {
                let issuer = self.clone();
                // A separate task, so that a caller that is cancelled does not cancel the fetch for the others.
                tokio::spawn(async move {
                    let fetched = issuer.fetch().await;
                    issuer.land(fetched, now);
                    drop(landing);
                });
                flight
            }
        };
        // No value is ever sent; closing the channel is the signal.
        let _ended = flight.changed().await;
        self.known().usable(now)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn consult(&self, wanted: &str, now: Instant) -> Consulted {
        let mut known = self.known();
        let usable = known.usable(now);
        let is_fresh = known.held.as_ref().is_some_and(|held| now < held.fresh_until);
        if is_fresh && usable.as_ref().is_some_and(|keys| keys.has(wanted)) {
            return Consulted::Held(usable);
        }
        // A channel that was closed without a result belongs to a task that panicked or was cancelled.
        if let Some(flight) = known.flight.clone().filter(|flight| flight.has_changed().is_ok()) {
            return Consulted::Flight(flight);
        }
        let rested = |since: Option<Instant>, pause| since.is_none_or(|since| now.duration_since(since) >= pause);
        if !rested(known.failed, RETRY) || (is_fresh && !rested(known.searched, SEARCH)) {
            return Consulted::Held(usable);
        }
        if is_fresh {
            known.searched = Some(now);
        }
        let (landing, flight) = watch::channel(());
        known.flight = Some(flight.clone());
        Consulted::Ask(landing, flight)
    }

    fn land(&self, fetched: Result<(KeySet, Duration), Unusable>, now: Instant) {
        let mut known = self.known();
        known.flight = None;
        match fetched {
            Ok((keys, age)) => {
                known.failed = None;
                known.held = Some(Held { keys: Arc::new(keys), fresh_until: now + age });
            }
            Err(error) => {
                known.failed = Some(now);
                drop(known);
                tracing::warn!(issuer = self.name(), %error, "the keys of the issuer cannot be fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<(KeySet, Duration), Unusable> {
        let url = match &self.source.jwks_uri {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let document = self.fetcher.get(&url, LIMITS).await.map_err(|error| Unusable::Fetch(url, error))?;
        let keys = KeySet::read(&document.body)?;
        Ok((keys, document.max_age.unwrap_or(USUAL).clamp(SHORTEST, LONGEST)))
    }

    /// Fetches the discovery document and returns the URL of the keys. The administrator configured the issuer, but
    /// this URL comes from the network, so it must have the same origin.
    async fn discover(&self) -> Result<HttpsUrl, Unusable> {
        #[derive(Deserialize)]
        struct Description {
            issuer: String,
            jwks_uri: String,
        }
        let url = self.source.issuer.discovery()?;
        let document = self.fetcher.get(&url, LIMITS).await.map_err(|error| Unusable::Fetch(url, error))?;
        let found: Description = serde_json::from_slice(&document.body).map_err(|_| Unusable::Description)?;
        if found.issuer != self.name() {
            return Err(Unusable::OtherIssuer(found.issuer.chars().take(200).collect()));
        }
        let keys: HttpsUrl = found.jwks_uri.parse()?;
        if keys.same_origin(self.source.issuer.url()) { Ok(keys) } else { Err(Unusable::OtherHost(keys)) }
    }
}

impl Known {
    fn usable(&self, now: Instant) -> Option<Arc<KeySet>> {
        let held = self.held.as_ref().filter(|held| now < held.fresh_until + STALE)?;
        Some(held.keys.clone())
    }
}

/// Why no keys could be fetched.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}: {1}")]
    Fetch(HttpsUrl, #[source] FetchError),
    #[error("the discovery document is not that of an OpenID provider")]
    Description,
    #[error("the discovery document names another issuer: {0:?}")]
    OtherIssuer(String),
    #[error("the jwks_uri in the discovery document: {0}")]
    Url(#[from] InvalidUrl),
    #[error("the keys are on another host, at {0}; if that is intended, set jwks_uri in the configuration")]
    OtherHost(HttpsUrl),
    #[error(transparent)]
    Keys(#[from] BadKeys),
}
