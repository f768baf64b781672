//! Writes a request body to an object and hashes it, while the next bytes arrive.
//!
//! Invariant: memory holds at most two batches, each of [`BATCH`] bytes and one frame and of [`PIECES`] pieces,
//! however large the body is and however finely it is cut. At every await, the hash and the object have seen the same
//! bytes.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::Error;
use portcullis_oci::Digester;
use portcullis_storage::{Append, StoreError};

/// The number of bytes that are gathered before they are hashed and written: enough to make the move to a blocking
/// thread cheap.
const BATCH: usize = 512 << 10;

/// The number of pieces in a batch: as many as one system call writes. A client may send its bytes one at a time;
/// each then costs the memory of its handle, and of the read buffer that the handle keeps allocated.
const PIECES: usize = 1024;

/// The number of bytes up to which hashing is cheaper than a move to another thread.
const INLINE: usize = 32 << 10;

/// Reading the request body failed; the text is the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError(pub String);

/// Writes an object and computes its digest at the same time.
pub(super) struct Ingest {
    append: Box<dyn Append>,
    /// `None` only while another thread hashes, and after that thread panicked.
    digester: Option<Digester>,
    offset: u64,
}

/// Why a batch ended.
enum End {
    /// The batch is full; more may follow.
    Later,
    /// The body ended.
    Body,
    /// Reading the body failed.
    Broken(BodyError),
}

impl Ingest {
    pub(super) fn new(append: Box<dyn Append>, digester: Digester, offset: u64) -> Self {
        Self { append, digester: Some(digester), offset }
    }

    /// Writes `body`. If `announced` is given, the body must have exactly that many bytes. Bytes that arrived before
    /// a failure are written; [`sync`](Self::sync) returns how many there are.
    pub(super) async fn take<S>(&mut self, body: S, announced: Option<u64>) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Send,
    {
        let mut body = std::pin::pin!(body);
        let mut received = 0;
        let (mut batch, mut end) = gather(&mut body).await;
        loop {
            received += batch.iter().map(|piece| piece.len() as u64).sum::<u64>();
            if let Some(announced) = announced.filter(|announced| received > *announced) {
                return Err(Error::SizeMismatch { announced, received });
            }
            match end {
                End::Later => {
                    let (taken, next) = tokio::join!(self.take_batch(batch), gather(&mut body));
                    taken?;
                    (batch, end) = next;
                }
                End::Broken(BodyError(reason)) => {
                    self.take_batch(batch).await?;
                    return Err(Error::Body(reason));
                }
                End::Body => {
                    self.take_batch(batch).await?;
                    return match announced {
                        Some(announced) if announced != received => Err(Error::SizeMismatch { announced, received }),
                        _ => Ok(()),
                    };
                }
            }
        }
    }

    async fn take_batch(&mut self, batch: Vec<Bytes>) -> Result<(), Error> {
        let length: usize = batch.iter().map(Bytes::len).sum();
        if length == 0 {
            return Ok(());
        }
        let digester = self.digester.take().ok_or(Error::Interrupted)?;
        let (digester, written) = tokio::join!(hash(digester, batch.clone(), length), self.append.write(batch));
        self.digester = Some(digester?);
        written?;
        self.offset += length as u64;
        Ok(())
    }

    /// Makes everything durable, and returns the length of the object and the digester that has hashed it.
    pub(super) async fn sync(mut self) -> Result<(u64, Digester), Error> {
        let length = self.append.sync().await?;
        if length != self.offset {
            // The upload's lock prevents this within the process, but not from another process on the same store.
            return Err(Error::UploadBusy);
        }
        let digester = self.digester.ok_or(Error::Interrupted)?;
        Ok((length, digester))
    }
}

/// Reads pieces of the body until a batch is full or the body ends.
async fn gather<S>(body: &mut S) -> (Vec<Bytes>, End)
where
    S: Stream<Item = Result<Bytes, BodyError>> + Unpin,
{
    let mut batch = Vec::new();
    let mut length = 0;
    while length < BATCH && batch.len() < PIECES {
        match body.next().await {
            Some(Ok(piece)) => {
                length += piece.len();
                batch.push(piece);
            }
            Some(Err(error)) => return (batch, End::Broken(error)),
            None => return (batch, End::Body),
        }
    }
    (batch, End::Later)
}

/// Hashes a batch of `length` bytes, on a blocking thread if it is large.
async fn hash(mut digester: Digester, batch: Vec<Bytes>, length: usize) -> Result<Digester, Error> {
    let work = move || {
        for piece in &batch {
            digester.update(piece);
        }
        digester
    };
    if length <= INLINE {
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
        let mut body = stream::iter((0..2 * PIECES).map(|_| Ok(Bytes::from_static(b"x"))));
        let (batch, end) = gather(&mut body).await;
        assert_eq!(batch.len(), PIECES);
        assert!(matches!(end, End::Later));
    }
}
