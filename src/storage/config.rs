//! Which store, and where.

use std::path::PathBuf;

/// The configuration of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// A folder on this machine.
    Filesystem {
        /// The data root: the folder that registry:2 calls `/var/lib/registry`.
        root: PathBuf,
    },
}
