//! Serves the registry's HTTP API with axum: routing, authentication, authorisation and responses.
//!
//! A request passes the layers of `middleware` and is parsed into an [`Endpoint`]; its credentials are verified and
//! become a [`Subject`](crate::access::Subject); `dispatch` then asks the gate before the registry does anything. No
//! other module uses axum's types.
//!
//! Invariant: `dispatch` matches [`Endpoint`] without a wildcard, and each arm that touches a repository hands the
//! gate's proof to the registry. A new endpoint does not compile until its author has decided which right it requires.

mod authority;
mod blobs;
mod body;
mod caller;
mod catalog;
mod challenge;
mod dispatch;
mod endpoint;
mod error;
mod health;
mod late;
mod manifests;
mod middleware;
mod mounts;
mod page;
mod realm;
mod referrers;
mod reply;
mod repositories;
mod search;
mod sized;
mod state;
mod tags;
mod token;
mod unread;
mod uploads;

pub use caller::Connection;
pub use endpoint::{Endpoint, MountSource, NewUpload, Search};
pub use error::{ApiError, Code};
pub use realm::Realm;
pub use state::{Api, AuthorityCertificate, Parts};

/// All endpoints and middleware layers as one axum router.
pub fn router(api: Api) -> axum::Router {
    let router = axum::Router::new().fallback(dispatch::dispatch);
    router.layer(axum::middleware::from_fn_with_state(api.clone(), middleware::outermost)).with_state(api)
}
