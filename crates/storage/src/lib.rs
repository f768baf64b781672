//! Defines what a [`Store`] is (objects with atomic, durable writes), and implements it on a file system and in memory.
//!
//! The traits are independent of registries: a store holds objects (byte sequences) under paths. [`Objects`] are
//! written and read whole; [`Records`] are small objects that are changed by compare-and-swap, so that several
//! processes may change them; [`Uploads`] are bytes that arrive in pieces, from several requests, until they become an
//! object.
//!
//! Invariant: an object whose write a [`Store`] has acknowledged is complete after a crash. After an unacknowledged
//! write, the object is complete or absent.
//!
//! `contract` is one test suite that runs against every implementation.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod config;
#[cfg(any(test, feature = "testing"))]
#[allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    reason = "a test reports its own failure by a panic"
)]
pub mod contract;
mod error;
#[cfg(any(test, feature = "testing"))]
#[allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::unwrap_used,
    reason = "a fixture reports its own failure by a panic, and only tests see it"
)]
mod fault_injection;
mod filesystem;
mod memory;
mod object;
mod objects;
mod path;
mod records;
mod store;
mod uploads;

pub use config::{DirectIo, StoreConfig};
pub use error::optional;
pub use error::{StoreError, StoreErrorKind};
#[cfg(any(test, feature = "testing"))]
pub use fault_injection::{Breakpoint, BreakpointHook, FaultyStore, InterceptedStore, StoreHook, StoreOperation};
pub use filesystem::{
    CrossDeviceDir, DataDirLock, FilesystemStore, TEMP_DIR, cross_device_dirs, dangling_link, lock_data_dir,
};
pub use memory::MemoryStore;
pub use object::{ByteStream, Object, READ_CHUNK_LEN, Stat};
pub use objects::{DirVersion, LeafEntry, MAX_TOUCHED_LEN, Objects, StoreEntry};
pub use path::{InvalidPath, StorePath};
pub use records::{Durability, Record, RecordVersion, Records};
pub use store::Store;
pub use uploads::{SealedUpload, UploadState, UploadWriter, Uploads};
