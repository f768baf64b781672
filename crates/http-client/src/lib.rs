//! HTTP clients for requests to other servers. [`HttpsClient`] sends one request on one connection and reads a bounded
//! response: the keys of issuers are fetched with it, certificates ordered, and registries tested; the test connects
//! and verifies by itself, and uses [`exchange()`]. [`PooledClient`] streams bodies of any size over connections that
//! it keeps, which is what an object store needs.
//!
//! Invariant: a request goes only to the URL of the caller: redirects are not followed, plain HTTP is used only for the
//! origins that a pool was given, and a server certificate must verify against the caller's roots. Every wait is
//! bounded in time, and every response head in size.

mod client;
mod connector;
mod exchange;
mod https_url;
mod pooled;
mod trusted_roots;

pub use client::{FetchError, FetchLimits, FetchedDocument, HttpsClient};
pub use exchange::{ExchangeError, PendingResponse, exchange};
pub use https_url::{HttpsUrl, InvalidUrl};
pub use pooled::{
    Delivery, InvalidOrigin, InvalidProxy, Origin, PoolConfig, PoolTimeouts, PooledClient, Proxies, RequestError,
    ResponseBody,
};
pub use trusted_roots::{TrustedRoots, TrustedRootsError};

#[cfg(any(test, feature = "testing"))]
#[allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    reason = "a fixture reports its own failure by a panic, and only tests see it"
)]
pub mod test_site;
