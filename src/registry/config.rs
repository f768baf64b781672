//! How strict the engine is, and when it cleans up.

use std::time::Duration;

/// The configuration of the registry engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether manifests are accepted whose blobs or children are not here.
    pub sparse_manifests: bool,
    /// After how long without a byte an upload is given up.
    pub upload_expiry: Duration,
    /// Garbage collection.
    pub gc: GcConfig,
}

/// When garbage is collected, and what is garbage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcConfig {
    /// How often; never by itself, if `None`.
    pub interval: Option<Duration>,
    /// How old something must be before it can be garbage: longer than any push takes from its first blob to its manifest.
    pub grace: Duration,
    /// How long a swept blob can be brought back.
    pub trash: Duration,
    /// What becomes of manifests without a tag.
    pub untagged: Untagged,
}

/// What becomes of manifests without a tag. Children of an index and referrers of a kept manifest are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untagged {
    /// They stay: people deploy by digest.
    Keep,
    /// They are deleted when nobody has put or read them for so long.
    DeleteAfter(Duration),
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Config {
    fn default() -> Self {
        Self { sparse_manifests: false, upload_expiry: 7 * DAY, gc: GcConfig::default() }
    }
}

impl Default for GcConfig {
    fn default() -> Self {
        Self { interval: Some(DAY), grace: DAY, trash: 7 * DAY, untagged: Untagged::Keep }
    }
}
