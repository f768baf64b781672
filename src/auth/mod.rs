//! Who is asking: users and their passwords, credentials as they arrive, and what slows down guessing.
//!
//! An engine's floor: imports [`oci`](crate::oci), [`access`](crate::access), [`audit`](crate::audit),
//! [`storage`](crate::storage), [`fetch`](crate::fetch) and, for clients' certificates, [`tls`](crate::tls). The one invariant:
//! a [`Verified`] exists only where somebody proved to be a user of the users file, and nothing that proves it (a password, a
//! token, a stored hash) can be printed.

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

pub use crate::tls::ClientChain;
