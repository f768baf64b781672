//! Defines the damage that a check can find in a store, and what a repair did about it.
//!
//! Invariant: every kind of damage has a name of its own in the JSON report, for scripts, and a sentence, for people.

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};

use portcullis_oci::{Digest, RepositoryName, Tag};
use portcullis_storage::{StoreError, StorePath};
use portcullis_text::error_chain;

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FsckReport {
    /// Everything that is wrong.
    pub findings: Vec<FsckFinding>,
    /// The number of blobs that were read.
    pub blobs: usize,
    /// The number of bytes in these blobs.
    pub bytes: u64,
}

impl FsckReport {
    /// The findings because of which content cannot be served and which a repair has not mended.
    pub fn serious_findings(&self) -> impl Iterator<Item = &FsckFinding> {
        self.findings.iter().filter(|finding| finding.damage.is_serious() && finding.repair != RepairOutcome::Mended)
    }
}

/// One thing that is wrong in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FsckFinding {
    /// The repository in which it was found; `None` if it is outside of all repositories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// What is wrong.
    #[serde(flatten)]
    pub damage: StoreDamage,
    /// What a repair did about it.
    pub repair: RepairOutcome,
}

impl FsckFinding {
    /// A finding that is not repaired yet.
    pub(super) fn unrepaired(repository: Option<&RepositoryName>, damage: StoreDamage) -> Self {
        Self { repository: repository.cloned(), damage, repair: RepairOutcome::None }
    }

    /// The finding for a folder or link that cannot be read.
    pub(super) fn unreadable(repository: Option<&RepositoryName>, path: &StorePath, error: &StoreError) -> Self {
        Self::unrepaired(repository, StoreDamage::UnreadablePath { path: path.to_string(), error: error_chain(error) })
    }

    /// Whether the finding remains after a second check that found `again`. What could not be read was not checked,
    /// even if it can be read now.
    pub(super) fn persists(&self, again: &HashSet<Self>) -> bool {
        again.contains(self)
            || matches!(self.damage, StoreDamage::UnreadablePath { .. } | StoreDamage::UnreadableBytes { .. })
    }
}

/// What a repair did about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepairOutcome {
    /// Nothing: this was only a check, or an operator must decide.
    None,
    /// It was mended.
    Mended,
    /// It was moved to the quarantine, where an operator can inspect it.
    Quarantined,
    /// It was moved to the trash, from which it is restored if it is needed.
    Trashed,
    /// It was deleted; it was never acknowledged to a client.
    Removed,
}

impl fmt::Display for RepairOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "left as it is",
            Self::Mended => "mended",
            Self::Quarantined => "moved to the quarantine",
            Self::Trashed => "moved to the trash",
            Self::Removed => "removed",
        })
    }
}

