//! Builds the tree of a server's locations and finds those that may answer for a set of repositories.
//!
//! nginx searches the locations of one level for the longest prefix, then the locations within it, then the
//! expressions of the level in their order (unless the prefix has `^~`). Invariant: every location that answers for
//! some path of a repository in a region is among its [`LocationTree::handlers`].

use std::collections::BTreeSet;

use super::{path_coverage::PathCoverage, repository_region::RepositoryRegion, scope::Scope, syntax::Directive};

/// The kind of match of a location, from its modifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LocationKind {
    /// `~` and `~*`: a regular expression.
    Expression,
    /// `=`: this path only.
    Exact,
    /// `^~`: a prefix; expressions of the same level are not tried where it is the longest.
    FinalPrefix,
    /// No modifier: a prefix.
    Prefix,
}

/// A location.
pub(super) struct Location<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) path: &'a str,
    pub(super) kind: LocationKind,
    pub(super) paths: PathCoverage,
    /// The numbers of the locations within it.
    children: Vec<usize>,
}

/// What answers a request: a location, by its number, or the server itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Handler {
    Server,
    Location(usize),
}

/// All locations of a server.
pub(super) struct LocationTree<'a> {
    pub(super) locations: Vec<Location<'a>>,
    roots: Vec<usize>,
}

/// The modifier of a location and its path or expression. `=/path` and `~expression` need no space between.
fn modifier_and_path(location: &Directive) -> Option<(&str, &str)> {
    match location.arguments.as_slice() {
        [text] => {
            let modifier = ["^~", "~*", "~", "="].into_iter().find(|modifier| text.starts_with(modifier)).unwrap_or("");
            Some((modifier, &text[modifier.len()..]))
        }
        [modifier, text] => Some((modifier, text)),
        _ => None,
    }
}

/// The prefix that a location matches, if it is a prefix location.
pub(super) fn prefix_of(location: &Directive) -> Option<&str> {
    modifier_and_path(location).filter(|(modifier, _)| ["", "^~"].contains(modifier)).map(|(_, text)| text)
}

impl<'a> LocationTree<'a> {
    pub(super) fn from_server(server: Scope<'a>) -> Self {
        let mut tree = Self { locations: Vec::new(), roots: Vec::new() };
        tree.roots = tree.collect(server);
        tree
    }

    /// The locations of one level, and those within them.
    fn collect(&mut self, scope: Scope<'a>) -> Vec<usize> {
        let mut level = Vec::new();
        for directive in scope.directives().iter().filter(|directive| directive.name == "location") {
            let Some((modifier, path)) = modifier_and_path(directive) else { continue };
            // Requests reach a named location only from other locations.
            if path.starts_with('@') {
                continue;
            }
            let (kind, paths) = match modifier {
                "=" => (LocationKind::Exact, PathCoverage::exact(path)),
                "^~" => (LocationKind::FinalPrefix, PathCoverage::prefix(path)),
                "~" => (LocationKind::Expression, PathCoverage::expression(path, false)),
                "~*" => (LocationKind::Expression, PathCoverage::expression(path, true)),
                _ => (LocationKind::Prefix, PathCoverage::prefix(path)),
            };
            let inner = scope.within(directive);
            let number = self.locations.len();
            self.locations.push(Location { scope: inner, path, kind, paths, children: Vec::new() });
            self.locations[number].children = self.collect(inner);
            level.push(number);
        }
        level
    }

    /// The locations that may answer for a path of some repository in the region and in none of the `others`.
    pub(super) fn handlers(&self, region: &RepositoryRegion, others: &[RepositoryRegion]) -> BTreeSet<Handler> {
        let FoundHandlers { decided, overridable: open } =
            self.search(&self.roots, Handler::Server, &RegionQuery { region, others });
        decided.into_iter().chain(open).collect()
    }

