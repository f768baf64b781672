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
    layout::{Folder, Key, UploadId},
    locks::{Presence, UploadLock},
};
use portcullis_access::Push;
use portcullis_access::audit::{self, Event};
use portcullis_oci::{Algorithm, ChunkRange, Digest, Digester, RepositoryName};
use portcullis_storage::{Append, StoreError, StoreErrorKind, found};

/// The state of an upload between two requests, stored as JSON.
#[derive(Serialize, Deserialize)]
struct Session {
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
const SESSION_MAX: u64 = 4096;

/// The maximum size of the file `startedat` in bytes; usually it has a few dozen.
const STARTED_MAX: u64 = 256;

impl Session {
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
        let session =
            Session::new(self.principal.to_string(), Some(started.unix_timestamp()), 0, &Digester::new(algorithm));
        let started = started.format(&Rfc3339).unwrap_or_default();
        let _here = self.engine.repositories.stay(&self.name).await;
        // Neither file needs to be durable, because no byte was acknowledged yet. The start time is in the session;
        // registry:2's `purgeuploads` reads it from `startedat`.
        let store = self.store();
        store.write_unsynced(&Key::UploadStarted(&self.name, id).path(), Bytes::from(started)).await?;
        store.write_unsynced(&Key::UploadSession(&self.name, id).path(), session.to_bytes()).await?;
        Ok(id)
    }

    /// Opens an upload for writing and locks it. Fails with [`Error::UploadBusy`] while another request writes to it.
    pub async fn upload(&self, id: UploadId) -> Result<Upload, Error> {
        let lock = self.lock(id).await?;
        let session = self.session(id).await?;
        let digester = match session.digester() {
            Some(digester) => digester,
            None => self.rehash(id, Algorithm::Sha256, session.offset).await?,
        };
        let Session { offset, is_closing, started, .. } = session;
        Ok(Upload { repository: self.clone(), id, offset, digester, is_closing, started, lock })
    }

    /// The number of durable bytes of an upload.
    pub async fn upload_offset(&self, id: UploadId) -> Result<u64, Error> {
        Ok(self.session(id).await?.offset)
    }

    /// When an upload began, in whole seconds.
    pub async fn upload_began(&self, id: UploadId) -> Result<SystemTime, Error> {
        let started = self.session(id).await?.started;
        // `startedat` is the file that registry:2 uses. It is written unsynced, so a power cut may leave it empty.
        let object = found(self.store().open(&Key::UploadStarted(&self.name, id).path()).await)?;
        let text = match object {
            Some(object) => object.read(STARTED_MAX).await?,
            None => Bytes::new(),
        };
        let written = str::from_utf8(&text).ok().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let began = written.or_else(|| OffsetDateTime::from_unix_timestamp(started?).ok());
        began.map(SystemTime::from).ok_or(Error::UploadUnknown)
    }

    /// Cancels an upload and removes its files.
    pub async fn cancel_upload(&self, id: UploadId) -> Result<(), Error> {
        let lock = self.lock(id).await?;
        self.session(id).await?;
        let this = self.clone();
        self.to_the_end(async move {
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
        self.to_the_end(async move {
            let id = this.begin_upload(claimed.algorithm(), now).await?;
            let done = this.upload(id).await?.complete(body, announced, claimed).await;
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
        self.to_the_end(async move {
            if !blob.is_published {
                let (data, place) = (Key::UploadData(&this.name, blob.id), Key::Blob(&blob.digest));
                let _here = this.stay(blob.id).await?;
                // The lease begins with the commit, not with the first byte of a slow upload.
                this.store().touch(&data.path()).await?;
                this.store().publish(&data.path(), &place.path()).await?;
            }
            // The shared guard was dropped before: waiting for the lock with the guard held would deadlock with a
            // removal, which holds the lock while it waits for the guard.
            let alone = this.engine.repositories.lock(&this.name).await;
            let _here = this.stay(blob.id).await?;
            if !this.link_layer(&alone, &blob.digest).await? {
                return Err(Error::UploadUnknown);
            }
            drop(alone);
            let (user, repository, digest) = (&this.principal, &this.name, &blob.digest);
            audit::record(&Event::BlobPushed { user, repository, digest });
            this.store().discard_tree(&Folder::Upload(&this.name, blob.id).path()).await?;
            Ok(blob.digest)
        })
        .await
    }

    /// Locks an upload for writing. Only its owner gets [`Error::UploadBusy`]; for other principals the upload does
    /// not exist.
    async fn lock(&self, id: UploadId) -> Result<UploadLock, Error> {
        match self.engine.uploads.try_lock(id) {
            Some(lock) => Ok(lock),
            None => Err(self.session(id).await.err().unwrap_or(Error::UploadBusy)),
        }
    }

    /// Reads a session. A session of another principal is reported as unknown, exactly like one that does not exist.
    async fn session(&self, id: UploadId) -> Result<Session, Error> {
        let path = Key::UploadSession(&self.name, id).path();
        let object = found(self.store().open(&path).await)?.ok_or(Error::UploadUnknown)?;
        let bytes = object.read(SESSION_MAX).await?;
        // A power cut may leave the file empty, but only before a byte was acknowledged.
        if bytes.is_empty() {
            return Err(Error::UploadUnknown);
        }
        let session: Session = serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::new(StoreErrorKind::Corrupt, format!("{path}: {error}")))?;
        if session.owner == self.principal.to_string() { Ok(session) } else { Err(Error::UploadUnknown) }
    }

    /// Takes a guard that keeps the repository from being removed. Fails with [`Error::UploadUnknown`] if the
    /// repository was removed since the upload began: the upload is gone with it, and nothing may be written in its
    /// place.
    async fn stay(&self, id: UploadId) -> Result<Presence<'_>, Error> {
        let here = self.engine.repositories.stay(&self.name).await;
        match found(self.store().stat(&Key::UploadSession(&self.name, id).path()).await)? {
            Some(_) => Ok(here),
            None => Err(Error::UploadUnknown),
        }
    }

    /// Hashes the first `offset` bytes of an upload again, because its saved hash state is missing or of another
    /// algorithm.
    async fn rehash(&self, id: UploadId, algorithm: Algorithm, offset: u64) -> Result<Digester, Error> {
        let digester = Digester::new(algorithm);
        if offset == 0 {
            return Ok(digester);
        }
        let data = Key::UploadData(&self.name, id).path();
        let object = found(self.store().open(&data).await)?.ok_or(Error::UploadUnknown)?;
        rehash(digester, object.stream(0..offset)).await
    }
}

impl Engine {
    /// Removes an upload. The session goes first: bytes without a session cannot be resumed, but a session without
    /// its bytes would report an offset that does not exist.
    pub(super) async fn discard_upload(&self, name: &RepositoryName, id: UploadId) -> Result<(), Error> {
        let _here = self.repositories.stay(name).await;
        found(self.store.remove(&Key::UploadSession(name, id).path()).await)?;
        Ok(self.store.remove_tree(&Folder::Upload(name, id).path()).await?)
    }
}

impl Upload {
    /// The offset of the next byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Checks that a chunk starts at the current end of the upload.
    pub fn expect(&self, chunk: ChunkRange) -> Result<(), Error> {
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
        repository.to_the_end(self.append_here(body, announced)).await
    }

    async fn append_here<S>(mut self, body: S, announced: Option<u64>) -> Result<u64, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let append = self.append_to_data().await?.ok_or(Error::UploadUnknown)?;
        self.take(append, body, announced).await?;
        self.save().await?;
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
        repository.to_the_end(work).await
    }

    /// Writes the last bytes, if there are any, and verifies the whole blob. If its digest is not `claimed`, the
    /// upload is removed, because no request can complete it any more.
    pub async fn finish<S>(self, body: S, announced: Option<u64>, claimed: Digest) -> Result<VerifiedBlob, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let repository = self.repository.clone();
        repository.to_the_end(self.finish_here(body, announced, claimed)).await
    }

