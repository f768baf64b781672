//! Marks the content that a repository needs: everything reachable from its tags and kept manifests through the digests
//! that documents name.
//!
//! Invariant: no edge of the graph depends on the role that a document gives a digest. A named digest is kept, as
//! manifest and as blob; and a referrer (a signature, an SBOM) of kept content is kept.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    GcRun,
    repository_graph::{RepositoryGraph, UnreadableRepository},
};
use crate::{Untagged, locks::PutCount};
use portcullis_oci::{Digest, RepositoryName};
use portcullis_storage::Stat;

/// The content that a repository needs at one moment.
#[derive(Debug)]
pub(super) struct MarkResult {
    /// The manifests and blobs that are kept.
    pub(super) kept: HashSet<Digest>,
    /// Digests that kept manifests name and the repository does not have; their bytes are kept, if they are in the
    /// store.
    pub(super) missing: HashSet<Digest>,
    /// The manifests to remove, each before those that it names, so that wherever a sweep stops, the rest is
    /// complete.
    pub(super) to_remove: Vec<Digest>,
    /// The number of manifest puts when the marking began; a manifest that is put later may name anything.
    pub(super) put_count: PutCount,
}

impl GcRun<'_> {
    /// Marks the repository, and reads only documents that `contents` does not have yet.
    pub(super) async fn mark(
        &self,
        name: &RepositoryName,
        contents: &mut RepositoryGraph,
    ) -> Result<MarkResult, UnreadableRepository> {
        let engine = &*self.registry.engine;
        // Under the lock, so that no put is half-done: a manifest counted before is in the lists, one counted later
        // is noticed.
        let puts = engine.repositories.lock(name).await.put_count();
        contents.refresh(engine, name, self.is_dry_run).await?;
        let roots: Vec<Digest> = contents
            .revisions
            .iter()
            .filter(|(digest, link)| contents.tagged.contains(digest) || self.keeps_untagged(*link))
            .map(|(digest, _)| *digest)
            .collect();
        let mut closure = ReachabilityWalk::new(contents, roots);
        loop {
            closure.expand(contents);
            let blobs = std::mem::take(&mut closure.unread_documents);
            if blobs.is_empty() {
                break;
            }
            contents.read_blobs(engine, &blobs).await?;
            for blob in blobs {
                closure.follow(&blob, contents);
            }
        }
        let (kept, missing) = (closure.kept, closure.missing);
        let unkept = contents.revisions.iter().map(|(digest, _)| *digest).filter(|digest| !kept.contains(digest));
        let unkept = parents_first(unkept.collect(), |digest| named_by(contents, digest));
        Ok(MarkResult { kept, missing, to_remove: unkept, put_count: puts })
    }

    /// Whether the policy keeps an untagged manifest with this link.
    fn keeps_untagged(&self, link: Stat) -> bool {
        match self.registry.engine.config.gc.untagged {
            Untagged::Keep => true,
            Untagged::DeleteAfter(age) => {
                let grace = self.registry.engine.config.gc.grace_period;
                link.age(self.now) <= age.max(grace)
            }
        }
    }
}

/// The digests that a document names; none if it was not read.
fn named_by<'a>(contents: &'a RepositoryGraph, digest: &Digest) -> &'a [Digest] {
    contents.document(digest).map_or(&[], |document| &document.names)
}

/// A walk through everything that is named, which continues whenever more documents were read.
struct ReachabilityWalk {
    revisions: HashSet<Digest>,
    layers: HashSet<Digest>,
    referrers: HashMap<Digest, Vec<Digest>>,
    kept: HashSet<Digest>,
    missing: HashSet<Digest>,
    pending: Vec<Digest>,
    /// Digests that are kept and whose documents were not read yet.
    unread_documents: Vec<Digest>,
}

impl ReachabilityWalk {
    fn new(contents: &RepositoryGraph, roots: Vec<Digest>) -> Self {
        let digests = |links: &[(Digest, Stat)]| links.iter().map(|(digest, _)| *digest).collect();
        let mut referrers: HashMap<Digest, Vec<Digest>> = HashMap::new();
        for (referrer, _) in &contents.revisions {
            for subject in contents.document(referrer).into_iter().flat_map(|document| &document.subjects) {
                referrers.entry(*subject).or_default().push(*referrer);
            }
        }
        Self {
            revisions: digests(&contents.revisions),
            layers: digests(&contents.layers),
            referrers,
            kept: HashSet::new(),
            missing: HashSet::new(),
            pending: roots,
            unread_documents: Vec::new(),
        }
    }

    /// Follows all pending digests, as far as the documents in `contents` reach.
    fn expand(&mut self, contents: &RepositoryGraph) {
        while let Some(digest) = self.pending.pop() {
            if !self.revisions.contains(&digest) && !self.layers.contains(&digest) {
                self.missing.insert(digest);
            } else if self.kept.insert(digest) {
                self.pending.extend(self.referrers.get(&digest).into_iter().flatten());
                self.follow(&digest, contents);
            }
        }
    }

    /// Adds the digests that a document names to the pending ones, or records that it was not read.
    fn follow(&mut self, digest: &Digest, contents: &RepositoryGraph) {
        let Some(document) = contents.document(digest) else {
            self.unread_documents.push(*digest);
            return;
        };
        // Of a blob, only digests of this repository count: an image configuration names the unpacked layers
        // (`diff_ids`), which no store has.
        let is_manifest = self.revisions.contains(digest);
        let counts = |name: &&Digest| is_manifest || self.revisions.contains(*name) || self.layers.contains(*name);
        self.pending.extend(document.names.iter().filter(counts));
    }
}

/// Orders manifests so that each comes before those that it names, and by digest where that leaves a choice.
fn parents_first<'a>(mut left: BTreeSet<Digest>, names: impl Fn(&Digest) -> &'a [Digest]) -> Vec<Digest> {
    let mut parents: HashMap<Digest, usize> = HashMap::new();
    for child in left.iter().flat_map(&names) {
        *parents.entry(*child).or_default() += 1;
    }
    let mut open: BTreeSet<Digest> = left.iter().filter(|digest| !parents.contains_key(digest)).copied().collect();
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(digest) = open.pop_first() {
        left.remove(&digest);
        ordered.push(digest);
        for child in names(&digest) {
            let count = parents.entry(*child).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 && left.contains(child) {
                open.insert(*child);
            }
        }
    }
    // No document can name itself, directly or through others: that would take a hash collision.
    ordered.extend(left);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_oci::Algorithm;

    fn digest(name: &str) -> Digest {
        Digest::compute(Algorithm::Sha256, name.as_bytes())
    }

    #[test]
    fn what_goes_goes_before_its_children() {
        let named = |names: &[&str]| names.iter().map(|name| digest(name)).collect::<Vec<_>>();
        let graph = HashMap::from([
            (digest("outer"), named(&["inner", "image", "kept"])),
            (digest("inner"), named(&["image", "other"])),
            (digest("image"), named(&[])),
            (digest("other"), named(&[])),
        ]);
        let unkept = parents_first(graph.keys().copied().collect(), |digest| &graph[digest]);
        let place = |name: &str| unkept.iter().position(|found| *found == digest(name)).unwrap();
        assert_eq!(unkept.len(), 4);
        assert!(place("outer") < place("inner"));
        assert!(place("inner") < place("image") && place("inner") < place("other"));
    }
}
