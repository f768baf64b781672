//! Referrers: which manifests name a given one as their subject.
//!
//! Invariant: what is listed is in the repository at that moment; an entry whose manifest is gone is passed over.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Engine, Error, Repository, layout::Folder, links, manifests::stored_media_type};
use crate::{
    access::Pull,
    oci::{Algorithm, Descriptor, Digest, Manifest, MediaType, RepositoryName, Tag},
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

impl From<Descriptor> for Referrer {
    fn from(entry: Descriptor) -> Self {
        let Descriptor { media_type, digest, size, artifact_type, annotations, .. } = entry;
        Self { media_type, digest, size, artifact_type, annotations }
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

impl Repository<Pull> {
    /// Every manifest of this repository that refers to `subject`, which need not be here, in the order of their digests.
    /// Those that a client listed under the fallback tag, for a registry without this list, are among them.
    pub async fn referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, Error> {
        let mut found = self.referrers_by_tag(subject).await?;
        for digest in self.engine.linked_referrers(&self.name, subject).await? {
            if let Some(document) = self.document(&digest).await? {
                found.insert(digest, referrer(digest, &document));
            }
        }
        Ok(found.into_values().collect())
    }

    async fn referrers_by_tag(&self, subject: &Digest) -> Result<BTreeMap<Digest, Referrer>, Error> {
        let tag = Tag::referrers_fallback(subject);
        let Some(digest) = self.resolve(&tag).await? else { return Ok(BTreeMap::new()) };
        let Some(document) = self.document(&digest).await? else { return Ok(BTreeMap::new()) };
        let Ok(index) = Manifest::parse(None, &document) else { return Ok(BTreeMap::new()) };
        let mut found = BTreeMap::new();
        for entry in index.manifests {
            if self.document(&entry.digest).await?.is_some() {
                found.insert(entry.digest, entry.into());
            }
        }
        Ok(found)
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
