//! What can go wrong in a store, grouped by who can do something about it.

use std::{fmt, io};

/// A failed operation on a store.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    context: String,
    source: Option<io::Error>,
}

/// The groups of failures that callers tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// No such object.
    NotFound,
    /// No space left, or a quota exceeded.
    Full,
    /// The store cannot be written: read-only, or without permission.
    NotWritable,
    /// An object larger than the caller is willing to hold in memory.
    TooLarge,
    /// What is stored is not what must be there.
    Corrupt,
    /// Folders of the store lie on several file systems, so that an object cannot be moved from one to the other.
    Split,
    /// Anything else: a failing disk, a lost connection.
    Unavailable,
}

impl StoreError {
    /// An error of `kind`; `context` says which operation on what.
    pub fn new(kind: StoreErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// An error of the operating system; `context` says which operation on what.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open enum with dozens of kinds; the rest mean the same to us"
    )]
    pub fn from_io(error: io::Error, context: impl Into<String>) -> Self {
        let kind = match error.kind() {
            // A path through something that is no folder: what was asked for is not there either.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StoreErrorKind::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreErrorKind::Full
            }
            io::ErrorKind::InvalidData => StoreErrorKind::Corrupt,
            io::ErrorKind::CrossesDevices => StoreErrorKind::Split,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => StoreErrorKind::NotWritable,
            _ => StoreErrorKind::Unavailable,
        };
        Self { kind, context: context.into(), source: Some(error) }
    }

    /// Which group it belongs to.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether it only says that there is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == StoreErrorKind::NotFound
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            StoreErrorKind::NotFound => "not found",
            StoreErrorKind::Full => "no space left in the store",
            StoreErrorKind::NotWritable => "the store cannot be read or written",
            StoreErrorKind::TooLarge => "too large",
            StoreErrorKind::Corrupt => "damaged",
            StoreErrorKind::Split => "the store lies on several file systems",
            StoreErrorKind::Unavailable => "the store failed",
        };
        write!(f, "{what}: {}", self.context)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// Turns "not found" into `None`.
pub(crate) fn found<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
