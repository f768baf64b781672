//! Uploads: how a blob comes in.
//!
//! Invariant: a [`VerifiedBlob`] exists only where [`Upload::finish`] found the claimed digest, and [`Repository::commit`]
//! takes nothing else. A session belongs to the principal that began it, in the repository where it began; for anybody
//! else it does not exist. Its state lies in the store, so that it survives the process.

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
use crate::{
    access::Push,
    audit::{self, Event},
    oci::{Algorithm, ChunkRange, Digest, Digester, RepositoryName},
    storage::{Append, StoreError, StoreErrorKind, found},
};

/// What is known of an upload between two requests.
#[derive(Serialize, Deserialize)]
struct Session {
    /// The principal that began it.
    owner: String,
    /// How many bytes are durable.
    offset: u64,
    /// The algorithm that hashes while bytes arrive.
    algorithm: String,
    /// The hash of those bytes, half-way: [`Digester::save`] in base64.
    hash: String,
    /// Whether the last of those bytes came with the request that was to finish the upload.
    #[serde(default)]
    is_closing: bool,
    /// When it was begun, in seconds since 1970; sessions of the first release have it in a file beside them only.
    #[serde(default)]
    started: Option<i64>,
}

/// A session is a few hundred bytes.
const SESSION_MAX: u64 = 4096;

/// A time is a few dozen letters.
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

/// An upload, held by one request.
pub struct Upload {
    repository: Repository<Push>,
    id: UploadId,
    offset: u64,
    digester: Digester,
    is_closing: bool,
    started: Option<i64>,
    lock: UploadLock,
}

/// Bytes that are durable and have the digest that was claimed for them; not yet visible to anybody.
#[must_use = "a verified blob is not visible until it is committed"]
pub struct VerifiedBlob {
    digest: Digest,
    id: UploadId,
    /// Whether the bytes lie at the blob's path already.
    is_published: bool,
    _lock: UploadLock,
}

impl VerifiedBlob {
    /// The digest that was claimed and found.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl Repository<Push> {
    /// Begins an upload; `algorithm` hashes its bytes as they arrive.
    pub async fn begin_upload(&self, algorithm: Algorithm, now: SystemTime) -> Result<UploadId, Error> {
        let id = UploadId::random();
        let started = OffsetDateTime::from(now).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let session =
            Session::new(self.principal.to_string(), Some(started.unix_timestamp()), 0, &Digester::new(algorithm));
        let started = started.format(&Rfc3339).unwrap_or_default();
        let _here = self.engine.repositories.stay(&self.name).await;
        // Neither is durable: no byte was acknowledged yet. The time is in the session; registry:2's `purgeuploads`
        // reads it from the file.
        let store = self.store();
        store.write_unsynced(&Key::UploadStarted(&self.name, id).path(), Bytes::from(started)).await?;
        store.write_unsynced(&Key::UploadSession(&self.name, id).path(), session.to_bytes()).await?;
        Ok(id)
    }

    /// Takes up an upload to write to it.
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

    /// How many bytes of an upload are safe.
    pub async fn upload_offset(&self, id: UploadId) -> Result<u64, Error> {
        Ok(self.session(id).await?.offset)
    }

    /// When an upload was begun, in whole seconds.
    pub async fn upload_began(&self, id: UploadId) -> Result<SystemTime, Error> {
        let started = self.session(id).await?.started;
        // The file is registry:2's way of saying it, and as little durable as an upload without a byte: what a power
        // cut left of it may be nothing.
        let object = found(self.store().open(&Key::UploadStarted(&self.name, id).path()).await)?;
        let text = match object {
            Some(object) => object.read(STARTED_MAX).await?,
            None => Bytes::new(),
        };
        let written = str::from_utf8(&text).ok().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let began = written.or_else(|| OffsetDateTime::from_unix_timestamp(started?).ok());
        began.map(SystemTime::from).ok_or(Error::UploadUnknown)
    }

    /// Gives an upload up.
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

