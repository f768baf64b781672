//! The bytes: each blob is read to its end and hashed, wherever it lies.

use std::{collections::HashSet, error::Error};

use super::{Check, Damage, Examination, Progress, finding};
use crate::{
    oci::{Digest, Digester},
    registry::{self, ingest::rehash, layout::Key},
    storage::{Object, StorePath, found},
};

/// Where the bytes of a blob may lie.
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

    /// One bad sector is no reason not to look at the rest.
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

/// What reading the bytes brought.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) found: Examination,
    /// The places with which something is wrong.
    pub(super) doubtful: Vec<Place>,
    /// Paths whose bytes are not what their name says: whatever links to them leads nowhere. Bytes that could not be read
    /// are not among them: the disk may give them the next time.
    pub(super) unsound: HashSet<StorePath>,
}

impl Check<'_> {
    /// Every place with bytes.
    pub(super) async fn places(&self) -> Result<Vec<Place>, registry::Error> {
        let blobs = self.registry.all_blobs().await?.into_iter().map(Place::Blobs);
        let trash = self.registry.all_trash().await?.into_iter().map(Place::Trash);
        Ok(blobs.chain(trash).collect())
    }

    pub(super) async fn read(&self, places: &[Place], progress: &mut (dyn FnMut(Progress) + Send)) -> Reading {
        let mut reading = Reading::default();
        for place in places {
            match found(self.registry.engine.store.open(&place.path()).await) {
                Ok(Some(object)) => {
                    reading.found.blobs += 1;
                    reading.found.bytes += object.size();
                    reading.judge(place, object).await;
                }
                // Deleted, collected or brought back while we were on the way here.
                Ok(None) => continue,
                Err(error) => reading.note(place, place.unreadable(&error)),
            }
            progress(Progress { blobs: reading.found.blobs, of: places.len(), bytes: reading.found.bytes });
        }
        reading
    }
}

impl Reading {
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
