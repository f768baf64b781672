//! Lists the tags of a repository, and resolves a tag to the digest of its manifest.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Error, Repository,
    folder_listing::FolderListing,
    links,
    paths::{DirKey, ObjectKey},
};
use portcullis_access::{Pull, Right};
use portcullis_oci::{Digest, ListPage, PageRequest, Reference, Tag};

impl<A: Right> Repository<A> {
    /// The digest that a tag points to; `None` if there is no such tag.
    pub(super) async fn resolve_tag(&self, tag: &Tag) -> Result<Option<Digest>, Error> {
        Ok(links::read(self.store(), ObjectKey::TagCurrent(&self.name, tag)).await?)
    }

    /// The digest that a reference points to, whether or not the manifest exists. Fails with
    /// [`Error::ManifestUnknown`] if the reference is an unknown tag.
    pub(super) async fn resolve_reference(&self, reference: &Reference) -> Result<Digest, Error> {
        match reference {
            Reference::Digest(digest) => Ok(*digest),
            Reference::Tag(tag) => {
                self.resolve_tag(tag).await?.ok_or_else(|| Error::ManifestUnknown(reference.clone()))
            }
        }
    }

    /// Every tag that points to `digest`, in byte order. Tags with damaged links are skipped.
    pub(super) async fn tags_pointing_to(&self, digest: &Digest) -> Result<Vec<Tag>, Error> {
        let tags = self.engine.listing_cache.tags(self.store(), &self.name).await?;
        let meant = stream::iter(tags.iter().cloned()).map(|tag| async move {
            match self.resolve_tag(&tag).await {
                Ok(meaning) => Ok((meaning == Some(*digest)).then_some(tag)),
                Err(Error::StoreDamaged(_)) => Ok(None),
                Err(error) => Err(error),
            }
        });
        meant.buffered(links::MAX_PARALLEL_READS).try_filter_map(|found| async move { Ok(found) }).try_collect().await
    }
}

impl Repository<Pull> {
    /// A page of the tags, in byte order. Fails with [`Error::NameUnknown`] if the repository does not exist.
    pub async fn tags(&self, page: &PageRequest) -> Result<ListPage<String>, Error> {
        let tags = self.engine.listing_cache.tags(self.store(), &self.name).await?;
        // A repository may exist without tags; one with tags always exists, so it is not looked up.
        if tags.is_empty() && !self.exists().await? {
            return Err(Error::NameUnknown(self.name.clone()));
        }
        let page = page.select(tags.iter().map(Tag::as_str));
        Ok(ListPage { entries: page.entries.into_iter().map(ToOwned::to_owned).collect(), has_more: page.has_more })
    }

    /// Whether the repository exists: whether its folder has a folder of manifests or of layers.
    async fn exists(&self) -> Result<bool, Error> {
        let entries = self.store().list(&DirKey::Repository(&self.name).path()).await?;
        Ok(FolderListing::new(entries).is_repository())
    }
}
