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
    fs_type::{FsType, ReadMode},
    page_cache,
};

/// Converts the metadata of a file; a folder is not an object and gives a "not found" error.
pub(super) fn file_stat(metadata: &Metadata) -> io::Result<Stat> {
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Stat { size: metadata.len(), modified: metadata.modified()? })
}

/// A file open for reading.
#[derive(Debug)]
pub(super) struct OpenedFile {
    file: File,
    pub(super) stat: Stat,
    pub(super) mode: ReadMode,
}

/// Opens a file. It may be on another file system than the root of the store, whose mode is `root_mode`.
pub(super) fn open(place: &Path, root_mode: ReadMode) -> io::Result<OpenedFile> {
    let file = File::open(place)?;
    let mode = match root_mode {
        ReadMode::InPlace => FsType::of_file(&file).read_mode(),
        ReadMode::BlockingThread => ReadMode::BlockingThread,
    };
    Ok(OpenedFile { stat: file_stat(&file.metadata()?)?, file, mode })
}

/// Opens the file at `path` below `root` as [`open`] does, if no name on the way requires the disk; else returns
/// `None`.
pub(super) async fn open_cached(root: &Path, path: &StorePath) -> Option<io::Result<OpenedFile>> {
    let opened = page_cache::open(root, path.as_str()).await?;
    Some(opened.and_then(|file| Ok(OpenedFile { stat: file_stat(&file.metadata()?)?, file, mode: ReadMode::InPlace })))
}

/// Streams the bytes of a file within `range`. Each piece is read on demand, so a slow reader costs the memory of one
/// piece, not of a queue.
pub(super) fn stream(opened: OpenedFile, range: Range<u64>, path: StorePath) -> ByteStream {
    let OpenedFile { file, mode, stat: _ } = opened;
    let pieces = stream::try_unfold((file, range.start), move |(file, at)| {
        let left = range.end.saturating_sub(at);
        async move {
            if left == 0 {
                return Ok(None);
            }
            let (file, piece) = next_chunk(file, mode, at, left).await?;
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
async fn next_chunk(file: File, mode: ReadMode, at: u64, left: u64) -> io::Result<(File, Bytes)> {
    let length = usize::try_from(left).unwrap_or(READ_CHUNK_LEN).min(READ_CHUNK_LEN);
    if mode == ReadMode::InPlace
        && let Some(piece) = page_cache::read(&file, at, length).await
    {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_on_a_network_file_system_is_read_on_blocking_threads() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(open(file.path(), ReadMode::InPlace).unwrap().mode, ReadMode::InPlace);
        assert_eq!(open(file.path(), ReadMode::BlockingThread).unwrap().mode, ReadMode::BlockingThread);
        // A link from a local root to another file system; this one is not in the list of local ones.
        assert_eq!(open(Path::new("/proc/self/status"), ReadMode::InPlace).unwrap().mode, ReadMode::BlockingThread);
    }
}
