//! Creates the admin socket in the data folder, and removes it again.
//!
//! Invariant: the socket has mode 0600 at every moment of its existence.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::path::{AddressPath, socket_path};
use crate::storage::DataDirLock;

/// The number of connections that wait to be accepted.
const BACKLOG: i32 = 32;

/// A bound admin socket. Dropping it removes the socket from the data folder.
pub(crate) struct AdminListener {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl AdminListener {
    /// Creates the socket in the data folder `root`, and replaces the socket that a killed server left. The lock proves
    /// that no server is running there. Must be called in a tokio runtime.
    ///
    /// On failure a file with the reason takes the place of the socket, so that a command can tell why it cannot reach
    /// the server.
    pub(crate) fn bind(root: &Path, _lock: &DataDirLock) -> io::Result<Self> {
        let path = socket_path(root);
        remove_if_exists(&path)?;
        match bind(root) {
            Ok(listener) => Ok(Self { listener, path }),
            Err(error) => {
                // If this fails as well, the command shows that there is no socket.
                let _ = write_reason(&path, &error);
                Err(error)
            }
        }
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        if let Err(error) = remove_if_exists(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "admin socket not removed");
        }
    }
}

/// Removes the socket, or the reason in its place, of a server that no longer runs, as the lock proves.
pub(crate) fn remove_stale_socket(root: &Path, _lock: &DataDirLock) {
    // If this fails, commands that wait for this one show a reason that does not apply.
    let _ = remove_if_exists(&socket_path(root));
}

fn bind(root: &Path) -> io::Result<UnixListener> {
    let address = AddressPath::new(root)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux creates the file of the socket with the mode of its file descriptor, less the umask. A `chmod` afterwards
    // would leave a moment in which other accounts can connect, and the umask belongs to all threads.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(address.as_path())?)?;
    let mode = fs::symlink_metadata(address.as_path())?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let _ = fs::remove_file(address.as_path());
        return Err(io::Error::other(format!("the file system gives sockets the mode {mode:03o} instead of 600")));
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

fn write_reason(path: &Path, error: &io::Error) -> io::Result<()> {
    let _ = remove_if_exists(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{error}")
}

fn remove_if_exists(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
