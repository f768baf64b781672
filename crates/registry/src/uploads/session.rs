//! Stores the state of an upload between two requests.
//!
//! Invariant: a session belongs to the principal that began it and to the repository in which it began; for every other
//! principal and repository it does not exist. It is in the store, so that it survives a restart of the process.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::{
    Error, Repository,
    engine::Engine,
    locks::{RemovalCount, SharedGuard},
    paths::{DirKey, ObjectKey, UploadId},
};
use portcullis_access::Push;
use portcullis_oci::{Digester, RepositoryName};
use portcullis_storage::{Record, RecordVersion, StoreError, StoreErrorKind, UploadState, optional};

/// The state of an upload between two requests, stored as JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct UploadSession {
    /// The principal that began the upload.
    owner: String,
    /// The number of bytes that are durable.
    offset: u64,
    /// What the store needs to know of these bytes beyond their number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parts: Option<String>,
    /// The digest algorithm that hashes the bytes as they arrive.
    algorithm: String,
    /// The intermediate hash state of these bytes: [`Digester::save`] in base64.
    hash: String,
    /// Whether the last of these bytes came with the request that closes the upload.
    #[serde(default)]
    pub(super) is_closing: bool,
    /// When the upload began, in seconds since 1970; `None` in sessions of the first release, which have it only in
    /// the file `startedat`.
    #[serde(default)]
    pub(super) started: Option<i64>,
}

/// The maximum size of a stored session in bytes. On a disk it has a few hundred; on an object store it lists the parts
/// of a multipart upload, of which there are at most 10,000.
const MAX_SESSION_LEN: u64 = 1 << 20;

/// A session as it was read from the store.
pub(super) struct StoredSession {
    pub(super) session: UploadSession,
    /// The version that was read, for the next [`replace`](portcullis_storage::Records::replace_record).
    pub(super) version: RecordVersion,
    /// The number of removals before the session was read.
    pub(super) removals: RemovalCount,
}

impl UploadSession {
    pub(super) fn new(owner: String, started: Option<i64>, state: &UploadState, digester: &Digester) -> Self {
        let algorithm = digester.algorithm().to_string();
        let hash = BASE64_STANDARD.encode(digester.save());
        let UploadState { len: offset, parts } = state.clone();
        Self { owner, offset, parts, algorithm, hash, is_closing: false, started }
    }

    /// The number of bytes that are durable.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The durable bytes, as the store counts them.
    pub(super) fn state(&self) -> UploadState {
        UploadState { len: self.offset, parts: self.parts.clone() }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("a session is plain text and numbers").into()
    }

    pub(super) fn digester(&self) -> Option<Digester> {
        Digester::restore(self.algorithm.parse().ok()?, &BASE64_STANDARD.decode(&self.hash).ok()?)
    }
}

impl Repository<Push> {
    /// Reads a session. A session of another principal is reported as unknown, exactly like one that does not exist.
    pub(super) async fn load_session(&self, id: UploadId) -> Result<StoredSession, Error> {
        let path = ObjectKey::UploadSession(&self.name, id).path();
        let removals = self.engine.repositories.removals(&self.name);
        let record = optional(self.store().read_record(&path, MAX_SESSION_LEN).await)?.ok_or(Error::UploadUnknown)?;
        let Record { content, version, .. } = record;
        // A power cut may leave the file empty, but only before a byte was acknowledged.
        if content.is_empty() {
            return Err(Error::UploadUnknown);
        }
        let session: UploadSession = serde_json::from_slice(&content)
            .map_err(|error| StoreError::new(StoreErrorKind::Corrupt, format!("{path}: {error}")))?;
        if session.owner != self.principal.to_string() {
            return Err(Error::UploadUnknown);
        }
        Ok(StoredSession { session, version, removals })
    }

    /// Takes a guard that keeps the repository from being removed. Fails with [`Error::UploadUnknown`] if the
    /// repository was removed since its session was read, when there were `removals`: the upload is gone with it, and
    /// nothing may be written in its place.
    pub(super) async fn lock_shared_for_upload(
        &self,
        id: UploadId,
        removals: RemovalCount,
    ) -> Result<SharedGuard<'_>, Error> {
        let guard = self.engine.repositories.lock_shared(&self.name).await;
        if guard.removals() == removals {
            return Ok(guard);
        }
        // Another repository that shares the locks may have been removed.
        match optional(self.store().stat(&ObjectKey::UploadSession(&self.name, id).path()).await)? {
            Some(_) => Ok(guard),
            None => Err(Error::UploadUnknown),
        }
    }
}

impl Engine {
    /// Removes an upload, of whose bytes `state` is known. The session goes first: bytes without a session cannot be
    /// resumed, but a session without its bytes would report an offset that does not exist.
    pub(in super::super) async fn discard_upload(
        &self,
        name: &RepositoryName,
        id: UploadId,
        state: &UploadState,
    ) -> Result<(), Error> {
        let _guard = self.repositories.lock_shared(name).await;
        optional(self.store.remove(&ObjectKey::UploadSession(name, id).path()).await)?;
        Ok(self.store.discard_upload(&DirKey::Upload(name, id).path(), state).await?)
    }
}
