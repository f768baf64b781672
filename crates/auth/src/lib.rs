//! Authenticates requests by password, token or client certificate, issues tokens, and locks out password guessing.
//!
//! [`Authenticator`] turns the `Authorization` header and the certificate of a connection into a
//! [`Subject`](portcullis_access::Subject); what that subject may do is decided in [`access`](portcullis_access).
//!
//! Invariant: a [`VerifiedUser`] exists only for a user of the users file whose password was checked; passwords, tokens
//! and stored hashes cannot be printed.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod authenticator;
mod compact_jwt;
pub mod config;
pub mod credentials;
mod error;
pub mod lockout;
pub mod password_verifier;
pub mod passwords;
mod secret_files;
pub mod signing_keys;
pub mod tokens;
pub mod users;
pub mod workload;

pub use authenticator::{AuthenticatedSubject, Authenticator};
pub use config::{AuthConfig, ChallengeScheme, KeyIdForm, LegacyHashes, TokenAlgorithm, TokenConfig};
pub use credentials::{BearerToken, Credentials};
pub use error::{AuthenticationError, InvalidStoredToken};
pub use lockout::{LockedOut, Lockout};
pub use password_verifier::{PasswordError, PasswordVerifier, VerifiedUser};
pub use passwords::password::{NewPassword, Password};
pub use secret_files::locked_replace::ReplaceError;
pub use signing_keys::{KeyError, SigningError, SigningKey, SigningKeys};
pub use tokens::bearer::{BearerTokenService, InvalidToken, IssuedToken, TokenOrigin, VerifiedToken};
pub use tokens::{StoredTokenId, StoredTokenService, TokenStore};
pub use users::{CredentialVersion, Users};
pub use workload::WorkloadRules;

pub use portcullis_tls::ClientChain;
