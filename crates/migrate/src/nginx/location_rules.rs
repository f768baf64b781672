//! Converts the locations of a server to access rules.
//!
//! The paths of the locations divide all repositories into regions, the narrower before the wider. A region's rule
//! allows the actions that every location allows which may answer for one of its repositories. Invariant: no rule
//! allows more, whatever the order of the regions and however roughly they describe what a location matches.

use super::{
    super::{
        access_entries::{AccessEntry, Mapping},
        report::Migration,
    },
    admission::{Admission, ClientCertificates},
    location_tree::{Handler, Location, LocationKind, LocationTree},
    path_conditions::{self, PathCondition},
    path_coverage::PathCoverage,
    repository_region::RepositoryRegion,
    scope::Scope,
    syntax::Directive,
    tls,
};
use portcullis_access::{Action, Actions, Glob, SubjectMatcher};

/// The maximum number of regions; with more, one rule holds for all repositories.
const MAX_REGIONS: usize = 200;

/// A server with its locations, barriers and admissions.
struct ServerLocations<'a> {
    server: Scope<'a>,
    tree: LocationTree<'a>,
    barriers: Vec<PathCondition>,
    /// The admission of each location, and last that of the server itself.
    admissions: Vec<Admission<'a>>,
}

/// The actions allowed for the repositories of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RegionRights {
    line: usize,
    description: String,
    anonymous: Actions,
    signed_in: Actions,
    mapping: Mapping,
}

/// Writes the access rules and `auth.htpasswd` of a server; warns of conditions that rules cannot express.
pub(super) fn read(server: Scope<'_>, certificates: ClientCertificates, migration: &mut Migration) {
    let mut site = ServerLocations::new(server, certificates);
    let regions = site.regions();
    if regions.len() == 1 && site.has_too_many_regions() {
        let text =
            format!("more than {MAX_REGIONS} groups of repositories: the rights that all of them share were taken");
        migration.warn(server.line, &text);
    }
    let users = site.users(&regions);
    let path = users.and_then(|file| Some((file, tls::file_path(file, migration)?)));
    if let Some((file, value)) = path {
        migration.set("auth", "htpasswd", value, file.line, "auth_basic_user_file");
    }
    let has_users = users.is_some();
    let outcomes = site.rights_by_region(&regions);
    site.report(&regions, migration);
    let has_anonymous_access = outcomes.iter().any(|outcome| !outcome.anonymous.is_empty());
    let mut entries: Vec<AccessEntry> = group_neighbours(&regions, outcomes)
        .iter()
        .flat_map(|(outcome, globs)| rules(outcome, globs, has_anonymous_access))
        .collect();
    if !has_users && has_anonymous_access {
        migration.warn(
            server.line,
            "nginx asks for no password, but the registry behind it may: use the rules that `portcullis migrate registry` makes \
             of its configuration; the rules for a registry without passwords are in the file as comments",
        );
        entries.iter_mut().for_each(deny_pending_registry);
    }
    migration.add_rules(entries);
    migration.warn(
        None,
        "no rule allows deleting: registry:2 does not either, unless its config.yml says storage.delete.enabled: true; if \
         yours does, add \"delete\" to the actions of the rules",
    );
}

/// Closes an entry that nginx left open: the registry behind it may require passwords.
fn deny_pending_registry(entry: &mut AccessEntry) {
    if entry.mapping == Mapping::Exact && !entry.actions.is_empty() {
        entry.mapping = Mapping::Denied("the registry behind nginx may have asked for passwords".to_owned());
    }
}

impl<'a> ServerLocations<'a> {
    fn new(server: Scope<'a>, certificates: ClientCertificates) -> Self {
        let tree = LocationTree::from_server(server);
        let scopes = tree.locations.iter().map(|location| location.scope).chain([server]);
        let admissions = scopes.map(|scope| Admission::new(scope, server, certificates)).collect();
        let barriers = path_conditions::collect(server, tree.locations.iter().map(|location| location.scope));
        Self { server, tree, barriers, admissions }
    }

