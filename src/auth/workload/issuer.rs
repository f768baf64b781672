//! The keys of one issuer: fetched when they are needed, kept for as long as they are good.
//!
//! Invariant: whatever callers send, the issuer is asked by one request at a time, for a key that nobody knows at most once a
//! minute; and a key is believed no longer than [`STALE`] after the issuer last vouched for it.

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
use crate::fetch::{FetchError, Fetcher, HttpsUrl, InvalidUrl, Limits, Trust, TrustError};

/// Of each of the two documents.
const LIMITS: Limits = Limits { time: Duration::from_secs(5), size: 256 << 10 };

/// How long keys are kept where the issuer does not say.
const USUAL: Duration = Duration::from_secs(60 * 60);

/// Keys are kept at least and at most so long, whatever the issuer says.
const SHORTEST: Duration = Duration::from_secs(5 * 60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long keys whose time is over are used while the issuer cannot be asked.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a key that is not among those at hand makes us ask again.
const SEARCH: Duration = Duration::from_secs(60);

/// How long an issuer that failed is left alone.
pub(super) const RETRY: Duration = Duration::from_secs(10);

/// What tells one issuer from another; keys that were fetched under one do not count for another.
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

/// An issuer and what is known of its keys.
pub(super) struct Issuer {
    source: Source,
    fetcher: Fetcher,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    held: Option<Held>,
    /// When the issuer failed last.
    failed: Option<Instant>,
    /// When it was asked for a key that nobody knew.
    searched: Option<Instant>,
    /// While it is being asked: closed when that is over.
    flight: Option<watch::Receiver<()>>,
}

struct Held {
    keys: Arc<KeySet>,
    fresh_until: Instant,
}

enum Consulted {
    /// There is nothing better to be had now.
    Held(Option<Arc<KeySet>>),
    /// Somebody asks the issuer; wait.
    Flight(watch::Receiver<()>),
    /// Ask the issuer.
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

    /// The issuer's keys, asked for again if the one that is wanted is not among those at hand. `None` if there are none,
    /// because the issuer cannot be reached.
    pub(super) async fn keys(self: &Arc<Self>, wanted: &str, now: Instant) -> Option<Arc<KeySet>> {
        let mut flight = match self.consult(wanted, now) {
            Consulted::Held(keys) => return keys,
            Consulted::Flight(flight) => flight,
            Consulted::Ask(landing, flight) => {
                let issuer = self.clone();
                // On its own: callers who hang up must not keep the others from an answer.
                tokio::spawn(async move {
                    let fetched = issuer.fetch().await;
                    issuer.land(fetched, now);
                    drop(landing);
                });
                flight
            }
        };
        // Nothing is ever sent; the end is the message.
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
        // One that was closed without landing belongs to a task that is gone.
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

    /// Where the issuer says that its keys are. The administrator wrote the issuer's name; where that leads to comes from the
    /// network, and must not lead anywhere else.
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

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}: {1}")]
    Fetch(HttpsUrl, #[source] FetchError),
    #[error("its description is not that of an OpenID provider")]
    Description,
    #[error("it calls itself {0:?}")]
    OtherIssuer(String),
    #[error("its jwks_uri: {0}")]
    Url(#[from] InvalidUrl),
    #[error("its keys are on another host, at {0}; if that is as it should be, set jwks_uri in the configuration")]
    OtherHost(HttpsUrl),
    #[error(transparent)]
    Keys(#[from] BadKeys),
}
