//! Collects bytes into parts of equal size, and sends each while the next one fills.
//!
//! Invariant: a writer holds at most two parts in memory, one that is being sent and one that fills, each with its
//! reservation.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use portcullis_storage::{SealedUpload, StoreError, StoreErrorKind, StorePath, UploadState, UploadWriter};
use tokio_util::task::AbortOnDropHandle;

use super::{
    super::{
        bucket::Bucket,
        upload_memory::{PART_LEN, ReservedPart, UNRESERVED_LEN, UploadMemory},
    },
    state::{MAX_INLINE_TAIL_LEN, Multipart, StoredParts, Tail},
    tail::put_tail,
};

/// Pieces below this size in bytes are copied together: a piece keeps the whole buffer alive into which it was read.
const MIN_PIECE_LEN: usize = 16 << 10;

/// A writer of parts.
pub(super) struct PartWriter {
    bucket: Arc<Bucket>,
    memory: UploadMemory,
    folder: StorePath,
    /// The path of the object that a multipart upload becomes.
    key: StorePath,
    multipart: Option<Multipart>,
    /// The part that is being sent.
    sending: Option<AbortOnDropHandle<Result<String, StoreError>>>,
    filling: PartBuffer,
    /// Whether a request has failed, so that the parts are unknown.
    has_failed: bool,
}

/// The bytes of a part that is not full yet.
#[derive(Default)]
struct PartBuffer {
    pieces: Vec<Bytes>,
    small: BytesMut,
    len: usize,
    reserved: Option<ReservedPart>,
}

impl PartBuffer {
    fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < MIN_PIECE_LEN {
            self.small.extend_from_slice(&piece);
        } else {
            self.flush_small();
            self.pieces.push(piece);
        }
    }

    fn flush_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }

    /// The bytes so far, without copying them.
    fn content(&mut self) -> Vec<Bytes> {
        self.flush_small();
        self.pieces.clone()
    }
}

impl PartWriter {
    pub(super) fn new(bucket: Arc<Bucket>, memory: UploadMemory, folder: StorePath, key: StorePath) -> Self {
        let filling = PartBuffer::default();
        Self { bucket, memory, folder, key, multipart: None, sending: None, filling, has_failed: false }
    }

    /// Continues after these parts and this tail.
    pub(super) async fn resume(mut self, multipart: Option<Multipart>, tail: Bytes) -> Result<Self, StoreError> {
        self.multipart = multipart;
        self.append(tail).await?;
        Ok(self)
    }

    async fn append(&mut self, mut piece: Bytes) -> Result<(), StoreError> {
        while !piece.is_empty() {
            // A full part is sent when more follows: the last part of an upload may be full, too.
            if self.filling.len == PART_LEN {
                self.send_part().await?;
            }
            let room = PART_LEN - self.filling.len;
            let next = piece.split_to(piece.len().min(room));
            if self.filling.len + next.len() > UNRESERVED_LEN && self.filling.reserved.is_none() {
                self.filling.reserved = Some(self.memory.reserve().await?);
            }
            self.filling.push(next);
        }
        Ok(())
    }

    /// Begins to send the part that fills, after the part before it has arrived.
    async fn send_part(&mut self) -> Result<(), StoreError> {
        self.wait_for_part().await?;
        let multipart = if let Some(multipart) = &self.multipart {
            multipart
        } else {
            let id = self.bucket.create_multipart(&self.key).await?;
            self.multipart.insert(Multipart { key: self.key.clone(), id, etags: Vec::new() })
        };
        let mut part = std::mem::take(&mut self.filling);
        let (bucket, key, id, index) =
            (self.bucket.clone(), multipart.key.clone(), multipart.id.clone(), multipart.etags.len());
        self.sending = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let content = part.content();
            let etag = bucket.put_part(&key, &id, index, content).await;
            drop(part);
            etag
        })));
        Ok(())
    }

    /// Waits until the part that is being sent has arrived.
    async fn wait_for_part(&mut self) -> Result<(), StoreError> {
        let Some(sending) = self.sending.take() else { return Ok(()) };
        let sent = sending.await.unwrap_or_else(|_| Err(self.interrupted()));
        let etag = sent?;
        if let Some(multipart) = &mut self.multipart {
            multipart.etags.push(etag);
        }
        Ok(())
    }

    fn interrupted(&self) -> StoreError {
        StoreError::new(StoreErrorKind::Unavailable, format!("put part of {} was interrupted", self.key))
    }

    async fn save_tail(&mut self) -> Result<Tail, StoreError> {
        let (content, len) = (self.filling.content(), self.filling.len);
        if len <= MAX_INLINE_TAIL_LEN {
            return Ok(Tail::Inline(content.concat().into()));
        }
        let name = put_tail(&self.bucket, &self.folder, content.into_iter().collect()).await?;
        Ok(Tail::Object { name, len: len as u64 })
    }

    async fn sync_inner(&mut self) -> Result<UploadState, StoreError> {
        if self.filling.len == PART_LEN {
            self.send_part().await?;
        }
        self.wait_for_part().await?;
        let tail = self.save_tail().await?;
        Ok(StoredParts { multipart: self.multipart.clone(), tail }.to_state(None))
    }

    async fn seal_inner(&mut self) -> Result<SealedUpload, StoreError> {
        self.wait_for_part().await?;
        if self.multipart.is_none() {
            let tail = self.filling.content();
            let reservation = self.filling.reserved.take().map(|reserved| Box::new(reserved) as _);
            return Ok(SealedUpload { state: UploadState::default(), tail, reservation });
        }
        let mut last_part = None;
        if self.filling.len > 0 {
            last_part = Some(self.filling.len as u64);
            self.send_part().await?;
            self.wait_for_part().await?;
        }
        let tail = Tail::Inline(Bytes::new());
        let state = StoredParts { multipart: self.multipart.clone(), tail }.to_state(last_part);
        Ok(SealedUpload::durable(state))
    }

    /// Keeps a writer whose request has failed from being used again.
    fn record<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        self.has_failed |= done.is_err();
        done
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.has_failed { Err(self.interrupted()) } else { Ok(()) }
    }
}

#[async_trait]
impl UploadWriter for PartWriter {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        self.check_usable()?;
        for piece in pieces {
            let done = self.append(piece).await;
            self.record(done)?;
        }
        Ok(())
    }

    async fn sync(&mut self) -> Result<UploadState, StoreError> {
        self.check_usable()?;
        let done = self.sync_inner().await;
        self.record(done)
    }

    async fn seal(mut self: Box<Self>) -> Result<SealedUpload, StoreError> {
        self.check_usable()?;
        self.seal_inner().await
    }
}
