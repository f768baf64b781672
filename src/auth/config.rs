//! What can be chosen about signing in.
//!
//! Engines' floor. Invariant: plain data that is already valid; nothing here reads a file.

use std::{num::NonZeroU32, ops::RangeInclusive, path::PathBuf, time::Duration};

/// What happens to users whose hash is older than bcrypt (key `auth.legacy_hashes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegacyHashes {
    /// They sign in, and their hash becomes bcrypt where the file can be written.
    #[default]
    Rehash,
    /// They do not sign in until somebody sets a new password.
    Refuse,
}

/// The scheme that a 401 asks for (key `auth.challenge`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChallengeScheme {
    /// Tokens, as Docker's token specification has them.
    #[default]
    Bearer,
    /// The password with every request, for tools that know nothing else.
    Basic,
}

/// Everything about signing in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The users file.
    pub htpasswd: PathBuf,
    /// What happens to hashes that are not bcrypt.
    pub legacy_hashes: LegacyHashes,
    /// The scheme that a 401 asks for.
    pub challenge: ChallengeScheme,
    /// After how many wrong passwords a minute answers wait.
    pub lockout_attempts: NonZeroU32,
    /// The tokens that the token endpoint gives out.
    pub token: TokenConfig,
}

/// How tokens are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// How long a token lives: within [`TokenConfig::LIFETIMES`].
    pub lifetime: Duration,
    /// The `iss` claim.
    pub issuer: String,
    /// The `service` of the challenge and the `aud` claim.
    pub service: String,
    /// The signing key, PKCS#8 PEM; made on first start.
    pub key: PathBuf,
}

impl TokenConfig {
    /// The lifetime where nothing is said: long enough for a slow pull, short enough not to matter when it leaks.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);

    /// Lifetimes that can be chosen. Docker takes anything under a minute for a minute, so less would only cause failures.
    pub const LIFETIMES: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(60 * 60);
}
