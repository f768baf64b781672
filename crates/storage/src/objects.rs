//! Defines what records and uploads have in common: objects in folders, which are written and read whole.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Object, Stat, StoreError, StorePath};

/// Objects: byte sequences with a path each. A folder exists as long as it contains something.
///
/// # Atomicity
///
/// [`write`](Objects::write) and [`rename`](Objects::rename) replace the previous object in one step: a reader sees the
/// old object or the new one, never a part.
///
/// # Durability
///
/// When `write`, `rename`, `remove` or `remove_tree` return, their effect survives a crash of the process and a power
/// failure. The folders on the path are as durable as the objects in them.
///
/// # Concurrency
///
/// All operations may run concurrently. An object that has been opened can be read to its end even if it is removed or
/// replaced meanwhile.
#[async_trait]
pub trait Objects: fmt::Debug + Send + Sync + 'static {
    /// Returns the size and the modification time of an object.
    async fn stat(&self, path: &StorePath) -> Result<Stat, StoreError>;

    /// Opens an object for reading.
    async fn open(&self, path: &StorePath) -> Result<Object, StoreError>;

    /// Creates or replaces an object that fits into memory: a link, a record, the bytes of a manifest.
    async fn write(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError>;

    /// Creates or replaces an object in one step, without syncing: a power failure may revert it, or leave it empty.
    /// For files that only other programs on the same folder read. A store to which each write is a request leaves them
    /// out.
    async fn write_for_others(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError>;

    /// Moves an object to another path and replaces the object there. The modification time of the object is the time
    /// of this call.
    async fn rename(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError>;

    /// Sets the modification time of an object to now. Unlike the other operations, this need not be durable: after a
    /// power failure, the modification time may be earlier than it was set, never later. A store whose objects have
    /// fixed times writes an object of up to [`MAX_TOUCHED_LEN`] bytes again, and may leave the time of a larger one.
    async fn touch(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Removes an object.
    async fn remove(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Removes a folder and everything below it. A missing folder is no error.
    async fn remove_tree(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Lists the direct entries of a folder in byte order. A missing folder is empty, because object stores have no
    /// folders.
    async fn list(&self, path: &StorePath) -> Result<Vec<StoreEntry>, StoreError>;

    /// Lists the direct entries of a folder as [`list`](Objects::list) does, each with the stat of the object at the
    /// relative path `leaf` below it. `leaf` is one component or several.
    async fn list_leaves(&self, path: &StorePath, leaf: &StorePath) -> Result<Vec<LeafEntry>, StoreError>;

    /// Returns the version of each folder, in the order of `folders`, so that a caller can check whether a cached
    /// listing is still valid: equal versions mean that no direct entry of the folder was added or removed between the
    /// two calls. A store that cannot determine a version, or cannot determine it yet, returns `None`, which a caller
    /// must not treat as equal.
    async fn versions(&self, folders: Arc<[StorePath]>) -> Result<Vec<Option<DirVersion>>, StoreError>;

    /// Checks that the store can be read and written, and that objects can be moved into each of these folders
    /// ([`StoreErrorKind::CrossDevice`](super::StoreErrorKind::CrossDevice)). For readiness checks.
    async fn probe(&self, moved_into: &[StorePath]) -> Result<(), StoreError>;
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreEntry {
    /// Its name within the folder.
    pub name: String,
    /// Whether the entry is a folder itself. An entry that is neither a folder nor an object is a dangling symbolic
    /// link, for example to a disk that is not mounted.
    pub is_folder: bool,
}

/// An entry of a folder, with the object at a fixed path below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafEntry {
    /// The entry.
    pub entry: StoreEntry,
    /// Size and modification time of the object; `None` if there is none.
    pub leaf: Option<Stat>,
}

/// A version of a folder, comparable only with other versions of the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirVersion {
    pub(crate) device: (u32, u32),
    pub(crate) inode: u64,
    /// Time of the last status change (ctime) in seconds and nanoseconds.
    pub(crate) ctime: (i64, u32),
}

/// The size in bytes up to which [`Objects::touch`] sets the modification time in every store.
pub const MAX_TOUCHED_LEN: u64 = 4 << 10;
