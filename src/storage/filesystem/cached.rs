//! Reading, without a trip to a blocking thread, what the kernel has in memory.
//!
//! Most of what is asked for was asked for a moment ago: links, manifests, the layers of the image that everybody pulls. A
//! trip to another thread costs ten times as much as finding and copying these. A cache of our own was rejected: it would
//! have to learn of every change, also of those that others make to the tree, and hold twice what the kernel holds already.
//!
//! Invariant: nothing here waits for a disk of this machine. What would have to is `None`, and so is everything that an old kernel, a system
//! call filter or a file system does not support; then the caller goes the other way, which always works. And what never waits
//! would never let others have a turn (a walk over a hundred thousand tags would hold its thread), so each of these counts
//! against the budget of its task.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    path::Path,
};

use bytes::Bytes;
use rustix::{
    fd::OwnedFd,
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::{Errno, ReadWriteFlags, preadv2},
};
use tokio::task::consume_budget;

/// Opens a file if every name on the way to it is in memory (Linux 5.12); that there is none may be in memory as well.
pub(super) async fn open(place: &Path) -> Option<io::Result<File>> {
    consume_budget().await;
    // Without NONBLOCK, the open of a pipe that somebody put there would wait for its writer.
    let how = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat2(CWD, place, how, Mode::empty(), ResolveFlags::CACHED) {
        Ok(file) => Some(Ok(file.into())),
        Err(Errno::NOENT) => Some(Err(Errno::NOENT.into())),
        Err(_) => None,
    }
}

/// A handle on a folder, if every name on the way to it is in memory; what it is known by is in memory with it.
pub(super) async fn folder(place: &Path) -> Option<OwnedFd> {
    consume_budget().await;
    let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, place, how, Mode::empty(), ResolveFlags::CACHED).ok()
}

/// Up to `length` bytes of `file` from `at` on, as far as they are in memory. Where the file ends is not for this to say: some
/// kernels answer nothing where they mean "not yet" (`readv(2)`, bugs).
pub(super) async fn read(file: &File, at: u64, length: usize) -> Option<Bytes> {
    consume_budget().await;
    let mut buffer = vec![0; length];
    let read = preadv2(file, &mut [IoSliceMut::new(&mut buffer)], at, ReadWriteFlags::NOWAIT).ok()?;
    if read == 0 {
        return None;
    }
    buffer.truncate(read);
    Some(buffer.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn what_was_written_a_moment_ago_is_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("file");
        fs::write(&place, "some bytes").unwrap();
        let file = open(&place).await.expect("this kernel and file system support it").unwrap();
        assert_eq!(read(&file, 5, 100).await.unwrap(), "bytes");
        assert_eq!(read(&file, 5, 3).await.unwrap(), "byt");
        assert!(read(&file, 10, 100).await.is_none());
    }

    #[tokio::test]
    async fn a_folder_is_one_and_a_file_is_none() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(folder(root.path()).await.is_some(), "this kernel and file system support it");
        assert!(folder(&root.path().join("file")).await.is_none());
    }

    #[tokio::test]
    async fn what_was_removed_a_moment_ago_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("file");
        fs::write(&place, "").unwrap();
        open(&place).await.unwrap().unwrap();
        fs::remove_file(&place).unwrap();
        // Whether the kernel knows without looking is its business.
        assert!(open(&place).await.is_none_or(|missing| missing.unwrap_err().kind() == io::ErrorKind::NotFound));
    }

    #[tokio::test]
    async fn a_pipe_without_a_writer_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("pipe");
        rustix::fs::mkfifoat(CWD, &place, Mode::RUSR | Mode::WUSR).unwrap();
        assert!(open(&place).await.is_none_or(|opened| !opened.unwrap().metadata().unwrap().is_file()));
    }
}
