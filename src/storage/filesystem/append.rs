//! Appending to a file that nobody reads yet.
//!
//! What is large goes past the kernel's cache of pages (`O_DIRECT`), in whole blocks: through it, a layer would be copied once
//! more, would push the layers that everybody pulls out of it, and would have to be waited for at the end; past it, the disk
//! writes while the next bytes arrive. The price is that the first pull of what was just pushed reads the disk.
//!
//! Invariant: [`Append::sync`] speaks of every byte that was taken, whichever of the two ways it went.

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
    super::{Append, StoreError, StoreErrorKind, StorePath},
    Disk,
    block::{ALIGNMENT, BLOCK, Block},
    folders,
};

/// What comes in pieces of less than this is small, or its end, or comes so slowly that it does not matter.
const LARGE: usize = 256 << 10;

/// Opens the file at `place` with `offset` bytes in it.
pub(super) fn open(disk: &Disk, place: &Path, offset: u64) -> io::Result<Tail> {
    let folder = folders::of(place);
    let open = || OpenOptions::new().write(true).create(offset == 0).truncate(false).open(place);
    let file = disk.folders.inside(folder, open, || offset == 0)?;
    let length = file.metadata()?.len();
    let is_cut = length > offset;
    if is_cut {
        file.set_len(offset)?;
    }
    if length < offset {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it ends before byte {offset}")));
    }
    // A second way to the same file: some file systems do not have it.
    let flags = OFlags::DIRECT.bits().cast_signed();
    let direct = OpenOptions::new().write(true).custom_flags(flags).open(place).ok();
    Ok(Tail { file, direct, written: offset, block: None, is_synced: !is_cut })
}

/// The end of a file, where it grows.
pub(super) struct Tail {
    file: File,
    /// Past the cache, where that can be done.
    direct: Option<File>,
    /// Up to where the file is written.
    written: u64,
    /// What comes after that and is not written yet, once something large came.
    block: Option<Block>,
    /// Whether everything that was written is durable.
    is_synced: bool,
}

impl Tail {
    fn write(&mut self, pieces: Vec<Bytes>) -> io::Result<()> {
        self.is_synced = false;
        let length: usize = pieces.iter().map(Bytes::len).sum();
        if self.block.is_none() && (self.direct.is_none() || length < LARGE) {
            return self.write_all(&pieces);
        }
        self.block.get_or_insert_with(Block::new);
        for mut piece in pieces {
            while !piece.is_empty() {
                // The first block is shorter, if that takes the next ones to where a block must begin.
                let limit = BLOCK - usize::try_from(self.written % ALIGNMENT as u64).unwrap_or(0);
                if self.block.as_mut().is_some_and(|block| block.fill(&mut piece, limit)) {
                    self.write_block()?;
                }
            }
        }
        Ok(())
    }

    /// One system call for many pieces, without copying them together first.
    fn write_all(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut left = slices.as_mut_slice();
        // Empty slices in front would look like a write that moves nothing.
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

    fn write_block(&mut self) -> io::Result<()> {
        let Some(block) = &mut self.block else { return Ok(()) };
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
            self.write_block()?;
            self.file.sync_data()?;
            self.is_synced = true;
        }
        Ok(self.written)
    }
}

/// `false`, if this file system, or the disk below it, will not have it that way after all.
fn write_direct(direct: &File, bytes: &[u8], offset: u64) -> io::Result<bool> {
    match direct.write_all_at(bytes, offset) {
        Ok(()) => Ok(true),
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::OPNOTSUPP)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A file being appended to.
pub(super) struct Appending {
    /// `None` while a blocking thread has it, and after that thread failed.
    tail: Option<Tail>,
    path: StorePath,
}

impl Appending {
    pub(super) fn new(tail: Tail, path: StorePath) -> Self {
        Self { tail: Some(tail), path }
    }

    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Tail) -> io::Result<T> + Send + 'static,
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
impl Append for Appending {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        self.blocking(|tail| tail.write(pieces)).await
    }

    async fn sync(&mut self) -> Result<u64, StoreError> {
        self.blocking(Tail::sync).await
    }
}