    /// Whether there are more regions than are distinguished.
    fn has_too_many_regions(&self) -> bool {
        self.paths().flat_map(|paths| paths.superset.iter().chain(&paths.subset)).count() > 2 * MAX_REGIONS
    }

    fn paths(&self) -> impl Iterator<Item = &PathCoverage> {
        let of_locations = self.tree.locations.iter().map(|location| &location.paths);
        of_locations.chain(self.barriers.iter().map(|barrier| &barrier.paths))
    }

    /// The regions that the locations name, each before those that contain it, and the region of everything last.
    fn regions(&self) -> Vec<RepositoryRegion> {
        let mut regions: Vec<RepositoryRegion> = Vec::new();
        let all = if self.has_too_many_regions() { None } else { Some(self.paths()) };
        for region in all.into_iter().flatten().flat_map(|paths| paths.superset.iter().chain(&paths.subset)) {
            if !regions.contains(region) && *region != RepositoryRegion::everything() {
                let wider = regions.iter().position(|known| known.contains(region));
                regions.insert(wider.unwrap_or(regions.len()), region.clone());
            }
        }
        regions.push(RepositoryRegion::everything());
        regions
    }

    fn rights_by_region(&self, regions: &[RepositoryRegion]) -> Vec<RegionRights> {
        (0..regions.len()).map(|index| self.region_rights(&regions[index], &regions[..index])).collect()
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
    fn users(&mut self, regions: &[RepositoryRegion]) -> Option<&'a Directive> {
        let handlers = |index: usize| self.tree.handlers(&regions[index], &regions[..index]);
        let file = (0..regions.len())
            .rev()
            .flat_map(handlers)
            .find_map(|handler| self.admission(handler).users_files.first().copied())?;
        for admission in &mut self.admissions {
            let other =
                admission.users_files.iter().find(|other| other.first_argument() != file.first_argument()).copied();
            let why = match other.or(admission.users_files.first().copied()) {
                Some(own) if !tls::is_file_name(own.first_argument()) => {
                    (own.line, "the name of its users file is not known".to_owned())
                }
                Some(other) if other.first_argument() != file.first_argument() => {
                    (other.line, format!("it had users of its own, in {}", other.first_argument()))
                }
                Some(_) | None => continue,
            };
            admission.obstacle.get_or_insert(why);
        }
        Some(file)
    }

    /// The actions allowed for the repositories that are in this region and in none of those before it.
    fn region_rights(&self, region: &RepositoryRegion, before: &[RepositoryRegion]) -> RegionRights {
        let handlers = self.tree.handlers(region, before);
        let all: Vec<&Admission<'_>> = handlers.iter().map(|handler| self.admission(*handler)).collect();
        let meet = |actions: fn(&Admission<'_>) -> Actions| {
            all.iter().map(|admission| actions(admission)).reduce(Actions::intersection).unwrap_or_default()
        };
        let (anonymous, signed_in) = (meet(|admission| admission.anonymous), meet(|admission| admission.signed_in));
        let obstacle = all.iter().find_map(|admission| admission.obstacle.as_ref().map(|(_, why)| why.clone()));
        let barrier = self.barriers.iter().find(|barrier| barrier.paths.may_match(region, before));
        let why = barrier.map(|barrier| barrier.reason.clone()).or(obstacle);
        let names: Vec<String> = handlers.iter().map(|handler| self.name(*handler)).collect();
        RegionRights {
            line: handlers.iter().map(|handler| self.line(*handler)).min().unwrap_or(self.server.line),
            description: names.join(", "),
            anonymous,
            signed_in,
            mapping: why.map_or(Mapping::Exact, Mapping::Denied),
        }
    }

    fn name(&self, handler: Handler) -> String {
        match handler {
            Handler::Location(number) => format!("location {}", self.tree.locations[number].path),
            Handler::Server => "server, outside of its locations".to_owned(),
        }
    }

    /// Warns where the rules differ from nginx, or cover more or fewer repositories.
    fn report(&self, regions: &[RepositoryRegion], migration: &mut Migration) {
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
                barrier.directive, barrier.reason
            );
            migration.warn(barrier.line, &text);
        }
        for (location, admission) in self.tree.locations.iter().zip(&self.admissions) {
            report_location(location, admission, migration);
        }
    }
}

