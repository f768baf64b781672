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
    text::error_chain,
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
        Self::wait_for_either(config).map_err(command_error)
    }

    /// The same, for changes that any process may make beside a server. `None`: a server uses the data, but could not
    /// create its socket.
    pub(super) fn wait_or_unreachable(config: &storage::StoreConfig) -> Result<Option<Self>, CommandError> {
        match Self::wait_for_either(config) {
            Ok(access) => Ok(Some(access)),
            Err(AccessError::Connect(ConnectError::NoSocket(..))) => Ok(None),
            Err(error) => Err(command_error(error)),
        }
    }

    fn wait_for_either(config: &storage::StoreConfig) -> Result<Self, AccessError> {
        let mut is_first = true;
        loop {
            let error = match Self::try_once(config) {
                Err(AccessError::Connect(error @ ConnectError::NotListening(..))) => error,
                result => return result,
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
        Self::try_once(config).map_err(|error| match error {
            AccessError::Connect(ConnectError::NotListening(..)) => {
                CommandError::new(StartError::Locked(root.clone()), Some(hint))
            }
            error @ (AccessError::Lock(_) | AccessError::Connect(_)) => command_error(error),
        })
    }

    fn try_once(config: &storage::StoreConfig) -> Result<Self, AccessError> {
        let storage::StoreConfig::Filesystem { root, .. } = config;
        if let Some(lock) = app::try_lock_store(config).map_err(|error| AccessError::Lock(error.into()))? {
            remove_stale_socket(root, &lock);
            return Ok(Self::Locked(lock));
        }
        Ok(Self::Server(AdminClient::connect(root)?))
    }
}

/// Why a command has neither the lock nor a connection.
enum AccessError {
    /// The lock cannot be taken, though no other process has it.
    Lock(StartError),
    /// Another process has the lock, and cannot be asked.
    Connect(ConnectError),
}

impl From<ConnectError> for AccessError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

fn command_error(error: AccessError) -> CommandError {
    let account = "run the command as the account of the server, or as root, and name its folder with --data DIR";
    match error {
        AccessError::Lock(error) => CommandError::new(error_chain(&error), Some(account)),
        AccessError::Connect(error @ ConnectError::Denied(..)) => CommandError::new(error, Some(account)),
        AccessError::Connect(error @ ConnectError::NoSocket(..)) => {
            CommandError::new(error, Some("stop the server, and run the command again"))
        }
        AccessError::Connect(error @ ConnectError::NotListening(..)) => CommandError::new(error, None),
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
