//! HTTP in, HTTP out: the only user of axum's types.
//!
//! Third floor. A request passes the layers of `middleware`, becomes an [`Endpoint`], its caller a
//! [`Subject`](crate::access::Subject), and `dispatch` asks the gate before anything is done.
//!
//! Invariant: `dispatch` matches [`Endpoint`] without a wildcard, and each arm that touches a repository hands the
//! gate's proof to the engine; a new endpoint does not compile until somebody decided who may use it.

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

/// The whole HTTP surface as one service.
pub fn router(api: Api) -> axum::Router {
    let router = axum::Router::new().fallback(dispatch::dispatch);
    router.layer(axum::middleware::from_fn_with_state(api.clone(), middleware::outermost)).with_state(api)
}
