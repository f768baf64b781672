//! Authenticates requests by password, token or client certificate, issues tokens, and locks out password guessing.
//!
//! [`Authenticator`] turns the `Authorization` header and the certificate of a connection into a
//! [`Subject`](crate::access::Subject); what that subject may do is decided in [`access`](crate::access).
//!
//! Invariant: a [`Verified`] exists only for a user of the users file whose password was checked; passwords, tokens
//! and stored hashes cannot be printed.

mod authenticator;
mod background_pool;
pub mod bootstrap;
mod cache;
pub mod config;
mod content;
pub mod credentials;
mod effort;
pub mod grants;
pub mod hash;
pub mod htpasswd;
pub mod inspect;
pub mod keys;
pub mod lockout;
mod network;
pub mod password;
mod queue;
mod refusal;
mod replace;
pub mod secret;
mod stamp;
mod token;
pub mod users;
pub mod workload;

pub use authenticator::{Authenticator, Holder};
pub use config::{ChallengeScheme, Config, KeyIdForm, LegacyHashes, TokenAlgorithm, TokenConfig};
pub use credentials::{BearerToken, Credentials};
pub use grants::{GrantId, GrantStore, Grants};
pub use keys::{KeyError, SigningKey, SigningKeys};
pub use lockout::{Locked, Lockout};
pub use password::{PasswordChecker, Rejected, Verified};
pub use refusal::{AuthenticationError, BadGrant};
pub use replace::ReplaceError;
pub use secret::{NewPassword, Password};
pub use token::{BadToken, CannotSign, IssuedToken, Origin, Tokens, VerifiedToken};
pub use users::{CredentialVersion, Users};
pub use workload::Workloads;

pub use portcullis_tls::ClientChain;