/// A kind of damage.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "damage", rename_all = "kebab-case")]
pub enum StoreDamage {
    /// Bytes whose digest is not the one in their path.
    WrongBytes {
        /// The digest in their path.
        blob: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// Bytes in the trash whose digest is not the one in their path: they must not be restored as that blob.
    WrongBytesInTrash {
        /// The digest in their path.
        blob: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// Bytes that the disk cannot read.
    UnreadableBytes {
        /// The digest in their path.
        blob: Digest,
        /// The error of the disk.
        error: String,
    },
    /// A folder or a link that the disk cannot read. What depends on it is not checked.
    UnreadablePath {
        /// The path of the folder or link.
        path: String,
        /// The error of the disk.
        error: String,
    },
    /// A link to a blob whose bytes are missing or wrong.
    LinkToNowhere {
        /// The digest of the blob.
        blob: Digest,
    },
    /// A link that does not hold the digest in its path.
    WrongLink {
        /// The path of the link.
        link: String,
        /// The digest that the link must hold.
        digest: Digest,
    },
    /// A link to a manifest whose bytes are missing or wrong.
    ManifestToNowhere {
        /// The digest of the manifest.
        manifest: Digest,
    },
    /// A manifest that cannot be read or parsed.
    UnreadableManifest {
        /// The digest of the manifest.
        manifest: Digest,
        /// The read or parse error.
        error: String,
    },
    /// A manifest that refers to content missing from the repository.
    MissingReference {
        /// The digest of the manifest.
        manifest: Digest,
        /// The digest of the missing content.
        content: Digest,
    },
    /// A tag that points to a manifest missing from the repository.
    TagToNowhere {
        /// The tag.
        tag: Tag,
        /// The digest of the manifest.
        manifest: Digest,
    },
    /// A tag whose link does not hold a digest.
    WrongTag {
        /// The tag.
        tag: Tag,
    },
    /// A manifest with a subject that is not in the subject's list of referrers.
    MissingReferrer {
        /// The digest of the subject.
        subject: Digest,
        /// The digest of the manifest.
        referrer: Digest,
    },
    /// An entry in a list of referrers whose manifest is missing or has another subject.
    ReferrerToNowhere {
        /// The digest of the subject.
        subject: Digest,
        /// The digest in the entry.
        referrer: Digest,
    },
    /// Bytes that no repository links to and no manifest names.
    Unlinked {
        /// The digest in their path.
        blob: Digest,
    },
    /// An upload that cannot be resumed, because its session is missing.
    HalfUpload {
        /// The name of the upload's folder.
        upload: String,
    },
    /// A temporary file that is no longer being written.
    HalfWritten {
        /// The name of the file.
        file: String,
    },
    /// An entry in the trash that is not a blob.
    StrangeTrash {
        /// The path of the entry within the trash.
        entry: String,
    },
    /// A folder that looks like a repository and has no valid repository name.
    StrangeFolder {
        /// The path of the folder, below the folder of all repositories.
        folder: String,
    },
}

impl StoreDamage {
    /// Whether content that was acknowledged cannot be served.
    #[must_use]
    pub fn is_serious(&self) -> bool {
        match self {
            Self::WrongBytes { .. }
            | Self::UnreadableBytes { .. }
            | Self::UnreadablePath { .. }
            | Self::LinkToNowhere { .. }
            | Self::WrongLink { .. }
            | Self::ManifestToNowhere { .. }
            | Self::MissingReference { .. }
            | Self::TagToNowhere { .. }
            | Self::WrongTag { .. }
            | Self::MissingReferrer { .. } => true,
            // Not needed for serving, or served unchanged.
            Self::WrongBytesInTrash { .. }
            | Self::UnreadableManifest { .. }
            | Self::ReferrerToNowhere { .. }
            | Self::Unlinked { .. }
            | Self::HalfUpload { .. }
            | Self::HalfWritten { .. }
            | Self::StrangeTrash { .. }
            | Self::StrangeFolder { .. } => false,
        }
    }
}

impl fmt::Display for StoreDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongBytes { blob, actual } => write!(f, "the bytes of blob {blob} have the digest {actual}"),
            Self::WrongBytesInTrash { blob, actual } => {
                write!(f, "the bytes of blob {blob} in the trash have the digest {actual}")
            }
            Self::UnreadableBytes { blob, error } => write!(f, "the bytes of blob {blob} cannot be read: {error}"),
            Self::UnreadablePath { path, error } => write!(f, "{path} cannot be read: {error}"),
            Self::LinkToNowhere { blob } => write!(f, "blob {blob} has a link, but its bytes are missing or wrong"),
            Self::WrongLink { link, digest } => write!(f, "{link} does not hold {digest}"),
            Self::ManifestToNowhere { manifest } => {
                write!(f, "manifest {manifest} has a link, but its bytes are missing or wrong")
            }
            Self::UnreadableManifest { manifest, error } => write!(f, "manifest {manifest} cannot be read: {error}"),
            Self::MissingReference { manifest, content } => {
                write!(f, "manifest {manifest} refers to {content}, which the repository does not have")
            }
            Self::TagToNowhere { tag, manifest } => {
                write!(f, "tag {tag} points to {manifest}, which the repository does not have")
            }
            Self::WrongTag { tag } => write!(f, "the link of tag {tag} does not hold a digest"),
            Self::MissingReferrer { subject, referrer } => {
                write!(f, "manifest {referrer} is not in the list of referrers of {subject}")
            }
            Self::ReferrerToNowhere { subject, referrer } => {
                write!(f, "the list of referrers of {subject} names {referrer}, which does not refer to it")
            }
            Self::Unlinked { blob } => write!(f, "no repository links to blob {blob}"),
            Self::HalfUpload { upload } => write!(f, "upload {upload} has no session and cannot be resumed"),
            Self::HalfWritten { file } => write!(f, "temporary file {file} was left behind"),
            Self::StrangeTrash { entry } => write!(f, "{entry} in the trash is not a blob"),
            Self::StrangeFolder { folder } => write!(f, "{folder:?} is not a repository name"),
        }
    }
}
