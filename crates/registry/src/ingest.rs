//! Writes a request body to an object and hashes it, while the next bytes arrive.
//!
//! Invariant: memory holds at most two batches, each of [`MAX_BATCH_BYTES`] bytes and one frame and of
//! [`MAX_BATCH_PIECES`] pieces, however large the body is and however finely it is cut. At every await, the hash and
//! the object have seen the same bytes.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::Error;
use portcullis_oci::Digester;
use portcullis_storage::{SealedUpload, StoreError, UploadState, UploadWriter};

/// The number of bytes that are gathered before they are hashed and written: enough to make the move to a blocking
/// thread cheap.
const MAX_BATCH_BYTES: usize = 512 << 10;

/// The number of pieces in a batch: as many as one system call writes. A client may send its bytes one at a time;
/// each then costs the memory of its handle, and of the read buffer that the handle keeps allocated.
const MAX_BATCH_PIECES: usize = 1024;

/// The number of bytes up to which hashing is cheaper than a move to another thread.
const MAX_INLINE_HASH_BYTES: usize = 32 << 10;

/// Reading the request body failed; the text is the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError(pub String);

/// Writes an object and computes its digest at the same time.
pub(super) struct Ingest {
    writer: Box<dyn UploadWriter>,
    /// `None` only while another thread hashes, and after that thread panicked.
    digester: Option<Digester>,
    offset: u64,
}

/// Why a batch ended.
enum BatchEnd {
    /// The batch is full; more may follow.
    More,
    /// The body ended.
    EndOfBody,
    /// Reading the body failed.
    Failed(BodyError),
}

impl Ingest {
    pub(super) fn new(writer: Box<dyn UploadWriter>, digester: Digester, offset: u64) -> Self {
        Self { writer, digester: Some(digester), offset }
    }

    /// Writes `body`. If `announced` is given, the body must have exactly that many bytes. Bytes that arrived before
    /// a failure are written; [`sync`](Self::sync) returns how many there are.
    pub(super) async fn write_body<S>(&mut self, body: S, announced: Option<u64>) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send,
    {
        let mut body = std::pin::pin!(body);
        let mut received = 0;
        let (mut batch, mut end) = next_batch(&mut body).await;
        loop {
            received += batch.iter().map(|piece| piece.len() as u64).sum::<u64>();
            if let Some(announced) = announced.filter(|announced| received > *announced) {
                return Err(Error::SizeMismatch { announced, received });
            }
            match end {
                BatchEnd::More => {
                    let (taken, next) = tokio::join!(self.write_batch(batch), next_batch(&mut body));
                    taken?;
                    (batch, end) = next;
                }
                BatchEnd::Failed(BodyError(reason)) => {
                    self.write_batch(batch).await?;
                    return Err(Error::Body(reason));
                }
                BatchEnd::EndOfBody => {
                    self.write_batch(batch).await?;
                    return match announced {
                        Some(announced) if announced != received => Err(Error::SizeMismatch { announced, received }),
                        _ => Ok(()),
                    };
                }
            }
        }
    }

    async fn write_batch(&mut self, batch: Vec<Bytes>) -> Result<(), Error> {
        let length: usize = batch.iter().map(Bytes::len).sum();
        if length == 0 {
            return Ok(());
        }
        let digester = self.digester.take().ok_or(Error::Interrupted)?;
        let (digester, written) = tokio::join!(hash(digester, batch.clone(), length), self.writer.write(batch));
        self.digester = Some(digester?);
        written?;
        self.offset += length as u64;
        Ok(())
    }

    /// Ends the upload, and returns the digester that has hashed its bytes; `None` if the upload has another length,
    /// because another writer appended to it.
    pub(super) async fn seal(self) -> Result<Option<(SealedUpload, Digester)>, Error> {
        let sealed = self.writer.seal().await?;
        if sealed.len() != self.offset {
            return Ok(None);
        }
        let digester = self.digester.ok_or(Error::Interrupted)?;
        Ok(Some((sealed, digester)))
    }

    /// Makes everything durable, and returns the state of the upload and the digester that has hashed its bytes; `None`
    /// if the upload has another length, because another writer appended to it.
    pub(super) async fn sync(mut self) -> Result<Option<(UploadState, Digester)>, Error> {
        let state = self.writer.sync().await?;
        // The upload's lock prevents this within the process, but not from another process on the same store.
        if state.len != self.offset {
            return Ok(None);
        }
        let digester = self.digester.ok_or(Error::Interrupted)?;
        Ok(Some((state, digester)))
    }
}

/// Reads pieces of the body until a batch is full or the body ends.
async fn next_batch<S>(body: &mut S) -> (Vec<Bytes>, BatchEnd)
where
    S: Stream<Item = Result<Bytes, BodyError>> + Unpin,
{
    let mut batch = Vec::new();
    let mut length = 0;
    while length < MAX_BATCH_BYTES && batch.len() < MAX_BATCH_PIECES {
        match body.next().await {
            Some(Ok(piece)) => {
                length += piece.len();
                batch.push(piece);
            }
            Some(Err(error)) => return (batch, BatchEnd::Failed(error)),
            None => return (batch, BatchEnd::EndOfBody),
        }
    }
    (batch, BatchEnd::More)
}

/// Hashes a batch of `length` bytes, on a blocking thread if it is large.
async fn hash(mut digester: Digester, batch: Vec<Bytes>, length: usize) -> Result<Digester, Error> {
    let work = move || {
        for piece in &batch {
            digester.update(piece);
        }
        digester
    };
    if length <= MAX_INLINE_HASH_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Interrupted)
}

/// Hashes stored bytes with `digester`, for example because an upload's saved hash state is missing or of another
/// algorithm.
pub(super) async fn rehash(
    mut digester: Digester,
    mut content: impl Stream<Item = Result<Bytes, StoreError>> + Unpin,
) -> Result<Digester, Error> {
    while let Some(piece) = content.next().await {
        let piece = piece?;
        let length = piece.len();
        digester = hash(digester, vec![piece], length).await?;
    }
    Ok(digester)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn bytes_that_come_one_at_a_time_do_not_gather_without_bound() {
        let mut body = stream::iter((0..2 * MAX_BATCH_PIECES).map(|_| Ok(Bytes::from_static(b"x"))));
        let (batch, end) = next_batch(&mut body).await;
        assert_eq!(batch.len(), MAX_BATCH_PIECES);
        assert!(matches!(end, BatchEnd::More));
    }
}
