//! Maps URL paths of locations and expressions to the repositories they belong to.
//!
//! A path below `/v2/` is a repository's name followed by the requested resource (`/manifests/…`), so a prefix of
//! paths or an expression over them determines names. Invariant: [`PathCoverage::superset`] holds every repository of
//! which some path is matched, and all paths of the repositories in [`PathCoverage::subset`] are matched.

use super::{
    super::{
        expression::{exact, superset},
        pattern::{Atom, MatchSubject, Pattern},
    },
    repository_region::RepositoryRegion,
};

/// The path of the registry API.
const API_ROOT: &str = "/v2/";

/// The path components that may follow a repository's name.
const RESOURCES: [&str; 4] = ["manifests", "blobs", "tags", "referrers"];

/// The repositories that a set of paths belongs to, as a superset and a subset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PathCoverage {
    /// No path of a repository outside of these regions is matched.
    pub(super) superset: Vec<RepositoryRegion>,
    /// Every path of a repository in these regions is matched.
    pub(super) subset: Vec<RepositoryRegion>,
}

impl PathCoverage {
    /// All paths that begin like this.
    pub(super) fn prefix(text: &str) -> Self {
        let atoms: Vec<Atom> = text.chars().map(Atom::Literal).chain([Atom::Anything { nonempty: false }]).collect();
        Self::exactly(&[atoms])
    }

    /// This path alone.
    pub(super) fn exact(text: &str) -> Self {
        Self::exactly(&[text.chars().map(Atom::Literal).collect()])
    }

    /// The paths that a regular expression matches.
    pub(super) fn expression(text: &str, folds: bool) -> Self {
        // Names have no capitals, so an expression that ignores case is read in lower case.
        let small = if folds { text.to_lowercase() } else { text.to_owned() };
        let is_own_syntax = text.contains("${");
        match exact::parse(&small, MatchSubject::Text) {
            Ok(pattern) if !(is_own_syntax || (folds && text.contains('\\'))) => Self::exactly(&pattern.0),
            Ok(_) | Err(_) => Self::superset_of(text, folds),
        }
    }

    /// A superset of the paths whose raw request target matches an expression: percent-encoded, and perhaps with a
    /// query.
    pub(super) fn raw_expression(text: &str, folds: bool) -> Self {
        let pattern = superset::parse(text, folds).filter(|_| !text.contains('%'));
        let Some(mut pattern) = pattern else { return Self::unknown() };
        for atom in pattern.0.iter_mut().flatten() {
            if let Atom::Within { nonempty } = atom {
                *atom = Atom::Anything { nonempty: *nonempty };
            }
        }
        for atoms in &mut pattern.0 {
            atoms.push(Atom::Anything { nonempty: false });
        }
        Self::covering(&pattern.0)
    }

    fn superset_of(text: &str, folds: bool) -> Self {
        superset::parse(text, folds).map_or_else(Self::unknown, |pattern| Self::covering(&pattern.0))
    }

    /// Paths that may belong to any repository.
    pub(super) fn unknown() -> Self {
        Self { superset: vec![RepositoryRegion::everything()], subset: Vec::new() }
    }

    fn covering(alternatives: &[Vec<Atom>]) -> Self {
        Self {
            superset: without_contained(alternatives.iter().flat_map(|atoms| superset_regions(atoms))),
            subset: Vec::new(),
        }
    }

    fn exactly(alternatives: &[Vec<Atom>]) -> Self {
        let sure = without_contained(alternatives.iter().filter_map(|atoms| subset_region(atoms)));
        Self { subset: sure, ..Self::covering(alternatives) }
    }

    /// Whether superset and subset agree: exactly the paths of some repositories are matched.
    pub(super) fn is_exact(&self) -> bool {
        self.superset.iter().all(|region| self.subset.iter().any(|sure| sure.contains(region)))
    }

    /// Whether all paths of this region's repositories are matched.
    pub(super) fn surely_match(&self, region: &RepositoryRegion) -> bool {
        self.subset.iter().any(|sure| sure.contains(region))
    }

