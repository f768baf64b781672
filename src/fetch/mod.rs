//! Asking other servers: one small document over HTTPS.
//!
//! A mechanism's floor: imports nothing of ours. The one invariant: nothing here can be led anywhere else than to the URL that
//! the caller names: no redirect is followed, no plain HTTP is spoken, no certificate is believed that the caller's roots do
//! not vouch for; and an answer is bounded in time and size.

mod get;
mod trust;
mod url;

pub use get::{Document, FetchError, Fetcher, Limits};
pub use trust::{Trust, TrustError};
pub use url::{HttpsUrl, InvalidUrl};

#[cfg(test)]
pub(crate) mod testing;
