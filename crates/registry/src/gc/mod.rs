//! Collects garbage while the registry is in use: marks needed content, sweeps old links, and moves unlinked bytes to a
//! trash.
//!
//! ```text
//! for each repository:   mark     what is reached from tags and kept manifests               (reads, no lock)
//!                        sweep    links that nothing needs and that are older than grace     (its lock, checked again)
//!                                 entries of lists of referrers without their manifest       (the same)
//! then for all blobs:    trash    bytes that nothing links to or names and that are older than grace
//!                        empty    what has been in the trash for long enough
//! ```
//!
//! Invariant: nothing is removed that a tag, a kept manifest or a client's lease reaches. Removed bytes go to the
//! trash first and are restored at their next use; only bytes that were not used for the whole trash period are
//! deleted.
//!
//! # Why no document can cause a loss
//!
//! 1. *No document format is interpreted.* [`find_digests`](portcullis_oci::find_digests) searches text: it does not
//!    interpret fields, so it cannot misread one, and it cannot reject a document. It finds every digest that a reader
//!    of JSON could get out of the document.
//! 2. *A named digest is kept in every role.* The marking follows a digest as manifest and as blob at once, and reads
//!    everything that it reaches and that can be a document, so it stops only where bytes name nothing.
//! 3. *An unreadable object keeps everything.* If one link, one manifest or one folder of a repository cannot be read,
//!    the repository is left out completely, and everything that its links and documents name keeps its bytes
//!    (`left_out`). If even those cannot be read, no bytes are removed at all. So a failure never leads to a smaller
//!    marking.
//! 4. *A concurrent put is seen before anything is removed.* A manifest is put under the repository's lock and counted.
//!    A sweep holds the same lock and removes nothing if a manifest was put since its marking began; so at each removal
//!    the marking has seen every document of the repository. Blobs without a document yet, and manifests that are read,
//!    have leases: the age of the link, which is checked under the lock as well.
//! 5. *Bytes are not deleted at once.* They are removed only if no repository links to them or names them and they
//!    are older than the grace period; then they wait in the trash, from which each use restores them.

mod left_out;
mod mark;
mod orphan_referrers;
mod repository_graph;
mod sweep;
mod trash;

use std::{collections::HashSet, fmt, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{Error, Registry, repository_walk::repository_name_of};
use portcullis_oci::{Digest, RepositoryName};

/// The result of a collection or of a dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcReport {
    /// Everything that was removed, or would be.
    pub garbage: Vec<Garbage>,
    /// The number of blobs and manifests that are kept.
    pub kept: usize,
    /// The number of blobs that were restored from the trash because something refers to them.
    pub restored: usize,
    /// The repositories of which nothing was removed, because they cannot be read completely or not be changed.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
}

/// A repository of which nothing was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The name of the repository, even if it is not a valid name.
    pub repository: String,
    /// What cannot be read or changed, and why.
    pub reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "repository {} was left out of the collection: {}", self.repository, self.reason)
    }
}

impl LeftOut {
    /// What the operator can do about it.
    pub const HINT: &'static str = "`portcullis fsck` lists the damage, `portcullis fsck --repair` moves it to \
        portcullis/quarantine; restore or delete what is there, then collect again";
}

impl GcReport {
    /// The number of bytes that were deleted from the trash, or would be.
    #[must_use]
    pub fn freed(&self) -> u64 {
        self.total_size(GarbageReason::TrashExpired)
    }

    /// The number of bytes that were moved to the trash, or would be.
    #[must_use]
    pub fn trashed(&self) -> u64 {
        self.total_size(GarbageReason::Unreferenced)
    }

    fn total_size(&self, why: GarbageReason) -> u64 {
        self.garbage.iter().filter(|garbage| garbage.why == why).map(|garbage| garbage.size).sum()
    }
}

/// A link, a blob or an upload that nothing needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garbage {
    /// The repository that had it; `None` for bytes that no repository links to.
    pub repository: Option<RepositoryName>,
    /// The digest of a blob or manifest, the identifier of an upload, or the digests of a referrer and its subject.
    pub name: String,
    /// The size in bytes; 0 for links.
    pub size: u64,
    /// Why it is garbage.
    pub why: GarbageReason,
}

