//! Holds the validated configuration of authentication (section `auth` of the configuration file).
//!
//! Invariant: this is plain data; nothing here reads a file.

use std::{num::NonZeroU32, ops::RangeInclusive, path::PathBuf, time::Duration};

/// How users whose hash is older than bcrypt are treated (key `auth.legacy_hashes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegacyHashes {
    /// They sign in, and their hash becomes bcrypt where the file can be written.
    #[default]
    Rehash,
    /// They cannot sign in until an administrator sets a new password.
    Refuse,
}

/// The scheme that a 401 asks for (key `auth.challenge`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChallengeScheme {
    /// Bearer tokens, by the token authentication specification of Distribution.
    #[default]
    Bearer,
    /// The password with every request, for clients that support Basic authentication only.
    Basic,
}

/// The configuration of authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// The users file.
    pub htpasswd: PathBuf,
    /// How users whose hash is not bcrypt are treated.
    pub legacy_hashes: LegacyHashes,
    /// The scheme that a 401 asks for.
    pub challenge: ChallengeScheme,
    /// The number of wrong passwords in a minute after which a caller is locked out.
    pub lockout_attempts: NonZeroU32,
    /// The bearer tokens that the token endpoint issues.
    pub token: TokenConfig,
}

/// The kinds of keys that sign tokens (key `auth.token.algorithm`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// ECDSA over P-256: small and fast.
    #[default]
    Es256,
    /// RSA with PKCS#1 v1.5 padding: supported by every registry.
    Rs256,
    /// Ed25519: small and fast; not supported by Distribution 2.
    EdDsa,
}

impl TokenAlgorithm {
    /// Every algorithm, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::Rs256, Self::EdDsa];

    /// The `alg` name of the algorithm in JSON Web Tokens (RFC 7518, RFC 8037).
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
    /// The JWK thumbprint of RFC 7638.
    #[default]
    Thumbprint,
    /// The key id of Docker's libtrust, by which Distribution 2 looks keys up.
    Libtrust,
}

/// The configuration of bearer tokens and the keys that sign them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// How long a token is valid: within [`TokenConfig::LIFETIME_RANGE`].
    pub lifetime: Duration,
    /// The `iss` claim.
    pub issuer: String,
    /// The `service` of the challenge and the `aud` claim.
    pub service: String,
    /// The file of the signing keys, PKCS#8 PEM; created on the first start.
    pub key: PathBuf,
    /// The algorithm of a key that is newly generated.
    pub algorithm: TokenAlgorithm,
    /// The form of the `kid` header, which names the key that signed a token.
    pub key_id: KeyIdForm,
    /// Whether tokens carry a certificate of their key (`x5c`), for registries that have no other way to find the key.
    pub certificate_chain: bool,
    /// How long an unused refresh token stays valid (key `auth.token.refresh_lifetime`).
    pub refresh_lifetime: Duration,
    /// How long after its expiry a token may still finish an upload that was begun before; `None` for not at all (key
    /// `auth.token.upload_grace`).
    pub upload_grace: Option<Duration>,
}

impl TokenConfig {
    /// The default lifetime: long enough for a slow pull, short enough to limit the damage of a leaked token.
    pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);

    /// The lifetimes that the configuration may set. Docker treats a lifetime under a minute as a minute, so that a
    /// shorter one would only cause failures.
    pub const LIFETIME_RANGE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(60 * 60);
}

/// The tolerated difference between two clocks: a token is valid for this long before its issue and after its expiry.
pub(crate) const CLOCK_LEEWAY: Duration = Duration::from_secs(60);

/// The shortest time for which an old signing key is kept: the longest configurable lifetime of a token plus the
/// tolerated clock difference. A server that reads the new file a second late signs with the old key for a second; the
/// leeway covers that.
pub const MIN_OVERLAP: Duration = TokenConfig::LIFETIME_RANGE.end().saturating_add(CLOCK_LEEWAY);
