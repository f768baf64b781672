//! Locks the data folder for the server, and serves the admin socket in it.
//!
//! Invariant: only the holder of the lock creates and removes the socket. It is bound directly after the lock is taken,
//! because a command that finds the folder locked connects to it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{data_dir, shutdown::COMMIT_TIMEOUT, start_error::StartError};
use crate::{
    admin_socket::{AdminJobs, AdminListener, AdminServer, TokenJobs},
    clock::Clock,
    registry::Registry,
    reload::ReloadRequest,
    storage::{DataDirLock, StoreConfig},
};

/// The data folder that this server has locked, with the socket for commands.
pub(super) struct LockedDataDir {
    /// The socket; `None` if it cannot be created. Before the lock, because fields are dropped in this order.
    listener: Option<AdminListener>,
    lock: Arc<DataDirLock>,
    /// The data folder.
    root: PathBuf,
}

impl LockedDataDir {
    /// Locks the data folder and binds the socket. Must be called in a tokio runtime.
    pub(super) async fn lock(config: StoreConfig) -> Result<Self, StartError> {
        let StoreConfig::Filesystem { root, .. } = config.clone();
        let lock = Arc::new(data_dir::lock_store(config).await?);
        let listener = bind(&root, &lock);
        Ok(Self { listener, lock, root })
    }

    /// Begins to serve the socket. Returns the lock, too.
    pub(super) fn serve(
        self,
        registry: Registry,
        reloads: mpsc::Sender<ReloadRequest>,
        tokens: TokenJobs,
        clock: Clock,
    ) -> (AdminTask, Arc<DataDirLock>) {
        let Self { listener, lock, root } = self;
        let (stop, stopped) = watch::channel(false);
        let jobs = AdminJobs { registry, root, lock: lock.clone(), reloads, tokens, clock };
        let task = listener.map(|listener| tokio::spawn(AdminServer::new(listener, jobs).run(stopped)));
        (AdminTask { task, stop }, lock)
    }
}

/// The task that serves the admin socket.
pub(super) struct AdminTask {
    task: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl AdminTask {
    /// Ends the requests of commands and removes the socket. A removal of a repository may finish first.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        let Some(mut task) = self.task else { return };
        if timeout(COMMIT_TIMEOUT, &mut task).await.is_err() {
            tracing::warn!("gave up waiting for the requests of commands");
            task.abort();
        }
    }
}

/// Binds the socket for commands. A server without it serves clients all the same.
fn bind(root: &Path, lock: &DataDirLock) -> Option<AdminListener> {
    match AdminListener::bind(root, lock) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(
                %error,
                folder = %root.display(),
                hint = "keep the data on a file system that supports Unix sockets, or stop the server before these commands",
                "cannot create the admin socket: `gc`, `repository remove` and `fsck --repair` do not work beside this \
                 server, and `token revoke`, `token rotate` and `cert renew` take effect a second later"
            );
            None
        }
    }
}