/// Why something is garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GarbageReason {
    /// A manifest without a tag that is older than the policy allows.
    Untagged,
    /// A blob that no manifest of its repository refers to.
    Unused,
    /// Bytes that no repository links to.
    Unreferenced,
    /// Bytes whose trash period is over.
    TrashExpired,
    /// An upload that received no byte until it expired.
    UploadExpired,
    /// An entry in a list of referrers whose manifest the repository does not have, or whose manifest does not name the
    /// subject.
    OrphanReferrer,
}

impl fmt::Display for GarbageReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untagged => "manifest without a tag",
            Self::Unused => "no manifest of the repository refers to it",
            Self::Unreferenced => "no repository links to it",
            Self::TrashExpired => "trash period is over",
            Self::UploadExpired => "abandoned upload",
            Self::OrphanReferrer => "no manifest of the repository is this referrer",
        })
    }
}

/// A step of a collection, for the process that shows its progress.
#[derive(Clone, Copy, Debug)]
pub enum GcProgress<'a> {
    /// Some repositories are done.
    Repositories {
        /// The number of repositories that are done.
        done: usize,
        /// The number of repositories.
        total: usize,
    },
    /// This was removed, or would be.
    Garbage(&'a Garbage),
    /// Of this repository nothing was removed.
    LeftOut(&'a LeftOut),
}

/// One run of the collection.
struct GcRun<'a> {
    registry: &'a Registry,
    observer: &'a mut (dyn FnMut(GcProgress<'_>) + Send + Sync),
    now: SystemTime,
    is_dry_run: bool,
    report: GcReport,
    /// The digests that a repository still links to.
    linked: HashSet<Digest>,
    /// Digests that a document names and its repository does not link to; their bytes are kept too.
    named: HashSet<Digest>,
    /// Whether it is known what every repository needs, so that bytes may be removed.
    may_remove_bytes: bool,
}

impl Registry {
    /// Removes what nothing needs, or, if the run `is_dry`, only reports what it would remove. A repository that cannot
    /// be read completely is left out, and named in the report.
    pub async fn collect_garbage(&self, is_dry_run: bool, now: SystemTime) -> Result<GcReport, Error> {
        self.collect_garbage_with(is_dry_run, now, &mut |_| {}).await
    }

    /// Does what [`collect_garbage`](Self::collect_garbage) does, and passes every step to `observer` when it is done.
    pub async fn collect_garbage_with(
        &self,
        is_dry_run: bool,
        now: SystemTime,
        observer: &mut (dyn FnMut(GcProgress<'_>) + Send + Sync),
    ) -> Result<GcReport, Error> {
        let mut collection = GcRun {
            registry: self,
            observer,
            now,
            is_dry_run,
            report: GcReport::default(),
            linked: HashSet::new(),
            named: HashSet::new(),
            may_remove_bytes: true,
        };
        collection.sweep_repositories().await?;
        if collection.may_remove_bytes {
            collection.trash_blobs().await?;
            collection.empty_trash().await?;
        }
        collection.report.kept = collection.linked.len();
        Ok(collection.report)
    }
}

#[cfg(test)]
mod generated_documents;
#[cfg(test)]
mod tests;

impl GcRun<'_> {
    async fn sweep_repositories(&mut self) -> Result<(), Error> {
        let found = self.registry.engine.find_repositories().await;
        for (folder, error) in &found.unlisted {
            self.leave_out_unlisted(folder, error);
        }
        for (index, folder) in found.folders.iter().enumerate() {
            match repository_name_of(folder).parse::<RepositoryName>() {
                Ok(name) => self.sweep_repository(&name).await?,
                Err(error) => self.leave_out(folder, error.to_string()).await,
            }
            (self.observer)(GcProgress::Repositories { done: index + 1, total: found.folders.len() });
        }
        Ok(())
    }

    fn is_needed(&self, digest: &Digest) -> bool {
        self.linked.contains(digest) || self.named.contains(digest)
    }

    fn add_garbage(
        &mut self,
        repository: Option<&RepositoryName>,
        name: impl fmt::Display,
        size: u64,
        why: GarbageReason,
    ) {
        let garbage = Garbage { repository: repository.cloned(), name: name.to_string(), size, why };
        (self.observer)(GcProgress::Garbage(&garbage));
        self.report.garbage.push(garbage);
    }

    fn add_left_out(&mut self, repository: String, reason: String) {
        let left_out = LeftOut { repository, reason };
        (self.observer)(GcProgress::LeftOut(&left_out));
        self.report.left_out.push(left_out);
    }
}
