//! Stores and verifies access tokens and refresh tokens, which a client presents in place of a user's password.
//!
//! An administrator creates access tokens for machines; `docker login` creates a refresh token for a device. Both are
//! stored, unlike the bearer tokens that are issued for them.
//!
//! Invariant: a stored token depends on its record in the store, on its user's stored hash and, for a device that
//! signed in with an access token, on that access token. It ends when any of these ends, and so does every bearer token
//! issued for it. The store holds the SHA-256 of a secret and an HMAC under it, neither of which can be used to sign
//! in.
//!
//! ```text
//! portcullis/credentials/
//!   tokens/<id>/{record,used}                               an access token, and when it was used last
//!   devices/<owner>/<number>/{record,used}                  a refresh token; <owner> is a hash of its user and parent
//! ```
//!
//! Commands change the store beside a running server, which reads a record again after a second. A record is written
//! once and never changed, so a server that records a use cannot restore a token that a command has revoked.

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
