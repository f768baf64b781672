//! The locations of a server as access rules.
//!
//! Invariant: the rules stand in the order in which nginx looks for a location; where that order cannot be written down,
//! everything is closed.

use super::{
    super::{
        pattern::{Atom, Pattern, Subject},
        rules::{Carry, Entry},
        talk::Migration,
    },
    admission::Admission,
    scope::Scope,
    tls,
};
use crate::access::{Action, Actions, Glob, Who};

/// A location and what it is about.
struct Location<'a> {
    scope: Scope<'a>,
    kind: Kind,
    path: String,
    reach: Reach,
}

/// How a location is found. The order is that of precedence, but for `^~`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Expression,
    Exact,
    /// `^~`: expressions are not asked where this is the longest prefix.
    Final,
    Prefix,
}

/// Which repositories a location is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    All,
    Some(Vec<Glob>),
    /// None: the catalog, the first question of clients, other things than the registry.
    Other,
    Unclear,
}

pub(super) fn read(server: Scope<'_>, migration: &mut Migration) {
    let mut locations = Vec::new();
    collect(server, &mut locations);
    let order = in_order(locations, migration);
    let admissions: Vec<(Location<'_>, Admission<'_>)> = order
        .locations
        .into_iter()
        .map(|location| {
            let admission = Admission::of(location.scope, server);
            (location, admission)
        })
        .collect();
    // The file of the location that is about everything, which comes last.
    let file = admissions.iter().rev().flat_map(|(_, admission)| &admission.files).next().copied();
    let users = file.and_then(|file| Some((tls::path(file, migration)?, file)));
    if let Some((value, file)) = &users {
        migration.set("auth", "htpasswd", value.clone(), file.line, "auth_basic_user_file");
    }
    let anybody = admissions.iter().any(|(_, admission)| !admission.anonymous.is_empty());
    let mut entries = Vec::new();
    for (location, mut admission) in admissions {
        if let Some(other) = admission.files.iter().find(|other| file.is_some_and(|file| file.first() != other.first()))
        {
            let why = format!("it had users of its own, in {}", other.first());
            admission.obstacle.get_or_insert((other.line, why));
        }
        if let Some(why) = &order.obstacle {
            admission.obstacle.get_or_insert((location.scope.line, why.clone()));
        }
        entries.extend(rules(&location, admission, anybody, migration));
    }
    if file.is_none() && anybody {
        migration.warn(
            server.line,
            "nginx asks for no password: the registry behind it may, so its configuration decides: take the rules that \
             `portcullis migrate registry` makes of it; those that would hold otherwise stand in the file as comments",
        );
        entries.iter_mut().for_each(leave_to_registry);
    }
    if entries.is_empty() {
        migration
            .warn(server.line, "no location is about /v2/ as a whole, so nobody may do anything; write [[access]]");
    }
    migration.rules(entries);
    migration.warn(
        None,
        "nobody may delete: registry:2 does not either, unless its config.yml says storage.delete.enabled: true; if yours \
         does, add \"delete\" to the actions of whoever may",
    );
}

/// Closes what nginx left open, for the registry behind it may not have.
fn leave_to_registry(entry: &mut Entry) {
    if entry.carry == Carry::Exactly && !entry.actions.is_empty() {
        entry.carry = Carry::Withheld("the registry behind nginx may have asked for passwords".to_owned());
    }
}

/// All locations, those within others too.
fn collect<'a>(scope: Scope<'a>, found: &mut Vec<Location<'a>>) {
    for directive in scope.own().iter().filter(|directive| directive.name == "location") {
        let (kind, path) = match directive.arguments.as_slice() {
            [path] => glued(path),
            [modifier, path] => (modifier_of(modifier), path.as_str()),
            _ => continue,
        };
        let inner = scope.within(directive);
        // ~* does not care for capitals, and names have none.
        let path = &if directive.first().starts_with("~*") { path.to_lowercase() } else { path.to_owned() };
        if !path.starts_with('@') {
            found.push(Location { scope: inner, kind, path: path.to_owned(), reach: reach(kind, path) });
        }
        collect(inner, found);
    }
}

fn modifier_of(text: &str) -> Kind {
    match text {
        "=" => Kind::Exact,
        "^~" => Kind::Final,
        "~" | "~*" => Kind::Expression,
        _ => Kind::Prefix,
    }
}

/// `=/path` and `~expression` need no space between.
fn glued(text: &str) -> (Kind, &str) {
    let modifier = ["^~", "~*", "~", "="].into_iter().find(|modifier| text.starts_with(modifier));
    modifier.map_or((Kind::Prefix, text), |modifier| (modifier_of(modifier), &text[modifier.len()..]))
}

