//! Reads every blob to its end, in place and in the trash, and verifies its digest.

use std::{collections::HashSet, error::Error};

use super::{FsckFinding, FsckProgress, FsckReport, FsckRun, StoreDamage};
use crate::{ingest::rehash, paths::ObjectKey};
use portcullis_oci::{Digest, Digester};
use portcullis_storage::{Object, StorePath, optional};
use portcullis_text::error_chain;

/// Where the bytes of a blob are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlobLocation {
    Stored(Digest),
    Trash(Digest),
}

impl BlobLocation {
    fn digest(&self) -> &Digest {
        match self {
            Self::Stored(digest) | Self::Trash(digest) => digest,
        }
    }

    pub(super) fn path(&self) -> StorePath {
        match self {
            Self::Stored(digest) => ObjectKey::Blob(digest).path(),
            Self::Trash(digest) => ObjectKey::Trash(digest).path(),
        }
    }

    /// The damage if the bytes cannot be read. The check goes on with the other blobs.
    fn unreadable(&self, error: &dyn Error) -> StoreDamage {
        StoreDamage::UnreadableBytes { blob: *self.digest(), error: error_chain(error) }
    }

    fn wrong_digest(&self, actual: Digest) -> StoreDamage {
        match self {
            Self::Stored(blob) => StoreDamage::WrongBytes { blob: *blob, actual },
            Self::Trash(blob) => StoreDamage::WrongBytesInTrash { blob: *blob, actual },
        }
    }
}

/// The result of reading the blobs.
#[derive(Default)]
pub(super) struct ScrubResult {
    pub(super) report: FsckReport,
    /// The places at which something is wrong.
    pub(super) suspect: Vec<BlobLocation>,
    /// Paths whose bytes do not have the digest in their path, so that links to them are broken. Paths that cannot be
    /// read are not among them: the disk may become readable again.
    pub(super) corrupt_paths: HashSet<StorePath>,
}

impl FsckRun<'_> {
    /// Every place with bytes, in the store and in the trash. Folders that cannot be listed are findings of the other
    /// checks.
    pub(super) async fn blob_locations(&self) -> Vec<BlobLocation> {
        let blobs = self.registry.find_blobs().await.digests.into_iter().map(BlobLocation::Stored);
        let trash = self.registry.find_trashed_blobs().await.digests.into_iter().map(BlobLocation::Trash);
        blobs.chain(trash).collect()
    }

    /// Reads and verifies the bytes at `places`.
    pub(super) async fn scrub(
        &self,
        places: &[BlobLocation],
        progress: &mut (dyn FnMut(FsckProgress) + Send),
    ) -> ScrubResult {
        let mut reading = ScrubResult::default();
        for place in places {
            match optional(self.registry.engine.store.open(&place.path()).await) {
                Ok(Some(object)) => {
                    reading.report.blobs += 1;
                    reading.report.bytes += object.size();
                    reading.verify(place, object).await;
                }
                // Deleted, collected or restored since the places were listed.
                Ok(None) => continue,
                Err(error) => reading.add_finding(place, place.unreadable(&error)),
            }
            progress(FsckProgress { blobs: reading.report.blobs, total: places.len(), bytes: reading.report.bytes });
        }
        reading
    }
}

impl ScrubResult {
    /// Verifies the digest of the bytes at `place`, and records a finding if it is wrong or a read fails.
    async fn verify(&mut self, place: &BlobLocation, object: Object) {
        let (blob, size) = (*place.digest(), object.size());
        let damage = match rehash(Digester::new(blob.algorithm()), object.stream(0..size)).await.map(Digester::finish) {
            Ok(actual) if actual == blob => return,
            Ok(actual) => {
                self.corrupt_paths.insert(place.path());
                place.wrong_digest(actual)
            }
            Err(error) => place.unreadable(&error),
        };
        self.add_finding(place, damage);
    }

    fn add_finding(&mut self, place: &BlobLocation, damage: StoreDamage) {
        self.suspect.push(*place);
        self.report.findings.push(FsckFinding::unrepaired(None, damage));
    }
}
