//! Receives blobs through upload sessions: begins an upload, appends chunks, verifies the digest and commits the
//! blob.
//!
//! Invariant: a [`VerifiedBlob`] exists only after [`Upload::finish`] computed the claimed digest, and
//! [`Repository::commit`] accepts nothing else. A session belongs to the principal that began it and to the
//! repository in which it began; for every other principal and repository it does not exist. The state of a session
//! is in the store, so that it survives a restart of the process.

use std::time::SystemTime;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Engine, Error, Repository,
    ingest::{BodyError, Ingest, rehash},
    locks::{SharedGuard, UploadLock},
    paths::{DirKey, ObjectKey, UploadId},
};
use portcullis_access::Push;
use portcullis_access::audit::{self, AuditEvent};
use portcullis_oci::{Algorithm, ChunkRange, Digest, Digester, RepositoryName};
use portcullis_storage::{ObjectWriter, StoreError, StoreErrorKind, optional};

/// The state of an upload between two requests, stored as JSON.
#[derive(Serialize, Deserialize)]
struct UploadSession {
    /// The principal that began the upload.
    owner: String,
    /// The number of bytes that are durable.
    offset: u64,
    /// The digest algorithm that hashes the bytes as they arrive.
    algorithm: String,
    /// The intermediate hash state of these bytes: [`Digester::save`] in base64.
    hash: String,
    /// Whether the last of these bytes came with the request that closes the upload.
    #[serde(default)]
    is_closing: bool,
    /// When the upload began, in seconds since 1970; `None` in sessions of the first release, which have it only in
    /// the file `startedat`.
    #[serde(default)]
    started: Option<i64>,
}

/// The maximum size of a stored session in bytes; usually it has a few hundred.
const MAX_SESSION_LEN: u64 = 4096;

/// The maximum size of the file `startedat` in bytes; usually it has a few dozen.
const MAX_STARTED_LEN: u64 = 256;

impl UploadSession {
    fn new(owner: String, started: Option<i64>, offset: u64, digester: &Digester) -> Self {
        let algorithm = digester.algorithm().to_string();
        let hash = BASE64_STANDARD.encode(digester.save());
        Self { owner, offset, algorithm, hash, is_closing: false, started }
    }

    fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("a session is plain text and numbers").into()
    }

    fn digester(&self) -> Option<Digester> {
        Digester::restore(self.algorithm.parse().ok()?, &BASE64_STANDARD.decode(&self.hash).ok()?)
    }
}

/// An upload that one request has locked for writing.
pub struct Upload {
    repository: Repository<Push>,
    id: UploadId,
    offset: u64,
    digester: Digester,
    is_closing: bool,
    started: Option<i64>,
    lock: UploadLock,
}

/// Bytes that are durable and verified against the claimed digest, but not visible yet.
#[must_use = "a verified blob is not visible until it is committed"]
pub struct VerifiedBlob {
    digest: Digest,
    id: UploadId,
    /// Whether the bytes are at the blob's path already.
    is_published: bool,
    _lock: UploadLock,
}

impl VerifiedBlob {
    /// The verified digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl Repository<Push> {
    /// Begins an upload and returns its identifier; `algorithm` hashes the bytes as they arrive.
    pub async fn begin_upload(&self, algorithm: Algorithm, now: SystemTime) -> Result<UploadId, Error> {
        let id = UploadId::random();
        let started = OffsetDateTime::from(now).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let session = UploadSession::new(
            self.principal.to_string(),
            Some(started.unix_timestamp()),
            0,
            &Digester::new(algorithm),
        );
        let started = started.format(&Rfc3339).unwrap_or_default();
        let _guard = self.engine.repositories.lock_shared(&self.name).await;
        // Neither file needs to be durable, because no byte was acknowledged yet. The start time is in the session;
        // registry:2's `purgeuploads` reads it from `startedat`.
        let store = self.store();
        store.write_unsynced(&ObjectKey::UploadStarted(&self.name, id).path(), Bytes::from(started)).await?;
        store.write_unsynced(&ObjectKey::UploadSession(&self.name, id).path(), session.to_bytes()).await?;
        Ok(id)
    }