const ROOT: &str = "/v2/";

fn reach(kind: Kind, path: &str) -> Reach {
    match kind {
        Kind::Prefix | Kind::Final => below(path),
        Kind::Exact if !path.starts_with(ROOT) || path == ROOT || path == "/v2/_catalog" => Reach::Other,
        Kind::Exact => Reach::Unclear,
        Kind::Expression => {
            let Ok(pattern) = Pattern::regex(path, Subject::Text) else { return Reach::Unclear };
            pattern.0.iter().map(|atoms| expression(atoms)).reduce(Reach::and).unwrap_or(Reach::Other)
        }
    }
}

impl Reach {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unclear, _) | (_, Self::Unclear) => Self::Unclear,
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Other, reach) | (reach, Self::Other) => reach,
            (Self::Some(one), Self::Some(other)) => Self::Some([one, other].concat()),
        }
    }
}

/// What is about all paths that begin like this.
fn below(path: &str) -> Reach {
    if ROOT.starts_with(path) {
        return Reach::All;
    }
    let Some(rest) = path.strip_prefix(ROOT) else { return Reach::Other };
    if rest.starts_with('_') {
        return Reach::Other;
    }
    // `/v2/team/app/manifests/` is about a part of a repository, and `/v2/team/ma` might be.
    let words = ["manifests", "blobs", "tags", "referrers", "_"];
    let mut parts: Vec<&str> = rest.split('/').collect();
    let last = parts.pop().unwrap_or_default();
    if parts.iter().any(|part| words.contains(part))
        || (!last.is_empty() && words.iter().any(|word| word.starts_with(last)))
    {
        return Reach::Unclear;
    }
    let text = if last.is_empty() { format!("{rest}**") } else { format!("{rest}*/**") };
    // A path that no repository has.
    text.parse().map_or(Reach::Other, |glob| Reach::Some(vec![glob]))
}

/// One alternative of an expression over paths.
fn expression(atoms: &[Atom]) -> Reach {
    let hidden = |pair: &[Atom]| pair == [Atom::Literal('/'), Atom::Literal('.')];
    // Nothing in a registry's paths begins with a dot.
    if atoms.windows(2).any(hidden) {
        return Reach::Other;
    }
    let (anchored, atoms) = match atoms {
        [Atom::Anything { .. }, rest @ ..] => (false, rest),
        _ => (true, atoms),
    };
    let words: String =
        atoms.iter().map_while(|atom| if let Atom::Literal(letter) = atom { Some(*letter) } else { None }).collect();
    if anchored && !words.starts_with(ROOT) && !ROOT.starts_with(&words) {
        return Reach::Other;
    }
    let tail = &atoms[words.chars().count()..];
    match tail {
        [Atom::Anything { nonempty: false }] if anchored => below(&words),
        [Atom::Anything { nonempty: false }] | [] if !anchored && ROOT.starts_with(&words) && !tail.is_empty() => {
            Reach::All
        }
        // Unanchored and alone: `.*`
        [] if !anchored && words.is_empty() => Reach::All,
        _ => Reach::Unclear,
    }
}

struct Order<'a> {
    locations: Vec<Location<'a>>,
    /// Why the order is not nginx's.
    obstacle: Option<String>,
}

/// Those that matter, as nginx tries them: expressions as they stand, then prefixes, the longest first.
fn in_order<'a>(locations: Vec<Location<'a>>, migration: &mut Migration) -> Order<'a> {
    let mut relevant = Vec::new();
    for location in locations {
        if location.reach != Reach::Other {
            relevant.push(location);
        } else if location.path.starts_with(ROOT) && location.kind != Kind::Exact {
            let text = format!(
                "location {}: about no repository; the catalog shows everyone what they may pull",
                location.path
            );
            migration.note(location.scope.line, &text);
        }
    }
    relevant.sort_by_key(|location| match location.kind {
        Kind::Expression | Kind::Exact => (0, 0),
        Kind::Final | Kind::Prefix => (1, usize::MAX - location.path.len()),
    });
    // The longest prefix that is about everything hides the shorter ones.
    let is_prefix = |location: &Location<'_>| matches!(location.kind, Kind::Final | Kind::Prefix);
    if let Some(main) = relevant.iter().position(|location| is_prefix(location) && location.reach == Reach::All) {
        relevant.truncate(main + 1);
    }
    let is_final = relevant.last().is_some_and(|main| main.kind == Kind::Final && main.reach == Reach::All);
    if is_final && relevant.iter().filter(|location| is_prefix(location)).count() == 1 {
        relevant.retain(is_prefix);
    }
    let has = |kind| relevant.iter().any(|location| location.kind == kind);
    let is_mixed = has(Kind::Final) && has(Kind::Expression);
    let obstacle =
        is_mixed.then(|| "locations with ~ and with ^~ below /v2/ have an order that rules cannot have".to_owned());
    Order { locations: relevant, obstacle }
}

