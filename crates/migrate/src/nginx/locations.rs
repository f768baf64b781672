//! Converts the locations of a server to access rules.
//!
//! The paths of the locations divide all repositories into regions, the narrower before the wider. A region's rule
//! allows the actions that every location allows which may answer for one of its repositories. Invariant: no rule
//! allows more, whatever the order of the regions and however roughly they describe what a location matches.

use super::{
    super::{
        rules::{Carry, Entry},
        talk::Migration,
    },
    admission::{Admission, Certificates},
    barrier::{self, Barrier},
    paths::Paths,
    region::Region,
    scope::Scope,
    syntax::Directive,
    tls,
    tree::{Handler, Kind, Location, Tree},
};
use portcullis_access::{Action, Actions, Glob, Who};

/// The maximum number of regions; with more, one rule holds for all repositories.
const MOST_REGIONS: usize = 200;

/// A server with its locations, barriers and admissions.
struct Site<'a> {
    server: Scope<'a>,
    tree: Tree<'a>,
    barriers: Vec<Barrier>,
    /// The admission of each location, and last that of the server itself.
    admissions: Vec<Admission<'a>>,
}

/// The actions allowed for the repositories of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    line: usize,
    what: String,
    anonymous: Actions,
    signed_in: Actions,
    carry: Carry,
}

/// Writes the access rules and `auth.htpasswd` of a server; warns of conditions that rules cannot express.
pub(super) fn read(server: Scope<'_>, certificates: Certificates, migration: &mut Migration) {
    let mut site = Site::of(server, certificates);
    let regions = site.regions();
    if regions.len() == 1 && site.is_vast() {
        let text =
            format!("more than {MOST_REGIONS} groups of repositories: the rights that all of them share were taken");
        migration.warn(server.line, &text);
    }
    let users = site.users(&regions);
    let path = users.and_then(|file| Some((file, tls::path(file, migration)?)));
    if let Some((file, value)) = path {
        migration.set("auth", "htpasswd", value, file.line, "auth_basic_user_file");
    }
    let has_users = users.is_some();
    let outcomes = site.outcomes(&regions);
    site.tell(&regions, migration);
    let anybody = outcomes.iter().any(|outcome| !outcome.anonymous.is_empty());
    let mut entries: Vec<Entry> =
        grouped(&regions, outcomes).iter().flat_map(|(outcome, globs)| rules(outcome, globs, anybody)).collect();
    if !has_users && anybody {
        migration.warn(
            server.line,
            "nginx asks for no password, but the registry behind it may: use the rules that `portcullis migrate registry` makes \
             of its configuration; the rules for a registry without passwords are in the file as comments",
        );
        entries.iter_mut().for_each(leave_to_registry);
    }
    migration.rules(entries);
    migration.warn(
        None,
        "no rule allows deleting: registry:2 does not either, unless its config.yml says storage.delete.enabled: true; if \
         yours does, add \"delete\" to the actions of the rules",
    );
}

/// Closes an entry that nginx left open: the registry behind it may require passwords.
fn leave_to_registry(entry: &mut Entry) {
    if entry.carry == Carry::Exactly && !entry.actions.is_empty() {
        entry.carry = Carry::Withheld("the registry behind nginx may have asked for passwords".to_owned());
    }
}

impl<'a> Site<'a> {
    fn of(server: Scope<'a>, certificates: Certificates) -> Self {
        let tree = Tree::of(server);
        let scopes = tree.locations.iter().map(|location| location.scope).chain([server]);
        let admissions = scopes.map(|scope| Admission::of(scope, server, certificates)).collect();
        let barriers = barrier::all(server, tree.locations.iter().map(|location| location.scope));
        Self { server, tree, barriers, admissions }
    }

    /// Whether there are more regions than are distinguished.
    fn is_vast(&self) -> bool {
        self.paths().flat_map(|paths| paths.cover.iter().chain(&paths.sure)).count() > 2 * MOST_REGIONS
    }

    fn paths(&self) -> impl Iterator<Item = &Paths> {
        let of_locations = self.tree.locations.iter().map(|location| &location.paths);
        of_locations.chain(self.barriers.iter().map(|barrier| &barrier.paths))
    }