    /// Takes in a whole blob at once. Nobody is told the session, so nothing of it is kept if it fails.
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
                // The error to tell is the one that led here.
                let _ = this.cancel_upload(id).await;
            }
            done
        })
        .await
    }

    /// Makes a verified blob part of this repository.
    pub async fn commit(&self, blob: VerifiedBlob) -> Result<Digest, Error> {
        let this = self.clone();
        self.to_the_end(async move {
            if !blob.is_published {
                let (data, place) = (Key::UploadData(&this.name, blob.id), Key::Blob(&blob.digest));
                let _here = this.stay(blob.id).await?;
                // The lease begins now, not when the first byte of a slow upload arrived.
                this.store().touch(&data.path()).await?;
                this.store().publish(&data.path(), &place.path()).await?;
            }
            // Only now, for a removal that waited for the one while we waited for the other would wait for ever.
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

    /// That somebody is writing to it tells that there is an upload, which only its owner may know.
    async fn lock(&self, id: UploadId) -> Result<UploadLock, Error> {
        match self.engine.uploads.try_lock(id) {
            Some(lock) => Ok(lock),
            None => Err(self.session(id).await.err().unwrap_or(Error::UploadBusy)),
        }
    }

    /// A session that is not this principal's is unknown, exactly as one that never was.
    async fn session(&self, id: UploadId) -> Result<Session, Error> {
        let path = Key::UploadSession(&self.name, id).path();
        let object = found(self.store().open(&path).await)?.ok_or(Error::UploadUnknown)?;
        let bytes = object.read(SESSION_MAX).await?;
        // What a power cut left of a session that had acknowledged nothing.
        if bytes.is_empty() {
            return Err(Error::UploadUnknown);
        }
        let session: Session = serde_json::from_slice(&bytes)
            .map_err(|error| StoreError::new(StoreErrorKind::Corrupt, format!("{path}: {error}")))?;
        if session.owner == self.principal.to_string() { Ok(session) } else { Err(Error::UploadUnknown) }
    }

    /// Keeps the repository from being removed, if it was not in the meantime: then the upload is gone with it, and nothing
    /// more may be put where it was.
    async fn stay(&self, id: UploadId) -> Result<Presence<'_>, Error> {
        let here = self.engine.repositories.stay(&self.name).await;
        match found(self.store().stat(&Key::UploadSession(&self.name, id).path()).await)? {
            Some(_) => Ok(here),
            None => Err(Error::UploadUnknown),
        }
    }

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
    /// Throws an upload away. The session goes first: without it nothing is left that anybody could go on with, while a
    /// session without its bytes would promise too much.
    pub(super) async fn discard_upload(&self, name: &RepositoryName, id: UploadId) -> Result<(), Error> {
        let _here = self.repositories.stay(name).await;
        found(self.store.remove(&Key::UploadSession(name, id).path()).await)?;
        Ok(self.store.remove_tree(&Folder::Upload(name, id).path()).await?)
    }
}

impl Upload {
    /// Where the next byte goes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Checks that a chunk begins where the upload is.
    pub fn expect(&self, chunk: ChunkRange) -> Result<(), Error> {
        let (start, offset) = (chunk.start(), self.offset);
        if start == offset { Ok(()) } else { Err(Error::ChunkOutOfOrder { start, offset }) }
    }

    /// Takes in a chunk and makes it durable; answers the new offset. If the body breaks off, what arrived of it is kept
    /// all the same, so that the client can go on from there; if it is not as long as was announced, nothing of it is.
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

    /// Takes in the last bytes, verifies the whole and commits it, although the client may hang up after its last byte.
    pub async fn complete<S>(self, body: S, announced: Option<u64>, claimed: Digest) -> Result<Digest, Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
    {
        let repository = self.repository.clone();
        let this = repository.clone();
        let work = async move { this.commit(self.finish(body, announced, claimed).await?).await };
        repository.to_the_end(work).await
    }

    /// Takes in the last bytes, if there are any, and verifies the whole. What does not have the claimed digest is thrown
    /// away with its upload; nothing can come of it any more.
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
            // An earlier attempt put the bytes where they belong and failed after that.
            None if self.is_stored_as(&claimed).await? => true,
            None => return Err(Error::UploadUnknown),
        };
        Ok(VerifiedBlob { digest: claimed, id: self.id, is_published, _lock: self.lock })
    }

    /// Takes in the last bytes, unless an earlier attempt did so and failed after that; then they would come twice.
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
        // From here on the bytes may leave for the blob's path, and the session must not speak of what lies there no more
        // as if more could be added to it. One that speaks of nothing yet, or of everything, is right as it is.
        if (1..self.offset).contains(&before) {
            self.is_closing = true;
            self.save().await?;
        }
        Ok(())
    }

    /// The digest of the bytes so far.
    async fn digest(&self, algorithm: Algorithm) -> Result<Digest, Error> {
        if self.digester.algorithm() == algorithm {
            return Ok(self.digester.clone().finish());
        }
        Ok(self.repository.rehash(self.id, algorithm, self.offset).await?.finish())
    }

    /// Whether the bytes of this upload are in the store as that blob. That somebody's bytes are is not enough.
    async fn is_stored_as(&self, claimed: &Digest) -> Result<bool, Error> {
        let Some(object) = self.repository.engine.open_blob(claimed).await? else { return Ok(false) };
        let (size, own) = (object.size(), self.digester.clone().finish());
        if own.algorithm() == claimed.algorithm() || size != self.offset {
            return Ok(own == *claimed);
        }
        Ok(rehash(Digester::new(own.algorithm()), object.stream(0..size)).await?.finish() == own)
    }

    /// `None` if there should be bytes and is no object.
    async fn append_to_data(&self) -> Result<Option<Box<dyn Append>>, Error> {
        let path = Key::UploadData(&self.repository.name, self.id).path();
        let _here = self.repository.stay(self.id).await?;
        let append = self.repository.store().append(&path, self.offset).await;
        if self.offset == 0 { Ok(Some(append?)) } else { Ok(found(append)?) }
    }

    /// Takes in a body and makes it durable. If it breaks off, what arrived is kept before the error is passed on.
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
            // Busy: what is too much may be somebody else's.
            Ok(()) | Err(Error::UploadBusy) => {}
            Err(Error::Body(_)) => self.save().await?,
            // Nobody can say how much of it is there, so none of it is: a full disk is not to stay full of it. If it
            // cannot be cut off now, the next request does it; if it is gone with its repository, that is what happened.
            Err(_) => match self.append_to_data().await {
                Err(Error::UploadUnknown) => return Err(Error::UploadUnknown),
                cut => drop(cut),
            },
        }
        taken
    }

    async fn save(&self) -> Result<(), Error> {
        let Self { repository, started, offset, digester, is_closing, .. } = self;
        let session = Session::new(repository.principal.to_string(), *started, *offset, digester);
        let session = Session { is_closing: *is_closing, ..session };
        let _here = repository.stay(self.id).await?;
        let path = Key::UploadSession(&repository.name, self.id).path();
        Ok(repository.store().write(&path, session.to_bytes()).await?)
    }
}
