//! Reading a file in large pieces, one at a time, each on a blocking thread.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::{ByteStream, CHUNK, Stat, StoreError, StoreErrorKind, StorePath};

/// A folder is not an object.
pub(super) fn stat_of(metadata: &Metadata) -> io::Result<Stat> {
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Stat { size: metadata.len(), modified: metadata.modified()? })
}

/// The bytes of `file` within `range`. The next piece is read when it is asked for: a reader that is slow costs one piece of
/// memory, not a queue.
pub(super) fn stream(file: File, range: Range<u64>, path: StorePath) -> ByteStream {
    let pieces = stream::try_unfold((file, range.start), move |(file, at)| {
        let left = range.end.saturating_sub(at);
        async move {
            if left == 0 {
                return Ok(None);
            }
            let read = tokio::task::spawn_blocking(move || piece(file, at, left)).await;
            let (file, piece) = read.unwrap_or_else(|panic| Err(io::Error::other(panic)))?;
            let next = at + piece.len() as u64;
            Ok(Some((piece, (file, next))))
        }
    });
    pieces.map_err(move |error: io::Error| describe(error, &path)).boxed()
}

/// Reads up to [`CHUNK`] bytes into memory that is not cleared first.
fn piece(mut file: File, at: u64, left: u64) -> io::Result<(File, Bytes)> {
    let length = left.min(CHUNK as u64);
    let mut buffer = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    file.seek(SeekFrom::Start(at))?;
    let read = (&file).take(length).read_to_end(&mut buffer)?;
    if read as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((file, buffer.into()))
}

fn describe(error: io::Error, path: &StorePath) -> StoreError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return StoreError::new(StoreErrorKind::Corrupt, format!("{path} became shorter while it was read"));
    }
    StoreError::from_io(error, format!("read {path}"))
}