/// One rule for those signed in, and one for those who are not, if anybody of them gets in anywhere.
fn rules(location: &Location<'_>, admission: Admission<'_>, anybody: bool, migration: &mut Migration) -> Vec<Entry> {
    let Admission { anonymous, signed_in, obstacle, addresses, .. } = admission;
    let line = location.scope.line;
    let what = format!("location {}", location.path);
    let unclear = location.reach == Reach::Unclear;
    if let Some(line) = addresses {
        migration.warn(line, "satisfy any: addresses are not looked at: those who came in by theirs must sign in now");
    }
    let carry = match obstacle {
        _ if unclear => {
            migration.warn(
                line,
                &format!(
                    "{what}: cannot be expressed by our patterns; no rule gives more than this location where it might have \
                     been meant, so write by hand what is missing"
                ),
            );
            Carry::LeftOut("which repositories it is about cannot be expressed".to_owned())
        }
        Some((place, why)) => {
            migration.warn(
                place,
                &format!(
                    "{what}: {why}, which rules cannot say: nobody is let in; its rule stands in the file as a comment"
                ),
            );
            Carry::Withheld(why)
        }
        None => Carry::Exactly,
    };
    let repositories = match &location.reach {
        Reach::Some(globs) => globs.clone(),
        Reach::All | Reach::Other | Reach::Unclear => "**".parse().into_iter().collect(),
    };
    // registry:2 deletes only if it is told to, and its configuration is not here.
    let kept: Actions = [Action::Pull, Action::Push].into_iter().collect();
    let entry = |users, actions: Actions| {
        // What forbids everything cannot be withheld.
        let carry = if actions.is_empty() && !unclear { Carry::Exactly } else { carry.clone() };
        let (what, repositories) = (what.clone(), repositories.clone());
        Entry { line, what, users, repositories, actions: actions.intersection(kept), carry }
    };
    if !anybody {
        return vec![entry(vec![Who::SignedIn], signed_in)];
    }
    if anonymous == signed_in {
        return vec![entry(vec![Who::SignedIn, Who::Anonymous], signed_in)];
    }
    vec![entry(vec![Who::SignedIn], signed_in), entry(vec![Who::Anonymous], anonymous)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(kind: Kind, path: &str) -> String {
        match reach(kind, path) {
            Reach::All => "all".to_owned(),
            Reach::Some(globs) => globs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Reach::Other => "none".to_owned(),
            Reach::Unclear => "unclear".to_owned(),
        }
    }

    #[test]
    fn a_prefix_is_about_the_repositories_below_it() {
        for (path, expected) in [
            ("/", "all"),
            ("/v2", "all"),
            ("/v2/", "all"),
            ("/v2/team/", "team/**"),
            ("/v2/team/app", "team/app*/**"),
            ("/v2/team", "team*/**"),
            ("/v2/team/ta", "unclear"),
            ("/v2/x", "x*/**"),
            ("/v2/team/app/manifests/", "unclear"),
            ("/v2/_catalog", "none"),
            ("/v1/", "none"),
            ("/ui", "none"),
            ("/v2/Team/", "none"),
        ] {
            assert_eq!(about(Kind::Prefix, path), expected, "{path}");
        }
    }

    #[test]
    fn an_expression_is_about_what_it_begins_with() {
        for (path, expected) in [
            ("^/v2/", "all"),
            ("^/v2/.*$", "all"),
            ("/v2/", "all"),
            ("^/(v1|v2)/", "all"),
            ("^/v2/(team|dept)/", "team/** dept/**"),
            ("^/v2/team/.*", "team/**"),
            ("/v2/team/", "unclear"),
            ("^/v2/[a-z]+/", "unclear"),
            ("^/v2/.*/manifests/", "unclear"),
            ("^/v2/team/$", "unclear"),
            ("/\\.ht", "none"),
            ("^/v1/", "none"),
            (".*", "all"),
        ] {
            assert_eq!(about(Kind::Expression, path), expected, "{path}");
        }
    }
}