    /// Opens an upload for writing and locks it. Fails with [`Error::UploadBusy`] while another request writes to it.
    pub async fn open_upload(&self, id: UploadId) -> Result<Upload, Error> {
        let lock = self.lock_upload(id).await?;
        let session = self.load_session(id).await?;
        let digester = match session.digester() {
            Some(digester) => digester,
            None => self.rehash_upload(id, Algorithm::Sha256, session.offset).await?,
        };
        let UploadSession { offset, is_closing, started, .. } = session;
        Ok(Upload { repository: self.clone(), id, offset, digester, is_closing, started, lock })
    }

    /// The number of durable bytes of an upload.
    pub async fn upload_offset(&self, id: UploadId) -> Result<u64, Error> {
        Ok(self.load_session(id).await?.offset)
    }

    /// When an upload began, in whole seconds.
    pub async fn upload_started_at(&self, id: UploadId) -> Result<SystemTime, Error> {
        let started = self.load_session(id).await?.started;
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
        self.load_session(id).await?;
        let this = self.clone();
        self.run_to_completion(async move {
            let _lock = lock;
            this.engine.discard_upload(&this.name, id).await
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
            let id = this.begin_upload(claimed.algorithm(), now).await?;
            let done = this.open_upload(id).await?.complete(body, announced, claimed).await;
            if done.is_err() {
                // The caller gets the error of the upload, not an error of its cancellation.
                let _ = this.cancel_upload(id).await;
            }
            done
        })
        .await
    }

    /// Makes a verified blob visible in this repository.
    pub async fn commit(&self, blob: VerifiedBlob) -> Result<Digest, Error> {
        let this = self.clone();
        self.run_to_completion(async move {
            if !blob.is_published {
                let (data, place) = (ObjectKey::UploadData(&this.name, blob.id), ObjectKey::Blob(&blob.digest));
                let _guard = this.lock_shared_for_upload(blob.id).await?;
                // The lease begins with the commit, not with the first byte of a slow upload.
                this.store().touch(&data.path()).await?;
                this.store().publish(&data.path(), &place.path()).await?;
            }
            // The shared guard was dropped before: waiting for the lock with the guard held would deadlock with a
            // removal, which holds the lock while it waits for the guard.
            let lock = this.engine.repositories.lock(&this.name).await;
            let _guard = this.lock_shared_for_upload(blob.id).await?;
            if !this.link_layer(&lock, &blob.digest).await? {
                return Err(Error::UploadUnknown);
            }
            drop(lock);
            let (user, repository, digest) = (&this.principal, &this.name, &blob.digest);
            audit::record(&AuditEvent::BlobPushed { user, repository, digest });
            this.store().discard_tree(&DirKey::Upload(&this.name, blob.id).path()).await?;
            Ok(blob.digest)
        })
        .await
    }

    /// Locks an upload for writing. Only its owner gets [`Error::UploadBusy`]; for other principals the upload does
    /// not exist.
    async fn lock_upload(&self, id: UploadId) -> Result<UploadLock, Error> {
        match self.engine.uploads.try_lock(id) {
            Some(lock) => Ok(lock),
            None => Err(self.load_session(id).await.err().unwrap_or(Error::UploadBusy)),
        }
    }

    /// Reads a session. A session of another principal is reported as unknown, exactly like one that does not exist.
    async fn load_session(&self, id: UploadId) -> Result<UploadSession, Error> {
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
    async fn lock_shared_for_upload(&self, id: UploadId) -> Result<SharedGuard<'_>, Error> {
        let guard = self.engine.repositories.lock_shared(&self.name).await;
        match optional(self.store().stat(&ObjectKey::UploadSession(&self.name, id).path()).await)? {
            Some(_) => Ok(guard),
            None => Err(Error::UploadUnknown),
        }
    }

