//! Defines an object that is open for reading.

use std::{
    fmt,
    ops::Range,
    pin::Pin,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};

use super::StoreError;

/// Size and modification time of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Length of the object in bytes.
    pub size: u64,
    /// Time of the last write or [`touch`](super::Objects::touch).
    pub modified: SystemTime,
}

impl Stat {
    /// Returns the age of the object at `now`; zero if its modification time is after `now`.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.modified).unwrap_or_default()
    }
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
    /// ([`StoreErrorKind::TooLarge`](super::StoreErrorKind::TooLarge)).
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
