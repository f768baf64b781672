//! Parses and prints token scopes: the operations that a client requests a token for, and those that a token permits.
//!
//! Invariant: a [`Scope`] is of a kind that this registry has. Parsing drops scopes of other kinds, because clients
//! request scopes for plugins, charts and other resources and expect a token for the rest.

use std::{collections::HashSet, fmt};

use super::action::{Action, Actions};
use portcullis_oci::RepositoryName;

/// One scope of a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `repository:NAME:ACTIONS`: actions on one repository.
    Repository {
        /// The repository.
        name: RepositoryName,
        /// The actions on it.
        actions: Actions,
    },
    /// `registry:catalog:*`: the list of repositories, and searches in it.
    Catalog,
}

impl Scope {
    /// The maximum number of scopes that are read from one token request; a mount needs two, `docker pull --all-tags`
    /// one.
    pub const MAX_SCOPES: usize = 100;

    /// The scope that permits `action` on `name`. The scope for push includes pull, as in the requests of clients.
    #[must_use]
    pub fn for_action(name: RepositoryName, action: Action) -> Self {
        let actions = match action {
            Action::Pull | Action::Delete | Action::Admin => [action].into_iter().collect(),
            Action::Push => [Action::Pull, Action::Push].into_iter().collect(),
        };
        Self::Repository { name, actions }
    }

    /// Parses the `scope` parameters of a request. Each may contain several scopes between spaces (RFC 6749 section
    /// 3.3), and a client may send several parameters (Docker does). Unknown kinds, invalid names and unknown actions
    /// are left out. Only the first [`Scope::MAX_SCOPES`] different texts are read: a client that collects scopes while
    /// it works still gets a token, and the request costs little more than one with that many. A scope that is
    /// requested twice counts once.
    pub fn parse_all<'a>(parameters: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let mut seen = HashSet::with_capacity(Self::MAX_SCOPES);
        let texts = parameters.into_iter().flat_map(str::split_ascii_whitespace).filter(|text| seen.insert(*text));
        let mut scopes = Vec::new();
        for scope in texts.take(Self::MAX_SCOPES).filter_map(Self::parse) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes
    }

    /// Parses `type[(class)]:name:action[,action]`. The type ends at the first colon and the actions begin after the
    /// last, because a name may contain `host:port`.
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

/// Parses a list of actions. `*` means everything but administration, which must be requested by its name; unknown
/// actions are ignored.
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
        assert_eq!(parsed(&["registry:catalog:*", "registry:catalog:search"]), ["registry:catalog:*"]);
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
            assert_eq!(parsed(parameters), many[..Scope::MAX_SCOPES]);
        }
    }

    #[test]
    fn a_scope_that_is_requested_a_hundred_times_displaces_no_other() {
        let (again, last) = ("repository:a:pull ".repeat(100), "repository:b:pull");
        assert_eq!(parsed(&[&again, last]), ["repository:a:pull", last]);
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
