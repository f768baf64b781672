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

/// The kinds of keys that sign tokens (key `auth.token.algorithm`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// ECDSA over P-256: small and fast.
    #[default]
    Es256,
    /// RSA with PKCS#1 v1.5 padding: every registry knows it.
    Rs256,
    /// Ed25519: small and fast; Distribution 2 does not know it.
    EdDsa,
}

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::Rs256, Self::EdDsa];

    /// Its name in JSON Web Tokens (RFC 7518, RFC 8037).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// The name of a key in the header of its tokens (key `auth.token.key_id`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyIdForm {
    /// The thumbprint of RFC 7638.
    #[default]
    Thumbprint,
    /// Docker's libtrust, which Distribution 2 looks keys up by.
    Libtrust,
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
    /// The signing keys, PKCS#8 PEM; made on first start.
    pub key: PathBuf,
    /// What kind of key is made, where one is made.
    pub algorithm: TokenAlgorithm,
    /// By which name a token says which key signed it.
    pub key_id: KeyIdForm,
    /// Whether tokens bring a certificate of their key, for registries that find it in no other way.
    pub certificate_chain: bool,
    /// After how long without use a refresh token ends (key `auth.token.refresh_lifetime`).
    pub refresh_lifetime: Duration,
    /// How long after it has expired a token may still finish an upload that was begun before; `None`: not at all (key
    /// `auth.token.upload_grace`).
    pub upload_grace: Option<Duration>,
}

impl TokenConfig {
    /// The lifetime where nothing is said: long enough for a slow pull, short enough not to matter when it leaks.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);

    /// Lifetimes that can be chosen. Docker takes anything under a minute for a minute, so less would only cause failures.
    pub const LIFETIMES: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(60 * 60);
}
