//! Represents sets of repositories as globs that can be compared for overlap and containment.
//!
//! Invariant: [`RepositoryRegion::overlaps`] has no false negatives, [`RepositoryRegion::contains`] no false positives.

use portcullis_access::Glob;

/// The repositories that a glob of words, `*` and `**` matches, as its components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RepositoryRegion(Vec<String>);

/// The wildcard for any number of components.
const ANY_COMPONENTS: &str = "**";

/// The maximum length of a repository's name, in bytes.
const MAX_NAME_LEN: usize = 255;

/// The maximum number of stars in a component of a glob.
const MAX_STARS: usize = 3;

impl RepositoryRegion {
    /// The region of all repositories, `**`.
    pub(super) fn everything() -> Self {
        Self(vec![ANY_COMPONENTS.to_owned()])
    }

    /// The region of these components, of which the last may be `**`; `None` if no repository can have such a name.
    pub(super) fn new(components: Vec<String>) -> Option<Self> {
        let is_possible = |component: &String| {
            component == ANY_COMPONENTS
                || (!component.is_empty()
                    && component.len() <= 2 * MAX_NAME_LEN + 1
                    && component.bytes().all(|byte| {
                        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-' | b'*')
                    })
                    && !component.starts_with(['.', '_', '-'])
                    && !component.ends_with(['.', '_', '-']))
        };
        let is_all = components == ["*", ANY_COMPONENTS];
        let components = if is_all { vec![ANY_COMPONENTS.to_owned()] } else { components };
        (!components.is_empty() && components.iter().all(is_possible)).then_some(Self(components))
    }

    /// Whether some component has more stars than a glob may have.
    pub(super) fn has_too_many_stars(&self) -> bool {
        self.0.iter().any(|component| component != ANY_COMPONENTS && component.matches('*').count() > MAX_STARS)
    }

    /// A region that contains this one and that a glob can express.
    pub(super) fn widened(mut self) -> Self {
        for component in self.0.iter_mut().filter(|component| *component != ANY_COMPONENTS) {
            if component.matches('*').count() > MAX_STARS {
                "*".clone_into(component);
            }
        }
        self
    }

    /// The region as a glob; `None` if a glob cannot express it.
    pub(super) fn glob(&self) -> Option<Glob> {
        self.0.join("/").parse().ok()
    }

    /// Whether both regions may share a repository.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        may_intersect(
            &self.0,
            &other.0,
            |part| part == ANY_COMPONENTS,
            |one, other| {
                let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
                may_intersect(&one, &other, |letter| *letter == '*', |one, other| one == other)
            },
        )
    }

    /// Whether every repository of the other region is in this one; false where that is not certain.
    pub(super) fn contains(&self, other: &Self) -> bool {
        covers(
            &self.0,
            &other.0,
            |part| part == ANY_COMPONENTS,
            |wide, narrow| {
                let (wide, narrow): (Vec<char>, Vec<char>) = (wide.chars().collect(), narrow.chars().collect());
                narrow != ['*', '*'] && covers(&wide, &narrow, |letter| *letter == '*', |wide, narrow| wide == narrow)
            },
        )
    }
}

/// Whether some sequence without wildcards matches both of these; a wildcard matches any number of elements.
fn may_intersect<T>(
    one: &[T],
    other: &[T],
    is_wild: impl Fn(&T) -> bool + Copy,
    same: impl Fn(&T, &T) -> bool + Copy,
) -> bool {
    // reached[j]: the elements before i in `one` and before j in `other` can match the same sequence.
    let mut reached = vec![false; other.len() + 1];
    reached[0] = true;
    for (j, part) in other.iter().enumerate() {
        reached[j + 1] = reached[j] && is_wild(part);
    }
    for part in one {
        let mut next = vec![false; other.len() + 1];
        next[0] = reached[0] && is_wild(part);
        for (j, another) in other.iter().enumerate() {
            next[j + 1] = if is_wild(part) || is_wild(another) {
                reached[j + 1] || next[j]
            } else {
                reached[j] && same(part, another)
            };
        }
        reached = next;
    }
    reached[other.len()]
}

/// Whether the first sequence matches every sequence that the second one matches, with wildcards for any number of
/// elements in both.
fn covers<T>(
    wide: &[T],
    narrow: &[T],
    is_wild: impl Fn(&T) -> bool + Copy,
    same: impl Fn(&T, &T) -> bool + Copy,
) -> bool {
    let mut reached = vec![false; narrow.len() + 1];
    reached[0] = true;
    for part in wide {
        let mut next = vec![false; narrow.len() + 1];
        next[0] = reached[0] && is_wild(part);
        for (j, another) in narrow.iter().enumerate() {
            next[j + 1] = if is_wild(part) {
                reached[j + 1] || next[j]
            } else {
                reached[j] && !is_wild(another) && same(part, another)
            };
        }
        reached = next;
    }
    reached[narrow.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use portcullis_access::Principal;

    fn region(text: &str) -> RepositoryRegion {
        RepositoryRegion::new(text.split('/').map(str::to_owned).collect()).unwrap()
    }

    #[test]
    fn regions_overlap_unless_their_words_differ() {
        for (one, other, shared) in [
            ("**", "a", true),
            ("a", "b", false),
            ("a/**", "a", true),
            ("*-x/**", "public/**", false),
            ("*-x/**", "a*/**", true),
            ("*/x", "a/y", false),
            ("a*b", "ab*c", false),
            ("a*b", "*c*b", true),
        ] {
            assert_eq!(region(one).overlaps(&region(other)), shared, "{one} {other}");
            assert_eq!(region(other).overlaps(&region(one)), shared, "{other} {one}");
        }
    }

    #[test]
    fn a_region_contains_another_where_that_is_sure() {
        for (wide, narrow, contained) in [
            ("**", "a/b", true),
            ("a/**", "a", true),
            ("a*/**", "a/**", true),
            ("a*/**", "ab*/c/**", true),
            ("*/**", "a/**", true),
            ("*", "**", false),
            ("a/*", "a/**", false),
            ("a/**", "a*/**", false),
            ("a", "a/**", false),
        ] {
            assert_eq!(region(wide).contains(&region(narrow)), contained, "{wide} {narrow}");
        }
    }

    proptest! {
        #[test]
        fn what_is_said_of_two_regions_holds_for_every_name(
            one in "(\\*|a|b|a\\*|\\*b|a\\*b)(/(\\*|a|b|\\*a)){0,2}(/\\*\\*)?",
            other in "(\\*|a|b|a\\*|\\*b|a\\*b)(/(\\*|a|b|\\*a)){0,2}(/\\*\\*)?",
            name in "(a|b|ab|aab)(/(a|b|ab)){0,3}",
        ) {
            let matches = |region: &RepositoryRegion| region.glob().unwrap().matches(&Principal::Anonymous, &name.parse().unwrap());
            let (one, other) = (region(&one), region(&other));
            if matches(&one) && matches(&other) {
                prop_assert!(one.overlaps(&other));
            }
            if one.contains(&other) && matches(&other) {
                prop_assert!(matches(&one));
            }
        }
    }
}
