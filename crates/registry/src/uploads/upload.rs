//! Writes to an upload that one request has locked: appends chunks and verifies the digest of the whole blob.
//!
//! Invariant: an [`Upload`] has read its session once, and from then on knows the state of the upload from memory,
//! because its lock keeps other requests of this process out.

use bytes::Bytes;
use futures_util::Stream;

use super::{
    super::{
        Error, Repository,
        ingest::{BodyError, Ingest, rehash},
        locks::{RemovalCount, UploadLock},
        paths::{DirKey, ObjectKey, UploadId},
    },
    commit::VerifiedBlob,
    session::{StoredSession, UploadSession},
};
use portcullis_access::Push;
use portcullis_oci::{Algorithm, ChunkRange, Digest, Digester};
use portcullis_storage::{RecordVersion, SealedUpload, StoreErrorKind, UploadState, UploadWriter, optional};

/// An upload that one request has locked for writing.
pub struct Upload {
    repository: Repository<Push>,
    id: UploadId,
    /// The durable bytes.
    state: UploadState,
    /// The hash of these bytes.
    digester: Digester,
    is_closing: bool,
    started: Option<i64>,
    /// The version of the session in the store.
    version: RecordVersion,
    /// The number of removals before the session was read.
    removals: RemovalCount,
    lock: UploadLock,
}

impl Upload {
    /// Continues from the state in `session`, which was read or written under `lock`.
    pub(super) async fn resume(
        repository: Repository<Push>,
        id: UploadId,
        stored: StoredSession,
        lock: UploadLock,
    ) -> Result<Self, Error> {
        let StoredSession { session, version, removals } = stored;
        let state = session.state();
        let digester = match session.digester() {
            Some(digester) => digester,
            None => repository.rehash_upload(id, Algorithm::Sha256, &state).await?,
        };
        let UploadSession { is_closing, started, .. } = session;
        Ok(Self { repository, id, state, digester, is_closing, started, version, removals, lock })
    }