    /// Whether a path of some repository in this region, and in none of `others`, may be matched.
    pub(super) fn may_match(&self, region: &RepositoryRegion, others: &[RepositoryRegion]) -> bool {
        let is_elsewhere = |covered: &RepositoryRegion| others.iter().any(|other| other.contains(covered));
        self.superset.iter().any(|covered| covered.overlaps(region) && !is_elsewhere(covered))
    }
}

/// The regions that are not contained in others.
fn without_contained(regions: impl Iterator<Item = RepositoryRegion>) -> Vec<RepositoryRegion> {
    let mut all: Vec<RepositoryRegion> = Vec::new();
    for region in regions {
        if !all.iter().any(|known| known.contains(&region)) {
            all.retain(|known| !region.contains(known));
            all.push(region);
        }
    }
    all
}

/// The regions of the repositories of which these atoms may match some path.
fn superset_regions(atoms: &[Atom]) -> Vec<RepositoryRegion> {
    // No component of a registry path begins with a dot.
    if atoms.windows(2).any(|pair| pair == [Atom::Literal('/'), Atom::Literal('.')]) {
        return Vec::new();
    }
    let mut rest = atoms;
    for expected in API_ROOT.chars() {
        match rest.split_first() {
            Some((Atom::Literal(letter), after)) if *letter == expected => rest = after,
            Some((Atom::Literal(_), _)) | None => return Vec::new(),
            Some((Atom::Account | Atom::Within { .. } | Atom::Anything { .. }, _)) => {
                return vec![RepositoryRegion::everything()];
            }
        }
    }
    let (mut done, mut current, mut found) = (Vec::new(), String::new(), Vec::new());
    for atom in rest {
        match atom {
            Atom::Literal('/') => {
                add_if_resource(&done, &current, &mut found);
                done.push(std::mem::take(&mut current));
            }
            Atom::Literal(letter) => current.push(*letter),
            Atom::Within { .. } => push_star(&mut current),
            Atom::Account | Atom::Anything { .. } => {
                push_star(&mut current);
                add_if_resource(&done, &current, &mut found);
                if current != "*" {
                    done.push(current);
                }
                done.push("**".to_owned());
                found.extend(RepositoryRegion::new(done).map(RepositoryRegion::widened));
                return found;
            }
        }
    }
    // A path never ends with a repository's name.
    found
}

fn push_star(component: &mut String) {
    if !component.ends_with('*') {
        component.push('*');
    }
}

/// Adds the region of names that end before this component, if the component may be one of [`RESOURCES`].
fn add_if_resource(done: &[String], component: &str, found: &mut Vec<RepositoryRegion>) {
    let letters: Vec<Atom> = component
        .chars()
        .map(|letter| if letter == '*' { Atom::Anything { nonempty: false } } else { Atom::Literal(letter) })
        .collect();
    let pattern = Pattern(vec![letters]);
    if RESOURCES.iter().any(|kind| pattern.matches(kind, "")) {
        found.extend(RepositoryRegion::new(done.to_vec()).map(RepositoryRegion::widened));
    }
}

/// A region of repositories all of whose paths these atoms match; `None` if no single region expresses it.
fn subset_region(atoms: &[Atom]) -> Option<RepositoryRegion> {
    let (Atom::Anything { .. }, before) = atoms.split_last()? else { return None };
    if let Some((Atom::Anything { nonempty }, words)) = before.split_first() {
        // Not anchored: matches everything if it is a part of the prefix that all paths share.
        let words: Option<String> = words.iter().copied().map(literal).collect();
        return words
            .filter(|words| !nonempty && API_ROOT.contains(words.as_str()))
            .map(|_| RepositoryRegion::everything());
    }
    let before: Vec<Atom> = match before.iter().copied().map(literal).collect::<Option<String>>() {
        Some(text) if API_ROOT.starts_with(&text) => return Some(RepositoryRegion::everything()),
        Some(_) | None => before.to_vec(),
    };
    let root: Vec<Atom> = API_ROOT.chars().map(Atom::Literal).collect();
    let (mut done, mut current) = (Vec::new(), String::new());
    let names = before.strip_prefix(root.as_slice())?;
    for (index, atom) in names.iter().enumerate() {
        match atom {
            Atom::Literal('/') => done.push(std::mem::take(&mut current)),
            Atom::Literal(letter) if *letter != '*' => current.push(*letter),
            // A component is never empty, but a part of one may be.
            Atom::Within { nonempty }
                if !nonempty || (current.is_empty() && names.get(index + 1) == Some(&Atom::Literal('/'))) =>
            {
                push_star(&mut current);
            }
            Atom::Literal(_) | Atom::Within { .. } | Atom::Account | Atom::Anything { .. } => return None,
        }
    }
    if !current.is_empty() {
        push_star(&mut current);
        done.push(current);
    }
    done.push("**".to_owned());
    RepositoryRegion::new(done).filter(|region| !region.has_too_many_stars())
}