    async fn finish_here<S>(mut self, body: S, announced: Option<u64>, claimed: Digest) -> Result<VerifiedBlob, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let is_published = match self.append_to_data().await? {
            Some(append) => {
                self.take_last(append, body, announced, &claimed).await?;
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
    async fn take_last<S>(
        &mut self,
        append: Box<dyn Append>,
        body: S,
        announced: Option<u64>,
        claimed: &Digest,
    ) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send,
    {
        let before = self.offset;
        if self.is_closing && self.digest(claimed.algorithm()).await? == *claimed {
            (self.offset, self.digester) = Ingest::new(append, self.digester.clone(), before).sync().await?;
            return Ok(());
        }
        self.take(append, body, announced).await?;
        let actual = self.digest(claimed.algorithm()).await?;
        if actual != *claimed {
            self.repository.engine.discard_upload(&self.repository.name, self.id).await?;
            return Err(Error::DigestMismatch { claimed: *claimed, actual });
        }
        // From here on the bytes may be moved to the blob's path, and the session must not offer an offset at which a
        // client could append to them. A session at offset 0 or at the end is correct as it is.
        if (1..self.offset).contains(&before) {
            self.is_closing = true;
            self.save().await?;
        }
        Ok(())
    }

    /// The digest of the bytes so far, in `algorithm`.
    async fn digest(&self, algorithm: Algorithm) -> Result<Digest, Error> {
        if self.digester.algorithm() == algorithm {
            return Ok(self.digester.clone().finish());
        }
        Ok(self.repository.rehash(self.id, algorithm, self.offset).await?.finish())
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
    async fn append_to_data(&self) -> Result<Option<Box<dyn Append>>, Error> {
        let path = Key::UploadData(&self.repository.name, self.id).path();
        let _here = self.repository.stay(self.id).await?;
        let append = self.repository.store().append(&path, self.offset).await;
        if self.offset == 0 { Ok(Some(append?)) } else { Ok(found(append)?) }
    }

    /// Writes a body and makes it durable. If reading the body fails, the bytes that arrived are kept before the
    /// error is returned.
    async fn take<S>(&mut self, append: Box<dyn Append>, body: S, announced: Option<u64>) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send,
    {
        self.is_closing = false;
        let mut ingest = Ingest::new(append, self.digester.clone(), self.offset);
        let taken = match ingest.take(body, announced).await {
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
            Err(Error::Body(_)) => self.save().await?,
            // How much was written is unknown, so all of it is cut off: otherwise a full disk would stay full. If
            // cutting it off fails, the next request does it. If the upload is gone with its repository, that is the
            // error to report.
            Err(_) => match self.append_to_data().await {
                Err(Error::UploadUnknown) => return Err(Error::UploadUnknown),
                cut => drop(cut),
            },
        }
        taken
    }

    /// Writes the session with the current offset and hash state.
    async fn save(&self) -> Result<(), Error> {
        let Self { repository, started, offset, digester, is_closing, .. } = self;
        let session = Session::new(repository.principal.to_string(), *started, *offset, digester);
        let session = Session { is_closing: *is_closing, ..session };
        let _here = repository.stay(self.id).await?;
        let path = Key::UploadSession(&repository.name, self.id).path();
        Ok(repository.store().write(&path, session.to_bytes()).await?)
    }
}
