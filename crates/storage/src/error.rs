//! Classifies store errors by the reaction that they require from callers and operators.

use std::{fmt, io};

/// An error of a store operation.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    context: String,
    source: Option<io::Error>,
}

/// Categories of store errors that callers distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The object does not exist.
    NotFound,
    /// The file system is full, or a quota is exceeded.
    NoSpace,
    /// The store cannot be written: it is read-only, or a permission is missing.
    NotWritable,
    /// A record exists already, or was changed since it was read.
    Conflict,
    /// The object is larger than the limit that the caller set for reading it into memory.
    TooLarge,
    /// The stored data is damaged or shorter than expected.
    Corrupt,
    /// Folders of the store are on different file systems, so that an object cannot be moved between them.
    CrossDevice,
    /// Any other error, such as a failing disk or a lost connection.
    Unavailable,
}

impl StoreErrorKind {
    /// Whether the error means that the stored bytes are wrong; after any other error they may be right, and readable
    /// later.
    #[must_use]
    pub fn is_corruption(self) -> bool {
        match self {
            Self::Corrupt | Self::TooLarge => true,
            Self::NotFound
            | Self::NoSpace
            | Self::NotWritable
            | Self::Conflict
            | Self::CrossDevice
            | Self::Unavailable => false,
        }
    }
}

impl StoreError {
    /// Creates an error of `kind`; `context` names the operation and the object.
    pub fn new(kind: StoreErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    /// Creates an error of `kind` with its cause; `context` names the operation and the object.
    pub fn with_source(kind: StoreErrorKind, context: impl Into<String>, source: io::Error) -> Self {
        Self { kind, context: context.into(), source: Some(source) }
    }

    /// Converts an error of the operating system; `context` names the operation and the object.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open enum with dozens of kinds; the others are handled alike"
    )]
    pub fn from_io(error: io::Error, context: impl Into<String>) -> Self {
        let kind = match error.kind() {
            // A parent of the path is not a folder, so the object cannot exist.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StoreErrorKind::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreErrorKind::NoSpace
            }
            io::ErrorKind::AlreadyExists => StoreErrorKind::Conflict,
            io::ErrorKind::InvalidData => StoreErrorKind::Corrupt,
            io::ErrorKind::CrossesDevices => StoreErrorKind::CrossDevice,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => StoreErrorKind::NotWritable,
            _ => StoreErrorKind::Unavailable,
        };
        Self { kind, context: context.into(), source: Some(error) }
    }

    /// The error for an object of `size` bytes, of which a caller reads at most `limit` into memory.
    #[must_use]
    pub fn too_large(size: u64, limit: u64) -> Self {
        Self::new(StoreErrorKind::TooLarge, format!("object of {size} bytes, at most {limit}"))
    }

    /// Returns the category of the error.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the error means that the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind == StoreErrorKind::NotFound
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            StoreErrorKind::NotFound => "not found",
            StoreErrorKind::NoSpace => "no space left in the store",
            StoreErrorKind::NotWritable => "the store cannot be read or written",
            StoreErrorKind::Conflict => "changed by another process",
            StoreErrorKind::TooLarge => "too large",
            StoreErrorKind::Corrupt => "damaged",
            StoreErrorKind::CrossDevice => "the store is spread over several file systems",
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

/// Converts a "not found" error to `None`.
pub fn optional<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
