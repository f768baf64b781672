//! Defines what a [`Store`] is (objects with atomic, durable writes), and implements it on a file system and in memory.
//!
//! The traits are independent of registries: a store holds objects (byte sequences) under paths. [`Objects`] are
//! written and read whole; [`Records`] are small objects that are changed by compare-and-swap, so that several processes
//! may change them; [`Uploads`] are bytes that arrive in pieces, from several requests, until they become an object.
//!
//! Invariant: an object whose write a [`Store`] has acknowledged is complete after a crash. After an unacknowledged
//! write, the object is complete or absent.
//!
//! `contract` is one test suite that runs against every implementation.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod config;
#[cfg(any(test, feature = "testing"))]
#[allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    reason = "a test reports its own failure by a panic"
)]
pub mod contract;
mod error;
#[cfg(any(test, feature = "testing"))]
#[allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    reason = "a fixture reports its own failure by a panic, and only tests see it"
)]
mod fault_injection;
mod filesystem;
mod memory;
mod path;
mod records;
mod uploads;

use std::{
    fmt,
    ops::Range,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};

pub use config::{DirectIo, StoreConfig};
pub use error::optional;
pub use error::{StoreError, StoreErrorKind};
#[cfg(any(test, feature = "testing"))]
pub use fault_injection::{Breakpoint, BreakpointHook, FaultyStore, InterceptedStore, StoreHook, StoreOperation};
pub use filesystem::{
    CrossDeviceDir, DataDirLock, FilesystemStore, TEMP_DIR, cross_device_dirs, dangling_link, lock_data_dir,
};
pub use memory::MemoryStore;
pub use path::{InvalidPath, StorePath};
pub use records::{Durability, Record, RecordVersion, Records};
pub use uploads::{SealedUpload, UploadState, UploadWriter, Uploads};

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

    /// Creates or replaces an object in one step, without syncing: a power failure may revert it, or leave it empty. For
    /// files that only other programs on the same folder read. A store to which each write is a request leaves them out.
    async fn write_for_others(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError>;

    /// Moves an object to another path and replaces the object there. The modification time of the object is the time of
    /// this call.
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
    /// ([`StoreErrorKind::CrossDevice`]). For readiness checks.
    async fn probe(&self, moved_into: &[StorePath]) -> Result<(), StoreError>;
}

/// What a store offers: objects, records and uploads.
pub trait Store: Records + Uploads {}

impl<S: Records + Uploads> Store for S {}

/// Size and modification time of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Length of the object in bytes.
    pub size: u64,
    /// Time of the last write or [`touch`](Objects::touch).
    pub modified: SystemTime,
}

impl Stat {
    /// Returns the age of the object at `now`; zero if its modification time is after `now`.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.modified).unwrap_or_default()
    }
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
    device: (u32, u32),
    inode: u64,
    /// Time of the last status change (ctime) in seconds and nanoseconds.
    ctime: (i64, u32),
}

/// The bytes of an object, in pieces of up to [`READ_CHUNK_LEN`] bytes.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// The size in bytes up to which [`Objects::touch`] sets the modification time in every store.
pub const MAX_TOUCHED_LEN: u64 = 4 << 10;

/// Maximum number of bytes in one piece of a [`ByteStream`]. It is large enough to spread the cost of a piece (a switch
/// to a blocking thread, a TLS write) over many TLS records, and small enough that a thousand slow readers fit into
/// memory.
pub const READ_CHUNK_LEN: usize = 256 << 10;

/// An object opened for reading.
pub struct Object {
    stat: Stat,
    read: Box<dyn FnOnce(Range<u64>) -> ByteStream + Send>,
}

impl Object {
    /// Makes an object of its stat and a function that streams the bytes of a range.
    pub fn new(stat: Stat, read: impl FnOnce(Range<u64>) -> ByteStream + Send + 'static) -> Self {
        Self { stat, read: Box::new(read) }
    }

    /// Returns the size and the modification time of the object.
    #[must_use]
    pub fn stat(&self) -> Stat {
        self.stat
    }

    /// Returns the length of the object in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.stat.size
    }

    /// Streams the bytes within `range`, which must be within the object's size.
    #[must_use]
    pub fn stream(self, range: Range<u64>) -> ByteStream {
        (self.read)(range)
    }

    /// Reads the whole object into one buffer. An object larger than `limit` bytes is an error
    /// ([`StoreErrorKind::TooLarge`]).
    pub async fn read(self, limit: u64) -> Result<Bytes, StoreError> {
        let size = self.stat.size;
        if size > limit {
            return Err(StoreError::too_large(size, limit));
        }
        let pieces: Vec<Bytes> = self.stream(0..size).try_collect().await?;
        Ok(match <[Bytes; 1]>::try_from(pieces) {
            Ok([whole]) => whole,
            Err(pieces) => pieces.concat().into(),
        })
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("stat", &self.stat).finish_non_exhaustive()
    }
}
