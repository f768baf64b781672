//! Bytes that survive: the store contract and its implementations.
//!
//! First floor: imports nothing of ours and knows nothing of registries. The one invariant: what a [`Store`] has
//! acknowledged is there after a crash, whole; what it has not is there whole or not at all.
//!
//! `contract` is one suite of tests that runs over every implementation.

mod config;
#[cfg(test)]
mod contract;
mod draft;
mod error;
mod filesystem;
#[cfg(test)]
mod intercepted;
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

pub use config::Config;
pub use draft::Draft;
pub(crate) use error::found;
pub use error::{StoreError, StoreErrorKind};
pub use filesystem::{Claim, FilesystemStore, Separate, TEMPORARY, claim, dangling_link, separate_folders};
#[cfg(test)]
pub(crate) use intercepted::{FaultyStore, Hook, InterceptedStore, Operation, Pause, Pauses};
pub use memory::MemoryStore;
pub use path::{InvalidPath, StorePath};

/// A place for objects: named sequences of bytes in folders that come and go with what is in them.
///
/// # What is atomic
///
/// [`write`](Store::write) and [`publish`](Store::publish) replace what was there in one step: a reader sees the old
/// object or the new one, never a part. [`append`](Store::append) is not atomic: it is for objects that nobody reads until
/// they are published.
///
/// # What is durable
///
/// When `write`, `publish`, `remove`, `remove_tree` or [`Append::sync`] return, their effect outlives the process and
/// the power. Folders on the way are as durable as what lies in them. The name of an object that an append made is
/// durable once something else in its folder was written, or the object was published.
///
/// # What may happen at once
///
/// Everything, but for appending to one object from two places; whoever appends makes sure of that. An object that was
/// opened can be read to its end although it is removed or replaced meanwhile.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Size and age of an object.
    async fn stat(&self, path: &StorePath) -> Result<Stat, StoreError>;

    /// Opens an object for reading.
    async fn open(&self, path: &StorePath) -> Result<Object, StoreError>;

    /// Makes or replaces an object. For small ones: links, states, records.
    async fn write(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError>;

    /// Makes or replaces an object in one step, as [`write`](Store::write) does, for what nothing has been promised of
    /// yet: a power cut may take it back, or leave it empty.
    async fn write_unsynced(&self, path: &StorePath, content: Bytes) -> Result<(), StoreError>;

    /// Opens an object for appending at `offset`, and makes it if `offset` is 0 and it is not there. What lies behind
    /// `offset` is cut off; an object shorter than `offset` is an error ([`StoreErrorKind::Corrupt`]).
    async fn append(&self, path: &StorePath, offset: u64) -> Result<Box<dyn Append>, StoreError>;

    /// Moves an object to the place where it is to be seen, replacing what is there.
    async fn publish(&self, from: &StorePath, to: &StorePath) -> Result<(), StoreError>;

    /// Makes an object as young as if it had just been written. Unlike everything else this need not be durable: after a
    /// power cut an object may be older than it was made, never younger.
    async fn touch(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Removes an object.
    async fn remove(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Removes a folder and everything below it; nothing there is no error.
    async fn remove_tree(&self, path: &StorePath) -> Result<(), StoreError>;

    /// Removes a folder and everything below it, for what is of no use any more: a power cut may bring some of it back.
    async fn discard_tree(&self, path: &StorePath) -> Result<(), StoreError>;

    /// What lies directly in a folder, in byte order. A folder that is not there is empty: object stores know no folders.
    async fn list(&self, path: &StorePath) -> Result<Vec<Entry>, StoreError>;

    /// The versions of folders, one for each, in their order. For whoever keeps what a list said and wants to know whether it
    /// still holds: equal versions mean that no entry directly in the folder came or went between the two looks. A store
    /// that cannot tell, or not yet, says `None`, which equals nothing.
    async fn versions(&self, folders: Arc<[StorePath]>) -> Result<Vec<Option<Version>>, StoreError>;

    /// Whether the store can be used: read, written, and objects moved into each of these folders
    /// ([`StoreErrorKind::Split`]). For readiness checks.
    async fn probe(&self, moved_into: &[StorePath]) -> Result<(), StoreError>;
}

/// An object being appended to.
#[async_trait]
pub trait Append: Send {
    /// Adds these pieces at the end, in order.
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError>;

    /// Makes what was written durable and says how long the object is now. An append that is dropped without this may
    /// leave any part of what was written.
    async fn sync(&mut self) -> Result<u64, StoreError>;
}

/// Size and age of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// In bytes.
    pub size: u64,
    /// When it was last written or touched.
    pub modified: SystemTime,
}

impl Stat {
    /// How old it is at `now`; nothing, if its clock is ahead of ours.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.modified).unwrap_or_default()
    }
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name within the folder.
    pub name: String,
    /// Whether it is a folder itself. What is neither a folder nor an object is a link to nothing, such as to a disk that is
    /// not mounted.
    pub is_folder: bool,
}

/// A state of a folder; means something only beside another one of the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    device: (u32, u32),
    inode: u64,
    /// Seconds and nanoseconds.
    changed: (i64, u32),
}

/// The bytes of an object, in pieces of up to [`CHUNK`] bytes.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// How many bytes a store hands out at a time: large enough that the cost of a piece (a trip to a blocking thread, a TLS
/// write) is spread over many records, small enough that a thousand slow readers fit into memory.
pub const CHUNK: usize = 256 << 10;

/// An open object.
pub struct Object {
    stat: Stat,
    read: Box<dyn FnOnce(Range<u64>) -> ByteStream + Send>,
}

impl Object {
    fn new(stat: Stat, read: impl FnOnce(Range<u64>) -> ByteStream + Send + 'static) -> Self {
        Self { stat, read: Box::new(read) }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.stat.size
    }

    /// Its bytes within `range`, which lies within its size.
    #[must_use]
    pub fn stream(self, range: Range<u64>) -> ByteStream {
        (self.read)(range)
    }

    /// All of it in one piece, if it has at most `limit` bytes; else [`StoreErrorKind::TooLarge`].
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
