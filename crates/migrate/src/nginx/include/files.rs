//! Abstracts the file system that included files are read from, so that the migration itself does no I/O.

use std::path::{Path, PathBuf};

/// The file system that included files are read from.
pub trait IncludeFiles {
    /// The text of a file; `None` if it cannot be read.
    fn read(&self, path: &Path) -> Option<String>;
    /// The names in a directory; `None` if it cannot be read.
    fn list(&self, folder: &Path) -> Option<Vec<String>>;
    /// Whether a file exists; for files that directives name and that are not read here.
    fn exists(&self, path: &Path) -> bool;
    /// The directory of the main file.
    fn folder(&self) -> PathBuf;
}

/// A file system in which no file can be read.
pub struct NoIncludeFiles;

impl IncludeFiles for NoIncludeFiles {
    fn read(&self, _: &Path) -> Option<String> {
        None
    }

    fn list(&self, _: &Path) -> Option<Vec<String>> {
        None
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from("/")
    }
}
