//! Defines the [`Store`] trait (an object store with atomic, durable writes), and implements it on a file system and in
//! memory.
//!
//! The trait is independent of registries: it stores objects (byte sequences) under paths.
//!
//! Invariant: an object whose write a [`Store`] has acknowledged is complete after a crash. After an unacknowledged
//! write, the object is complete or absent.
//!
//! `contract` is one test suite that runs against every implementation.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod config;
#[cfg(test)]
mod contract_tests;
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

/// A store of objects: byte sequences with a path each. A folder exists as long as it contains something.
///
/// # Atomicity
///
/// [`write`](Store::write) and [`publish`](Store::publish) replace the previous object in one step: a reader sees the
/// old object or the new one, never a part. [`append`](Store::append) is not atomic: it is for objects that no client
/// reads before they are published.
///
/// # Durability
///
/// When `write`, `publish`, `remove`, `remove_tree` or [`ObjectWriter::sync`] return, their effect survives a crash of
/// the process and a power failure. The folders on the path are as durable as the objects in them. The name of an
/// object that an append created is durable after something else in its folder has been written, or after the object is
/// published.
///
/// # Concurrency
///
/// All operations may run concurrently, except two appends to the same object: the caller must prevent these. An object
/// that has been opened can be read to its end even if it is removed or replaced meanwhile.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns the size and the modification time of an object.
    async fn stat(&self, path: &StorePath) -> Result<Stat, StoreError>;

    /// Opens an object for reading.
    async fn open(&self, path: &StorePath) -> Result<Object, StoreError>;

    /// Creates or replaces an object. For small objects: links, states, records.
    async fn write(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError>;

    /// Creates or replaces an object in one step, as [`write`](Store::write) does, but without syncing: a power failure
    /// may revert it, or leave it empty. For objects whose durability has not been acknowledged to any client.
    async fn write_unsynced(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError>;

    /// Opens an object for appending at `offset`. Creates the object if `offset` is 0 and it does not exist. Bytes
    /// after `offset` are cut off; an object shorter than `offset` is an error ([`StoreErrorKind::Corrupt`]).
    async fn append(&self, path: &StorePath, offset: u64) -> Result<Box<dyn ObjectWriter>, StoreError>;

    /// Moves an object to its public path and replaces the object there.
    async fn publish(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError>;

    /// Sets the modification time of an object to now. Unlike the other operations, this need not be durable: after a
    /// power failure, the modification time may be earlier than it was set, never later.
    async fn touch(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Removes an object.
    async fn remove(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Removes a folder and everything below it. A missing folder is no error.
    async fn remove_tree(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Removes a folder and everything below it without syncing: a power failure may restore some of it. For data that
    /// is no longer used.
    async fn discard_tree(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Lists the direct entries of a folder in byte order. A missing folder is empty, because object stores have no
    /// folders.
    async fn list(&self, path: &StorePath) -> Result<Vec<StoreEntry>, StoreError>;

    /// Returns the version of each folder, in the order of `folders`, so that a caller can check whether a cached
    /// listing is still valid: equal versions mean that no direct entry of the folder was added or removed between the
    /// two calls. A store that cannot determine a version, or cannot determine it yet, returns `None`, which a caller
    /// must not treat as equal.
    async fn versions(&self, folders: Arc<[StorePath]>) -> Result<Vec<Option<DirVersion>>, StoreError>;

    /// Checks that the store can be read and written, and that objects can be moved into each of these folders
    /// ([`StoreErrorKind::CrossDevice`]). For readiness checks.
    async fn probe(&self, moved_into: &[StorePath]) -> Result<(), StoreError>;
}

/// An object opened for appending.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Appends these pieces in order.
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError>;

    /// Makes all appended bytes durable and returns the length of the object in bytes. If an append is dropped without
    /// this call, any part of the appended bytes may remain.
    async fn sync(&mut self) -> Result<u64, StoreError>;
}

/// Size and modification time of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Length of the object in bytes.
    pub size: u64,
    /// Time of the last write or [`touch`](Store::touch).
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
    fn new(stat: Stat, read: impl FnOnce(Range<u64>) -> ByteStream + Send + 'static) -> Self {
        Self { stat, read: Box::new(read) }
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
            return Err(StoreError::new(StoreErrorKind::TooLarge, format!("object of {size} bytes, at most {limit}")));
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
