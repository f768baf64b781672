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
    locks::SharedGuard,
    paths::{DirKey, ObjectKey, UploadId},
};
use portcullis_access::Push;
use portcullis_oci::{Digester, RepositoryName};
use portcullis_storage::{StoreError, StoreErrorKind, optional};

/// The state of an upload between two requests, stored as JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct UploadSession {
    /// The principal that began the upload.
    owner: String,
    /// The number of bytes that are durable.
    pub(super) offset: u64,
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

/// The maximum size of a stored session in bytes; usually it has a few hundred.
const MAX_SESSION_LEN: u64 = 4096;

impl UploadSession {
    pub(super) fn new(owner: String, started: Option<i64>, offset: u64, digester: &Digester) -> Self {
        let algorithm = digester.algorithm().to_string();
        let hash = BASE64_STANDARD.encode(digester.save());
        Self { owner, offset, algorithm, hash, is_closing: false, started }
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
    pub(super) async fn load_session(&self, id: UploadId) -> Result<UploadSession, Error> {
        let path = ObjectKey::UploadSession(&self.name, id).path();
        let object = optional(self.store().open(&path).await)?.ok_or(Error::UploadUnknown)?;
        let bytes = object.read(MAX_SESSION_LEN).await?;
        // A power cut may leave the file empty, but only before a byte was acknowledged.
        if bytes.is_empty() {
            return Err(Error::UploadUnknown);
        }
        let session: UploadSession = serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::new(StoreErrorKind::Corrupt, format!("{path}: {error}")))?;
        if session.owner == self.principal.to_string() { Ok(session) } else { Err(Error::UploadUnknown) }
    }

    /// Takes a guard that keeps the repository from being removed. Fails with [`Error::UploadUnknown`] if the
    /// repository was removed since the upload began: the upload is gone with it, and nothing may be written in its
    /// place.
    pub(super) async fn lock_shared_for_upload(&self, id: UploadId) -> Result<SharedGuard<'_>, Error> {
        let guard = self.engine.repositories.lock_shared(&self.name).await;
        match optional(self.store().stat(&ObjectKey::UploadSession(&self.name, id).path()).await)? {
            Some(_) => Ok(guard),
            None => Err(Error::UploadUnknown),
        }
    }
}

impl Engine {
    /// Removes an upload. The session goes first: bytes without a session cannot be resumed, but a session without
    /// its bytes would report an offset that does not exist.
    pub(in super::super) async fn discard_upload(&self, name: &RepositoryName, id: UploadId) -> Result<(), Error> {
        let _guard = self.repositories.lock_shared(name).await;
        optional(self.store.remove(&ObjectKey::UploadSession(name, id).path()).await)?;
        Ok(self.store.remove_tree(&DirKey::Upload(name, id).path()).await?)
    }
}
