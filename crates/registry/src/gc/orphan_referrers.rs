//! Sweeps the lists of referrers: removes entries whose manifest the repository does not have, or whose manifest does
//! not name the subject.
//!
//! Such entries remain when the manifest was removed while its bytes could not be read (then its subject was unknown),
//! when a put or a deletion was interrupted, or when another program removed the manifest. Listings skip them, but read
//! them each time.
//!
//! Invariant: an entry is removed only if no manifest of the repository justifies it, by the same rules as a layer:
//! under the repository's lock, after the grace period, and only if no manifest was put since the marking began.

use std::collections::HashSet;

use super::{
    GarbageReason, GcRun,
    mark::MarkResult,
    repository_graph::RepositoryGraph,
    sweep::{LINKS_PER_LOCK, SweepOutcome},
};
use crate::{
    Error, links,
    paths::{DirKey, ObjectKey},
    referrers::list_folder,
};
use portcullis_oci::{Algorithm, Digest, RepositoryName};
use portcullis_storage::{Store, StoreError};

/// An entry in the list of a subject's referrers.
struct ReferrerEntry {
    subject: Digest,
    referrer: Digest,
}

impl GcRun<'_> {
    /// Removes the entries that no manifest of the repository justifies.
    pub(super) async fn sweep_referrers(
        &mut self,
        name: &RepositoryName,
        contents: &RepositoryGraph,
        marked: &MarkResult,
    ) -> Result<SweepOutcome, Error> {
        let engine = self.registry.engine.clone();
        let orphans = match orphan_referrers(&*engine.store, name, contents).await {
            Ok(orphans) => orphans,
            Err(error) => return Ok(SweepOutcome::Stopped(error)),
        };
        for some in orphans.chunks(LINKS_PER_LOCK) {
            let lock = engine.repositories.lock(name).await;
            if self.is_stale(&lock, marked) {
                return Ok(SweepOutcome::Stale);
            }
            for ReferrerEntry { subject, referrer } in some {
                let link = ObjectKey::ReferrerLink { repository: name, subject, referrer };
                match links::stat(&*engine.store, link).await {
                    Ok(Some(stat)) if self.is_past_grace(stat) => {}
                    Ok(_) => continue,
                    Err(error) => return Ok(SweepOutcome::Stopped(error)),
                }
                let entry = format!("{referrer} in the list of {subject}");
                self.add_garbage(Some(name), entry, 0, GarbageReason::OrphanReferrer);
                if !self.is_dry_run {
                    links::remove(&*engine.store, link).await?;
                }
            }
        }
        Ok(SweepOutcome::Complete)
    }
}

/// The entries whose manifest is not among `contents`, or names another subject. A subject need not exist: it may be
/// pushed after its referrers.
async fn orphan_referrers(
    store: &dyn Store,
    name: &RepositoryName,
    contents: &RepositoryGraph,
) -> Result<Vec<ReferrerEntry>, StoreError> {
    let manifests: HashSet<Digest> = contents.revisions.iter().map(|(digest, _)| *digest).collect();
    // Every digest in the text counts, in whichever field: a document that this version cannot parse may have a
    // subject.
    let names = |referrer: &Digest, subject: &Digest| {
        manifests.contains(referrer)
            && contents.document(referrer).is_none_or(|document| document.names.contains(subject))
    };
    let mut orphans = Vec::new();
    for algorithm in Algorithm::ALL {
        let folder = DirKey::Subjects(name, algorithm).path();
        for entry in store.list(&folder).await? {
            let Ok(subject) = format!("{algorithm}:{}", entry.name).parse::<Digest>() else { continue };
            if !entry.is_folder {
                return Err(links::not_a_folder(&folder, &entry.name));
            }
            let listed = links::list_strict(store, list_folder(name, &subject)).await?;
            let referrers = listed.into_iter().map(|(referrer, _)| referrer);
            let unjustified = referrers.filter(|referrer| !names(referrer, &subject));
            orphans.extend(unjustified.map(|referrer| ReferrerEntry { subject, referrer }));
        }
    }
    Ok(orphans)
}
