//! What can be wrong in a store, and what became of it.
//!
//! Invariant: every kind of damage has a name of its own in the report, which scripts read; people read the sentence.

use std::fmt;

use serde::Serialize;

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
    /// The findings that mean that something cannot be served, also after what a repair could do about them.
    pub fn damages(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.damage.is_serious() && finding.repair != Repair::Mended)
    }
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Finding {
    /// The repository that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
    /// What is wrong.
    #[serde(flatten)]
    pub damage: Damage,
    /// What was done about it.
    pub repair: Repair,
}

/// What was done about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// Nothing: only looked at, or nothing that a program should decide.
    None,
    /// It is as it should be.
    Mended,
    /// It lies in the quarantine, where a person can look at it.
    Quarantined,
    /// It went to the trash, from which it comes back should it be needed.
    Trashed,
    /// It is gone: nobody was ever told that it would be kept.
    Removed,
}

impl fmt::Display for Repair {
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

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "damage", rename_all = "kebab-case")]
pub enum Damage {
    /// The bytes have another digest than their name.
    WrongBytes {
        /// Their name.
        blob: Digest,
        /// What they are.
        actual: Digest,
    },
    /// Likewise, in the trash: should somebody need the blob, it must not come back from there.
    WrongBytesInTrash {
        /// Their name.
        blob: Digest,
        /// What they are.
        actual: Digest,
    },
    /// Bytes that the disk does not give.
    UnreadableBytes {
        /// Their name.
        blob: Digest,
        /// What the disk says.
        error: String,
    },
    /// A link to a blob whose bytes are nowhere.
    LinkToNowhere {
        /// The blob.
        blob: Digest,
    },
    /// A link that does not hold the digest that its path says.
    WrongLink {
        /// Its path.
        link: String,
        /// What it must hold.
        digest: Digest,
    },
    /// A manifest link whose bytes are nowhere.
    ManifestToNowhere {
        /// The manifest.
        manifest: Digest,
    },
    /// A manifest that is whole and that we cannot read.
    UnreadableManifest {
        /// The manifest.
        manifest: Digest,
        /// Why not.
        error: String,
    },
    /// A manifest that refers to what the repository does not have.
    MissingReference {
        /// The manifest.
        manifest: Digest,
        /// What is missing.
        content: Digest,
    },
    /// A tag that means a manifest that the repository does not have.
    TagToNowhere {
        /// The tag.
        tag: Tag,
        /// What it means.
        manifest: Digest,
    },
    /// A tag whose link holds no digest.
    WrongTag {
        /// The tag.
        tag: Tag,
    },
    /// A manifest that names a subject and is not in the subject's list of referrers.
    MissingReferrer {
        /// The subject.
        subject: Digest,
        /// The manifest.
        referrer: Digest,
    },
    /// An entry in a list of referrers whose manifest is not here, or names another subject.
    ReferrerToNowhere {
        /// The subject.
        subject: Digest,
        /// What the entry names.
        referrer: Digest,
    },
    /// Bytes that no repository has.
    Unlinked {
        /// Their name.
        blob: Digest,
    },
    /// An upload that nobody can go on with: its session is not there.
    HalfUpload {
        /// The name of its folder.
        upload: String,
    },
    /// A temporary file that nobody is writing any more.
    HalfWritten {
        /// Its name.
        file: String,
    },
    /// A command's request to the server that nobody waits for any more.
    StaleRequest {
        /// The name of its folder.
        request: String,
    },
    /// Something in the trash that is no blob.
    StrangeTrash {
        /// Its path within the trash.
        entry: String,
    },
    /// A folder that looks like a repository and has no name of one.
    StrangeFolder {
        /// The name that it would have.
        folder: String,
    },
}

impl Damage {
    /// Whether something that was acknowledged cannot be served.
    #[must_use]
    pub fn is_serious(&self) -> bool {
        match self {
            Self::WrongBytes { .. }
            | Self::UnreadableBytes { .. }
            | Self::LinkToNowhere { .. }
            | Self::WrongLink { .. }
            | Self::ManifestToNowhere { .. }
            | Self::MissingReference { .. }
            | Self::TagToNowhere { .. }
            | Self::WrongTag { .. }
            | Self::MissingReferrer { .. } => true,
            // Nobody misses these, or they are served as they are.
            Self::WrongBytesInTrash { .. }
            | Self::UnreadableManifest { .. }
            | Self::ReferrerToNowhere { .. }
            | Self::Unlinked { .. }
            | Self::HalfUpload { .. }
            | Self::HalfWritten { .. }
            | Self::StaleRequest { .. }
            | Self::StrangeTrash { .. }
            | Self::StrangeFolder { .. } => false,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongBytes { blob, actual } => write!(f, "the bytes of {blob} are {actual}"),
            Self::WrongBytesInTrash { blob, actual } => write!(f, "the bytes of {blob} in the trash are {actual}"),
            Self::UnreadableBytes { blob, error } => write!(f, "the bytes of {blob} cannot be read: {error}"),
            Self::LinkToNowhere { blob } => write!(f, "blob {blob} has a link and no sound bytes"),
            Self::WrongLink { link, digest } => write!(f, "{link} does not hold {digest}"),
            Self::ManifestToNowhere { manifest } => write!(f, "manifest {manifest} has a link and no sound bytes"),
            Self::UnreadableManifest { manifest, error } => write!(f, "manifest {manifest} is not understood: {error}"),
            Self::MissingReference { manifest, content } => {
                write!(f, "manifest {manifest} refers to {content}, which is not here")
            }
            Self::TagToNowhere { tag, manifest } => write!(f, "tag {tag} means {manifest}, which is not here"),
            Self::WrongTag { tag } => write!(f, "tag {tag} means nothing: its link holds no digest"),
            Self::MissingReferrer { subject, referrer } => {
                write!(f, "manifest {referrer} is not in the list of referrers of {subject}")
            }
            Self::ReferrerToNowhere { subject, referrer } => {
                write!(f, "the list of referrers of {subject} names {referrer}, which does not refer to it")
            }
            Self::Unlinked { blob } => write!(f, "no repository has blob {blob}"),
            Self::HalfUpload { upload } => write!(f, "nobody can go on with upload {upload}"),
            Self::HalfWritten { file } => write!(f, "temporary file {file} was left behind"),
            Self::StaleRequest { request } => write!(f, "request {request} to the server was left behind"),
            Self::StrangeTrash { entry } => write!(f, "{entry} in the trash is no blob"),
            Self::StrangeFolder { folder } => write!(f, "{folder:?} is no name of a repository"),
        }
    }
}
