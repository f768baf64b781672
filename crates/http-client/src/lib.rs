//! A minimal HTTPS client: one request on one connection, with a bounded response. The keys of issuers are fetched with
//! it, certificates ordered, and registries tested; the test connects and verifies by itself, and uses [`exchange()`].
//!
//! Invariant: a request goes only to the URL of the caller: redirects are not followed, plain HTTP is not used, and a
//! server certificate must verify against the caller's roots. A response is bounded in time and size.

mod client;
mod exchange;
mod https_url;
mod trusted_roots;

pub use client::{FetchError, FetchLimits, FetchedDocument, HttpsClient};
pub use exchange::{ExchangeError, PendingResponse, exchange};
pub use https_url::{HttpsUrl, InvalidUrl};
pub use trusted_roots::{TrustedRoots, TrustedRootsError};

#[cfg(any(test, feature = "testing"))]
#[allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    reason = "a fixture reports its own failure by a panic, and only tests see it"
)]
pub mod test_site;