    /// Searches one level; `fallback` answers where none of its locations does.
    fn search(&self, level: &[usize], fallback: Handler, search: &RegionQuery<'_>) -> FoundHandlers {
        let of_kind = |kinds: &[LocationKind]| -> Vec<usize> {
            let fits = |number: &usize| {
                let Location { kind, paths, .. } = &self.locations[*number];
                kinds.contains(kind) && search.may_find(paths)
            };
            level.iter().copied().filter(fits).collect()
        };
        let mut found = FoundHandlers::default();
        found.decided.extend(of_kind(&[LocationKind::Exact]).into_iter().map(Handler::Location));

        let mut prefixes = of_kind(&[LocationKind::Prefix, LocationKind::FinalPrefix]);
        prefixes.sort_by_key(|number| std::cmp::Reverse(self.locations[*number].path.len()));
        let surely = |number: &usize| self.locations[*number].paths.surely_match(search.region);
        let longest = prefixes.iter().position(surely);
        // The handlers that an expression of this level may override.
        let mut open = BTreeSet::new();
        if longest.is_none() {
            open.insert(fallback);
        }
        for number in prefixes.into_iter().take(longest.map_or(usize::MAX, |index| index + 1)) {
            let location = &self.locations[number];
            let within = self.search(&location.children, Handler::Location(number), search);
            found.decided.extend(within.decided);
            if location.kind == LocationKind::FinalPrefix {
                found.overridable.extend(within.overridable);
            } else {
                open.extend(within.overridable);
            }
        }
        for number in of_kind(&[LocationKind::Expression]) {
            if open.is_empty() {
                break;
            }
            let within = self.search(&self.locations[number].children, Handler::Location(number), search);
            found.decided.extend(within.decided.into_iter().chain(within.overridable));
            if surely(&number) {
                open.clear();
            }
        }
        found.overridable.extend(open);
        found
    }
}

struct RegionQuery<'a> {
    region: &'a RepositoryRegion,
    others: &'a [RepositoryRegion],
}

impl RegionQuery<'_> {
    fn may_find(&self, paths: &PathCoverage) -> bool {
        paths.may_match(self.region, self.others)
    }
}

/// The handlers that the search of a level found.
#[derive(Default)]
struct FoundHandlers {
    /// Found by an exact path or an expression: no expression of an outer level can override them.
    decided: BTreeSet<Handler>,
    /// Found by a prefix only: an expression of an outer level can override them.
    overridable: BTreeSet<Handler>,
}

#[cfg(test)]
mod tests {
    use super::{super::syntax::parse, *};

    fn answering(server: &str, region: &str) -> Vec<String> {
        let file = parse(&format!("server {{ {server} }}"), 0).unwrap();
        let scope = Scope::file(&file).within(&file[0]);
        let tree = LocationTree::from_server(scope);
        let region = RepositoryRegion::new(region.split('/').map(str::to_owned).collect()).unwrap();
        let name = |handler| match handler {
            Handler::Server => "server".to_owned(),
            Handler::Location(number) => {
                let location: &Location<'_> = &tree.locations[number];
                location.path.to_owned()
            }
        };
        tree.handlers(&region, &[]).into_iter().map(name).collect()
    }

    #[test]
    fn the_longest_prefix_answers_unless_an_expression_does() {
        let server =
            "location / {} location /v2/a/ {} location ~ ^/v2/[a-z]+/x {} location ^~ /v2/b/ {} location ~ ^/v2/c/ {}";
        for (region, expected) in [
            ("d/**", &["/", "^/v2/[a-z]+/x"] as &[_]),
            ("a/**", &["/v2/a/", "^/v2/[a-z]+/x"]),
            ("b/**", &["/v2/b/"]),
            ("c/**", &["^/v2/[a-z]+/x", "^/v2/c/"]),
            ("a*/**", &["/", "/v2/a/", "^/v2/[a-z]+/x"]),
        ] {
            assert_eq!(answering(server, region), expected, "{region}");
        }
    }

    #[test]
    fn locations_within_the_longest_prefix_are_asked_first() {
        let server =
            "location /v2/ { location ~ ^/v2/a/ {} location /v2/b/ {} } location /v2/a/c/ {} location ~ ^/v2/b/ {}";
        for (region, expected) in [
            ("a/b/**", &["^/v2/a/"] as &[_]),
            ("a/c/**", &["/v2/a/c/"]),
            ("b/**", &["^/v2/b/"]),
            ("x/**", &["/v2/"]),
            ("a/**", &["^/v2/a/", "/v2/a/c/"]),
        ] {
            assert_eq!(answering(server, region), expected, "{region}");
        }
        assert_eq!(answering("location = /v2/a/tags/list {} location ~ ^/v2/ {}", "a"), ["/v2/a/tags/list", "^/v2/"]);
        assert_eq!(answering("location /ui {}", "**"), ["server"]);
    }
}
