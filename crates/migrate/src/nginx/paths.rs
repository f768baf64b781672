//! Maps URL paths of locations and expressions to the repositories they belong to.
//!
//! A path below `/v2/` is a repository's name followed by the requested resource (`/manifests/…`), so a prefix of
//! paths or an expression over them determines names. Invariant: [`Paths::cover`] holds every repository of which
//! some path is matched, and all paths of the repositories in [`Paths::sure`] are matched.

use super::{
    super::{
        pattern::{Atom, Pattern, Subject},
        superset,
    },
    region::Region,
};

/// The path of the registry API.
const ROOT: &str = "/v2/";

/// The path components that may follow a repository's name.
const KINDS: [&str; 4] = ["manifests", "blobs", "tags", "referrers"];

/// The repositories that a set of paths belongs to, as a superset and a subset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Paths {
    /// No path of a repository outside of these regions is matched.
    pub(super) cover: Vec<Region>,
    /// Every path of a repository in these regions is matched.
    pub(super) sure: Vec<Region>,
}

impl Paths {
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
        match Pattern::regex(&small, Subject::Text) {
            Ok(pattern) if !(is_own_syntax || (folds && text.contains('\\'))) => Self::exactly(&pattern.0),
            Ok(_) | Err(_) => Self::around(text, folds),
        }
    }

    /// A superset of the paths whose raw request target matches an expression: percent-encoded, and perhaps with a
    /// query.
    pub(super) fn raw_expression(text: &str, folds: bool) -> Self {
        let pattern = superset::pattern(text, folds).filter(|_| !text.contains('%'));
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

    fn around(text: &str, folds: bool) -> Self {
        superset::pattern(text, folds).map_or_else(Self::unknown, |pattern| Self::covering(&pattern.0))
    }

    /// Paths that may belong to any repository.
    pub(super) fn unknown() -> Self {
        Self { cover: vec![Region::everything()], sure: Vec::new() }
    }

    fn covering(alternatives: &[Vec<Atom>]) -> Self {
        Self { cover: joined(alternatives.iter().flat_map(|atoms| cover(atoms))), sure: Vec::new() }
    }

    fn exactly(alternatives: &[Vec<Atom>]) -> Self {
        let sure = joined(alternatives.iter().filter_map(|atoms| sure(atoms)));
        Self { sure, ..Self::covering(alternatives) }
    }

    /// Whether superset and subset agree: exactly the paths of some repositories are matched.
    pub(super) fn is_whole(&self) -> bool {
        self.cover.iter().all(|region| self.sure.iter().any(|sure| sure.contains(region)))
    }

    /// Whether all paths of this region's repositories are matched.
    pub(super) fn surely_match(&self, region: &Region) -> bool {
        self.sure.iter().any(|sure| sure.contains(region))
    }

    /// Whether a path of some repository in this region, and in none of `others`, may be matched.
    pub(super) fn may_match(&self, region: &Region, others: &[Region]) -> bool {
        let is_elsewhere = |covered: &Region| others.iter().any(|other| other.contains(covered));
        self.cover.iter().any(|covered| covered.overlaps(region) && !is_elsewhere(covered))
    }
}

/// The regions that are not contained in others.
fn joined(regions: impl Iterator<Item = Region>) -> Vec<Region> {
    let mut all: Vec<Region> = Vec::new();
    for region in regions {
        if !all.iter().any(|known| known.contains(&region)) {
            all.retain(|known| !region.contains(known));
            all.push(region);
        }
    }
    all
}

