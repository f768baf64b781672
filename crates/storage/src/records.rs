//! Defines records: small objects that are changed by compare-and-swap.
//!
//! Invariant: of several processes that create a record, or replace the same version of it, exactly one succeeds. What
//! processes have to agree on is therefore a record; a lock in memory only saves them useless attempts.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Objects, Stat, StoreError, StorePath};

/// The version of a record, comparable only with other versions of the same path. A record that gets the content of an
/// earlier version again may get its version again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordVersion(Bytes);

impl RecordVersion {
    /// Makes a version of the bytes by which a store knows it: its content, or an `ETag`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes by which the store knows the version.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the version of a record with this content, in a store that knows versions by their content.
    pub(crate) fn is_content(&self, content: &[u8]) -> bool {
        self.0 == content
    }
}

/// Whether a power failure may revert a write that the store has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The write survives a power failure.
    Synced,
    /// A power failure may revert the write, or leave the object empty. For what was not acknowledged to any client.
    Unsynced,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The whole content.
    pub content: Bytes,
    /// The version of this content, for [`Records::replace_record`].
    pub version: RecordVersion,
    /// Size and modification time.
    pub stat: Stat,
}

/// Small objects that are changed by compare-and-swap.
///
/// A record that any process changes by [`replace_record`](Records::replace_record) must be changed in no other way,
/// apart from its creation and removal: an unconditional write at the same moment could be lost.
#[async_trait]
pub trait Records: Objects {
    /// Reads a record of at most `limit` bytes. A larger one is an error
    /// ([`StoreErrorKind::TooLarge`](super::StoreErrorKind::TooLarge)).
    async fn read_record(&self, path: &StorePath, limit: u64) -> Result<Record, StoreError>;

    /// Creates a record. If there is one, the error is [`StoreErrorKind::Conflict`](super::StoreErrorKind::Conflict).
    async fn create_record(
        &self,
        path: &StorePath,
        content: Bytes,
        durability: Durability,
    ) -> Result<RecordVersion, StoreError>;

    /// Replaces the content of a record. If it no longer has the version `replaced`, or no longer exists, the error is
    /// [`StoreErrorKind::Conflict`](super::StoreErrorKind::Conflict), and nothing is changed.
    async fn replace_record(
        &self,
        path: &StorePath,
        content: Bytes,
        replaced: &RecordVersion,
    ) -> Result<RecordVersion, StoreError>;
}
