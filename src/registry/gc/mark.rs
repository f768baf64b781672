//! Marking: which manifests of a repository are kept, and which blobs they need.
//!
//! Invariant: a document that we cannot read keeps everything that looks like a digest in it; being wrong on that side costs
//! space, on the other an image.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::Collection;
use crate::{
    oci::{Digest, Manifest, RepositoryName},
    registry::{
        Engine, Error, Untagged,
        layout::{Folder, Key, quarantine},
        links,
    },
    storage::Stat,
};

/// What of a repository is needed.
#[derive(Debug, Default)]
pub(super) struct Marked {
    /// The manifests that stay.
    pub(super) manifests: HashSet<Digest>,
    /// The manifests that nothing keeps, each before its children: however far a sweep comes, what is left is whole.
    pub(super) unkept: Vec<Digest>,
    /// The blobs that manifests that stay refer to.
    pub(super) blobs: HashSet<Digest>,
    /// Whether a manifest could not be read, so that nobody knows what it refers to.
    pub(super) is_partial: bool,
}

/// What a manifest refers to.
#[derive(Debug, Default)]
struct References {
    children: Vec<Digest>,
    subject: Option<Digest>,
    blobs: Vec<Digest>,
}

impl Collection<'_> {
    pub(super) async fn mark(&self, name: &RepositoryName) -> Result<Marked, Error> {
        let engine = &*self.registry.engine;
        let tagged = tagged(engine, name).await?;
        let mut references = HashMap::new();
        let mut roots = Vec::new();
        let revisions = links::list(&*engine.store, |algorithm| Folder::Revisions(name, algorithm).path()).await?;
        let mut is_partial = misses_a_manifest(engine, name, &revisions).await?;
        for (digest, link) in revisions {
            let found = if self.is_dry { engine.peek_blob(&digest).await? } else { engine.open_blob(&digest).await? };
            let Some(document) = found else {
                is_partial = true;
                continue;
            };
            let document = document.read(Manifest::MAX as u64).await?;
            references.insert(digest, References::of(&document));
            if tagged.contains(&digest) || self.keeps_untagged(link) {
                roots.push(digest);
            }
        }
        Ok(Marked { is_partial, ..close(&references, roots) })
    }

    fn keeps_untagged(&self, link: Stat) -> bool {
        match self.registry.engine.config.gc.untagged {
            Untagged::Keep => true,
            Untagged::DeleteAfter(age) => {
                let grace = self.registry.engine.config.gc.grace;
                link.age(self.now) <= age.max(grace)
            }
        }
    }
}

/// Whether a repair put a manifest away that has not come back since: nobody knows what it referred to, and whoever puts it
/// back must find its layers.
async fn misses_a_manifest(
    engine: &Engine,
    name: &RepositoryName,
    revisions: &[(Digest, Stat)],
) -> Result<bool, Error> {
    let folder = |algorithm| quarantine(&Folder::Revisions(name, algorithm).path());
    let away = links::list(&*engine.store, folder).await?;
    Ok(away.iter().any(|(away, _)| !revisions.iter().any(|(digest, _)| digest == away)))
}

async fn tagged(engine: &Engine, name: &RepositoryName) -> Result<HashSet<Digest>, Error> {
    let mut tagged = HashSet::new();
    for entry in engine.store.list(&Folder::Tags(name).path()).await? {
        let Ok(tag) = entry.name.parse() else { continue };
        tagged.extend(links::read(&*engine.store, Key::TagCurrent(name, &tag)).await?);
    }
    Ok(tagged)
}

impl References {
    fn of(document: &[u8]) -> Self {
        let Ok(manifest) = Manifest::parse(None, document) else {
            let all = digests_in(document);
            return Self { children: all.clone(), subject: None, blobs: all };
        };
        Self {
            children: manifest.manifests.iter().map(|child| child.digest).collect(),
            subject: manifest.subject.as_ref().map(|subject| subject.digest),
            // Layers that could be fetched elsewhere as well: if they are here, somebody put them here.
            blobs: manifest.config.iter().chain(&manifest.layers).map(|blob| blob.digest).collect(),
        }
    }
}

/// Everything in a text that looks like a digest.
fn digests_in(document: &[u8]) -> Vec<Digest> {
    let text = String::from_utf8_lossy(document);
    let word = |character: char| !character.is_ascii_alphanumeric() && character != ':';
    text.split(word).filter_map(|word| word.parse().ok()).collect()
}

