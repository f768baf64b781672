//! Configuration of the store: its type and location, and how it writes.

use std::path::PathBuf;

/// The configuration of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// A folder on this machine.
    Filesystem {
        /// Root folder of the data, which registry:2 calls `/var/lib/registry`.
        root: PathBuf,
        /// How layers are written.
        direct_io: DirectIo,
    },
}

/// Whether large objects are written with direct I/O (`O_DIRECT`), past the kernel's page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectIo {
    /// Where the file system supports it; elsewhere through the page cache.
    #[default]
    Auto,
    /// Never: every write goes through the page cache.
    Off,
}
