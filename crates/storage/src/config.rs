//! Configuration of the store: its type and location.

use std::path::PathBuf;

/// The configuration of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// A folder on this machine.
    Filesystem {
        /// Root folder of the data, which registry:2 calls `/var/lib/registry`.
        root: PathBuf,
    },
}