/// From the roots down to children, up to subjects, and on to referrers, until nothing is added.
fn close(references: &HashMap<Digest, References>, roots: Vec<Digest>) -> Marked {
    let mut referrers: HashMap<Digest, Vec<Digest>> = HashMap::new();
    for (digest, refers) in references {
        if let Some(subject) = refers.subject {
            referrers.entry(subject).or_default().push(*digest);
        }
    }
    let mut marked = Marked::default();
    let mut open = roots;
    while let Some(digest) = open.pop() {
        let Some(refers) = references.get(&digest) else { continue };
        if marked.manifests.insert(digest) {
            open.extend(&refers.children);
            open.extend(refers.subject);
            open.extend(referrers.get(&digest).into_iter().flatten());
            marked.blobs.extend(&refers.blobs);
        }
    }
    let unkept = references.keys().filter(|digest| !marked.manifests.contains(digest)).copied().collect();
    marked.unkept = parents_first(references, unkept);
    marked
}

/// Puts each of these before its children, and in the order of their digests where that leaves a choice.
fn parents_first(references: &HashMap<Digest, References>, mut left: BTreeSet<Digest>) -> Vec<Digest> {
    let children = |digest: &Digest| references.get(digest).map_or(&[] as &[Digest], |refers| &refers.children);
    let mut parents: HashMap<Digest, usize> = HashMap::new();
    for child in left.iter().flat_map(children) {
        *parents.entry(*child).or_default() += 1;
    }
    let mut open: BTreeSet<Digest> = left.iter().filter(|digest| !parents.contains_key(digest)).copied().collect();
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(digest) = open.pop_first() {
        left.remove(&digest);
        ordered.push(digest);
        for child in children(&digest) {
            let count = parents.entry(*child).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 && left.contains(child) {
                open.insert(*child);
            }
        }
    }
    // Nothing can be its own descendant, unless it was not read as what it is.
    ordered.extend(left);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    fn digest(name: &str) -> Digest {
        Digest::of(Algorithm::Sha256, name.as_bytes())
    }

    fn refers(children: &[&str], subject: Option<&str>, blobs: &[&str]) -> References {
        let all = |names: &[&str]| names.iter().map(|name| digest(name)).collect();
        References { children: all(children), subject: subject.map(digest), blobs: all(blobs) }
    }

    fn names(digests: impl IntoIterator<Item = Digest>, of: &[&'static str]) -> Vec<&'static str> {
        let digests: HashSet<_> = digests.into_iter().collect();
        of.iter().filter(|name| digests.contains(&digest(name))).copied().collect()
    }

    #[test]
    fn children_subjects_and_referrers_of_what_is_kept_are_kept() {
        let graph = HashMap::from([
            (digest("index"), refers(&["child"], None, &[])),
            (digest("child"), refers(&[], None, &["layer"])),
            (digest("signature"), refers(&[], Some("child"), &["signed"])),
            (digest("of signature"), refers(&[], Some("signature"), &[])),
            (digest("lonely"), refers(&[], Some("gone"), &["loose"])),
        ]);
        let all = ["index", "child", "signature", "of signature", "lonely", "layer", "signed", "loose"];
        let marked = close(&graph, vec![digest("index")]);
        assert_eq!(names(marked.manifests, &all), ["index", "child", "signature", "of signature"]);
        assert_eq!(names(marked.blobs, &all), ["layer", "signed"]);
        assert_eq!(names(marked.unkept, &all), ["lonely"]);
        let marked = close(&graph, vec![digest("signature")]);
        assert_eq!(names(marked.manifests, &all), ["child", "signature", "of signature"], "a subject is kept as well");
    }

    #[test]
    fn what_goes_goes_before_its_children() {
        let graph = HashMap::from([
            (digest("outer"), refers(&["inner", "image", "kept"], None, &[])),
            (digest("inner"), refers(&["image", "other"], None, &[])),
            (digest("image"), refers(&[], None, &[])),
            (digest("other"), refers(&[], None, &[])),
            (digest("kept"), refers(&[], None, &[])),
        ]);
        let unkept = close(&graph, vec![digest("kept")]).unkept;
        let place = |name: &str| unkept.iter().position(|found| *found == digest(name)).unwrap();
        assert_eq!(unkept.len(), 4);
        assert!(place("outer") < place("inner"));
        assert!(place("inner") < place("image") && place("inner") < place("other"));
    }

    #[test]
    fn a_document_that_cannot_be_read_keeps_every_digest_in_it() {
        let layer = digest("layer");
        let schema_1 = format!(r#"{{"schemaVersion":1,"fsLayers":[{{"blobSum":"{layer}"}}]}}"#);
        assert_eq!(References::of(schema_1.as_bytes()).blobs, [layer]);
    }
}
