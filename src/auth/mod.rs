//! Who is asking: users and their passwords, credentials as they arrive, and what slows down guessing.
//!
//! An engine's floor: imports [`oci`](crate::oci), [`access`](crate::access) and [`storage`](crate::storage) only. The one
//! invariant: a [`Verified`] exists only where somebody proved to be a user of the users file, and nothing that proves it (a
//! password, a token, a stored hash) can be printed.

pub mod bootstrap;
mod cache;
pub mod config;
pub mod credentials;
mod effort;
pub mod hash;
pub mod htpasswd;
pub mod lockout;
pub mod password;
pub mod secret;
pub mod users;

pub use config::{ChallengeScheme, Config, LegacyHashes, TokenConfig};
pub use credentials::{BearerToken, Credentials};
pub use lockout::{Locked, Lockout};
pub use password::{PasswordChecker, Rejected, Verified};
pub use secret::{NewPassword, Password};
pub use users::{CredentialVersion, Users};
