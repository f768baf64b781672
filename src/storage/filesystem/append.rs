//! Appending to a file that nobody reads yet.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    super::{Append, StoreError, StoreErrorKind, StorePath},
    Disk, folders,
};

/// Opens the file at `place` with `offset` bytes in it.
pub(super) fn open(disk: &Disk, place: &Path, offset: u64) -> io::Result<File> {
    let folder = folders::of(place);
    let is_new = !place.exists();
    let open = || OpenOptions::new().write(true).create(offset == 0).truncate(false).open(place);
    let mut file = disk.folders.inside(folder, open, || offset == 0)?;
    if is_new {
        folders::sync(folder)?;
    }
    if file.metadata()?.len() > offset {
        file.set_len(offset)?;
    }
    if file.seek(SeekFrom::End(0))? < offset {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it ends before byte {offset}")));
    }
    Ok(file)
}

/// A file being appended to.
pub(super) struct Appending {
    /// `None` while a blocking thread has it, and after that thread failed.
    file: Option<File>,
    length: u64,
    path: StorePath,
}

impl Appending {
    pub(super) fn new(file: File, length: u64, path: StorePath) -> Self {
        Self { file: Some(file), length, path }
    }

    async fn blocking(
        &mut self,
        work: impl FnOnce(&mut File) -> io::Result<()> + Send + 'static,
    ) -> Result<(), StoreError> {
        let Some(mut file) = self.file.take() else {
            let context = format!("append to {} after a failure", self.path);
            return Err(StoreError::new(StoreErrorKind::Unavailable, context));
        };
        let done = tokio::task::spawn_blocking(move || work(&mut file).map(|()| file)).await;
        let file = done.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        self.file = Some(file.map_err(|error| StoreError::from_io(error, format!("append to {}", self.path)))?);
        Ok(())
    }
}

/// One system call for many pieces, without copying them together first.
fn write_all(file: &mut File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = slices.as_mut_slice();
    // Empty slices in front would look like a write that moves nothing.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match file.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[async_trait]
impl Append for Appending {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        self.blocking(move |file| write_all(file, &pieces)).await?;
        self.length += length as u64;
        Ok(())
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.blocking(|file| file.sync_data()).await?;
        Ok(self.length)
    }
}