    /// Hashes the first `offset` bytes of an upload again, because its saved hash state is missing or of another
    /// algorithm.
    async fn rehash_upload(&self, id: UploadId, algorithm: Algorithm, offset: u64) -> Result<Digester, Error> {
        let digester = Digester::new(algorithm);
        if offset == 0 {
            return Ok(digester);
        }
        let data = ObjectKey::UploadData(&self.name, id).path();
        let object = optional(self.store().open(&data).await)?.ok_or(Error::UploadUnknown)?;
        rehash(digester, object.stream(0..offset)).await
    }
}

impl Engine {
    /// Removes an upload. The session goes first: bytes without a session cannot be resumed, but a session without
    /// its bytes would report an offset that does not exist.
    pub(super) async fn discard_upload(&self, name: &RepositoryName, id: UploadId) -> Result<(), Error> {
        let _guard = self.repositories.lock_shared(name).await;
        optional(self.store.remove(&ObjectKey::UploadSession(name, id).path()).await)?;
        Ok(self.store.remove_tree(&DirKey::Upload(name, id).path()).await?)
    }
}

impl Upload {
    /// The offset of the next byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Checks that a chunk starts at the current end of the upload.
    pub fn check_chunk_start(&self, chunk: ChunkRange) -> Result<(), Error> {
        let (start, offset) = (chunk.start(), self.offset);
        if start == offset { Ok(()) } else { Err(Error::ChunkOutOfOrder { start, offset }) }
    }

