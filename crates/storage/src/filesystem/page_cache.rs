//! Opens and reads files from the kernel's page cache without switching to a blocking thread.
//!
//! Most requests are for data that was read shortly before: links, manifests, the layers of popular images. Switching
//! to another thread costs ten times as much as finding and copying such data. A cache in this process was rejected: it
//! would have to notice every change, including changes that other processes make to the tree, and would hold a second
//! copy of what the kernel already holds.
//!
//! Invariant: no function in this module waits for a local disk. If an operation would have to wait, it returns `None`;
//! the same applies if an old kernel, a system call filter or the file system does not support the operation. The
//! caller then uses a blocking thread, which always works. Nothing here protects from a file system that asks a server
//! or a process, so callers use this module only where the type of the root's file system allows it ([`fs_type`]), and
//! paths that lead to another mount are refused.
//!
//! An operation that never waits would never yield (a walk over a hundred thousand tags would occupy its thread), so
//! each operation counts against the budget of its task.
//!
//! [`fs_type`]: super::fs_type

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

/// Opens the file at `path` below `root` if every name on the way is cached (Linux 5.12) and on the mount of `root`.
/// The absence of a name may be cached as well.
pub(super) async fn open(root: &Path, path: &str) -> Option<io::Result<File>> {
    consume_budget().await;
    // Without NONBLOCK, opening a named pipe would wait for its writer.
    let how = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat2(open_root(root)?, path, how, Mode::empty(), BELOW_ROOT) {
        Ok(file) => Some(Ok(file.into())),
        Err(Errno::NOENT) => Some(Err(Errno::NOENT.into())),
        Err(_) => None,
    }
}

/// Opens a handle on the folder at `path` below `root`, as [`open`] does; its inode is cached with it.
pub(super) async fn open_dir(root: &Path, path: &str) -> Option<OwnedFd> {
    consume_budget().await;
    let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(open_root(root)?, path, how, Mode::empty(), BELOW_ROOT).ok()
}

/// How paths below the root are resolved. A repository may be a link to a network file system, or a mount of one.
const BELOW_ROOT: ResolveFlags = ResolveFlags::CACHED.union(ResolveFlags::NO_XDEV);

/// Opens a handle on the root, which does not open the folder itself. It is opened anew each time: an administrator may
/// mount another disk there.
fn open_root(root: &Path) -> Option<OwnedFd> {
    let how = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, root, how, Mode::empty(), ResolveFlags::CACHED).ok()
}

/// Reads up to `length` bytes of `file` from offset `at`, as far as they are cached. Returns `None` for an empty read
/// instead of reporting the end of the file: some kernels return 0 where they mean "not yet" (`readv(2)`, bugs).
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
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[tokio::test]
    async fn what_was_written_a_moment_ago_is_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "some bytes").unwrap();
        let file = open(folder.path(), "file").await.expect("this kernel and file system support it").unwrap();
        assert_eq!(read(&file, 5, 100).await.unwrap(), "bytes");
        assert_eq!(read(&file, 5, 3).await.unwrap(), "byt");
        assert!(read(&file, 10, 100).await.is_none());
    }

    #[tokio::test]
    async fn a_folder_is_one_and_a_file_is_none() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(open_dir(root.path(), ".").await.is_some(), "this kernel and file system support it");
        assert!(open_dir(root.path(), "file").await.is_none());
    }

    #[tokio::test]
    async fn what_was_removed_a_moment_ago_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        open(folder.path(), "file").await.unwrap().unwrap();
        fs::remove_file(folder.path().join("file")).unwrap();
        // The kernel may or may not have the absence of the name in its cache.
        let opened = open(folder.path(), "file").await;
        assert!(opened.is_none_or(|missing| missing.unwrap_err().kind() == io::ErrorKind::NotFound));
    }

    #[tokio::test]
    async fn a_pipe_without_a_writer_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        rustix::fs::mkfifoat(CWD, folder.path().join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        let opened = open(folder.path(), "pipe").await;
        assert!(opened.is_none_or(|opened| !opened.unwrap().metadata().unwrap().is_file()));
    }

    #[tokio::test]
    async fn a_link_to_another_file_system_is_not_followed_in_place() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        fs::write(other.path().join("file"), "bytes").unwrap();
        fs::create_dir(root.path().join("own")).unwrap();
        fs::write(root.path().join("own/file"), "bytes").unwrap();
        symlink(other.path(), root.path().join("away")).unwrap();
        symlink("own", root.path().join("near")).unwrap();
        assert!(open(root.path(), "near/file").await.expect("it is on the same mount").is_ok());
        assert!(open(root.path(), "away/file").await.is_none());
        assert!(open_dir(root.path(), "away").await.is_none());
    }
}
