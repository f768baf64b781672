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
    super::{ByteStream, READ_CHUNK_LEN, Stat, StoreError, StoreErrorKind, StorePath},
    page_cache,
};

/// Converts the metadata of a file; a folder is not an object and gives a "not found" error.
pub(super) fn file_stat(metadata: &Metadata) -> io::Result<Stat> {
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Stat { size: metadata.len(), modified: metadata.modified()? })
}

/// Opens a file and returns its size and modification time.
pub(super) fn open(place: &Path) -> io::Result<(File, Stat)> {
    with_stat(File::open(place)?)
}

/// Opens a file as [`open`] does, if no name on its path requires the disk; else returns `None`.
pub(super) async fn open_cached(place: &Path) -> Option<io::Result<(File, Stat)>> {
    Some(page_cache::open(place).await?.and_then(with_stat))
}

fn with_stat(file: File) -> io::Result<(File, Stat)> {
    let stat = file_stat(&file.metadata()?)?;
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
            let (file, piece) = next_chunk(file, at, left).await?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let next = at + piece.len() as u64;
            Ok(Some((piece, (file, next))))
        }
    });
    pieces.map_err(move |error: io::Error| read_error(error, &path)).boxed()
}

/// Reads between one and [`READ_CHUNK_LEN`] bytes of the `left` bytes from offset `at`; none if the file ends there.
async fn next_chunk(file: File, at: u64, left: u64) -> io::Result<(File, Bytes)> {
    let length = usize::try_from(left).unwrap_or(READ_CHUNK_LEN).min(READ_CHUNK_LEN);
    if let Some(piece) = page_cache::read(&file, at, length).await {
        return Ok((file, piece));
    }
    let read = tokio::task::spawn_blocking(move || read_chunk(file, at, length)).await;
    read.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// Reads up to `length` bytes into memory that is not zeroed first.
fn read_chunk(mut file: File, at: u64, length: usize) -> io::Result<(File, Bytes)> {
    let mut buffer = Vec::with_capacity(length);
    file.seek(SeekFrom::Start(at))?;
    (&file).take(length as u64).read_to_end(&mut buffer)?;
    Ok((file, buffer.into()))
}

fn read_error(error: io::Error, path: &StorePath) -> StoreError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return StoreError::new(StoreErrorKind::Corrupt, format!("{path} was truncated while it was read"));
    }
    StoreError::from_io(error, format!("read {path}"))
}