    /// The offset of the next byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.state.len
    }

    /// Checks that a chunk starts at the current end of the upload.
    pub fn check_chunk_start(&self, chunk: ChunkRange) -> Result<(), Error> {
        let (start, offset) = (chunk.start(), self.offset());
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
        let writer = self.open_data(None).await?.ok_or(Error::UploadUnknown)?;
        let ingest = self.write_body(writer, body, announced).await?;
        self.sync(ingest).await?;
        self.save_session().await?;
        Ok(self.offset())
    }

    /// Writes the last bytes, verifies the whole blob and commits it, even if the client disconnects after its last
    /// byte.
    pub async fn complete<S>(self, body: S, announced: Option<u64>, claimed: Digest) -> Result<Digest, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let repository = self.repository.clone();
        repository.run_to_completion(self.complete_inner(body, announced, claimed)).await
    }

    /// Does the work of [`complete`](Self::complete), in a task that the caller runs to completion.
    pub(super) async fn complete_inner<S>(
        self,
        body: S,
        announced: Option<u64>,
        claimed: Digest,
    ) -> Result<Digest, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let repository = self.repository.clone();
        repository.commit_inner(self.finish_inner(body, announced, claimed).await?).await
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
        let unpublished = match self.open_data(Some(&claimed)).await? {
            Some(writer) => Some(self.write_last(writer, body, announced, &claimed).await?),
            // An earlier attempt moved the bytes to the blob's path and failed afterwards.
            None if self.is_stored_as(&claimed).await? => None,
            None => return Err(Error::UploadUnknown),
        };
        Ok(VerifiedBlob { digest: claimed, id: self.id, removals: self.removals, unpublished, _lock: self.lock })
    }

    /// Writes the last bytes, unless an earlier attempt wrote them and failed afterwards: they must not be appended
    /// twice.
    async fn write_last<S>(
        &mut self,
        writer: Box<dyn UploadWriter>,
        body: S,
        announced: Option<u64>,
        claimed: &Digest,
    ) -> Result<SealedUpload, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send,
    {
        let before = self.offset();
        let written = SealedUpload::durable(self.state.clone());
        if self.is_closing && self.digest_of(&written, claimed.algorithm()).await? == *claimed {
            return self.seal(Ingest::new(writer, self.digester.clone(), before)).await;
        }
        let ingest = self.write_body(writer, body, announced).await?;
        let sealed = self.seal(ingest).await?;
        let actual = self.digest_of(&sealed, claimed.algorithm()).await?;
        if actual != *claimed {
            self.repository.engine.discard_upload(&self.repository.name, self.id, &self.state).await?;
            return Err(Error::DigestMismatch { claimed: *claimed, actual });
        }
        // From here on the bytes may be moved to the blob's path, and the session must not offer an offset at which a
        // client could append to them. A session at offset 0 or at the end is correct as it is, and so is one whose
        // bytes stay where they are because the rest is still in memory.
        if sealed.tail.is_empty() && (1..self.offset()).contains(&before) {
            self.is_closing = true;
            self.save_session().await?;
        }
        Ok(sealed)
    }

    /// The digest of the bytes of `upload`, which this upload has hashed, in `algorithm`.
    async fn digest_of(&self, upload: &SealedUpload, algorithm: Algorithm) -> Result<Digest, Error> {
        if self.digester.algorithm() == algorithm {
            return Ok(self.digester.clone().finish());
        }
        let mut digester = self.repository.rehash_upload(self.id, algorithm, &upload.state).await?;
        for piece in &upload.tail {
            digester.update(piece);
        }
        Ok(digester.finish())
    }

    /// Whether the bytes of this upload are already stored as the blob `claimed`. That the blob exists is not enough:
    /// another upload may have stored it.
    async fn is_stored_as(&self, claimed: &Digest) -> Result<bool, Error> {
        let Some(object) = self.repository.engine.open_blob(claimed).await? else { return Ok(false) };
        let (size, own) = (object.size(), self.digester.clone().finish());
        if own.algorithm() == claimed.algorithm() || size != self.offset() {
            return Ok(own == *claimed);
        }
        Ok(rehash(Digester::new(own.algorithm()), object.stream(0..size)).await?.finish() == own)
    }

    /// Opens the upload's bytes for appending; `None` if the session has bytes but their object is missing. `claimed`
    /// is the digest of the whole blob, if the request states it.
    async fn open_data(&self, claimed: Option<&Digest>) -> Result<Option<Box<dyn UploadWriter>>, Error> {
        let folder = DirKey::Upload(&self.repository.name, self.id).path();
        let target = claimed.map(|digest| ObjectKey::Blob(digest).path());
        let _guard = self.repository.lock_shared_for_upload(self.id, self.removals).await?;
        let writer = self.repository.store().open_upload(&folder, &self.state, target.as_ref()).await;
        if self.offset() == 0 { Ok(Some(writer?)) } else { Ok(optional(writer)?) }
    }

    /// Writes a body. If reading it fails, the bytes that arrived are kept before the error is returned.
    async fn write_body<S>(
        &mut self,
        writer: Box<dyn UploadWriter>,
        body: S,
        announced: Option<u64>,
    ) -> Result<Ingest, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send,
    {
        self.is_closing = false;
        let mut ingest = Ingest::new(writer, self.digester.clone(), self.offset());
        match ingest.write_body(body, announced).await {
            Ok(()) => Ok(ingest),
            Err(Error::Body(reason)) => {
                self.sync(ingest).await?;
                self.save_session().await?;
                Err(Error::Body(reason))
            }
            Err(error) => Err(self.cut_off_after(error).await),
        }
    }

    /// Makes the written bytes durable, and takes over their number and their hash. Fails with [`Error::UploadBusy`] if
    /// another process wrote to the upload as well.
    async fn sync(&mut self, ingest: Ingest) -> Result<(), Error> {
        match ingest.sync().await {
            Ok(Some(synced)) => {
                (self.state, self.digester) = synced;
                Ok(())
            }
            // Surplus bytes may belong to the other process, and are not cut off.
            Ok(None) => Err(self.busy().await),
            Err(error) => Err(self.cut_off_after(error).await),
        }
    }

    /// Ends the upload after the written bytes; otherwise does what [`sync`](Self::sync) does.
    async fn seal(&mut self, ingest: Ingest) -> Result<SealedUpload, Error> {
        match ingest.seal().await {
            Ok(Some((sealed, digester))) => {
                self.state = sealed.state.clone();
                self.digester = digester;
                Ok(sealed)
            }
            Ok(None) => Err(self.busy().await),
            Err(error) => Err(self.cut_off_after(error).await),
        }
    }

    /// Cuts off bytes whose writing failed with `error`, and returns the error to report. How much was written is
    /// unknown, so all of it is cut off: otherwise a full disk would stay full. If that fails, the next request does
    /// it.
    async fn cut_off_after(&self, error: Error) -> Error {
        match self.open_data(None).await {
            // The upload is gone with its repository.
            Err(Error::UploadUnknown) => Error::UploadUnknown,
            Ok(_) | Err(_) => error,
        }
    }

    /// The error for an upload to which another process writes.
    async fn busy(&self) -> Error {
        // The session is read again, because the other process has changed it. If it cannot be read, the bytes of the
        // other process must be kept all the same.
        match self.repository.upload_offset(self.id).await {
            Ok(offset) => Error::UploadBusy { offset },
            Err(Error::UploadUnknown) => Error::UploadUnknown,
            Err(_) => Error::UploadBusy { offset: self.offset() },
        }
    }

    /// Replaces the session by one with the current state and hash. Fails with [`Error::UploadBusy`] if another process
    /// has replaced it since this request read it: the bytes of one of the two count, never a mixture.
    async fn save_session(&mut self) -> Result<(), Error> {
        let Self { repository, started, state, digester, is_closing, version, .. } = self;
        let mut session = UploadSession::new(repository.principal.to_string(), *started, state, digester);
        session.is_closing = *is_closing;
        let path = ObjectKey::UploadSession(&repository.name, self.id).path();
        let replaced = {
            let _guard = repository.lock_shared_for_upload(self.id, self.removals).await?;
            repository.store().replace_record(&path, session.to_bytes(), version).await
        };
        match replaced {
            Ok(new) => {
                self.version = new;
                Ok(())
            }
            Err(error) if error.kind() == StoreErrorKind::Conflict => Err(self.busy().await),
            Err(error) => Err(error.into()),
        }
    }
}

impl Repository<Push> {
    /// Hashes the durable bytes of an upload again, because its saved hash state is missing or of another
    /// algorithm.
    async fn rehash_upload(&self, id: UploadId, algorithm: Algorithm, state: &UploadState) -> Result<Digester, Error> {
        let digester = Digester::new(algorithm);
        if state.len == 0 {
            return Ok(digester);
        }
        let folder = DirKey::Upload(&self.name, id).path();
        let bytes = optional(self.store().read_upload(&folder, state).await)?.ok_or(Error::UploadUnknown)?;
        rehash(digester, bytes).await
    }
}
