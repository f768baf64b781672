//! Reads every blob to its end, in place and in the trash, and verifies its digest.

use std::{collections::HashSet, error::Error};

use super::{Check, Damage, Examination, Progress, finding};
use crate::{ingest::rehash, layout::Key};
use portcullis_oci::{Digest, Digester};
use portcullis_storage::{Object, StorePath, found};

/// Where the bytes of a blob are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Blobs(Digest),
    Trash(Digest),
}

impl Place {
    fn digest(&self) -> &Digest {
        match self {
            Self::Blobs(digest) | Self::Trash(digest) => digest,
        }
    }

    pub(super) fn path(&self) -> StorePath {
        match self {
            Self::Blobs(digest) => Key::Blob(digest).path(),
            Self::Trash(digest) => Key::Trash(digest).path(),
        }
    }

    /// The damage if the bytes cannot be read. The check goes on with the other blobs.
    fn unreadable(&self, error: &dyn Error) -> Damage {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        Damage::UnreadableBytes { blob: *self.digest(), error: format!("{error}{cause}") }
    }

    fn wrong(&self, actual: Digest) -> Damage {
        match self {
            Self::Blobs(blob) => Damage::WrongBytes { blob: *blob, actual },
            Self::Trash(blob) => Damage::WrongBytesInTrash { blob: *blob, actual },
        }
    }
}

/// The result of reading the blobs.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) found: Examination,
    /// The places at which something is wrong.
    pub(super) doubtful: Vec<Place>,
    /// Paths whose bytes do not have the digest in their path, so that links to them are broken. Paths that cannot be
    /// read are not among them: the disk may become readable again.
    pub(super) unsound: HashSet<StorePath>,
}

impl Check<'_> {
    /// Every place with bytes, in the store and in the trash.
    pub(super) async fn places(&self) -> Result<Vec<Place>, crate::Error> {
        let blobs = self.registry.all_blobs().await?.into_iter().map(Place::Blobs);
        let trash = self.registry.all_trash().await?.into_iter().map(Place::Trash);
        Ok(blobs.chain(trash).collect())
    }

    /// Reads and verifies the bytes at `places`.
    pub(super) async fn read(&self, places: &[Place], progress: &mut (dyn FnMut(Progress) + Send)) -> Reading {
        let mut reading = Reading::default();
        for place in places {
            match found(self.registry.engine.store.open(&place.path()).await) {
                Ok(Some(object)) => {
                    reading.found.blobs += 1;
                    reading.found.bytes += object.size();
                    reading.judge(place, object).await;
                }
                // Deleted, collected or restored since the places were listed.
                Ok(None) => continue,
                Err(error) => reading.note(place, place.unreadable(&error)),
            }
            progress(Progress { blobs: reading.found.blobs, of: places.len(), bytes: reading.found.bytes });
        }
        reading
    }
}

impl Reading {
    /// Verifies the digest of the bytes at `place`, and records a finding if it is wrong or a read fails.
    async fn judge(&mut self, place: &Place, object: Object) {
        let (blob, size) = (*place.digest(), object.size());
        let damage = match rehash(Digester::new(blob.algorithm()), object.stream(0..size)).await.map(Digester::finish) {
            Ok(actual) if actual == blob => return,
            Ok(actual) => {
                self.unsound.insert(place.path());
                place.wrong(actual)
            }
            Err(error) => place.unreadable(&error),
        };
        self.note(place, damage);
    }

    fn note(&mut self, place: &Place, damage: Damage) {
        self.doubtful.push(*place);
        self.found.findings.push(finding(None, damage));
    }
}
