//! The data folder, for commands that change what is in it.
//!
//! Process floor. Invariant: at any moment one process changes the data: the server, or the command that has claimed the folder.

use std::io::{self, Write as _};

use crate::{
    app,
    storage::{self, Claim, StoreError},
};

/// After how many looks people are told that the command waits.
const PATIENCE: usize = 5;

/// A data folder that is ours to change, or will be when whoever has it now is gone.
pub(super) struct Folder<'a> {
    config: &'a storage::Config,
    claim: Option<Claim>,
    looks: usize,
}

impl<'a> Folder<'a> {
    pub(super) fn new(config: &'a storage::Config) -> Self {
        Self { config, claim: None, looks: 0 }
    }

    /// Whether nobody else uses the folder; from then on nobody else does until this is dropped.
    pub(super) fn is_ours(&mut self) -> Result<bool, StoreError> {
        if self.claim.is_none() {
            self.claim = app::try_claim(self.config)?;
            self.looks += 1;
        }
        if self.claim.is_none() && self.looks == PATIENCE {
            let storage::Config::Filesystem { root } = self.config;
            // It can be interrupted: a request that nobody waits for is not answered.
            let _ = writeln!(io::stderr(), "waiting for the server or command that uses {}", root.display());
        }
        Ok(self.claim.is_some())
    }
}
