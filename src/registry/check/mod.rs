//! The registry against itself: does everything lead somewhere, and is every byte what its name says?
//!
//! Invariant: a check changes nothing; a repair deletes nothing. What is wrong is moved to the quarantine, where a person
//! can look at it, and what is only missing is made again from what is there.

mod blobs;
mod links;

use std::fmt;

use serde::Serialize;

use super::{Error, Registry};
use crate::oci::{Digest, RepositoryName, Tag};

/// What an examination found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
    /// How many blobs were read to their end.
    pub blobs: usize,
    /// How many bytes they have.
    pub bytes: u64,
}

impl Examination {
    /// The findings that mean that something cannot be served.
    pub fn damages(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.damage.is_serious() && !finding.is_repaired)
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The repository that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// What is wrong.
    #[serde(flatten)]
    pub damage: Damage,
    /// Whether it was put right, or out of the way.
    pub is_repaired: bool,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "damage", rename_all = "kebab-case")]
pub enum Damage {
    /// The bytes have another digest than their name.
    WrongBytes {
        /// Their name.
        blob: Digest,
        /// What they are.
        actual: Digest,
    },
    /// A link to a blob whose bytes are nowhere.
    LinkToNowhere {
        /// The blob.
        blob: Digest,
    },
    /// A manifest link whose bytes are nowhere.
    ManifestToNowhere {
        /// The manifest.
        manifest: Digest,
    },
    /// A tag that means a manifest that the repository does not have.
    TagToNowhere {
        /// The tag.
        tag: Tag,
        /// What it means.
        manifest: Digest,
    },
    /// A manifest that refers to what the repository does not have.
    MissingReference {
        /// The manifest.
        manifest: Digest,
        /// What is missing.
        content: Digest,
    },
    /// A manifest that names a subject and is not in the subject's list of referrers.
    MissingReferrer {
        /// The subject.
        subject: Digest,
        /// The manifest.
        referrer: Digest,
    },
    /// Bytes that no repository has; garbage collection takes them when they are old enough.
    Unlinked {
        /// Their name.
        blob: Digest,
    },
}

impl Damage {
    /// Whether something that was acknowledged cannot be served.
    #[must_use]
    pub fn is_serious(&self) -> bool {
        match self {
            Self::WrongBytes { .. }
            | Self::LinkToNowhere { .. }
            | Self::ManifestToNowhere { .. }
            | Self::TagToNowhere { .. }
            | Self::MissingReference { .. }
            | Self::MissingReferrer { .. } => true,
            Self::Unlinked { .. } => false,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongBytes { blob, actual } => write!(f, "the bytes of {blob} are {actual}"),
            Self::LinkToNowhere { blob } => write!(f, "blob {blob} has a link and no bytes"),
            Self::ManifestToNowhere { manifest } => write!(f, "manifest {manifest} has a link and no bytes"),
            Self::TagToNowhere { tag, manifest } => write!(f, "tag {tag} means {manifest}, which is not here"),
            Self::MissingReference { manifest, content } => {
                write!(f, "manifest {manifest} refers to {content}, which is not here")
            }
            Self::MissingReferrer { subject, referrer } => {
                write!(f, "manifest {referrer} is not in the list of referrers of {subject}")
            }
            Self::Unlinked { blob } => write!(f, "no repository has blob {blob}"),
        }
    }
}

/// How far an examination has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Blobs read so far.
    pub blobs: usize,
    /// Blobs in all.
    pub of: usize,
    /// Bytes read so far.
    pub bytes: u64,
}

struct Check<'a> {
    registry: &'a Registry,
    repairs: bool,
    found: Examination,
}

impl Registry {
    /// Looks at everything; with `repairs`, puts right what can be put right and moves what cannot out of the way.
    pub async fn examine(
        &self,
        repairs: bool,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Examination, Error> {
        let mut check = Check { registry: self, repairs, found: Examination::default() };
        // Bytes first: what is quarantined here is missing below, and is reported with everything that refers to it.
        check.examine_blobs(progress).await?;
        let linked = check.examine_repositories().await?;
        check.examine_orphans(&linked).await?;
        Ok(check.found)
    }
}

impl Check<'_> {
    fn note(&mut self, repository: Option<&RepositoryName>, damage: Damage, is_repaired: bool) {
        self.found.findings.push(Finding { repository: repository.cloned(), damage, is_repaired });
    }
}

#[cfg(test)]
mod tests;
