//! Receives blobs through upload sessions: begins an upload, appends chunks, verifies the digest and commits the
//! blob.
//!
//! Invariant: a [`VerifiedBlob`] exists only after [`Upload::finish`] computed the claimed digest, and
//! [`Repository::commit`] accepts nothing else. Each public method that changes the store enters
//! [`Repository::run_to_completion`] once; the methods that it calls inside run in the same task.

mod commit;
mod session;
mod upload;

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::Stream;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Error, Repository,
    ingest::BodyError,
    locks::UploadLock,
    paths::{ObjectKey, UploadId},
};
use portcullis_access::Push;
use portcullis_oci::{Algorithm, Digest, Digester};
use portcullis_storage::{Durability, UploadState, optional};
use session::{StoredSession, UploadSession};

pub use commit::VerifiedBlob;
pub use upload::Upload;

/// The maximum size of the file `startedat` in bytes; usually it has a few dozen.
const MAX_STARTED_LEN: u64 = 256;

impl Repository<Push> {
    /// Begins an upload and returns its identifier; `algorithm` hashes the bytes as they arrive.
    pub async fn begin_upload(&self, algorithm: Algorithm, now: SystemTime) -> Result<UploadId, Error> {
        let id = UploadId::random();
        self.create_session(id, algorithm, now).await?;
        Ok(id)
    }

    async fn create_session(
        &self,
        id: UploadId,
        algorithm: Algorithm,
        now: SystemTime,
    ) -> Result<StoredSession, Error> {
        let started = OffsetDateTime::from(now).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let session = UploadSession::new(
            self.principal.to_string(),
            Some(started.unix_timestamp()),
            &UploadState::default(),
            &Digester::new(algorithm),
        );
        let started = started.format(&Rfc3339).unwrap_or_default();
        let guard = self.engine.repositories.lock_shared(&self.name).await;
        // Neither file needs to be durable, because no byte was acknowledged yet. The start time is in the session;
        // registry:2's `purgeuploads` reads it from `startedat`.
        let store = self.store();
        store.write_for_others(&ObjectKey::UploadStarted(&self.name, id).path(), Bytes::from(started)).await?;
        let path = ObjectKey::UploadSession(&self.name, id).path();
        let version = store.create_record(&path, session.to_bytes(), Durability::Unsynced).await?;
        Ok(StoredSession { session, version, removals: guard.removals() })
    }

    /// Opens an upload for writing and locks it. Fails with [`Error::UploadBusy`] while another request writes to it.
    pub async fn open_upload(&self, id: UploadId) -> Result<Upload, Error> {
        let lock = self.lock_upload(id).await?;
        let session = self.load_session(id).await?;
        Upload::resume(self.clone(), id, session, lock).await
    }

    /// The number of durable bytes of an upload.
    pub async fn upload_offset(&self, id: UploadId) -> Result<u64, Error> {
        Ok(self.load_session(id).await?.session.offset())
    }

    /// When an upload began, in whole seconds.
    pub async fn upload_started_at(&self, id: UploadId) -> Result<SystemTime, Error> {
        let started = self.load_session(id).await?.session.started;
        // `startedat` is the file that registry:2 uses. It is written unsynced, so a power cut may leave it empty.
        let object = optional(self.store().open(&ObjectKey::UploadStarted(&self.name, id).path()).await)?;
        let text = match object {
            Some(object) => object.read(MAX_STARTED_LEN).await?,
            None => Bytes::new(),
        };
        let written = str::from_utf8(&text).ok().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let began = written.or_else(|| OffsetDateTime::from_unix_timestamp(started?).ok());
        began.map(SystemTime::from).ok_or(Error::UploadUnknown)
    }

    /// Cancels an upload and removes its files.
    pub async fn cancel_upload(&self, id: UploadId) -> Result<(), Error> {
        let lock = self.lock_upload(id).await?;
        let state = self.load_session(id).await?.session.state();
        let this = self.clone();
        self.run_to_completion(async move {
            let _lock = lock;
            this.engine.discard_upload(&this.name, id, &state).await
        })
        .await
    }

    /// Receives a whole blob in one request. The client does not get the session's identifier, so a failed upload is
    /// removed.
    pub async fn put_blob<S>(
        &self,
        body: S,
        announced: Option<u64>,
        claimed: Digest,
        now: SystemTime,
    ) -> Result<Digest, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let this = self.clone();
        self.run_to_completion(async move {
            let id = UploadId::random();
            let lock = this.lock_upload(id).await?;
            let session = this.create_session(id, claimed.algorithm(), now).await?;
            let upload = Upload::resume(this.clone(), id, session, lock).await?;
            let done = upload.complete_inner(body, announced, claimed).await;
            if done.is_err() {
                // The caller gets the error of the upload, not an error of its removal.
                let _ = this.engine.discard_upload(&this.name, id, &UploadState::default()).await;
            }
            done
        })
        .await
    }

    /// Locks an upload for writing. Only its owner gets [`Error::UploadBusy`]; for other principals the upload does
    /// not exist.
    async fn lock_upload(&self, id: UploadId) -> Result<UploadLock, Error> {
        match self.engine.uploads.try_lock(id) {
            Some(lock) => Ok(lock),
            None => Err(Error::UploadBusy { offset: self.upload_offset(id).await? }),
        }
    }
}
