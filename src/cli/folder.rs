//! Takes the lock of the data folder for commands that change data: polls until the server has released it.
//!
//! Invariant: at any moment only one process changes the data: the server, or the command that holds the lock.

use std::io::{self, Write as _};

use crate::{
    app,
    storage::{self, Claim, StoreError},
};

/// The number of polls after which the command prints that it waits.
const PATIENCE: usize = 5;

/// The data folder, and its lock once the command holds it.
pub(super) struct Folder<'a> {
    config: &'a storage::Config,
    claim: Option<Claim>,
    looks: usize,
}

impl<'a> Folder<'a> {
    pub(super) fn new(config: &'a storage::Config) -> Self {
        Self { config, claim: None, looks: 0 }
    }

    /// Tries to take the lock. Returns whether the command holds it; it then holds it until this value is dropped.
    pub(super) fn is_ours(&mut self) -> Result<bool, StoreError> {
        if self.claim.is_none() {
            self.claim = app::try_claim(self.config)?;
            self.looks += 1;
        }
        if self.claim.is_none() && self.looks == PATIENCE {
            let storage::Config::Filesystem { root } = self.config;
            // The command may be interrupted meanwhile: the server ignores a request whose sender is gone.
            let _ = writeln!(io::stderr(), "waiting for the server or command that uses {}", root.display());
        }
        Ok(self.claim.is_some())
    }
}
