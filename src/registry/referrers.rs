//! Referrers: which manifests name a given one as their subject.
//!
//! Invariant: what is listed is in the repository at that moment; an entry whose manifest is gone is passed over. However many
//! there are, a list holds a page and a few documents in memory.

use std::{collections::BTreeMap, pin::pin};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::{
    Engine, Error, Repository,
    layout::{Folder, Key},
    links,
};
use crate::{
    access::Pull,
    oci::{Algorithm, Descriptor, Digest, Manifest, MediaType, Paged, RepositoryName, Tag, stored_media_type},
};

/// An entry of the list of referrers (distribution specification, "Listing Referrers").
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// The media type of the manifest that refers.
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its artifact type: its own, else that of its config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// All of its annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Referrer {
    fn is(&self, artifact_type: Option<&str>) -> bool {
        artifact_type.is_none_or(|wanted| self.artifact_type.as_deref() == Some(wanted))
    }

    /// How many bytes it adds to a list, with the comma.
    fn length(&self) -> usize {
        serde_json::to_vec(self).map_or(0, |text| text.len() + 1)
    }
}

impl Referrer {
    /// What a list of a client says; `None` if it does not say what the manifest is and how large.
    fn listed(entry: Descriptor) -> Option<Self> {
        let Descriptor { media_type, digest, size, artifact_type, annotations, .. } = entry;
        Some(Self { media_type: media_type?.parse().ok()?, digest, size: size?, artifact_type, annotations })
    }
}

impl Engine {
    /// Every manifest that the list of `subject`'s referrers names, whether it is here or not.
    pub(super) async fn linked_referrers(&self, name: &RepositoryName, subject: &Digest) -> Result<Vec<Digest>, Error> {
        let folder = Folder::Referrers(name, subject).path();
        let of = |algorithm: Algorithm| folder.join(algorithm.as_str()).expect("an algorithm is a safe path component");
        Ok(links::list(&*self.store, of).await?.into_iter().map(|(digest, _)| digest).collect())
    }
}

/// Which part of a list of referrers is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referring {
    /// Only those of this artifact type.
    pub artifact_type: Option<String>,
    /// Only those whose digest comes strictly after this one.
    pub last: Option<Digest>,
}

/// How many bytes of JSON a page of referrers has at most, if it has more than one: what clients read of a manifest.
const PAGE: usize = Manifest::MAX - 4096;

/// How many documents are held in memory at a time for one list.
const DOCUMENTS: usize = 4;

impl Repository<Pull> {
    /// A page of the manifests of this repository that refer to `subject`, which need not be here, in the order of their
    /// digests. Those that a client listed under the fallback tag, for a registry without this list, are among them.
    pub async fn referrers(&self, subject: &Digest, wanted: &Referring) -> Result<Paged<Referrer>, Error> {
        let mut candidates = self.referrers_by_tag(subject).await?;
        // What the manifest itself says comes before what somebody else says of it.
        candidates
            .extend(self.engine.linked_referrers(&self.name, subject).await?.into_iter().map(|found| (found, None)));
        candidates.retain(|digest, _| wanted.last.is_none_or(|last| *digest > last));
        let looked = stream::iter(candidates).map(|(digest, listed)| self.entry(digest, listed));
        let mut looked = pin!(looked.buffered(DOCUMENTS));
        let (mut entries, mut length) = (Vec::new(), 0);
        while let Some(found) = looked.try_next().await? {
            let Some(found) = found.filter(|found| found.is(wanted.artifact_type.as_deref())) else { continue };
            length += found.length();
            if length > PAGE && !entries.is_empty() {
                return Ok(Paged { entries, more: true });
            }
            entries.push(found);
        }
        Ok(Paged { entries, more: false })
    }

    /// The entry of a manifest, if it is here: as it was listed under the fallback tag, else as it says itself.
    async fn entry(&self, digest: Digest, listed: Option<Referrer>) -> Result<Option<Referrer>, Error> {
        let Some(listed) = listed else {
            return Ok(self.document(&digest).await?.map(|document| referrer(digest, &document)));
        };
        let is_here = links::exists(self.store(), Key::RevisionLink(&self.name, &digest)).await?
            && self.engine.stat_blob(&digest).await?.is_some();
        Ok(is_here.then_some(listed))
    }

    async fn referrers_by_tag(&self, subject: &Digest) -> Result<BTreeMap<Digest, Option<Referrer>>, Error> {
        let tag = Tag::referrers_fallback(subject);
        let Some(digest) = self.resolve(&tag).await? else { return Ok(BTreeMap::new()) };
        let Some(document) = self.document(&digest).await? else { return Ok(BTreeMap::new()) };
        let Ok(index) = Manifest::parse(None, &document) else { return Ok(BTreeMap::new()) };
        Ok(index.manifests.into_iter().map(|entry| (entry.digest, Referrer::listed(entry))).collect())
    }
}

fn referrer(digest: Digest, document: &[u8]) -> Referrer {
    let size = document.len() as u64;
    let media_type = stored_media_type(document);
    match Manifest::parse(Some(&media_type), document) {
        Ok(manifest) => {
            let artifact_type = manifest.effective_artifact_type().map(ToOwned::to_owned);
            Referrer { media_type, digest, size, artifact_type, annotations: manifest.annotations }
        }
        // Another registry took it in; it is listed with what can be said of it.
        Err(_) => Referrer { media_type, digest, size, artifact_type: None, annotations: BTreeMap::new() },
    }
}