fn literal(atom: Atom) -> Option<char> {
    match atom {
        Atom::Literal(letter) => Some(letter),
        Atom::Account | Atom::Within { .. } | Atom::Anything { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(regions: &[RepositoryRegion]) -> String {
        regions.iter().map(|region| region.glob().unwrap().to_string()).collect::<Vec<_>>().join(" ")
    }

    fn says(paths: &PathCoverage, text: &str, cover: &str, sure: &str) {
        assert_eq!((texts(&paths.superset), texts(&paths.subset)), (cover.to_owned(), sure.to_owned()), "{text}");
    }

    #[test]
    fn a_prefix_is_about_the_repositories_below_it() {
        for (path, cover, sure) in [
            ("/", "**", "**"),
            ("/v2", "**", "**"),
            ("/v2/", "**", "**"),
            ("/v2/team/", "team/**", "team/**"),
            ("/v2/team/app", "team/app*/**", "team/app*/**"),
            ("/v2/team", "team*/**", "team*/**"),
            ("/v2/team/ta", "team team/ta*/**", "team/ta*/**"),
            ("/v2/team/app/manifests/", "team/app team/app/manifests/**", "team/app/manifests/**"),
            ("/v2/team/app/manifests/V1", "team/app", ""),
            ("/v2/_catalog", "", ""),
            ("/v1/", "", ""),
            ("/ui", "", ""),
            ("/v2/Team/", "", ""),
        ] {
            says(&PathCoverage::prefix(path), path, cover, sure);
        }
        says(&PathCoverage::exact("/v2/"), "= /v2/", "", "");
        says(&PathCoverage::exact("/v2/a/blobs/uploads/"), "= /v2/a/blobs/uploads/", "a", "");
    }

    #[test]
    fn an_expression_is_about_at_least_the_repositories_that_it_names() {
        for (expression, cover, sure) in [
            ("^/v2/", "**", "**"),
            ("^/v2/.*$", "**", "**"),
            ("^/v2/.+$", "**", "**"),
            ("/v2/", "**", "**"),
            (".*", "**", "**"),
            ("^/(v1|v2)/", "**", "**"),
            ("^/v2/(team|dept)/", "team/** dept/**", "team/** dept/**"),
            ("^/v2/(?<name>team)/.*", "team/**", "team/**"),
            ("^/v2/[^/]+/secret/", "*/secret/**", "*/secret/**"),
            ("/v2/team/", "**", ""),
            ("^/v2/[a-z]+/", "**", ""),
            ("^/v2/([a-z]+)-internal/", "*-internal/**", ""),
            ("^/v2/.*/manifests/", "**", ""),
            ("^/v2/team/.*/manifests/", "team/**", ""),
            ("^/v2/team/$", "", ""),
            (r"/\.ht", "", ""),
            ("^/v1/", "", ""),
            ("^/v2/(?!public/)", "**", ""),
            (r"^/v2/\x41", "**", ""),
        ] {
            says(&PathCoverage::expression(expression, false), expression, cover, sure);
        }
        says(&PathCoverage::expression("^/V2/Team/", true), "~*", "team/**", "team/**");
    }

    #[test]
    fn what_is_spelled_with_percents_may_be_about_anything() {
        says(&PathCoverage::raw_expression("^/v2/team/", false), "raw", "team/**", "");
        says(&PathCoverage::raw_expression("^/v2/[^/]+-x/", false), "raw", "**", "");
        says(&PathCoverage::raw_expression("%2f", true), "raw", "**", "");
    }
}