    /// The regions that the locations name, each before those that contain it, and the region of everything last.
    fn regions(&self) -> Vec<Region> {
        let mut regions: Vec<Region> = Vec::new();
        let all = if self.is_vast() { None } else { Some(self.paths()) };
        for region in all.into_iter().flatten().flat_map(|paths| paths.cover.iter().chain(&paths.sure)) {
            if !regions.contains(region) && *region != Region::everything() {
                let wider = regions.iter().position(|known| known.contains(region));
                regions.insert(wider.unwrap_or(regions.len()), region.clone());
            }
        }
        regions.push(Region::everything());
        regions
    }

    fn outcomes(&self, regions: &[Region]) -> Vec<Outcome> {
        (0..regions.len()).map(|index| self.outcome(&regions[index], &regions[..index])).collect()
    }

    fn admission(&self, handler: Handler) -> &Admission<'a> {
        match handler {
            Handler::Location(number) => &self.admissions[number],
            Handler::Server => &self.admissions[self.tree.locations.len()],
        }
    }

    fn line(&self, handler: Handler) -> usize {
        match handler {
            Handler::Location(number) => self.tree.locations[number].scope.line,
            Handler::Server => self.server.line,
        }
    }

    /// The users file of the widest region that has one; locations with another file get an obstacle.
    fn users(&mut self, regions: &[Region]) -> Option<&'a Directive> {
        let handlers = |index: usize| self.tree.handlers(&regions[index], &regions[..index]);
        let file = (0..regions.len())
            .rev()
            .flat_map(handlers)
            .find_map(|handler| self.admission(handler).files.first().copied())?;
        for admission in &mut self.admissions {
            let other = admission.files.iter().find(|other| other.first() != file.first()).copied();
            let why = match other.or(admission.files.first().copied()) {
                Some(own) if !tls::is_file(own.first()) => {
                    (own.line, "the name of its users file is not known".to_owned())
                }
                Some(other) if other.first() != file.first() => {
                    (other.line, format!("it had users of its own, in {}", other.first()))
                }
                Some(_) | None => continue,
            };
            admission.obstacle.get_or_insert(why);
        }
        Some(file)
    }

    /// The actions allowed for the repositories that are in this region and in none of those before it.
    fn outcome(&self, region: &Region, before: &[Region]) -> Outcome {
        let handlers = self.tree.handlers(region, before);
        let all: Vec<&Admission<'_>> = handlers.iter().map(|handler| self.admission(*handler)).collect();
        let meet = |actions: fn(&Admission<'_>) -> Actions| {
            all.iter().map(|admission| actions(admission)).reduce(Actions::intersection).unwrap_or_default()
        };
        let (anonymous, signed_in) = (meet(|admission| admission.anonymous), meet(|admission| admission.signed_in));
        let obstacle = all.iter().find_map(|admission| admission.obstacle.as_ref().map(|(_, why)| why.clone()));
        let barrier = self.barriers.iter().find(|barrier| barrier.paths.may_match(region, before));
        let why = barrier.map(|barrier| barrier.why.clone()).or(obstacle);
        let names: Vec<String> = handlers.iter().map(|handler| self.name(*handler)).collect();
        Outcome {
            line: handlers.iter().map(|handler| self.line(*handler)).min().unwrap_or(self.server.line),
            what: names.join(", "),
            anonymous,
            signed_in,
            carry: why.map_or(Carry::Exactly, Carry::Withheld),
        }
    }

    fn name(&self, handler: Handler) -> String {
        match handler {
            Handler::Location(number) => format!("location {}", self.tree.locations[number].path),
            Handler::Server => "server, outside of its locations".to_owned(),
        }
    }

    /// Warns where the rules differ from nginx, or cover more or fewer repositories.
    fn tell(&self, regions: &[Region], migration: &mut Migration) {
        let everything = regions.len() - 1;
        if self.tree.handlers(&regions[everything], &regions[..everything]).contains(&Handler::Server) {
            migration.warn(
                self.server.line,
                "no location covers all of /v2/, so some repositories are closed; write [[access]]",
            );
        }
        for barrier in &self.barriers {
            let text = format!(
                "{}: {}, which access rules cannot express: closed where it may apply",
                barrier.what, barrier.why
            );
            migration.warn(barrier.line, &text);
        }
        for (location, admission) in self.tree.locations.iter().zip(&self.admissions) {
            tell_location(location, admission, migration);
        }
    }
}

