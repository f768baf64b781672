//! Issues and verifies bearer tokens ([`bearer`]), decodes any token for display ([`decode`]), and stores and verifies
//! access tokens and refresh tokens, which a client presents in place of a user's password.
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
//!   devices/<owner>/<number>/{record,used}                  a refresh token; <owner> is a hash of its user
//! ```
//!
//! Commands have a running server create and revoke tokens; then a revocation is in force when it is confirmed. If the
//! server cannot be reached they change the store beside it, and the server, which reads a record again after a second,
//! notices. A record is written once and never changed, so a server that records a use cannot restore a revoked token.

mod access_tokens;
pub mod bearer;
pub mod decode;
mod device_sweep;
mod hash_fingerprint;
mod id;
mod model;
mod secret;
mod service;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use access_tokens::{AccessTokenRequest, CreatedAccessToken, TokenSelector};
pub use device_sweep::DeviceSweep;
pub use id::{InvalidTokenId, StoredTokenId};
pub use model::{ClientName, InvalidTokenName, StoredToken, StoredTokenKind, TokenName};
pub use secret::TokenSecret;
pub use service::{StoredTokenRejection, StoredTokenService};
pub use state::{ParentRecord, StoredTokenState, TokenStateContext};
pub use store::{CreateTokenError, ListedToken, NewAccessToken, TokenStore};

pub(super) use service::VerifiedStoredToken;
