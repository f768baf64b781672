//! Opens and locks the configured data folder, for the server and for commands.

use std::{fs, io, path::Path, sync::Arc};

use portcullis_clock::Clock;

use super::start_error::StartError;
use crate::{
    registry::{move_targets, repositories_path},
    storage::{self, DataDirLock, FilesystemStore, Store, StoreConfig, StoreError, StorePath, optional},
};

/// Locks the store against other servers, and against commands that change the data, until the lock is dropped. After
/// an unclean end this syncs file systems, so it runs outside the async executor.
pub(super) async fn lock_store(config: StoreConfig) -> Result<DataDirLock, StartError> {
    let locking = tokio::task::spawn_blocking(move || {
        let StoreConfig::Filesystem { root, .. } = &config;
        try_lock_store(&config)?.ok_or_else(|| StartError::Locked(root.clone()))
    });
    locking.await.map_err(|panic| StartError::Runtime(io::Error::other(panic)))?
}

/// Locks the store; `None` if another process has it, for callers that have an alternative.
pub(crate) fn try_lock_store(config: &StoreConfig) -> Result<Option<DataDirLock>, StoreError> {
    let StoreConfig::Filesystem { root, .. } = config;
    storage::lock_data_dir(root, &data_folders(root))
        .map_err(|error| StoreError::from_io(error, format!("claim {}", root.display())))
}

/// Releases the lock after a clean end. Without the mark that this leaves, the next start only takes longer, so an
/// error is not returned.
pub(crate) fn release_store(lock: DataDirLock) {
    if let Err(error) = lock.release_clean() {
        tracing::warn!(%error, "the data folder cannot be marked as clean; the next start syncs its file systems");
    }
}

/// The folders of the store that may be on file systems of their own; the top-level folders of the repositories are
/// among them, because each of them may be a link.
pub(crate) fn data_folders(root: &Path) -> Vec<StorePath> {
    let mut folders = move_targets();
    let repositories = repositories_path();
    if let Ok(entries) = fs::read_dir(root.join(repositories.as_str())) {
        let names = entries.filter_map(io::Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
        folders.extend(names.filter_map(|name| repositories.join(&name).ok()));
    }
    folders
}

/// Opens the configured store; creates it if it does not exist.
pub(super) fn open_store(config: &StoreConfig, clock: &Clock) -> Result<Arc<dyn Store>, StoreError> {
    match config {
        StoreConfig::Filesystem { root, direct_io } => {
            Ok(Arc::new(FilesystemStore::open(root, clock.clone())?.with_direct_io(*direct_io)))
        }
    }
}

/// Opens the configured store for commands that need an existing one. It is not created, because its path may be a
/// typing error.
pub(crate) fn existing_store(config: &StoreConfig, clock: &Clock) -> Result<Arc<dyn Store>, StartError> {
    match config {
        StoreConfig::Filesystem { root, direct_io } => {
            let opened = optional(FilesystemStore::open_existing(root, clock.clone()))?;
            let store = opened.ok_or_else(|| StartError::NoStore(root.clone()))?;
            Ok(Arc::new(store.with_direct_io(*direct_io)))
        }
    }
}
