//! Multiplies out the groups of an expression to a list of alternatives without groups.
//!
//! Invariant: the number of alternatives is bounded.

use super::{
    super::pattern::{Atom, MAX_ALTERNATIVES},
    tree::RegexNode,
};

/// Sequences of atoms, of which one matches.
pub(super) type Alternatives = Vec<Vec<Atom>>;

/// Any text, the empty one included.
pub(super) const ANYTHING: Atom = Atom::Anything { nonempty: false };

/// Translates a part that is neither a sequence nor alternatives; `None` if that is not possible.
pub(super) type TranslatePart<'a> = &'a dyn Fn(&RegexNode) -> Option<Alternatives>;

/// The alternatives of a whole expression, each for the whole text. The expression matches anywhere in a text, unless
/// `^` begins an alternative and `$` ends it.
pub(super) fn of_whole_text(root: &RegexNode, translate: TranslatePart<'_>) -> Option<Alternatives> {
    let mut all = Alternatives::new();
    for alternative in root.alternatives() {
        let (begins, parts) = match alternative.sequence() {
            [RegexNode::Start, rest @ ..] => (Vec::new(), rest),
            parts => (vec![ANYTHING], parts),
        };
        let (ends, parts) = match parts {
            [rest @ .., RegexNode::End] => (None, rest),
            parts => (Some(ANYTHING), parts),
        };
        let mut branches = vec![begins];
        append(&mut branches, parts, translate)?;
        for branch in &mut branches {
            branch.extend(ends);
        }
        all.extend(branches);
    }
    (all.len() <= MAX_ALTERNATIVES).then_some(all)
}

/// The alternatives of a part.
pub(super) fn of_part(part: &RegexNode, translate: TranslatePart<'_>) -> Option<Alternatives> {
    let mut all = Alternatives::new();
    for alternative in part.alternatives() {
        match alternative {
            RegexNode::Sequence(parts) => {
                let mut branches = vec![Vec::new()];
                append(&mut branches, parts, translate)?;
                all.extend(branches);
            }
            RegexNode::Alternatives(_) => all.extend(of_part(alternative, translate)?),
            RegexNode::Start
            | RegexNode::End
            | RegexNode::Assertion
            | RegexNode::Letter { .. }
            | RegexNode::Class(_)
            | RegexNode::Repeated { .. } => all.extend(translate(alternative)?),
        }
        if all.len() > MAX_ALTERNATIVES {
            return None;
        }
    }
    Some(all)
}

/// Appends these parts to each branch.
fn append(branches: &mut Alternatives, parts: &[RegexNode], translate: TranslatePart<'_>) -> Option<()> {
    for part in parts {
        let pieces = of_part(part, translate)?;
        if let [only] = pieces.as_slice() {
            for branch in branches.iter_mut() {
                branch.extend_from_slice(only);
            }
            continue;
        }
        let longer = |branch: &Vec<Atom>| -> Alternatives {
            pieces.iter().map(|piece| [branch.as_slice(), piece].concat()).collect()
        };
        *branches = branches.iter().flat_map(longer).collect();
        if branches.len() > MAX_ALTERNATIVES {
            return None;
        }
    }
    Some(())
}
