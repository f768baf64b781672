//! Gives a command access to the data folder: its lock, or the server that holds the lock.
//!
//! Invariant: at any moment only one process changes the data: the server, or the command that holds the lock.

use std::{
    io::{self, Write as _},
    thread,
    time::Duration,
};

use super::CommandError;
use crate::{
    admin_socket::{AdminClient, ConnectError, ReloadTarget, RequestError, remove_stale_socket},
    app::{self, StartError},
    storage::{self, DataDirLock},
};

/// The interval at which a command tries again while another command has the lock.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How a command changes data.
pub(super) enum DataAccess {
    /// The command holds the lock, and changes the data itself.
    Locked(DataDirLock),
    /// A server uses the data, and makes the change.
    Server(AdminClient),
}

impl DataAccess {
    /// Takes the lock or connects to the server, and waits while another command has the lock.
    pub(super) fn wait(config: &storage::StoreConfig) -> Result<Self, CommandError> {
        let mut is_first = true;
        loop {
            let error = match Self::try_once(config)? {
                Ok(access) => return Ok(access),
                Err(error) => error,
            };
            if is_first {
                let storage::StoreConfig::Filesystem { root, .. } = config;
                // A write error is ignored: the wait goes on all the same. The command may be interrupted meanwhile.
                let _ = writeln!(
                    io::stderr(),
                    "waiting for the portcullis that uses {}; there is no server to ask: {error}",
                    root.display()
                );
            }
            is_first = false;
            thread::sleep(RETRY_INTERVAL);
        }
    }

    /// Takes the lock or connects to the server; fails if another command has the lock.
    pub(super) fn now(config: &storage::StoreConfig) -> Result<Self, CommandError> {
        let storage::StoreConfig::Filesystem { root, .. } = config;
        let hint = "wait for the other command, or for the server that is starting or stopping";
        Self::try_once(config)?.map_err(|_| CommandError::new(StartError::Locked(root.clone()), Some(hint)))
    }

    /// The inner error: another process has the lock, and no server listens.
    fn try_once(config: &storage::StoreConfig) -> Result<Result<Self, ConnectError>, CommandError> {
        let storage::StoreConfig::Filesystem { root, .. } = config;
        if let Some(lock) = app::try_lock_store(config).map_err(StartError::from)? {
            remove_stale_socket(root, &lock);
            return Ok(Ok(Self::Locked(lock)));
        }
        match AdminClient::connect(root) {
            Ok(client) => Ok(Ok(Self::Server(client))),
            Err(error @ ConnectError::NotListening(..)) => Ok(Err(error)),
            Err(error @ ConnectError::NoSocket(..)) => {
                Err(CommandError::new(error, Some("stop the server, and run the command again")))
            }
            Err(error @ ConnectError::Denied(..)) => {
                Err(CommandError::new(error, Some("run the command as the account of the server, or as root")))
            }
        }
    }
}

/// Has a running server read changed files at once. Without a server, or if it cannot be reached, nothing happens: a
/// server examines its files once a second in any case. Returns whether a server has read them.
pub(super) fn notify_server(config: &storage::StoreConfig, target: ReloadTarget) -> bool {
    let storage::StoreConfig::Filesystem { root, .. } = config;
    let Ok(client) = AdminClient::connect(root) else { return false };
    match client.reload(target) {
        Ok(()) => true,
        Err(error) => {
            let _ = writeln!(io::stderr(), "warning: the running server did not load the change at once: {error}");
            false
        }
    }
}

impl From<RequestError> for CommandError {
    fn from(error: RequestError) -> Self {
        Self::new(&error, error.hint())
    }
}
