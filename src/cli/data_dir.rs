//! Takes the lock of the data folder for commands that change data: polls until the server has released it.
//!
//! Invariant: at any moment only one process changes the data: the server, or the command that holds the lock.

use std::io::{self, Write as _};

use crate::{
    app,
    storage::{self, DataDirLock, StoreError},
};

/// The number of polls after which the command prints that it waits.
const ATTEMPTS_BEFORE_NOTICE: usize = 5;

/// The data folder, and its lock once the command holds it.
pub(super) struct LockWaiter<'a> {
    config: &'a storage::StoreConfig,
    lock: Option<DataDirLock>,
    attempts: usize,
}

impl<'a> LockWaiter<'a> {
    pub(super) fn new(config: &'a storage::StoreConfig) -> Self {
        Self { config, lock: None, attempts: 0 }
    }

    /// Tries to take the lock. Returns whether the command holds it; it then holds it until this value is dropped.
    pub(super) fn try_lock(&mut self) -> Result<bool, StoreError> {
        if self.lock.is_none() {
            self.lock = app::try_lock_store(self.config)?;
            self.attempts += 1;
        }
        if self.lock.is_none() && self.attempts == ATTEMPTS_BEFORE_NOTICE {
            let storage::StoreConfig::Filesystem { root, .. } = self.config;
            // The command may be interrupted meanwhile: the server ignores a request whose sender is gone.
            let _ = writeln!(io::stderr(), "waiting for the server or command that uses {}", root.display());
        }
        Ok(self.lock.is_some())
    }

    /// Releases the lock, if the command holds it, after everything that it did has ended without an error.
    pub(super) fn release(self) {
        if let Some(lock) = self.lock {
            app::release_store(lock);
        }
    }
}