    /// Writes a chunk, makes it durable and returns the new offset. If reading the body fails, the bytes that arrived
    /// are kept, so that the client can resume from there; if its length is not `announced`, none of it is kept.
    pub async fn append<S>(self, body: S, announced: Option<u64>) -> Result<u64, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let repository = self.repository.clone();
        repository.run_to_completion(self.append_inner(body, announced)).await
    }

    async fn append_inner<S>(mut self, body: S, announced: Option<u64>) -> Result<u64, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let append = self.open_data().await?.ok_or(Error::UploadUnknown)?;
        self.write_body(append, body, announced).await?;
        self.save_session().await?;
        Ok(self.offset)
    }

    /// Writes the last bytes, verifies the whole blob and commits it, even if the client disconnects after its last
    /// byte.
    pub async fn complete<S>(self, body: S, announced: Option<u64>, claimed: Digest) -> Result<Digest, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let repository = self.repository.clone();
        let this = repository.clone();
        let work = async move { this.commit(self.finish(body, announced, claimed).await?).await };
        repository.run_to_completion(work).await
    }

    /// Writes the last bytes, if there are any, and verifies the whole blob. If its digest is not `claimed`, the
    /// upload is removed, because no request can complete it any more.
    pub async fn finish<S>(self, body: S, announced: Option<u64>, claimed: Digest) -> Result<VerifiedBlob, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let repository = self.repository.clone();
        repository.run_to_completion(self.finish_inner(body, announced, claimed)).await
    }

    async fn finish_inner<S>(mut self, body: S, announced: Option<u64>, claimed: Digest) -> Result<VerifiedBlob, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let is_published = match self.open_data().await? {
            Some(append) => {
                self.write_last(append, body, announced, &claimed).await?;
                false
            }
            // An earlier attempt moved the bytes to the blob's path and failed afterwards.
            None if self.is_stored_as(&claimed).await? => true,
            None => return Err(Error::UploadUnknown),
        };
        Ok(VerifiedBlob { digest: claimed, id: self.id, is_published, _lock: self.lock })
    }

    /// Writes the last bytes, unless an earlier attempt wrote them and failed afterwards: they must not be appended
    /// twice.
    async fn write_last<S>(
        &mut self,
        append: Box<dyn ObjectWriter>,
        body: S,
        announced: Option<u64>,
        claimed: &Digest,
    ) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send,
    {
        let before = self.offset;
        if self.is_closing && self.digest_so_far(claimed.algorithm()).await? == *claimed {
            (self.offset, self.digester) = Ingest::new(append, self.digester.clone(), before).sync().await?;
            return Ok(());
        }
        self.write_body(append, body, announced).await?;
        let actual = self.digest_so_far(claimed.algorithm()).await?;
        if actual != *claimed {
            self.repository.engine.discard_upload(&self.repository.name, self.id).await?;
            return Err(Error::DigestMismatch { claimed: *claimed, actual });
        }
        // From here on the bytes may be moved to the blob's path, and the session must not offer an offset at which a
        // client could append to them. A session at offset 0 or at the end is correct as it is.
        if (1..self.offset).contains(&before) {
            self.is_closing = true;
            self.save_session().await?;
        }
        Ok(())
    }

    /// The digest of the bytes so far, in `algorithm`.
    async fn digest_so_far(&self, algorithm: Algorithm) -> Result<Digest, Error> {
        if self.digester.algorithm() == algorithm {
            return Ok(self.digester.clone().finish());
        }
        Ok(self.repository.rehash_upload(self.id, algorithm, self.offset).await?.finish())
    }

    /// Whether the bytes of this upload are already stored as the blob `claimed`. That the blob exists is not enough:
    /// another upload may have stored it.
    async fn is_stored_as(&self, claimed: &Digest) -> Result<bool, Error> {
        let Some(object) = self.repository.engine.open_blob(claimed).await? else { return Ok(false) };
        let (size, own) = (object.size(), self.digester.clone().finish());
        if own.algorithm() == claimed.algorithm() || size != self.offset {
            return Ok(own == *claimed);
        }
        Ok(rehash(Digester::new(own.algorithm()), object.stream(0..size)).await?.finish() == own)
    }

    /// Opens the upload's bytes for appending; `None` if the session has bytes but their object is missing.
    async fn open_data(&self) -> Result<Option<Box<dyn ObjectWriter>>, Error> {
        let path = ObjectKey::UploadData(&self.repository.name, self.id).path();
        let _guard = self.repository.lock_shared_for_upload(self.id).await?;
        let append = self.repository.store().append(&path, self.offset).await;
        if self.offset == 0 { Ok(Some(append?)) } else { Ok(optional(append)?) }
    }

    /// Writes a body and makes it durable. If reading the body fails, the bytes that arrived are kept before the
    /// error is returned.
    async fn write_body<S>(
        &mut self,
        append: Box<dyn ObjectWriter>,
        body: S,
        announced: Option<u64>,
    ) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send,
    {
        self.is_closing = false;
        let mut ingest = Ingest::new(append, self.digester.clone(), self.offset);
        let taken = match ingest.write_body(body, announced).await {
            taken @ (Ok(()) | Err(Error::Body(_))) => match ingest.sync().await {
                Ok(kept) => {
                    (self.offset, self.digester) = kept;
                    taken
                }
                Err(error) => Err(error),
            },
            refused => refused,
        };
        match &taken {
            // If the upload is busy, surplus bytes may belong to another process, and are not cut off.
            Ok(()) | Err(Error::UploadBusy) => {}
            Err(Error::Body(_)) => self.save_session().await?,
            // How much was written is unknown, so all of it is cut off: otherwise a full disk would stay full. If
            // cutting it off fails, the next request does it. If the upload is gone with its repository, that is the
            // error to report.
            Err(_) => match self.open_data().await {
                Err(Error::UploadUnknown) => return Err(Error::UploadUnknown),
                cut => drop(cut),
            },
        }
        taken
    }

    /// Writes the session with the current offset and hash state.
    async fn save_session(&self) -> Result<(), Error> {
        let Self { repository, started, offset, digester, is_closing, .. } = self;
        let session = UploadSession::new(repository.principal.to_string(), *started, *offset, digester);
        let session = UploadSession { is_closing: *is_closing, ..session };
        let _guard = repository.lock_shared_for_upload(self.id).await?;
        let path = ObjectKey::UploadSession(&repository.name, self.id).path();
        Ok(repository.store().write(&path, session.to_bytes()).await?)
    }
}
