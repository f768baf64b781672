//! Converts patterns to access-rule globs, where that is possible.
//!
//! Invariant: [`Pattern::globs`] matches exactly the repository names that the pattern matches, or is `None`. (A glob
//! that matches more would allow more in a rule that allows; one that matches less would deny less in a rule that
//! denies.)

use super::{Atom, MAX_ALTERNATIVES, Pattern};
use portcullis_access::Glob;

impl Pattern {
    /// The globs that match the same repository names, an empty list if the pattern matches no name; `None` if globs
    /// cannot express it.
    pub(in super::super) fn globs(&self) -> Option<Vec<Glob>> {
        let mut globs = Vec::new();
        for atoms in &self.0 {
            for text in to_globs(atoms)? {
                let glob = text.parse().ok()?;
                if !globs.contains(&glob) {
                    globs.push(glob);
                }
            }
        }
        Some(globs)
    }
}

/// A glob under construction.
#[derive(Clone, Default)]
struct PartialGlob {
    done: Vec<String>,
    /// The current component, not yet complete.
    current: String,
    /// The glob is complete; nothing can follow.
    closed: bool,
}

impl PartialGlob {
    fn push_star(&mut self) {
        if !self.current.ends_with('*') {
            self.current.push('*');
        }
    }

    /// Ends the component.
    fn end_component(&mut self) {
        self.done.push(std::mem::take(&mut self.current));
    }

    /// Writes `X.*` before a slash or at the end as `X*/**`.
    fn push_rest(&mut self) {
        self.push_star();
        self.end_component();
        self.done.push("**".to_owned());
    }

    /// Whether a component may end here: none is empty, and none ends with a separator.
    fn may_end(&self) -> bool {
        !self.current.is_empty() && !self.current.ends_with(is_separator)
    }

    /// Whether a wildcard here cannot match the empty text, because no component of a name is empty or begins or ends
    /// with a separator.
    fn is_surely_nonempty(&self, next: Option<&Atom>) -> bool {
        let begins = self.current.is_empty();
        let after_separator = self.current.ends_with(is_separator);
        match next {
            None | Some(Atom::Literal('/')) => begins || after_separator,
            Some(Atom::Literal(letter)) => begins && is_separator(*letter),
            Some(Atom::Account | Atom::Within { .. } | Atom::Anything { .. }) => false,
        }
    }
}

fn is_separator(letter: char) -> bool {
    matches!(letter, '.' | '_' | '-')
}

/// The globs of one alternative.
fn to_globs(atoms: &[Atom]) -> Option<Vec<String>> {
    let mut partials = vec![PartialGlob::default()];
    let mut index = 0;
    while let Some(atom) = atoms.get(index) {
        index += 1;
        let next = atoms.get(index);
        if let Atom::Within { nonempty: true } | Atom::Anything { nonempty: true } = atom
            && !partials.iter().all(|partial| partial.is_surely_nonempty(next))
        {
            return None;
        }
        match atom {
            Atom::Literal('/') => {
                partials.retain(PartialGlob::may_end);
                partials.iter_mut().for_each(PartialGlob::end_component);
            }
            Atom::Literal(letter)
                if is_separator(*letter) || letter.is_ascii_lowercase() || letter.is_ascii_digit() =>
            {
                // No component begins with a separator.
                partials.retain(|partial| !(is_separator(*letter) && partial.current.is_empty()));
                for partial in &mut partials {
                    partial.current.push(*letter);
                }
            }
            // A name has no such letter.
            Atom::Literal(_) => return Some(Vec::new()),
            Atom::Account => partials.iter_mut().for_each(|partial| partial.current.push_str("{user}")),
            Atom::Within { .. } => partials.iter_mut().for_each(PartialGlob::push_star),
            Atom::Anything { .. } => match next {
                None => partials.iter_mut().for_each(|partial| {
                    partial.push_rest();
                    partial.closed = true;
                }),
                Some(Atom::Literal('/')) => {
                    index += 1;
                    partials.iter_mut().for_each(PartialGlob::push_rest);
                }
                Some(_) => partials = partials.into_iter().flat_map(expand_wildcard).collect(),
            },
        }
        if partials.len() > MAX_ALTERNATIVES {
            return None;
        }
    }
    let whole = |partial: PartialGlob| {
        let (is_name, PartialGlob { mut done, current, closed }) = (partial.may_end(), partial);
        if !closed {
            is_name.then(|| done.push(current))?;
        }
        let text = done.join("/");
        Some(if text == "*/**" { "**".to_owned() } else { text })
    };
    Some(partials.into_iter().filter_map(whole).collect())
}

/// The two readings of `X.*Y`: within one component, and over several. If X is empty, `**` covers both.
fn expand_wildcard(partial: PartialGlob) -> Vec<PartialGlob> {
    let begins = partial.current.is_empty();
    let mut over = partial.clone();
    if begins {
        over.done.push("**".to_owned());
    } else {
        over.push_rest();
    }
    over.push_star();
    if begins {
        return vec![over];
    }
    let mut within = partial;
    within.push_star();
    vec![within, over]
}
