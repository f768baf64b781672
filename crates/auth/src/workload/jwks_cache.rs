//! Fetches the signing keys of one OIDC issuer (its JWKS) on demand and caches them.
//!
//! Invariant: whatever clients send, at most one request to the issuer is in progress (singleflight), and an unknown
//! key id causes at most one request a minute. A key is used at most [`MAX_STALE_TIME`] beyond the time for which the
//! issuer's response may be cached.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;
use tokio::sync::watch;

use super::{
    jwks::{InvalidJwks, Jwks},
    rule::{IssuerUrl, WorkloadRule},
};
use portcullis_http_client::{
    FetchError, FetchLimits, HttpsClient, HttpsUrl, InvalidUrl, TrustedRoots, TrustedRootsError,
};

/// The time and size limits for each of the two documents: discovery and keys.
const FETCH_LIMITS: FetchLimits = FetchLimits { timeout: Duration::from_secs(5), max_body_len: 256 << 10 };

/// How long keys are cached if the response has no `Cache-Control`.
const DEFAULT_CACHE_TIME: Duration = Duration::from_secs(60 * 60);

/// The shortest time for which keys are cached, whatever `Cache-Control` contains.
const MIN_CACHE_TIME: Duration = Duration::from_secs(5 * 60);

/// The longest time for which keys are cached, whatever `Cache-Control` contains.
const MAX_CACHE_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long expired keys remain in use while the issuer cannot be reached.
const MAX_STALE_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The shortest interval between two fetches because of an unknown key id.
const UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(60);

/// The pause after a failed fetch.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(10);

/// The identity of an issuer and where its keys come from. Keys fetched for one source are never used for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JwksSource {
    issuer: IssuerUrl,
    jwks_uri: Option<HttpsUrl>,
    trust: TrustedRoots,
}

impl JwksSource {
    pub(super) fn from_rule(rule: &WorkloadRule) -> Result<Self, TrustedRootsError> {
        let trust = TrustedRoots::load(rule.ca.as_deref())?;
        Ok(Self { issuer: rule.issuer.clone(), jwks_uri: rule.jwks_uri.clone(), trust })
    }
}

/// An issuer and the cache of its keys.
pub(super) struct JwksCache {
    source: JwksSource,
    fetcher: HttpsClient,
    state: Mutex<CacheState>,
}

#[derive(Default)]
struct CacheState {
    cached: Option<CachedKeys>,
    /// The time of the last failed fetch.
    failed_at: Option<Instant>,
    /// The time of the last fetch because of an unknown key id.
    unknown_key_fetch_at: Option<Instant>,
    /// A fetch in progress; the channel is closed when it ends.
    in_flight: Option<watch::Receiver<()>>,
}

struct CachedKeys {
    keys: Arc<Jwks>,
    fresh_until: Instant,
}

enum CacheDecision {
    /// Use the cached keys, or fail if there are none: no fetch is allowed now.
    Cached(Option<Arc<Jwks>>),
    /// Another caller's fetch is in progress: wait for it.
    Wait(watch::Receiver<()>),
    /// Start a fetch.
    Fetch(watch::Sender<()>, watch::Receiver<()>),
}

impl JwksCache {
    pub(super) fn new(source: JwksSource) -> Result<Self, TrustedRootsError> {
        let fetcher = HttpsClient::new(&source.trust)?;
        Ok(Self { source, fetcher, state: Mutex::default() })
    }

    pub(super) fn name(&self) -> &str {
        self.source.issuer.as_str()
    }

    pub(super) fn has_source(&self, source: &JwksSource) -> bool {
        self.source == *source
    }

    /// The keys of the issuer, fetched again if the key id `wanted` is not cached. `None` if the issuer cannot be
    /// reached and no usable keys are cached.
    pub(super) async fn keys(self: &Arc<Self>, wanted: &str, now: Instant) -> Option<Arc<Jwks>> {
        let mut flight = match self.look_up(wanted, now) {
            CacheDecision::Cached(keys) => return keys,
            CacheDecision::Wait(flight) => flight,
            CacheDecision::Fetch(landing, flight) => {
                let issuer = self.clone();
                // A separate task, so that a caller that is cancelled does not cancel the fetch for the others.
                tokio::spawn(async move {
                    let fetched = issuer.fetch().await;
                    issuer.finish_fetch(fetched, now);
                    drop(landing);
                });
                flight
            }
        };
        // No value is ever sent; closing the channel is the signal.
        let _ended = flight.changed().await;
        self.lock_state().usable_keys(now)
    }

