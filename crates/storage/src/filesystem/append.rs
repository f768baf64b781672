//! Appends to a file, with direct I/O (`O_DIRECT`) for large writes.
//!
//! Large writes bypass the kernel's page cache in whole blocks. Through the page cache, a layer would be copied once
//! more, would evict layers that are pulled often, and the final sync would have to wait for all of its bytes; with
//! direct I/O, the disk writes while the next bytes arrive. The cost is that the first pull of a new layer reads the
//! disk.
//!
//! Invariant: [`UploadWriter::sync`] covers every accepted byte, whether it was written through the page cache or
//! directly.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::{
    fs::OFlags,
    io::{Errno, pwritev},
};

use super::{
    super::{DirectIo, SealedUpload, StoreError, StoreErrorKind, StorePath, UploadState, UploadWriter},
    aligned_buffer::{ALIGNMENT, AlignedBuffer, BUFFER_LEN},
    dirs::{self, DirCreator},
};

/// Writes of fewer bytes than this use the page cache: the data is small, is the end of an upload, or arrives so slowly
/// that direct I/O gains nothing.
const MIN_DIRECT_WRITE_LEN: usize = 256 << 10;

/// Opens the file at `place` with a length of `offset` bytes; `dirs` creates its missing folders.
pub(super) fn open(dirs: &DirCreator, place: &Path, offset: u64, direct_io: DirectIo) -> io::Result<AppendFile> {
    let folder = dirs::parent_dir(place);
    let open = || OpenOptions::new().write(true).create(offset == 0).truncate(false).open(place);
    let file = dirs.run_in_dir(folder, open, || offset == 0)?;
    let length = file.metadata()?.len();
    let is_cut = length > offset;
    if is_cut {
        file.set_len(offset)?;
    }
    if length < offset {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the file ends before byte {offset}")));
    }
    let direct = match direct_io {
        DirectIo::Auto => open_direct(place),
        DirectIo::Off => None,
    };
    Ok(AppendFile { file, direct, written: offset, buffer: None, is_synced: !is_cut })
}

/// Opens a second descriptor of the same file for direct I/O, which some file systems do not support.
fn open_direct(place: &Path) -> Option<File> {
    let flags = OFlags::DIRECT.bits().cast_signed();
    OpenOptions::new().write(true).custom_flags(flags).open(place).ok()
}

/// A file open for appending.
pub(super) struct AppendFile {
    file: File,
    /// Descriptor for direct I/O; `None` where it is off or the file system does not support it.
    direct: Option<File>,
    /// Number of bytes in the file.
    written: u64,
    /// Bytes that follow them and are not written yet; `Some` after the first large write.
    buffer: Option<AlignedBuffer>,
    /// Whether every written byte is durable.
    is_synced: bool,
}

impl AppendFile {
    fn write(&mut self, pieces: Vec<Bytes>) -> io::Result<()> {
        self.is_synced = false;
        let length: usize = pieces.iter().map(Bytes::len).sum();
        if self.buffer.is_none() && (self.direct.is_none() || length < MIN_DIRECT_WRITE_LEN) {
            return self.write_all(&pieces);
        }
        self.buffer.get_or_insert_with(AlignedBuffer::new);
        for mut piece in pieces {
            while !piece.is_empty() {
                // Writes a shorter first block if that aligns the offset of the next ones.
                let limit = BUFFER_LEN - usize::try_from(self.written % ALIGNMENT as u64).unwrap_or(0);
                if self.buffer.as_mut().is_some_and(|block| block.fill(&mut piece, limit)) {
                    self.flush_buffer()?;
                }
            }
        }
        Ok(())
    }

    /// Writes many pieces with one system call, without copying them into one buffer.
    fn write_all(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = slices.as_mut_slice();
        // Removes leading empty slices: a write of zero bytes would look like an error.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match pwritev(&self.file, left, self.written) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.written += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn flush_buffer(&mut self) -> io::Result<()> {
        let Some(block) = &mut self.buffer else { return Ok(()) };
        let bytes = block.bytes();
        let is_aligned = self.written.is_multiple_of(ALIGNMENT as u64) && bytes.len().is_multiple_of(ALIGNMENT);
        match self.direct.as_ref().filter(|_| is_aligned) {
            Some(direct) if write_direct(direct, bytes, self.written)? => {}
            refused => {
                if refused.is_some() {
                    self.direct = None;
                }
                self.file.write_all_at(bytes, self.written)?;
            }
        }
        self.written += bytes.len() as u64;
        block.clear();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<u64> {
        if !self.is_synced {
            self.flush_buffer()?;
            self.file.sync_data()?;
            self.is_synced = true;
        }
        Ok(self.written)
    }
}

/// Writes with direct I/O. Returns `false` if the file system or the disk does not support this write.
fn write_direct(direct: &File, bytes: &[u8], offset: u64) -> io::Result<bool> {
    match direct.write_all_at(bytes, offset) {
        Ok(()) => Ok(true),
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::OPNOTSUPP)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// An [`UploadWriter`] that runs its writes on blocking threads.
pub(super) struct FileWriter {
    /// `None` while a blocking thread owns it, and after an operation failed.
    tail: Option<AppendFile>,
    path: StorePath,
}

impl FileWriter {
    pub(super) fn new(tail: AppendFile, path: StorePath) -> Self {
        Self { tail: Some(tail), path }
    }

    async fn run_blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut AppendFile) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(mut tail) = self.tail.take() else {
            let context = format!("append to {} after a failure", self.path);
            return Err(StoreError::new(StoreErrorKind::Unavailable, context));
        };
        let done = tokio::task::spawn_blocking(move || work(&mut tail).map(|result| (tail, result))).await;
        let done = done.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let (tail, result) = done.map_err(|error| StoreError::from_io(error, format!("append to {}", self.path)))?;
        self.tail = Some(tail);
        Ok(result)
    }
}

#[async_trait]
impl UploadWriter for FileWriter {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        self.run_blocking(|tail| tail.write(pieces)).await
    }

    async fn sync(&mut self) -> Result<UploadState, StoreError> {
        Ok(UploadState { len: self.run_blocking(AppendFile::sync).await?, parts: None })
    }

    async fn seal(mut self: Box<Self>) -> Result<SealedUpload, StoreError> {
        Ok(SealedUpload::durable(self.sync().await?))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fs_type::FsType, *};

    /// The file after a write of two blocks, and whether it has a descriptor for direct I/O before and after the write.
    fn written(direct_io: DirectIo) -> (Vec<u8>, [bool; 2]) {
        let root = tempfile::tempdir().unwrap();
        let dirs = DirCreator::new(FsType::detect(root.path()).metadata_order());
        let place = root.path().join("uploads/data");
        let mut file = open(&dirs, &place, 0, direct_io).unwrap();
        let before = file.direct.is_some();
        file.write(vec![Bytes::from(vec![7; 2 * BUFFER_LEN])]).unwrap();
        let after = file.direct.is_some();
        assert_eq!(file.sync().unwrap(), 2 * BUFFER_LEN as u64);
        (std::fs::read(place).unwrap(), [before, after])
    }

    #[test]
    fn without_direct_io_a_layer_is_written_through_the_page_cache_and_is_the_same() {
        let (content, direct) = written(DirectIo::Off);
        assert_eq!(direct, [false, false]);
        assert_eq!(content, written(DirectIo::Auto).0);
    }
}
