//! Implements [`Store`](super::Store) in a folder of the local file system.
//!
//! Invariant: an object appears at its path by one `rename` of a file that was synced before, and the folder is synced
//! after it, so a crash at any moment leaves the old object or the new one. Each such step costs two syncs on file
//! systems that keep the order of directory changes (`fs_type`); on others, each folder that was created or left costs
//! one more. Temporary files are in one separate folder (`portcullis/tmp`) and not beside their targets: leftovers of a
//! crash can be found without a walk, and other readers of the tree do not see them.
//!
//! All system calls that may wait for a disk run on tokio's blocking threads. Data in the kernel's page cache is read
//! without a thread switch (`page_cache`), except on network and FUSE file systems.

mod aligned_buffer;
mod append;
mod cross_device;
mod data_dir_lock;
mod dir_versions;
mod dirs;
mod fs_type;
mod page_cache;
mod read;
mod records;
mod replace_locks;
mod uploads;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;
use portcullis_clock::Clock;
use uuid::Uuid;

use super::{
    DirVersion, DirectIo, LeafEntry, Object, Objects, Stat, StoreEntry, StoreError, StoreErrorKind, StorePath,
};
pub use cross_device::{CrossDeviceDir, cross_device_dirs, dangling_link};
pub use data_dir_lock::{DataDirLock, lock_data_dir};
use dirs::DirCreator;
pub use dirs::TEMP_DIR;
use fs_type::{FsType, MetadataOrder, ReadMode};
use read::OpenedFile;
use replace_locks::ReplaceLocks;

/// Minimum age of a temporary file that is removed as a leftover. Writing one takes moments, and another process (a
/// command beside a running server) may be writing one when the store is opened.
const STALE_TEMP_FILE_AGE: Duration = Duration::from_secs(60 * 60);

/// A store in a folder of the local file system.
#[derive(Clone, Debug)]
pub struct FilesystemStore {
    disk: Arc<StoreDir>,
    direct_io: DirectIo,
}

#[derive(Debug)]
struct StoreDir {
    root: PathBuf,
    clock: Clock,
    /// The type of the file system that contains the root.
    fs_type: FsType,
    dirs: DirCreator,
    replacing: ReplaceLocks,
}

impl FilesystemStore {
    /// Opens the store in `root`, creates the folder if it is missing, and removes temporary files that a crash left
    /// behind.
    pub fn open(root: impl Into<PathBuf>, clock: Clock) -> Result<Self, StoreError> {
        let root = root.into();
        let clear = || -> io::Result<FsType> {
            if let Some(link) = dangling_link(&root) {
                return Err(io::Error::other(link));
            }
            // An absolute path gives every folder on it a parent that can be synced.
            let temporary = std::path::absolute(&root)?.join(TEMP_DIR);
            DirCreator::new(MetadataOrder::Unknown).create_all(&temporary)?;
            for entry in fs::read_dir(&temporary)? {
                clear_leftover(&entry?, clock.now())?;
            }
            Ok(FsType::detect(&root))
        };
        let fs_type = clear().map_err(|error| StoreError::from_io(error, format!("prepare {}", root.display())))?;
        match fs_type.read_mode() {
            ReadMode::InPlace => {}
            ReadMode::BlockingThread => tracing::info!(
                folder = %root.display(),
                file_system = %fs_type,
                "the data folder is not on a known local file system; cached files are not read in place"
            ),
        }
        Ok(Self::new(root, fs_type, clock))
    }

