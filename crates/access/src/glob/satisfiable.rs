//! Decides whether any repository name can match a pattern.
//!
//! The pattern is run through the grammar of repository names (`RepositoryName`) as a finite automaton, in which `*`
//! leads to every state that some text leads to.
//!
//! Invariant: the result is `false` only if certainly no repository name matches.

use super::{Glob, GlobComponent, GlobToken};
use crate::UserName;
use portcullis_oci::RepositoryName;

/// The caller whose name replaces `{user}` in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatternUser<'a> {
    /// Not signed in: `{user}` matches nothing.
    Anonymous,
    /// Any signed-in user.
    SignedIn,
    /// This user.
    User(&'a UserName),
}

impl Glob {
    /// Whether there is a repository name that the pattern matches when `caller` asks.
    #[must_use]
    pub(crate) fn is_satisfiable(&self, caller: PatternUser<'_>) -> bool {
        let components = self.0.iter().filter_map(|part| match part {
            GlobComponent::AnyDepth => None,
            GlobComponent::One(pieces) => Some(pieces),
        });
        let lengths: Vec<usize> = components.clone().map(|pieces| min_length(pieces, caller)).collect();
        let slashes = lengths.len().saturating_sub(1);
        lengths.iter().sum::<usize>() + slashes <= RepositoryName::MAX_LEN
            && components.into_iter().all(|pieces| is_component(pieces, caller))
    }
}

/// The length of the shortest component that the pieces might match.
fn min_length(pieces: &[GlobToken], caller: PatternUser<'_>) -> usize {
    let length = pieces.iter().map(|piece| match (piece, caller) {
        (GlobToken::Literal(text), _) => text.len(),
        (GlobToken::Star, _) => 0,
        (GlobToken::User, PatternUser::User(name)) => name.as_str().len(),
        (GlobToken::User, PatternUser::Anonymous | PatternUser::SignedIn) => 1,
    });
    length.sum::<usize>().max(1)
}

fn is_component(pieces: &[GlobToken], caller: PatternUser<'_>) -> bool {
    let end = pieces.iter().try_fold(ComponentStates::from_state(ComponentState::Start), |states, piece| {
        match (piece, caller) {
            (GlobToken::Literal(text), _) => Some(states.advance(text)),
            (GlobToken::Star, _) => Some(states.any_text()),
            (GlobToken::User, PatternUser::User(name)) => Some(states.advance(name.as_str())),
            (GlobToken::User, PatternUser::SignedIn) => Some(states.any_letter().any_text()),
            (GlobToken::User, PatternUser::Anonymous) => None,
        }
    });
    end.is_some_and(|states| states.contains(ComponentState::Alphanumeric))
}

/// The state of the automaton after a prefix of a component: the kind of its last characters.
#[derive(Clone, Copy)]
enum ComponentState {
    Start,
    Alphanumeric,
    Dot,
    Underscore,
    TwoUnderscores,
    Dashes,
}

impl ComponentState {
    const ALL: [Self; 6] =
        [Self::Start, Self::Alphanumeric, Self::Dot, Self::Underscore, Self::TwoUnderscores, Self::Dashes];

    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (_, b'a'..=b'z' | b'0'..=b'9') => Some(Self::Alphanumeric),
            (Self::Alphanumeric, b'.') => Some(Self::Dot),
            (Self::Alphanumeric, b'_') => Some(Self::Underscore),
            (Self::Underscore, b'_') => Some(Self::TwoUnderscores),
            (Self::Alphanumeric | Self::Dashes, b'-') => Some(Self::Dashes),
            (_, _) => None,
        }
    }
}

/// A set of automaton states, as bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ComponentStates(u8);

impl ComponentStates {
    /// One character of each class that the grammar distinguishes.
    const LETTERS: &[u8] = b"a._-";

    fn from_state(state: ComponentState) -> Self {
        Self(1 << state as u8)
    }

    fn contains(self, state: ComponentState) -> bool {
        self.0 & Self::from_state(state).0 != 0
    }

    fn step(self, byte: u8) -> Self {
        let reached =
            ComponentState::ALL.into_iter().filter(|state| self.contains(*state)).filter_map(|state| state.next(byte));
        Self(reached.fold(0, |states, state| states | Self::from_state(state).0))
    }

    fn advance(self, text: &str) -> Self {
        text.bytes().fold(self, Self::step)
    }

    fn any_letter(self) -> Self {
        Self(Self::LETTERS.iter().fold(0, |states, byte| states | self.step(*byte).0))
    }

    fn any_text(self) -> Self {
        let mut states = self;
        loop {
            let more = Self(states.0 | states.any_letter().0);
            if more == states {
                return states;
            }
            states = more;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Principal;

    fn glob(text: &str) -> Glob {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_that_no_name_can_match_is_not_satisfiable() {
        for text in [
            "_cache",
            "-a",
            ".a",
            "a-",
            "a.",
            "team/_x/**",
            "a..b",
            "a._b",
            "a___b",
            "*..*",
            "**/a__",
            "a/-*",
            "*-.*",
            ".",
            "__*",
        ] {
            assert!(!glob(text).is_satisfiable(PatternUser::SignedIn), "{text}");
        }
        let long = format!("{}/**", vec!["aaaa"; 52].join("/"));
        assert!(!glob(&long).is_satisfiable(PatternUser::SignedIn));
    }

    #[test]
    fn a_pattern_that_some_name_matches_is_satisfiable() {
        for text in ["**", "*", "a", "a-*", "*-a", "*.*", "a__*", "*_*_*", "team/**/x", "*a*b*"] {
            assert!(glob(text).is_satisfiable(PatternUser::SignedIn), "{text}");
        }
        assert!(glob(&vec!["aaaa"; 51].join("/")).is_satisfiable(PatternUser::SignedIn));
    }

    #[test]
    fn the_users_name_decides_what_stands_in_its_place() {
        let home = glob("home/{user}/**");
        let user = |name: &str| name.parse::<UserName>().unwrap();
        assert!(home.is_satisfiable(PatternUser::SignedIn));
        assert!(home.is_satisfiable(PatternUser::User(&user("alice"))));
        assert!(!home.is_satisfiable(PatternUser::Anonymous));
        for name in ["Alice", "alice@example.com", "a b", "-x", "über", "alice/app"] {
            assert!(!home.is_satisfiable(PatternUser::User(&user(name))), "{name}");
        }
        assert!(glob("x{user}").is_satisfiable(PatternUser::User(&user("-x"))));
    }

    proptest! {
        #[test]
        fn a_pattern_that_matches_a_name_is_satisfiable(
            pattern in "(\\*\\*|\\*|a|a\\*|\\*-a|_\\*|\\{user\\}|a\\.\\*)(/(\\*\\*|\\*|a|b__\\*)){0,2}",
            name in "(a|b|a\\.b|b__a|a-a)(/(a|b|b__a)){0,2}",
        ) {
            let Ok(pattern) = pattern.parse::<Glob>() else { return Ok(()) };
            let user: UserName = "a".parse().unwrap();
            if pattern.matches(&Principal::User(user.clone()), &name.parse().unwrap()) {
                prop_assert!(pattern.is_satisfiable(PatternUser::User(&user)) && pattern.is_satisfiable(PatternUser::SignedIn));
            }
        }
    }
}