    fn lock_state(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock()
    }

    fn look_up(&self, wanted: &str, now: Instant) -> CacheDecision {
        let mut known = self.lock_state();
        let usable = known.usable_keys(now);
        let is_fresh = known.cached.as_ref().is_some_and(|held| now < held.fresh_until);
        if is_fresh && usable.as_ref().is_some_and(|keys| keys.contains(wanted)) {
            return CacheDecision::Cached(usable);
        }
        // A channel that was closed without a result belongs to a task that panicked or was cancelled.
        if let Some(flight) = known.in_flight.clone().filter(|flight| flight.has_changed().is_ok()) {
            return CacheDecision::Wait(flight);
        }
        let rested = |since: Option<Instant>, pause| since.is_none_or(|since| now.duration_since(since) >= pause);
        if !rested(known.failed_at, RETRY_DELAY)
            || (is_fresh && !rested(known.unknown_key_fetch_at, UNKNOWN_KEY_INTERVAL))
        {
            return CacheDecision::Cached(usable);
        }
        if is_fresh {
            known.unknown_key_fetch_at = Some(now);
        }
        let (landing, flight) = watch::channel(());
        known.in_flight = Some(flight.clone());
        CacheDecision::Fetch(landing, flight)
    }

    fn finish_fetch(&self, fetched: Result<(Jwks, Duration), JwksFetchError>, now: Instant) {
        let mut known = self.lock_state();
        known.in_flight = None;
        match fetched {
            Ok((keys, age)) => {
                known.failed_at = None;
                known.cached = Some(CachedKeys { keys: Arc::new(keys), fresh_until: now + age });
            }
            Err(error) => {
                known.failed_at = Some(now);
                drop(known);
                tracing::warn!(issuer = self.name(), %error, "the keys of the issuer cannot be fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<(Jwks, Duration), JwksFetchError> {
        let url = match &self.source.jwks_uri {
            Some(url) => url.clone(),
            None => self.discover_jwks_url().await?,
        };
        let document = self.fetcher.get(&url, FETCH_LIMITS).await.map_err(|error| JwksFetchError::Fetch(url, error))?;
        let keys = Jwks::parse(&document.body)?;
        Ok((keys, document.max_age.unwrap_or(DEFAULT_CACHE_TIME).clamp(MIN_CACHE_TIME, MAX_CACHE_TIME)))
    }

    /// Fetches the discovery document and returns the URL of the keys. The administrator configured the issuer, but
    /// this URL comes from the network, so it must have the same origin.
    async fn discover_jwks_url(&self) -> Result<HttpsUrl, JwksFetchError> {
        #[derive(Deserialize)]
        struct Description {
            issuer: String,
            jwks_uri: String,
        }
        let url = self.source.issuer.discovery_url()?;
        let document = self.fetcher.get(&url, FETCH_LIMITS).await.map_err(|error| JwksFetchError::Fetch(url, error))?;
        let found: Description = serde_json::from_slice(&document.body).map_err(|_| JwksFetchError::Description)?;
        if found.issuer != self.name() {
            return Err(JwksFetchError::OtherIssuer(found.issuer.chars().take(200).collect()));
        }
        let keys: HttpsUrl = found.jwks_uri.parse()?;
        if keys.same_origin(self.source.issuer.url()) { Ok(keys) } else { Err(JwksFetchError::OtherHost(keys)) }
    }
}

impl CacheState {
    fn usable_keys(&self, now: Instant) -> Option<Arc<Jwks>> {
        let held = self.cached.as_ref().filter(|held| now < held.fresh_until + MAX_STALE_TIME)?;
        Some(held.keys.clone())
    }
}

/// Why no keys could be fetched.
#[derive(Debug, thiserror::Error)]
enum JwksFetchError {
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
    Keys(#[from] InvalidJwks),
}