    /// Opens the store in `root`, which must exist, without creating or removing anything.
    pub fn open_existing(root: impl Into<PathBuf>, clock: Clock) -> Result<Self, StoreError> {
        let root = root.into();
        if let Some(link) = dangling_link(&root) {
            return Err(StoreError::new(StoreErrorKind::Unavailable, link));
        }
        let is_folder = fs::metadata(&root)
            .and_then(|found| if found.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) });
        is_folder.map_err(|error| StoreError::from_io(error, root.display().to_string()))?;
        let fs_type = FsType::detect(&root);
        Ok(Self::new(root, fs_type, clock))
    }

    fn new(root: PathBuf, fs_type: FsType, clock: Clock) -> Self {
        let dirs = DirCreator::new(fs_type.metadata_order());
        Self {
            disk: Arc::new(StoreDir { root, clock, fs_type, dirs, replacing: ReplaceLocks::default() }),
            direct_io: DirectIo::default(),
        }
    }

    /// Sets whether large objects are written with direct I/O; by default, they are where it is supported.
    #[must_use]
    pub fn with_direct_io(self, direct_io: DirectIo) -> Self {
        Self { direct_io, ..self }
    }

    /// Opens an object, without a blocking thread if that does not wait for the disk; `verb` names the operation in an
    /// error.
    async fn open_file(&self, verb: &'static str, path: &StorePath) -> Result<OpenedFile, StoreError> {
        let mode = self.disk.fs_type.read_mode();
        if mode == ReadMode::InPlace
            && let Some(opened) = read::open_cached(&self.disk.root, path).await
        {
            return opened.map_err(|error| StoreError::from_io(error, format!("{verb} {path}")));
        }
        self.run_blocking(verb, path, move |_, place| read::open(place, mode)).await
    }

    /// Runs `work` on a blocking thread; `verb` and `path` name the operation in an error.
    async fn run_blocking<T: Send + 'static>(
        &self,
        verb: &'static str,
        path: &StorePath,
        work: impl FnOnce(&StoreDir, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let disk = self.disk.clone();
        let place = disk.absolute_path(path);
        let done = tokio::task::spawn_blocking(move || work(&disk, &place)).await;
        let flat = done.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        flat.map_err(|error| StoreError::from_io(error, format!("{verb} {path}")))
    }
}

