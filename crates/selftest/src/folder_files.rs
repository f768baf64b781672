//! Lists files of a folder by their extension, as docker and podman do for certificates.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files of a folder with this extension, sorted by name.
pub(super) fn files_with_extension(folder: &Path, wanted: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == wanted));
    files.sort();
    files
}