fn tell_location(location: &Location<'_>, admission: &Admission<'_>, migration: &mut Migration) {
    let Location { scope, path, kind, paths, .. } = location;
    let what = format!("location {path}");
    if paths.cover.is_empty() {
        if path.starts_with("/v2/_") && *kind != Kind::Exact {
            migration.warn(
                scope.line,
                &format!("{what}: about no repository; the catalog lists the repositories that a user may pull"),
            );
        }
        return;
    }
    if let Some(line) = admission.addresses {
        migration.warn(
            line,
            "satisfy any: access rules do not check addresses; clients that were admitted by address must sign in now",
        );
    }
    let patterns: Vec<String> = globs(&paths.cover).iter().map(ToString::to_string).collect();
    let patterns = patterns.join(", ");
    match &admission.obstacle {
        Some(_) if admission.signed_in.is_empty() => {}
        Some((line, why)) => {
            let text = format!(
                "{what}: {why}, which access rules cannot express: closed where it may apply ({patterns}); its rule is in the \
                 file as a comment"
            );
            migration.warn(*line, &text);
        }
        None if paths.is_whole() => {}
        None => {
            let text = format!(
                "{what}: patterns cannot express exactly what it matches; the rule for {patterns} allows what it and the locations \
                 around it all allow"
            );
            migration.warn(scope.line, &text);
        }
    }
}

fn globs(regions: &[Region]) -> Vec<Glob> {
    regions.iter().filter_map(Region::glob).collect()
}

/// Joins neighbouring regions with the same outcome, each with the globs of its regions.
fn grouped(regions: &[Region], outcomes: Vec<Outcome>) -> Vec<(Outcome, Vec<Glob>)> {
    let mut groups: Vec<(Outcome, Vec<Glob>)> = Vec::new();
    for (region, outcome) in regions.iter().zip(outcomes) {
        // A cover is widened until a glob can express it, and a sure region that no glob can express is left out.
        let glob = region.glob().unwrap_or_else(Glob::everything);
        match groups.last_mut() {
            Some((last, globs)) if *last == outcome && *region != Region::everything() => globs.push(glob),
            Some(_) | None => groups.push((outcome, vec![glob])),
        }
    }
    groups
}

/// A text that is equal for two servers if both allow the same actions to the same users.
pub(super) fn signature(server: Scope<'_>, certificates: Certificates) -> Vec<String> {
    let mut site = Site::of(server, certificates);
    let regions = site.regions();
    let users = site.users(&regions).map_or("", Directive::first).to_owned();
    let one = |(outcome, globs): &(Outcome, Vec<Glob>)| {
        let Outcome { anonymous, signed_in, carry, .. } = outcome;
        format!("{globs:?} {anonymous:?} {signed_in:?} {carry:?}")
    };
    grouped(&regions, site.outcomes(&regions)).iter().map(one).chain([users]).collect()
}

/// One rule for signed-in users, and one for anonymous requests if these are allowed in any region (`anybody`).
fn rules(outcome: &Outcome, globs: &[Glob], anybody: bool) -> Vec<Entry> {
    // registry:2 deletes only if its configuration enables that, and its configuration is not read here.
    let kept: Actions = [Action::Pull, Action::Push].into_iter().collect();
    let entry = |users, actions: Actions| {
        let actions = actions.intersection(kept);
        // A rule that denies everything needs no withholding.
        let carry = if actions.is_empty() { Carry::Exactly } else { outcome.carry.clone() };
        Entry { line: outcome.line, what: outcome.what.clone(), users, repositories: globs.to_vec(), actions, carry }
    };
    let (anonymous, signed_in) = (outcome.anonymous, outcome.signed_in);
    if !anybody {
        return vec![entry(vec![Who::SignedIn], signed_in)];
    }
    if anonymous == signed_in {
        return vec![entry(vec![Who::SignedIn, Who::Anonymous], signed_in)];
    }
    vec![entry(vec![Who::SignedIn], signed_in), entry(vec![Who::Anonymous], anonymous)]
}