/// Removes a temporary file that no process is writing any more. If the file vanishes meanwhile, another process has
/// published it.
fn clear_leftover(entry: &fs::DirEntry, now: SystemTime) -> io::Result<()> {
    let clear = || {
        let modified = entry.metadata()?.modified()?;
        let is_old = now.duration_since(modified).is_ok_and(|age| age > STALE_TEMP_FILE_AGE);
        if is_old { fs::remove_file(entry.path()) } else { Ok(()) }
    };
    clear().or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

impl StoreDir {
    fn absolute_path(&self, path: &StorePath) -> PathBuf {
        self.root.join(path.as_str())
    }

    /// Creates a new temporary file and returns its path.
    fn create_temp_file(&self) -> io::Result<(PathBuf, File)> {
        let folder = self.root.join(TEMP_DIR);
        let place = folder.join(Uuid::new_v4().to_string());
        let file = match File::create_new(&place) {
            // The folder is missing if the store was opened with `existing`, or if an administrator removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.dirs.create_all(&folder)?;
                File::create_new(&place)?
            }
            made => made?,
        };
        Ok((place, file))
    }

    fn touch(&self, place: &Path) -> io::Result<()> {
        let file = File::open(place)?;
        read::file_stat(&file.metadata()?)?;
        file.set_modified(self.clock.now())
    }

    /// Moves a synced file to its target and makes the move durable.
    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        let folder = dirs::parent_dir(to);
        self.dirs.run_in_dir(folder, || fs::rename(from, to), || from.exists())?;
        self.sync(folder)
    }

    /// Removes `folder` and its parents as far as they are empty, after an entry was removed, and makes the removal
    /// durable.
    fn prune_and_sync(&self, folder: &Path) -> io::Result<()> {
        self.sync(dirs::remove_empty_dirs(folder, &self.root))
    }

    /// Removes `folder` and its parents as far as they are empty, after a file was moved from it to another folder that
    /// was synced.
    fn prune_after_move(&self, folder: &Path) -> io::Result<()> {
        let stays = dirs::remove_empty_dirs(folder, &self.root);
        match self.fs_type.metadata_order() {
            // A move is one change: if the new name is durable, the old one is gone.
            MetadataOrder::Preserved => Ok(()),
            MetadataOrder::Unknown => self.sync(stays),
        }
    }

    /// Makes the entries of `folder` durable. If another task has removed the empty folder meanwhile, syncs the nearest
    /// existing parent, which records the removal.
    fn sync(&self, folder: &Path) -> io::Result<()> {
        let mut stays = folder;
        loop {
            match dirs::sync_dir(stays) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && stays != self.root => {
                    stays = dirs::parent_dir(stays);
                }
                done => return done,
            }
        }
    }

    fn write(&self, to: &Path, content: &[u8]) -> io::Result<()> {
        self.write_with(content, |file, temporary| {
            file.sync_data()?;
            self.publish(temporary, to)
        })
    }

    fn write_unsynced(&self, to: &Path, content: &[u8]) -> io::Result<()> {
        let rename = |temporary: &Path| {
            self.dirs.run_in_dir(dirs::parent_dir(to), || fs::rename(temporary, to), || temporary.exists())
        };
        self.write_with(content, |_, temporary| rename(temporary))
    }

    /// Writes a temporary file, which `publish` moves to its target.
    fn write_with(&self, content: &[u8], publish: impl FnOnce(&File, &Path) -> io::Result<()>) -> io::Result<()> {
        let (temporary, mut file) = self.create_temp_file()?;
        let written = file.write_all(content).and_then(|()| publish(&file, &temporary));
        if written.is_err() {
            // The first error is returned; a file that cannot be removed now is removed when the store is next opened.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

#[async_trait]
impl Objects for FilesystemStore {
    async fn stat(&self, path: &StorePath) -> Result<Stat, StoreError> {
        Ok(self.open_file("stat", path).await?.stat)
    }

    async fn open(&self, path: &StorePath) -> Result<Object, StoreError> {
        let opened = self.open_file("open", path).await?;
        let path = path.clone();
        Ok(Object::new(opened.stat, move |range| read::stream(opened, range, path)))
    }

    async fn write(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.run_blocking("write", path, move |disk, place| disk.write(place, &content)).await
    }

    async fn write_for_others(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError> {
        self.run_blocking("write", path, move |disk, place| disk.write_unsynced(place, &content)).await
    }

    async fn rename(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError> {
        let source = self.disk.absolute_path(from);
        self.run_blocking("move to", to, move |disk, place| {
            disk.touch(&source)?;
            disk.publish(&source, place)?;
            disk.prune_after_move(dirs::parent_dir(&source))
        })
        .await
    }

    async fn touch(&self, path: &StorePath) -> Result<(), StoreError> {
        self.run_blocking("touch", path, StoreDir::touch).await
    }

    async fn remove(&self, path: &StorePath) -> Result<(), StoreError> {
        self.run_blocking("remove", path, |disk, place| {
            fs::remove_file(place)?;
            disk.prune_and_sync(dirs::parent_dir(place))
        })
        .await
    }

    async fn remove_tree(&self, path: &StorePath) -> Result<(), StoreError> {
        self.run_blocking("remove", path, |disk, place| match fs::remove_dir_all(place) {
            Ok(()) => disk.prune_and_sync(dirs::parent_dir(place)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    async fn list(&self, path: &StorePath) -> Result<Vec<StoreEntry>, StoreError> {
        self.run_blocking("list", path, |_, place| dirs::list_dir(place)).await
    }

    async fn list_leaves(&self, path: &StorePath, leaf: &StorePath) -> Result<Vec<LeafEntry>, StoreError> {
        let leaf = leaf.clone();
        self.run_blocking("list", path, move |_, place| dirs::list_leaves(place, &leaf)).await
    }

    async fn versions(&self, paths: Arc<[StorePath]>) -> Result<Vec<Option<DirVersion>>, StoreError> {
        if let [path] = &*paths
            && self.disk.fs_type.read_mode() == ReadMode::InPlace
            && let Some(version) = dir_versions::read_cached_version(&self.disk.root, path, self.disk.clock.now()).await
        {
            return Ok(vec![Some(version)]);
        }
        // A registry has thousands of folders: many share one blocking thread, and very many are divided among several
        // threads.
        let top = StorePath::root();
        let looks = dir_versions::split_among_threads(paths.len()).map(|share| {
            let paths = paths.clone();
            self.run_blocking("look at", &top, move |disk, root| {
                Ok(dir_versions::read_versions(root, &paths[share], disk.clock.now()))
            })
        });
        Ok(try_join_all(looks).await?.concat())
    }

    async fn probe(&self, moved_into: &[StorePath]) -> Result<(), StoreError> {
        let folders = moved_into.to_vec();
        let top = StorePath::root();
        let looked = self.run_blocking("probe", &top, move |disk, _| Ok(cross_device_dirs(&disk.root, &folders)));
        if let Some(separate) = looked.await?.into_iter().next() {
            return Err(StoreError::new(StoreErrorKind::CrossDevice, separate.to_string()));
        }
        self.run_blocking("probe", &top, |disk, _| {
            let (place, mut file) = disk.create_temp_file()?;
            let written = file.write_all(b"probe").and_then(|()| file.sync_data());
            fs::remove_file(place)?;
            written
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_crash_left_half_written_is_cleared_at_start() {
        let root = tempfile::tempdir().unwrap();
        let store = FilesystemStore::open(root.path(), Clock::system()).unwrap();
        store.write(&"a/b".parse().unwrap(), Bytes::from_static(b"kept")).await.unwrap();
        let temporary = root.path().join(TEMP_DIR);
        fs::write(temporary.join("being-written"), "writ").unwrap();
        let old = File::create(temporary.join("half")).unwrap();
        old.set_modified(SystemTime::now() - 2 * STALE_TEMP_FILE_AGE).unwrap();
        let store = FilesystemStore::open(root.path(), Clock::system()).unwrap();
        let left: Vec<_> = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["being-written"]);
        assert_eq!(store.stat(&"a/b".parse().unwrap()).await.unwrap().size, 4);
    }

    #[test]
    fn a_file_in_the_place_of_an_upper_folder_is_an_error_and_no_reason_to_try_again_at_each_level() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let deep = root.path().join("file/a/b/c/d/e/f/g/h");
        assert!(DirCreator::new(MetadataOrder::Unknown).create_all(&deep).is_err());
    }

    #[tokio::test]
    async fn a_store_on_a_network_file_system_opens_nothing_in_place_and_reads_the_same() {
        let root = tempfile::tempdir().unwrap();
        let path: StorePath = "a/b".parse().unwrap();
        for (fs_type, mode) in [(0x6969, ReadMode::BlockingThread), (0xEF53, ReadMode::InPlace)] {
            let store = FilesystemStore::new(root.path().to_owned(), FsType(Some(fs_type)), Clock::system());
            store.write(&path, Bytes::from_static(b"bytes")).await.unwrap();
            assert_eq!(store.open_file("open", &path).await.unwrap().mode, mode);
            assert_eq!(store.open(&path).await.unwrap().read(10).await.unwrap(), "bytes");
            assert_eq!(store.versions([path.parent().unwrap()].into()).await.unwrap().len(), 1);
        }
    }

    #[test]
    fn a_folder_that_somebody_took_away_is_recorded_above_it() {
        let root = tempfile::tempdir().unwrap();
        let store = FilesystemStore::open(root.path(), Clock::system()).unwrap();
        store.disk.sync(&root.path().join("emptied/meanwhile")).unwrap();
    }

    #[tokio::test]
    async fn a_folder_below_a_link_to_nothing_is_an_error_that_names_it_and_is_not_tried_again_and_again() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/nowhere", root.path().join("team")).unwrap();
        let store = FilesystemStore::open(root.path(), Clock::system()).unwrap();
        let deep = "team/a/b/c/d/e/f/g/link".parse().unwrap();
        let error = store.write(&deep, Bytes::new()).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("team is a dangling symbolic link"), "{cause}");
    }

    #[tokio::test]
    async fn a_root_that_is_new_lies_in_folders_that_are_made_one_by_one() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("new/and/deep");
        let store = FilesystemStore::open(&root, Clock::system()).unwrap();
        store.write(&"a".parse().unwrap(), Bytes::from_static(b"bytes")).await.unwrap();
        assert!(root.join("a").is_file() && root.join(TEMP_DIR).is_dir());
    }

    #[test]
    fn a_temporary_file_that_another_process_moves_into_place_does_not_stop_the_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("link"), "").unwrap();
        let entry = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
        fs::remove_file(entry.path()).unwrap();
        clear_leftover(&entry, SystemTime::now()).unwrap();
    }

    #[test]
    fn a_root_that_cannot_be_made_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = FilesystemStore::open(file.path().join("below"), Clock::system()).unwrap_err();
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}
