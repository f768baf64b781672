//! Lists the referrers of a manifest: the manifests that name it as their `subject`.
//!
//! Invariant: a listed manifest is in the repository at that moment; entries whose manifest is gone are skipped.
//! However many there are, a listing holds one page and a few documents in memory.

use std::{collections::BTreeMap, pin::pin};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::{
    Error, Repository,
    engine::Engine,
    links,
    paths::{DirKey, ObjectKey},
};
use portcullis_access::Pull;
use portcullis_oci::{
    Algorithm, Descriptor, Digest, ListPage, Manifest, MediaType, RepositoryName, Tag, stored_media_type,
};
use portcullis_storage::StorePath;

/// An entry of the list of referrers (distribution specification, "Listing Referrers").
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// The media type of the referring manifest.
    pub media_type: MediaType,
    /// The digest of the referring manifest.
    pub digest: Digest,
    /// The size of the referring manifest in bytes.
    pub size: u64,
    /// The artifact type of the manifest, or else the media type of its config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// All annotations of the manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Referrer {
    fn has_artifact_type(&self, artifact_type: Option<&str>) -> bool {
        artifact_type.is_none_or(|wanted| self.artifact_type.as_deref() == Some(wanted))
    }

    /// The number of bytes that the entry adds to a JSON list, with the comma.
    fn json_len(&self) -> usize {
        serde_json::to_vec(self).map_or(0, |text| text.len() + 1)
    }
}

impl Referrer {
    /// The entry that a client listed itself; `None` if it lacks the media type or the size.
    fn from_descriptor(entry: Descriptor) -> Option<Self> {
        let Descriptor { media_type, digest, size, artifact_type, annotations, .. } = entry;
        Some(Self { media_type: media_type?.parse().ok()?, digest, size: size?, artifact_type, annotations })
    }
}

impl Engine {
    /// Every manifest in the list of `subject`'s referrers, whether or not the repository has it.
    pub(super) async fn linked_referrers(&self, name: &RepositoryName, subject: &Digest) -> Result<Vec<Digest>, Error> {
        let listed = links::list(&*self.store, list_folder(name, subject)).await?;
        Ok(listed.into_iter().map(|(digest, _)| digest).collect())
    }
}

/// The folders of the list of a subject's referrers, by the algorithm of the referrers' digests.
pub(super) fn list_folder(name: &RepositoryName, subject: &Digest) -> impl Fn(Algorithm) -> StorePath {
    let folder = DirKey::Referrers(name, subject).path();
    move |algorithm| folder.join(algorithm.as_str()).expect("an algorithm is a safe path component")
}

/// A filter for a listing of referrers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferrersFilter {
    /// Only manifests of this artifact type.
    pub artifact_type: Option<String>,
    /// Only manifests whose digest is strictly greater than this one.
    pub last: Option<Digest>,
}

/// The maximum size of a page of referrers in bytes of JSON, unless it has a single entry: what clients accept as a
/// manifest.
const MAX_PAGE_LEN: usize = Manifest::MAX_SIZE - 4096;

/// The maximum number of documents that a listing holds in memory.
const MAX_PARALLEL_DOCUMENTS: usize = 4;

impl Repository<Pull> {
    /// A page of the manifests of this repository that refer to `subject`, in the order of their digests. The subject
    /// need not exist. Manifests that a client listed under the fallback tag, for registries without this listing,
    /// are included.
    pub async fn referrers(&self, subject: &Digest, filter: &ReferrersFilter) -> Result<ListPage<Referrer>, Error> {
        let mut candidates = self.referrers_by_tag(subject).await?;
        // The manifest itself takes precedence over an entry that a client listed.
        candidates
            .extend(self.engine.linked_referrers(&self.name, subject).await?.into_iter().map(|found| (found, None)));
        candidates.retain(|digest, _| filter.last.is_none_or(|last| *digest > last));
        let looked = stream::iter(candidates).map(|(digest, listed)| self.resolve_entry(digest, listed));
        let mut looked = pin!(looked.buffered(MAX_PARALLEL_DOCUMENTS));
        let (mut entries, mut length) = (Vec::new(), 0);
        while let Some(found) = looked.try_next().await? {
            let Some(found) = found.filter(|found| found.has_artifact_type(filter.artifact_type.as_deref())) else {
                continue;
            };
            length += found.json_len();
            if length > MAX_PAGE_LEN && !entries.is_empty() {
                return Ok(ListPage { entries, has_more: true });
            }
            entries.push(found);
        }
        Ok(ListPage { entries, has_more: false })
    }

    /// The entry of a manifest, as a client listed it or else as read from the manifest; `None` if the repository
    /// does not have the manifest.
    async fn resolve_entry(&self, digest: Digest, listed: Option<Referrer>) -> Result<Option<Referrer>, Error> {
        let Some(listed) = listed else {
            return Ok(self.manifest_bytes(&digest).await?.map(|document| referrer_from_manifest(digest, &document)));
        };
        let is_here = links::exists(self.store(), ObjectKey::RevisionLink(&self.name, &digest)).await?
            && self.engine.stat_blob(&digest).await?.is_some();
        Ok(is_here.then_some(listed))
    }

    /// The entries of the index under the fallback tag, in which clients list the referrers of `subject` themselves.
    async fn referrers_by_tag(&self, subject: &Digest) -> Result<BTreeMap<Digest, Option<Referrer>>, Error> {
        let tag = Tag::referrers_fallback(subject);
        let Some(digest) = self.resolve_tag(&tag).await? else { return Ok(BTreeMap::new()) };
        let Some(document) = self.manifest_bytes(&digest).await? else { return Ok(BTreeMap::new()) };
        let Ok(index) = Manifest::parse(None, &document) else { return Ok(BTreeMap::new()) };
        Ok(index.manifests.into_iter().map(|entry| (entry.digest, Referrer::from_descriptor(entry))).collect())
    }
}

/// The entry of a manifest, as read from its document.
fn referrer_from_manifest(digest: Digest, document: &[u8]) -> Referrer {
    let size = document.len() as u64;
    let media_type = stored_media_type(document);
    match Manifest::parse(Some(&media_type), document) {
        Ok(manifest) => {
            let artifact_type = manifest.effective_artifact_type().map(ToOwned::to_owned);
            Referrer { media_type, digest, size, artifact_type, annotations: manifest.annotations }
        }
        // Another registry accepted it, and it cannot be parsed here: the entry has neither artifact type nor
        // annotations.
        Err(_) => Referrer { media_type, digest, size, artifact_type: None, annotations: BTreeMap::new() },
    }
}
