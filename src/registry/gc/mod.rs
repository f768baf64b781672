//! Garbage collection while the registry is in use.
//!
//! Invariant: nothing is taken away that a tag, a kept manifest or somebody's lease reaches. What is taken away goes to the
//! trash first and comes back by itself when it is looked for; only what stayed there unwanted is deleted.
//!
//! ```text
//! for each repository:   mark     which manifests are kept, and what they refer to           (reads, no lock)
//!                        sweep    links that nothing needs and that are older than grace     (its lock, age looked at again)
//! then for all blobs:    trash    bytes that no link is left for and that are older than grace
//!                        empty    what has been in the trash for long enough
//! ```

mod mark;
mod sweep;
mod trash;

use std::{collections::HashSet, fmt, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{Error, Registry};
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
}

impl Registry {
    /// Finds what nothing needs and takes it away, or, if the run `is_dry`, only says what it would take.
    pub async fn collect_garbage(&self, is_dry: bool, now: SystemTime) -> Result<Report, Error> {
        let mut collection =
            Collection { registry: self, now, is_dry, report: Report::default(), linked: HashSet::new() };
        for name in self.repository_folders().await? {
            collection.sweep_repository(&name).await?;
        }
        collection.trash_blobs().await?;
        collection.empty_trash().await?;
        collection.report.kept = collection.linked.len();
        Ok(collection.report)
    }
}

#[cfg(test)]
mod tests;

impl Collection<'_> {
    fn note(&mut self, repository: Option<&RepositoryName>, name: impl fmt::Display, size: u64, why: Why) {
        self.report.garbage.push(Garbage { repository: repository.cloned(), name: name.to_string(), size, why });
    }
}
