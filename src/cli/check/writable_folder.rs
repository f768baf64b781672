//! Checks that a folder can be written, or the nearest one in which a missing folder would be created.

use std::{fs, io, path::Path};

/// The path itself, or its nearest ancestor that exists.
pub(super) fn nearest_existing(path: &Path) -> &Path {
    let mut place = path;
    while !place.exists() {
        // A relative path ends in the working directory.
        place = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    }
    place
}

/// Fails unless the path is a folder in which this user may create files.
pub(super) fn require_writable_folder(folder: &Path) -> io::Result<()> {
    if !fs::metadata(folder)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
}
