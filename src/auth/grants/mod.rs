//! Grants: what stands in for a user's password. Access tokens are made for machines by an administrator, refresh tokens for
//! devices at `docker login`.
//!
//! Engines' floor. Invariant: a grant is as good as its record in the store, its user's stored hash and, for a device that was
//! signed in with an access token, that token: it ends with any of them, and so does every bearer token made from it. What is
//! stored of a secret (its SHA-256, and an HMAC under it) helps nobody to use it.
//!
//! ```text
//! portcullis/credentials/
//!   tokens/<id>/{record,used}                               an access token, and when it was used last
//!   devices/<owner>/<number>/{record,used}                  a refresh token; <owner> stands for its user, and more
//! ```
//!
//! Commands work on the store beside a running server, which looks at a record again after a second. A record is written
//! once and never changed, so that a server that notes a use cannot bring back what a command takes away.

mod id;
mod live;
mod record;
mod secret;
mod store;
#[cfg(test)]
mod tests;

pub use id::{GrantId, InvalidGrantId};
pub use live::{Grants, Refused};
pub use record::{ClientName, Grant, GrantKind, InvalidTokenName, TokenName};
pub use secret::GrantToken;
pub use store::{CreateError, GrantStore, Listed, NewAccessToken};

pub(super) use live::Believed;
