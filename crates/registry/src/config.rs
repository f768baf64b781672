//! Defines the settings of the registry engine: sparse manifests, upload expiry and garbage collection.

use std::time::Duration;

/// The configuration of the registry engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether to accept manifests that refer to blobs or manifests missing from the repository.
    pub sparse_manifests: bool,
    /// How long an upload may go without a new byte before it expires.
    pub upload_expiry: Duration,
    /// The settings of garbage collection.
    pub gc: GcConfig,
}

/// When garbage is collected, and what counts as garbage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcConfig {
    /// The time between two collections; `None` turns periodic collection off.
    pub interval: Option<Duration>,
    /// The minimum age of garbage: longer than any push takes from its first blob to its manifest.
    pub grace_period: Duration,
    /// How long a blob stays in the trash, from which it can be restored, before it is deleted.
    pub trash_period: Duration,
    /// The policy for manifests without a tag.
    pub untagged: Untagged,
}

/// The policy for manifests without a tag. Children of an index and referrers of a kept manifest are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untagged {
    /// Untagged manifests are kept, because deployments may refer to them by digest.
    Keep,
    /// Untagged manifests are deleted after this time without a put or a read.
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
        Self { interval: Some(DAY), grace_period: DAY, trash_period: 7 * DAY, untagged: Untagged::Keep }
    }
}
