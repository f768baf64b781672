//! Maps every object of the registry to its path in the store: the layout of registry:2, with Portcullis's own files
//! beside it.
//!
//! Invariant: every path that the engine uses is the [`path`](ObjectKey::path) of an [`ObjectKey`] or a [`DirKey`],
//! made of parsed names, digests and tags; other modules only append the names of listed entries.
//!
//! ```text
//! docker/registry/v2/
//!   blobs/<algorithm>/<first two hex>/<hex>/data            the bytes, once for all repositories
//!   repositories/<name>/
//!     _layers/<algorithm>/<hex>/link                        the repository has the blob
//!     _manifests/revisions/<algorithm>/<hex>/link           the repository has the manifest
//!     _manifests/tags/<tag>/current/link                    the manifest that the tag points to
//!     _manifests/tags/<tag>/index/<algorithm>/<hex>/link    a manifest that the tag ever pointed to
//!     _uploads/<uuid>/{data,startedat}                      an upload: its bytes and its start
//!     _uploads/<uuid>/session                               Portcullis: owner, offset and hash state of the upload
//!     _referrers/<algorithm>/<hex>/<algorithm>/<hex>/link   Portcullis: a manifest that refers to the subject
//! ```
//!
//! Portcullis's own folder beside it:
//!
//! ```text
//! portcullis/
//!   trash/<algorithm>/<hex>                                 a blob that is not needed, until its trash period is over
//!   quarantine/<path>                                       an object that a repair moved away, at its former path
//!   credentials/                                            access tokens and refresh tokens: see `auth::grants`
//!   lock                                                    locked by the process that changes the data
//!   clean                                                   the last process that changed the data ended cleanly
//!   admin.sock                                              the socket on which a server accepts requests of commands
//!   tmp/                                                    the store's temporary files
//! ```
//!
//! A link holds the digest as text, without a newline. CNCF Distribution ignores entries that begin with `_` and are
//! not its own.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use portcullis_oci::{Algorithm, Digest, RepositoryName, Tag};
use portcullis_storage::{self as storage, StorePath};

/// The folder of a repository's manifests and tags.
pub(super) const MANIFESTS_DIR: &str = "_manifests";
/// The folder of a repository's links to layers and configs.
pub(super) const LAYERS_DIR: &str = "_layers";
/// The folder of a repository's unfinished uploads.
pub(super) const UPLOADS_DIR: &str = "_uploads";
const REFERRERS_DIR: &str = "_referrers";

const ROOT: &str = "docker/registry/v2";
const TRASH: &str = "portcullis/trash";
const QUARANTINE: &str = "portcullis/quarantine";

/// The folder below `portcullis` in which earlier versions stored the requests of commands.
pub(super) const OBSOLETE_REQUESTS: &str = "requests";

