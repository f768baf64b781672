//! Reads a file in large pieces, one at a time, from the page cache if possible and else on a blocking thread.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::Path,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    super::{ByteStream, CHUNK, Stat, StoreError, StoreErrorKind, StorePath},
    cached,
};

/// Converts the metadata of a file; a folder is not an object and gives a "not found" error.
pub(super) fn stat_of(metadata: &Metadata) -> io::Result<Stat> {
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Stat { size: metadata.len(), modified: metadata.modified()? })
}

/// Opens a file and returns its size and modification time.
pub(super) fn open(place: &Path) -> io::Result<(File, Stat)> {
    opened(File::open(place)?)
}

/// Opens a file as [`open`] does, if no name on its path requires the disk; else returns `None`.
pub(super) async fn open_cached(place: &Path) -> Option<io::Result<(File, Stat)>> {
    Some(cached::open(place).await?.and_then(opened))
}

fn opened(file: File) -> io::Result<(File, Stat)> {
    let stat = stat_of(&file.metadata()?)?;
    Ok((file, stat))
}

/// Streams the bytes of `file` within `range`. Each piece is read on demand, so a slow reader costs the memory of one
/// piece, not of a queue.
pub(super) fn stream(file: File, range: Range<u64>, path: StorePath) -> ByteStream {
    let pieces = stream::try_unfold((file, range.start), move |(file, at)| {
        let left = range.end.saturating_sub(at);
        async move {
            if left == 0 {
                return Ok(None);
            }
            let (file, piece) = next(file, at, left).await?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let next = at + piece.len() as u64;
            Ok(Some((piece, (file, next))))
        }
    });
    pieces.map_err(move |error: io::Error| describe(error, &path)).boxed()
}

/// Reads between one and [`CHUNK`] bytes of the `left` bytes from offset `at`; none if the file ends there.
async fn next(file: File, at: u64, left: u64) -> io::Result<(File, Bytes)> {
    let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
    if let Some(piece) = cached::read(&file, at, length).await {
        return Ok((file, piece));
    }
    let read = tokio::task::spawn_blocking(move || piece(file, at, length)).await;
    read.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// Reads up to `length` bytes into memory that is not zeroed first.
fn piece(mut file: File, at: u64, length: usize) -> io::Result<(File, Bytes)> {
    let mut buffer = Vec::with_capacity(length);
    file.seek(SeekFrom::Start(at))?;
    (&file).take(length as u64).read_to_end(&mut buffer)?;
    Ok((file, buffer.into()))
}

fn describe(error: io::Error, path: &StorePath) -> StoreError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return StoreError::new(StoreErrorKind::Corrupt, format!("{path} was truncated while it was read"));
    }
    StoreError::from_io(error, format!("read {path}"))
}
