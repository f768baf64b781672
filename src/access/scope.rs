//! Token scopes: what a client asks the token endpoint for, and what a token says it may be used for.
//!
//! Invariant: a [`Scope`] names one resource that exists in our world; scopes of other kinds are dropped while parsing,
//! because clients ask for plugins, charts and what not and expect to be given what remains.

use std::fmt;

use super::action::{Action, Actions};
use crate::oci::RepositoryName;

/// What a token may be used for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `repository:NAME:ACTIONS`
    Repository {
        /// Which repository.
        name: RepositoryName,
        /// What may be done to it.
        actions: Actions,
    },
    /// `registry:catalog:*`: the list of repositories, and the search in it.
    Catalog,
}

impl Scope {
    /// The number of scopes of one token request that count; a mount needs two, `docker pull --all-tags` one.
    pub const MAX: usize = 100;

    /// The scope that would allow `action` on `name`. Whoever may push asks for pull as well, as clients do.
    #[must_use]
    pub fn for_action(name: RepositoryName, action: Action) -> Self {
        let actions = match action {
            Action::Pull | Action::Delete | Action::Admin => [action].into_iter().collect(),
            Action::Push => [Action::Pull, Action::Push].into_iter().collect(),
        };
        Self::Repository { name, actions }
    }

    /// Reads the `scope` parameters of a request: each may hold several scopes between spaces (RFC 6749 section 3.3),
    /// and a client may send several parameters (Docker does). Unknown kinds, names that are none and actions that we
    /// do not know are left out. Only the first [`Scope::MAX`] are read: a client that collects scopes while it works
    /// still gets a token, and the request costs no more than one with that many.
    pub fn parse_all<'a>(parameters: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let texts = parameters.into_iter().flat_map(str::split_ascii_whitespace);
        texts.take(Self::MAX).filter_map(Self::parse).collect()
    }

    /// Reads `type[(class)]:name:action[,action]`. The type ends at the first colon and the actions begin after the last,
    /// because a name may hold `host:port`.
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        match kind.split('(').next()? {
            "repository" => Some(Self::Repository { name: name.parse().ok()?, actions: parse_actions(actions) }),
            "registry" if name == "catalog" => Some(Self::Catalog),
            _ => None,
        }
    }
}

/// `*` is everything but administration, which is asked for by its name; words that are no actions of ours are ignored.
fn parse_actions(text: &str) -> Actions {
    text.split(',').fold(Actions::NONE, |actions, word| match word {
        "*" => actions.union(Actions::PULL_PUSH_DELETE),
        _ => actions.union(word.parse::<Action>().into_iter().collect()),
    })
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { name, actions } => write!(f, "repository:{name}:{actions}"),
            Self::Catalog => f.write_str("registry:catalog:*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(parameters: &[&str]) -> Vec<String> {
        Scope::parse_all(parameters.iter().copied()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn several_parameters_and_spaces_are_the_same() {
        let both = ["repository:a:pull", "repository:b/c:pull,push"];
        assert_eq!(parsed(&both), both);
        assert_eq!(parsed(&[&both.join(" ")]), both);
    }

    #[test]
    fn a_class_is_ignored_and_a_star_is_everything_but_admin_which_is_asked_for_by_name() {
        assert_eq!(parsed(&["repository(plugin):a:*"]), ["repository:a:pull,push,delete"]);
        assert_eq!(parsed(&["repository:a:admin,pull"]), ["repository:a:pull,admin"]);
        let challenged = Scope::for_action("a".parse().unwrap(), Action::Admin).to_string();
        assert_eq!(parsed(&[&challenged]), [challenged], "or a challenge would ask for what no token can hold");
    }

    #[test]
    fn the_catalog_is_asked_for_in_either_way() {
        assert_eq!(parsed(&["registry:catalog:*", "registry:catalog:search"]), ["registry:catalog:*"; 2]);
    }

    #[test]
    fn what_we_do_not_know_is_left_out_without_an_error() {
        assert_eq!(parsed(&["", "x", "chart:a:pull", "repository:A:pull", "repository:host:5000/a:pull"]), [""; 0]);
        assert_eq!(parsed(&["repository:a:fly"]), ["repository:a:"]);
    }

    #[test]
    fn of_ten_thousand_scopes_the_first_hundred_count() {
        let many: Vec<String> = (0..10_000).map(|number| format!("repository:a{number}:pull")).collect();
        let joined = many.join(" ");
        let one_each: Vec<&str> = many.iter().map(String::as_str).collect();
        for parameters in [&[joined.as_str()][..], &one_each] {
            assert_eq!(parsed(parameters), many[..Scope::MAX]);
        }
    }

    proptest! {
        #[test]
        fn a_scope_prints_as_it_was_written(name in "[a-z]{1,5}(/[a-z]{1,5}){0,2}", actions in "pull|push|delete|pull,push|pull,push,delete") {
            let text = format!("repository:{name}:{actions}");
            prop_assert_eq!(parsed(&[&text]), vec![text.clone()]);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ = Scope::parse_all([text.as_str()]);
        }
    }
}
