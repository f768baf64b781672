//! The place of the admin socket, and a path to it that fits into a socket address however long the path of the data
//! folder is.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

/// The folder of the socket, below the data folder.
const FOLDER: &str = "portcullis";

/// The name of the socket in that folder.
const NAME: &str = "admin.sock";

/// The maximum length in bytes of a path in a socket address (`sun_path`), without the zero byte at its end.
const MAX_SUN_PATH_LEN: usize = 107;

/// The path of the socket in the data folder `root`.
pub(super) fn socket_path(root: &Path) -> PathBuf {
    root.join(FOLDER).join(NAME)
}

/// A path to the socket for a socket address, valid as long as the value exists.
pub(super) struct AddressPath {
    path: PathBuf,
    /// The open folder, if the path leads through its file descriptor.
    _folder: Option<File>,
}

impl AddressPath {
    /// The path itself if it is short enough; otherwise a path through a file descriptor of its folder. Fails if the
    /// folder cannot be opened.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let path = socket_path(root);
        if path.as_os_str().len() <= MAX_SUN_PATH_LEN {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(root.join(FOLDER))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }

    /// The path for the socket address.
    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }
}
