//! Implements the registry engine over any [`Store`](portcullis_storage::Store): blobs, uploads, manifests, tags,
//! referrers, the catalog, mounts, garbage collection, checks and removal.
//!
//! The engine is independent of HTTP: `api` turns requests into calls of [`Repository`].
//!
//! Invariant: content becomes visible in a repository only after its bytes were verified against its digest and are
//! durable, and only through a [`Repository`] that was opened with a proof of the right to do so
//! ([`Authorized`](portcullis_access::Authorized)).

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod blobs;
mod catalog;
mod config;
mod delete_repository;
mod engine;
mod error;
mod folder_listing;
mod fsck;
mod gc;
mod ingest;
mod lease;
mod links;
mod listing_cache;
mod locks;
mod maintenance;
mod manifests;
mod mount_source;
mod paths;
mod referrers;
mod registry;
mod repository;
mod repository_index;
mod repository_names;
mod repository_walk;
mod tags;
#[cfg(test)]
mod tests;
mod uploads;

pub use blobs::Blob;
pub use config::{Config, GcConfig, Untagged};
pub use delete_repository::RepositoryStats;
pub use error::Error;
pub use fsck::{FsckFinding, FsckProgress, FsckReport, RepairOutcome, RepairProgress, StoreDamage};
pub use gc::{Garbage, GarbageReason, GcProgress, GcReport, LeftOut};
pub use ingest::BodyError;
pub use manifests::{PutManifest, StoredManifest};
pub use mount_source::FoundSource;
pub use paths::{InvalidUploadId, UploadId, move_targets, repositories_path};
pub use referrers::{Referrer, ReferrersFilter};
pub use registry::Registry;
pub use repository::Repository;
pub use uploads::{Upload, VerifiedBlob};