/// The regions of the repositories of which these atoms may match some path.
fn cover(atoms: &[Atom]) -> Vec<Region> {
    // No component of a registry path begins with a dot.
    if atoms.windows(2).any(|pair| pair == [Atom::Literal('/'), Atom::Literal('.')]) {
        return Vec::new();
    }
    let mut rest = atoms;
    for expected in ROOT.chars() {
        match rest.split_first() {
            Some((Atom::Literal(letter), after)) if *letter == expected => rest = after,
            Some((Atom::Literal(_), _)) | None => return Vec::new(),
            Some((Atom::Account | Atom::Within { .. } | Atom::Anything { .. }, _)) => return vec![Region::everything()],
        }
    }
    let (mut done, mut current, mut found) = (Vec::new(), String::new(), Vec::new());
    for atom in rest {
        match atom {
            Atom::Literal('/') => {
                ends_before(&done, &current, &mut found);
                done.push(std::mem::take(&mut current));
            }
            Atom::Literal(letter) => current.push(*letter),
            Atom::Within { .. } => star(&mut current),
            Atom::Account | Atom::Anything { .. } => {
                star(&mut current);
                ends_before(&done, &current, &mut found);
                if current != "*" {
                    done.push(current);
                }
                done.push("**".to_owned());
                found.extend(Region::new(done).map(Region::widened));
                return found;
            }
        }
    }
    // A path never ends with a repository's name.
    found
}

fn star(component: &mut String) {
    if !component.ends_with('*') {
        component.push('*');
    }
}

/// Adds the region of names that end before this component, if the component may be one of [`KINDS`].
fn ends_before(done: &[String], component: &str, found: &mut Vec<Region>) {
    let letters: Vec<Atom> = component
        .chars()
        .map(|letter| if letter == '*' { Atom::Anything { nonempty: false } } else { Atom::Literal(letter) })
        .collect();
    let pattern = Pattern(vec![letters]);
    if KINDS.iter().any(|kind| pattern.matches(kind, "")) {
        found.extend(Region::new(done.to_vec()).map(Region::widened));
    }
}

/// A region of repositories all of whose paths these atoms match; `None` if no single region expresses it.
fn sure(atoms: &[Atom]) -> Option<Region> {
    let (Atom::Anything { .. }, before) = atoms.split_last()? else { return None };
    if let Some((Atom::Anything { nonempty }, words)) = before.split_first() {
        // Not anchored: matches everything if it is a part of the prefix that all paths share.
        let words: Option<String> = words.iter().copied().map(letter).collect();
        return words.filter(|words| !nonempty && ROOT.contains(words.as_str())).map(|_| Region::everything());
    }
    let before: Vec<Atom> = match before.iter().copied().map(letter).collect::<Option<String>>() {
        Some(text) if ROOT.starts_with(&text) => return Some(Region::everything()),
        Some(_) | None => before.to_vec(),
    };
    let root: Vec<Atom> = ROOT.chars().map(Atom::Literal).collect();
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
                star(&mut current);
            }
            Atom::Literal(_) | Atom::Within { .. } | Atom::Account | Atom::Anything { .. } => return None,
        }
    }
    if !current.is_empty() {
        star(&mut current);
        done.push(current);
    }
    done.push("**".to_owned());
    Region::new(done).filter(|region| !region.is_too_wild())
}

fn letter(atom: Atom) -> Option<char> {
    match atom {
        Atom::Literal(letter) => Some(letter),
        Atom::Account | Atom::Within { .. } | Atom::Anything { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(regions: &[Region]) -> String {
        regions.iter().map(|region| region.glob().unwrap().to_string()).collect::<Vec<_>>().join(" ")
    }

    fn says(paths: &Paths, text: &str, cover: &str, sure: &str) {
        assert_eq!((texts(&paths.cover), texts(&paths.sure)), (cover.to_owned(), sure.to_owned()), "{text}");
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
            says(&Paths::prefix(path), path, cover, sure);
        }
        says(&Paths::exact("/v2/"), "= /v2/", "", "");
        says(&Paths::exact("/v2/a/blobs/uploads/"), "= /v2/a/blobs/uploads/", "a", "");
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
            says(&Paths::expression(expression, false), expression, cover, sure);
        }
        says(&Paths::expression("^/V2/Team/", true), "~*", "team/**", "team/**");
    }

    #[test]
    fn what_is_spelled_with_percents_may_be_about_anything() {
        says(&Paths::raw_expression("^/v2/team/", false), "raw", "team/**", "");
        says(&Paths::raw_expression("^/v2/[^/]+-x/", false), "raw", "**", "");
        says(&Paths::raw_expression("%2f", true), "raw", "**", "");
    }
}