fn report_location(location: &Location<'_>, admission: &Admission<'_>, migration: &mut Migration) {
    let Location { scope, path, kind, paths, .. } = location;
    let what = format!("location {path}");
    if paths.superset.is_empty() {
        if path.starts_with("/v2/_") && *kind != LocationKind::Exact {
            migration.warn(
                scope.line,
                &format!("{what}: about no repository; the catalog lists the repositories that a user may pull"),
            );
        }
        return;
    }
    if let Some(line) = admission.address_line {
        migration.warn(
            line,
            "satisfy any: access rules do not check addresses; clients that were admitted by address must sign in now",
        );
    }
    let patterns: Vec<String> = globs(&paths.superset).iter().map(ToString::to_string).collect();
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
        None if paths.is_exact() => {}
        None => {
            let text = format!(
                "{what}: patterns cannot express exactly what it matches; the rule for {patterns} allows what it and the locations \
                 around it all allow"
            );
            migration.warn(scope.line, &text);
        }
    }
}

fn globs(regions: &[RepositoryRegion]) -> Vec<Glob> {
    regions.iter().filter_map(RepositoryRegion::glob).collect()
}

/// Joins neighbouring regions with the same outcome, each with the globs of its regions.
fn group_neighbours(regions: &[RepositoryRegion], outcomes: Vec<RegionRights>) -> Vec<(RegionRights, Vec<Glob>)> {
    let mut groups: Vec<(RegionRights, Vec<Glob>)> = Vec::new();
    for (region, outcome) in regions.iter().zip(outcomes) {
        // A cover is widened until a glob can express it, and a sure region that no glob can express is left out.
        let glob = region.glob().unwrap_or_else(Glob::everything);
        match groups.last_mut() {
            Some((last, globs)) if *last == outcome && *region != RepositoryRegion::everything() => globs.push(glob),
            Some(_) | None => groups.push((outcome, vec![glob])),
        }
    }
    groups
}

/// A text that is equal for two servers if both allow the same actions to the same users.
pub(super) fn signature(server: Scope<'_>, certificates: ClientCertificates) -> Vec<String> {
    let mut site = ServerLocations::new(server, certificates);
    let regions = site.regions();
    let users = site.users(&regions).map_or("", Directive::first_argument).to_owned();
    let one = |(outcome, globs): &(RegionRights, Vec<Glob>)| {
        let RegionRights { anonymous, signed_in, mapping: carry, .. } = outcome;
        format!("{globs:?} {anonymous:?} {signed_in:?} {carry:?}")
    };
    group_neighbours(&regions, site.rights_by_region(&regions)).iter().map(one).chain([users]).collect()
}

/// One rule for signed-in users, and one for anonymous requests if these are allowed in any region (`anybody`).
fn rules(outcome: &RegionRights, globs: &[Glob], anybody: bool) -> Vec<AccessEntry> {
    // registry:2 deletes only if its configuration enables that, and its configuration is not read here.
    let kept: Actions = [Action::Pull, Action::Push].into_iter().collect();
    let entry = |users, actions: Actions| {
        let actions = actions.intersection(kept);
        // A rule that denies everything needs no withholding.
        let carry = if actions.is_empty() { Mapping::Exact } else { outcome.mapping.clone() };
        AccessEntry {
            line: outcome.line,
            description: outcome.description.clone(),
            users,
            repositories: globs.to_vec(),
            actions,
            mapping: carry,
        }
    };
    let (anonymous, signed_in) = (outcome.anonymous, outcome.signed_in);
    if !anybody {
        return vec![entry(vec![SubjectMatcher::SignedIn], signed_in)];
    }
    if anonymous == signed_in {
        return vec![entry(vec![SubjectMatcher::SignedIn, SubjectMatcher::Anonymous], signed_in)];
    }
    vec![entry(vec![SubjectMatcher::SignedIn], signed_in), entry(vec![SubjectMatcher::Anonymous], anonymous)]
}
