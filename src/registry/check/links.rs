//! The links: tags, manifests, layers and referrers of each repository.

use std::collections::HashSet;

use super::{Check, Damage};
use crate::{
    oci::{Digest, Manifest, RepositoryName, Tag},
    registry::{
        Error,
        layout::{Folder, Key},
        links,
    },
};

impl Check<'_> {
    /// Examines every repository, and says which blobs they link to.
    pub(super) async fn examine_repositories(&mut self) -> Result<HashSet<Digest>, Error> {
        let mut linked = HashSet::new();
        for name in self.registry.repository_folders().await? {
            let engine = self.registry.engine.clone();
            let _alone = engine.repositories.lock(&name).await;
            let layers = self.layers(&name).await?;
            let manifests = self.manifests(&name, &layers).await?;
            self.tags(&name, &manifests).await?;
            linked.extend(layers);
            linked.extend(manifests);
        }
        Ok(linked)
    }

    async fn layers(&mut self, name: &RepositoryName) -> Result<HashSet<Digest>, Error> {
        let engine = self.registry.engine.clone();
        let listed = links::list(&*engine.store, |algorithm| Folder::Layers(name, algorithm).path()).await?;
        for (blob, _) in &listed {
            if engine.stat_blob(blob).await?.is_none() {
                self.note(Some(name), Damage::LinkToNowhere { blob: *blob }, false);
            }
        }
        Ok(listed.into_iter().map(|(blob, _)| blob).collect())
    }

    async fn manifests(&mut self, name: &RepositoryName, layers: &HashSet<Digest>) -> Result<HashSet<Digest>, Error> {
        let engine = self.registry.engine.clone();
        let listed = links::list(&*engine.store, |algorithm| Folder::Revisions(name, algorithm).path()).await?;
        let all: HashSet<Digest> = listed.iter().map(|(digest, _)| *digest).collect();
        for (digest, _) in listed {
            let Some(object) = engine.open_blob(&digest).await? else {
                self.note(Some(name), Damage::ManifestToNowhere { manifest: digest }, false);
                continue;
            };
            let document = object.read(Manifest::MAX as u64).await?;
            // What another registry took in and we cannot read is not for us to judge.
            let Ok(manifest) = Manifest::parse(None, &document) else { continue };
            self.references(name, digest, &manifest, layers, &all);
            self.referrer(name, digest, &manifest).await?;
        }
        Ok(all)
    }

    fn references(
        &mut self,
        name: &RepositoryName,
        digest: Digest,
        manifest: &Manifest,
        layers: &HashSet<Digest>,
        manifests: &HashSet<Digest>,
    ) {
        if self.registry.engine.config.sparse_manifests {
            return;
        }
        let blobs = manifest.blobs().map(|blob| blob.digest).filter(|blob| !layers.contains(blob));
        let children = manifest.manifests.iter().map(|child| child.digest).filter(|child| !manifests.contains(child));
        for content in blobs.chain(children).collect::<Vec<_>>() {
            self.note(Some(name), Damage::MissingReference { manifest: digest, content }, false);
        }
    }

    async fn referrer(&mut self, name: &RepositoryName, referrer: Digest, manifest: &Manifest) -> Result<(), Error> {
        let Some(subject) = manifest.subject.as_ref().map(|subject| subject.digest) else { return Ok(()) };
        let store = &*self.registry.engine.store;
        let link = Key::ReferrerLink { repository: name, subject: &subject, referrer: &referrer };
        if links::exists(store, link).await? {
            return Ok(());
        }
        if self.repairs {
            links::write(store, link, &referrer).await?;
        }
        self.note(Some(name), Damage::MissingReferrer { subject, referrer }, self.repairs);
        Ok(())
    }

    async fn tags(&mut self, name: &RepositoryName, manifests: &HashSet<Digest>) -> Result<(), Error> {
        let engine = self.registry.engine.clone();
        for entry in engine.store.list(&Folder::Tags(name).path()).await? {
            let Ok(tag) = entry.name.parse::<Tag>() else { continue };
            let current = Key::TagCurrent(name, &tag);
            let Some(manifest) = links::read(&*engine.store, current).await? else { continue };
            if manifests.contains(&manifest) {
                continue;
            }
            if self.repairs {
                engine.store.publish(&current.path(), &Key::QuarantinedTag(name, &tag).path()).await?;
            }
            self.note(Some(name), Damage::TagToNowhere { tag, manifest }, self.repairs);
        }
        Ok(())
    }
}
