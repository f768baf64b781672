//! Holds the names of all repositories in byte order, in chunks that versions of the list share.
//!
//! A request works on the version that was current when it began, without a lock; a change replaces only the chunks
//! that it concerns.
//!
//! Invariant: the names of a chunk, and of all chunks one after the other, are in byte order.

use std::sync::Arc;

use portcullis_oci::RepositoryName;

/// An immutable list of repository names. Cloning it is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct RepositoryNames {
    /// None of the chunks is empty.
    chunks: Arc<[Arc<[RepositoryName]>]>,
}

impl RepositoryNames {
    pub(super) fn from_chunks(chunks: impl Iterator<Item = Arc<[RepositoryName]>>) -> Self {
        Self { chunks: chunks.filter(|chunk| !chunk.is_empty()).collect() }
    }

    /// All names.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &RepositoryName> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The names that come after `last`.
    pub(super) fn after(&self, last: &str) -> impl Iterator<Item = &RepositoryName> {
        self.split(move |name| name.as_str() <= last).1
    }

    /// The names for which `is_before` is true, and the others. It must be true for none after the first for which it
    /// is false.
    pub(super) fn split(
        &self,
        is_before: impl Fn(&RepositoryName) -> bool,
    ) -> (impl DoubleEndedIterator<Item = &RepositoryName>, impl Iterator<Item = &RepositoryName>) {
        // The first chunk with a name for which it is false.
        let index = self.chunks.partition_point(|chunk| chunk.last().is_some_and(&is_before));
        let (before, rest) = self.chunks.split_at(index);
        let (middle, after) = rest.split_first().map_or((&[] as &[_], rest), |(middle, after)| (&**middle, after));
        let (earlier, later) = middle.split_at(middle.partition_point(is_before));
        (
            before.iter().flat_map(|chunk| chunk.iter()).chain(earlier),
            later.iter().chain(after.iter().flat_map(|chunk| chunk.iter())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(chunks: &[&[&str]]) -> RepositoryNames {
        let chunk = |names: &&[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        RepositoryNames::from_chunks(chunks.iter().map(chunk))
    }

    #[test]
    fn a_list_is_divided_at_any_name_whatever_its_chunks_are() {
        let all = ["a", "b", "b/c", "d", "e"];
        for chunks in [
            &[&all[..]][..],
            &[&all[..2], &all[2..]],
            &[&[], &all[..3], &[], &all[3..], &[]],
            &[&all[..1], &all[1..2], &all[2..3], &all[3..4], &all[4..]],
        ] {
            let list = names(chunks);
            assert_eq!(list.iter().map(RepositoryName::as_str).collect::<Vec<_>>(), all);
            for at in ["0", "a", "aa", "b", "b/c", "c", "d", "e", "f"] {
                let expected: Vec<&str> = all.into_iter().filter(|name| *name > at).collect();
                assert_eq!(list.after(at).map(RepositoryName::as_str).collect::<Vec<_>>(), expected, "{chunks:?} {at}");
                let (before, after) = list.split(|name| name.as_str() <= at);
                assert_eq!(before.count() + after.count(), all.len());
            }
        }
        assert_eq!(names(&[]).after("a").count(), 0);
    }
}
