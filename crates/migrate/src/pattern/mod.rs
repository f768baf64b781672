//! Represents patterns of other programs: alternatives of letters and wildcards that match a whole text.

mod globs;

/// The maximum number of alternatives of a pattern.
pub(super) const MAX_ALTERNATIVES: usize = 32;

/// The kind of text that a pattern is matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchSubject {
    /// Repository names, and paths that contain them: only the letters of names matter.
    Repository,
    /// Any text.
    Text,
}

/// A parsed pattern: alternatives, each a sequence of atoms that matches the whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(pub(super) Vec<Vec<Atom>>);

/// One element of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atom {
    Literal(char),
    /// The account name of the caller.
    Account,
    /// Any letters but slashes.
    Within {
        nonempty: bool,
    },
    /// Any letters, slashes included.
    Anything {
        nonempty: bool,
    },
}

/// The pattern contains something that this parser does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnsupportedPattern;

impl Pattern {
    /// The only text that the pattern matches, if it has one alternative and no wildcards.
    pub(super) fn literal(&self) -> Option<String> {
        let [only] = self.0.as_slice() else { return None };
        only.iter().map(|atom| if let Atom::Literal(letter) = atom { Some(*letter) } else { None }).collect()
    }

    /// Whether the pattern matches every text, except perhaps the empty one.
    pub(super) fn matches_everything(&self) -> bool {
        self.0.iter().any(|atoms| matches!(atoms.as_slice(), [Atom::Anything { .. }]))
    }

    /// Whether the pattern matches every text without a slash, except perhaps the empty one.
    pub(super) fn matches_every_component(&self) -> bool {
        self.matches_everything() || self.0.iter().any(|atoms| matches!(atoms.as_slice(), [Atom::Within { .. }]))
    }

    /// Whether the pattern matches the whole text. Time: the number of atoms times the square of the text's length.
    pub(super) fn matches(&self, text: &str, account: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        self.0.iter().any(|atoms| matches_atoms(atoms, &letters, account))
    }
}

/// Whether the atoms match all letters: tracks every position at which the atoms so far may end.
fn matches_atoms(atoms: &[Atom], letters: &[char], account: &str) -> bool {
    let mut ends = vec![false; letters.len() + 1];
    ends[0] = true;
    for atom in atoms {
        let mut next = vec![false; ends.len()];
        for start in (0..ends.len()).filter(|start| ends[*start]) {
            let rest = &letters[start..];
            let mut wander = |nonempty: bool, most: usize| {
                next[start + usize::from(nonempty).min(most + 1)..=start + most].fill(true);
            };
            match atom {
                Atom::Literal(letter) => {
                    if rest.first() == Some(letter) {
                        next[start + 1] = true;
                    }
                }
                Atom::Account => {
                    let name: Vec<char> = account.chars().collect();
                    if rest.starts_with(&name) {
                        next[start + name.len()] = true;
                    }
                }
                Atom::Within { nonempty } => {
                    wander(*nonempty, rest.iter().position(|letter| *letter == '/').unwrap_or(rest.len()));
                }
                Atom::Anything { nonempty } => wander(*nonempty, rest.len()),
            }
        }
        ends = next;
    }
    ends[letters.len()]
}