/// An object of the layout.
#[derive(Clone, Copy, Debug)]
pub(super) enum ObjectKey<'a> {
    Blob(&'a Digest),
    LayerLink(&'a RepositoryName, &'a Digest),
    RevisionLink(&'a RepositoryName, &'a Digest),
    TagCurrent(&'a RepositoryName, &'a Tag),
    TagIndex(&'a RepositoryName, &'a Tag, &'a Digest),
    UploadData(&'a RepositoryName, UploadId),
    UploadStarted(&'a RepositoryName, UploadId),
    UploadSession(&'a RepositoryName, UploadId),
    ReferrerLink { repository: &'a RepositoryName, subject: &'a Digest, referrer: &'a Digest },
    Trash(&'a Digest),
}

impl ObjectKey<'_> {
    pub(super) fn path(self) -> StorePath {
        match self {
            Self::Blob(digest) => {
                let hex = digest.hex();
                parse_path(&format!("{ROOT}/blobs/{}/{}/{hex}/data", digest.algorithm(), &hex[..2]))
            }
            Self::LayerLink(name, digest) => {
                parse_path(&format!("{}/{LAYERS_DIR}/{}/link", repository_folder(name), digest_path(digest)))
            }
            Self::RevisionLink(name, digest) => parse_path(&format!(
                "{}/{MANIFESTS_DIR}/revisions/{}/link",
                repository_folder(name),
                digest_path(digest)
            )),
            Self::TagCurrent(name, tag) => parse_path(&format!("{}/current/link", tag_folder(name, tag))),
            Self::TagIndex(name, tag, digest) => {
                parse_path(&format!("{}/index/{}/link", tag_folder(name, tag), digest_path(digest)))
            }
            Self::UploadData(name, id) => parse_path(&format!("{}/data", upload_folder(name, id))),
            Self::UploadStarted(name, id) => parse_path(&format!("{}/startedat", upload_folder(name, id))),
            Self::UploadSession(name, id) => parse_path(&format!("{}/session", upload_folder(name, id))),
            Self::ReferrerLink { repository, subject, referrer } => {
                parse_path(&format!("{}/{}/link", referrers_folder(repository, subject), digest_path(referrer)))
            }
            Self::Trash(digest) => parse_path(&format!("{TRASH}/{}", digest_path(digest))),
        }
    }
}

/// A folder of the layout.
#[derive(Clone, Copy, Debug)]
pub(super) enum DirKey<'a> {
    Repositories,
    Repository(&'a RepositoryName),
    Tags(&'a RepositoryName),
    Tag(&'a RepositoryName, &'a Tag),
    Upload(&'a RepositoryName, UploadId),
    Subjects(&'a RepositoryName, Algorithm),
    Referrers(&'a RepositoryName, &'a Digest),
    Blobs(Algorithm),
    Layers(&'a RepositoryName, Algorithm),
    Revisions(&'a RepositoryName, Algorithm),
    Uploads(&'a RepositoryName),
    TrashRoot,
    Trash(Algorithm),
    Temporaries,
    Portcullis,
    ObsoleteRequests,
}

impl DirKey<'_> {
    pub(super) fn path(self) -> StorePath {
        match self {
            Self::Repositories => parse_path(&format!("{ROOT}/repositories")),
            Self::Repository(name) => parse_path(&repository_folder(name)),
            Self::Tags(name) => parse_path(&format!("{}/{MANIFESTS_DIR}/tags", repository_folder(name))),
            Self::Tag(name, tag) => parse_path(&tag_folder(name, tag)),
            Self::Upload(name, id) => parse_path(&upload_folder(name, id)),
            Self::Subjects(name, algorithm) => {
                parse_path(&format!("{}/{REFERRERS_DIR}/{algorithm}", repository_folder(name)))
            }
            Self::Referrers(name, subject) => parse_path(&referrers_folder(name, subject)),
            Self::Blobs(algorithm) => parse_path(&format!("{ROOT}/blobs/{algorithm}")),
            Self::Layers(name, algorithm) => {
                parse_path(&format!("{}/{LAYERS_DIR}/{algorithm}", repository_folder(name)))
            }
            Self::Revisions(name, algorithm) => {
                parse_path(&format!("{}/{MANIFESTS_DIR}/revisions/{algorithm}", repository_folder(name)))
            }
            Self::Uploads(name) => parse_path(&format!("{}/{UPLOADS_DIR}", repository_folder(name))),
            Self::TrashRoot => parse_path(TRASH),
            Self::Trash(algorithm) => parse_path(&format!("{TRASH}/{algorithm}")),
            Self::Temporaries => parse_path(storage::TEMP_DIR),
            Self::Portcullis => parse_path("portcullis"),
            Self::ObsoleteRequests => parse_path(&format!("portcullis/{OBSOLETE_REQUESTS}")),
        }
    }
}

/// The folder that contains all repositories.
#[must_use]
pub fn repositories_path() -> StorePath {
    DirKey::Repositories.path()
}

/// The folders into which objects are moved, from each other or from the store's temporary files. A store whose
/// folders are on several file systems cannot move objects into some of them.
#[must_use]
pub fn move_targets() -> Vec<StorePath> {
    // Parents come before their children, which are usually on the same file system.
    let algorithms = Algorithm::ALL.iter().map(|algorithm| DirKey::Blobs(*algorithm).path());
    let own = [TRASH, QUARANTINE, "portcullis/credentials"].map(parse_path);
    let shared = [parse_path(ROOT), parse_path(&format!("{ROOT}/blobs")), DirKey::Repositories.path()];
    shared.into_iter().chain(algorithms).chain(own).collect()
}

/// The path in the quarantine for an object that a repair moves away from `path`. To restore it, copy one tree over
/// the other.
pub(super) fn quarantine(path: &StorePath) -> StorePath {
    self::parse_path(&format!("{QUARANTINE}/{path}"))
}

/// The path of a link below the folder of its digest.
pub(super) fn link_leaf() -> StorePath {
    parse_path("link")
}

/// The path of a tag's current link below the folder of the tag.
pub(super) fn current_link_leaf() -> StorePath {
    parse_path("current/link")
}

fn repository_folder(name: &RepositoryName) -> String {
    format!("{ROOT}/repositories/{name}")
}

fn tag_folder(name: &RepositoryName, tag: &Tag) -> String {
    format!("{}/{MANIFESTS_DIR}/tags/{tag}", repository_folder(name))
}

fn upload_folder(name: &RepositoryName, id: UploadId) -> String {
    format!("{}/{UPLOADS_DIR}/{id}", repository_folder(name))
}

fn referrers_folder(name: &RepositoryName, subject: &Digest) -> String {
    format!("{}/{REFERRERS_DIR}/{}", repository_folder(name), digest_path(subject))
}

fn digest_path(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm(), digest.hex())
}

fn parse_path(text: &str) -> StorePath {
    text.parse().expect("names, tags, digests and upload ids are made of safe path components")
}

/// The identifier of an upload session: as in registry:2, a UUID in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UploadId(Uuid);

impl UploadId {
    /// Makes a new random identifier, which cannot be guessed.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        let id = Self(Uuid::try_parse(text).map_err(|_| InvalidUploadId)?);
        // `Uuid` accepts several spellings; a session has one.
        if id.to_string() == text { Ok(id) } else { Err(InvalidUploadId) }
    }
}

/// The error for a text that is not the identifier of an upload session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an upload identifier: it must be a UUID in lower case")]
pub struct InvalidUploadId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_one_spelling() {
        let id = UploadId::random().to_string();
        assert!(id.parse::<UploadId>().is_ok());
        for other in [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), "..".into(), String::new()] {
            assert!(other.parse::<UploadId>().is_err(), "{other}");
        }
    }

    #[test]
    fn the_layout_is_registry_2s() {
        let name: RepositoryName = "team/app".parse().unwrap();
        let tag: Tag = "v1".parse().unwrap();
        let digest: Digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let hex = digest.hex();
        assert_eq!(ObjectKey::Blob(&digest).path().as_str(), format!("docker/registry/v2/blobs/sha256/ab/{hex}/data"));
        for (path, rest) in [
            (ObjectKey::LayerLink(&name, &digest).path(), format!("_layers/sha256/{hex}/link")),
            (ObjectKey::RevisionLink(&name, &digest).path(), format!("_manifests/revisions/sha256/{hex}/link")),
            (ObjectKey::TagCurrent(&name, &tag).path(), "_manifests/tags/v1/current/link".to_owned()),
            (ObjectKey::TagIndex(&name, &tag, &digest).path(), format!("_manifests/tags/v1/index/sha256/{hex}/link")),
        ] {
            assert_eq!(path.as_str(), format!("docker/registry/v2/repositories/team/app/{rest}"));
        }
    }
}
