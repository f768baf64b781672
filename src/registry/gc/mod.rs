//! Collects garbage while the registry is in use.
//!
//! ```text
//! for each repository:   mark     what is reached from tags and kept manifests               (reads, no lock)
//!                        sweep    links that nothing needs and that are older than grace     (its lock, looked at again)
//! then for all blobs:    trash    bytes that nothing links to or names and that are older than grace
//!                        empty    what has been in the trash for long enough
//! ```
//!
//! Invariant: nothing is taken away that a tag, a kept manifest or a client's lease reaches. What is taken away goes to
//! the trash first and comes back by itself when it is looked for; only what stayed there unwanted is deleted.
//!
//! # Why no document can lead to a loss
//!
//! 1. *What counts as named does not depend on the document.* [`named_digests`](crate::oci::named_digests) searches
//!    text:
//!    it knows no fields, so it cannot read one in the wrong way, and it cannot refuse a document. A digest that a reader of
//!    JSON could get out of the document is among what it finds.
//! 2. *What is named is kept in every role.* The marking follows a digest as manifest and as blob at once, and looks
//!    into
//!    everything that it reaches and that can be a document, so it stops only where bytes name nothing.
//! 3. *What cannot be read keeps everything.* A repository of which one link, one manifest or one folder cannot be read
//!    is left
//!    out whole, and whatever its links and documents name keeps its bytes (`left_out`). If even that cannot be read, no bytes
//!    go at all. So a smaller marking is never the result of a failure.
//! 4. *What is put meanwhile is known before anything goes.* A manifest is put under the repository's lock and counted.
//!    A sweep
//!    holds the same lock and takes nothing if a manifest was put since its marking began; so at each removal the marking has
//!    seen every document of the repository. Blobs without a document yet, and manifests that are read, have leases: the age
//!    of the link, which is looked at under the lock as well.
//! 5. *Bytes have a second life.* They go only if no repository links to them or names them and they are older than
//!    grace; then
//!    they wait in the trash, from where each look brings them back.

mod contents;
mod left_out;
mod mark;
mod sweep;
mod trash;

use std::{collections::HashSet, fmt, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{Error, Registry, repository_walk::name_of};
use crate::oci::{Digest, RepositoryName};

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Each thing that went, or would go.
    pub garbage: Vec<Garbage>,
    /// How many blobs and manifests stay.
    pub kept: usize,
    /// How many came back from the trash because something refers to them.
    pub restored: usize,
    /// The repositories of which nothing was taken, because they cannot be read whole.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
}

/// A repository of which nothing was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name, or the name that its folder would have.
    pub repository: String,
    /// What cannot be read, and why.
    pub reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "repository {} was left out of the collection: {}", self.repository, self.reason)
    }
}

impl LeftOut {
    /// What to do about it.
    pub const HINT: &'static str = "`portcullis fsck` lists what is wrong, `portcullis fsck --repair` moves it out of the \
        way; put what lies in portcullis/quarantine back or delete it, then collect again";
}

impl Report {
    /// How many bytes the trash gave, or would give, back to the disk.
    #[must_use]
    pub fn freed(&self) -> u64 {
        self.sum(Why::TrashExpired)
    }

    /// How many bytes went, or would go, to the trash.
    #[must_use]
    pub fn trashed(&self) -> u64 {
        self.sum(Why::Unreferenced)
    }

    fn sum(&self, why: Why) -> u64 {
        self.garbage.iter().filter(|garbage| garbage.why == why).map(|garbage| garbage.size).sum()
    }
}

/// One thing that nothing needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Garbage {
    /// The repository that had it; none for bytes that no repository has.
    pub repository: Option<RepositoryName>,
    /// What it is: the digest of a blob or manifest, or the name of an upload.
    pub name: String,
    /// Its size in bytes; 0 for links.
    pub size: u64,
    /// Why it is garbage.
    pub why: Why,
}

/// Why something is garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A manifest without a tag, older than the policy keeps them.
    Untagged,
    /// A blob that no manifest of its repository refers to.
    Unused,
    /// Bytes that no repository has.
    Unreferenced,
    /// Bytes that have been in the trash for long enough.
    TrashExpired,
    /// An upload that nobody went on with.
    UploadExpired,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untagged => "manifest without a tag",
            Self::Unused => "no manifest of the repository refers to it",
            Self::Unreferenced => "no repository has it",
            Self::TrashExpired => "unwanted in the trash",
            Self::UploadExpired => "abandoned upload",
        })
    }
}

/// One run.
struct Collection<'a> {
    registry: &'a Registry,
    now: SystemTime,
    is_dry: bool,
    report: Report,
    /// Everything that some repository still links to.
    linked: HashSet<Digest>,
    /// What is named and not linked to where it is named: its bytes stay all the same.
    named: HashSet<Digest>,
    /// Whether every repository could say what it needs.
    may_take_bytes: bool,
}

impl Registry {
    /// Finds what nothing needs and takes it away, or, if the run `is_dry`, only says what it would take. A repository
    /// that cannot be read whole is left out, and named in the report.
    pub async fn collect_garbage(&self, is_dry: bool, now: SystemTime) -> Result<Report, Error> {
        let mut collection = Collection {
            registry: self,
            now,
            is_dry,
            report: Report::default(),
            linked: HashSet::new(),
            named: HashSet::new(),
            may_take_bytes: true,
        };
        collection.sweep_repositories().await?;
        if collection.may_take_bytes {
            collection.trash_blobs().await?;
            collection.empty_trash().await?;
        }
        collection.report.kept = collection.linked.len();
        Ok(collection.report)
    }
}

#[cfg(test)]
mod documents;
#[cfg(test)]
mod tests;

impl Collection<'_> {
    async fn sweep_repositories(&mut self) -> Result<(), Error> {
        let found = self.registry.engine.find_repositories().await;
        for (folder, error) in &found.unlisted {
            self.leave_out_unlisted(folder, error);
        }
        for folder in &found.folders {
            match name_of(folder).parse::<RepositoryName>() {
                Ok(name) => self.sweep_repository(&name).await?,
                Err(error) => self.leave_out(folder, error.to_string()).await,
            }
        }
        Ok(())
    }

    fn is_needed(&self, digest: &Digest) -> bool {
        self.linked.contains(digest) || self.named.contains(digest)
    }

    fn note(&mut self, repository: Option<&RepositoryName>, name: impl fmt::Display, size: u64, why: Why) {
        self.report.garbage.push(Garbage { repository: repository.cloned(), name: name.to_string(), size, why });
    }
}
