//! Turns the access list of `docker_auth` into rule entries, in order: the first match decides, as with access rules.
//!
//! Invariant: each entry of the list becomes [`Entry`] values in its place, or is reported as matching nothing that
//! exists here.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        rules::{Carry, Entry},
        talk::{Broken, Migration},
        yaml::At,
    },
    conditions::{Conditions, Part, Parts},
    users::Users,
};
use portcullis_access::{Action, Actions, Group, Who};

/// The entries of the list; empty with a warning if there is no `acl`. Refuses what `docker_auth` refuses.
pub(super) fn entries(acl: Option<At<'_>>, users: &Users, migration: &mut Migration) -> Result<Vec<Entry>, Broken> {
    let Some(acl) = acl.filter(|acl| !acl.is_null()) else {
        migration
            .warn(None, "there is no `acl`: this file holds no access rules, so nothing is allowed; write [[access]]");
        return Ok(Vec::new());
    };
    let mut list = List { users, groups: BTreeMap::new(), has_strangers: false, entries: Vec::new() };
    for at in acl.list("acl")? {
        list.entry(at, migration)?;
    }
    Ok(list.entries)
}

/// The entries read so far.
struct List<'a> {
    users: &'a Users,
    groups: Groups,
    /// Whether an earlier entry may match users who are not in the file. From then on, entries for all users become
    /// entries for the users in the file.
    has_strangers: bool,
    entries: Vec<Entry>,
}

/// The groups created so far, by their names.
type Groups = BTreeMap<String, Arc<Group>>;

/// The group with these members: under its own name, or with the line appended if the name has other members already.
fn named(mut group: Group, line: usize, groups: &mut Groups) -> Arc<Group> {
    while groups.get(&group.name).is_some_and(|known| known.members != group.members) {
        group.name = format!("{}-line-{line}", group.name);
    }
    groups.entry(group.name.clone()).or_insert_with(|| Arc::new(group)).clone()
}

impl List<'_> {
    fn entry(&mut self, at: At<'_>, migration: &mut Migration) -> Result<(), Broken> {
        let (line, what) = (at.line, description(at));
        let Parts { list: parts, nothing, is_about_strangers } = Conditions::read(at)?.parts(self.users);
        let actions = actions(at, migration)?;
        if parts.is_empty() && !is_about_strangers {
            migration.note(line, &format!("acl ({what}): left out: {nothing}"));
        }
        for Part { users, group, repositories, obstacle } in parts {
            let users = self.named(users, group, line);
            report(&what, line, obstacle.as_deref(), actions, &users, migration);
            let carry = obstacle.map_or(Carry::Exactly, Carry::LeftOut);
            self.entries.push(Entry { line, what: what.clone(), users, repositories, actions, carry });
        }
        if is_about_strangers && !self.has_strangers {
            self.has_strangers = true;
            migration.warn(
                line,
                &format!(
                    "acl ({what}): users who are not in this file may match it; from here on \"*\" became the group \
                     {IN_THE_FILE} of the users in the file; add the others to the rules that they need"
                ),
            );
        }
        Ok(())
    }

    fn named(&mut self, users: Vec<Who>, group: Option<Group>, line: usize) -> Vec<Who> {
        let has_strangers = self.has_strangers;
        let group = group.map(|group| named(group, line, &mut self.groups));
        let mut all: Vec<Who> = group.into_iter().map(Who::Group).collect();
        for who in users {
            match who {
                Who::SignedIn if has_strangers => {
                    let members = self.users.known().map(|(name, _)| name.clone()).collect();
                    let group = Group { name: IN_THE_FILE.to_owned(), members };
                    if !group.members.is_empty() {
                        all.push(Who::Group(named(group, line, &mut self.groups)));
                    }
                }
                who @ (Who::SignedIn | Who::Anonymous | Who::User(_) | Who::Group(_)) => all.push(who),
            }
        }
        all
    }
}

/// The name of the group of all users in the file.
const IN_THE_FILE: &str = "users-of-the-file";

fn report(what: &str, line: usize, obstacle: Option<&str>, actions: Actions, users: &[Who], migration: &mut Migration) {
    if let Some(why) = obstacle {
        let instead = if actions.is_empty() {
            "closed for all users that it may match; write their rules by hand"
        } else {
            "left out; no later rule allows more than this entry where it may match; write the missing rules by hand"
        };
        return migration.warn(line, &format!("acl ({what}): {why}: {instead}"));
    }
    let groups = users.iter().filter_map(|who| match who {
        Who::Group(group) => Some(&group.name),
        Who::Anonymous | Who::SignedIn | Who::User(_) => None,
    });
    for name in groups.filter(|name| *name != IN_THE_FILE) {
        migration.warn(
            line,
            &format!("acl ({what}): the pattern over users became the group {name} of the users that match today; keep it up to date"),
        );
    }
}

fn actions(at: At<'_>, migration: &mut Migration) -> Result<Actions, Broken> {
    let words = at.at("actions").map(|at| at.list("actions")).transpose()?.unwrap_or_default();
    let texts: Vec<(&str, usize)> =
        words.into_iter().map(|word| Ok((word.scalar("actions")?, word.line))).collect::<Result<_, Broken>>()?;
    if let [("*", _)] = texts.as_slice() {
        return Ok(Actions::PULL_PUSH_DELETE);
    }
    let action = |(text, line): (&str, usize)| {
        let action = text.parse().ok().filter(|action| *action != Action::Admin);
        if action.is_none() {
            migration.warn(line, &format!("acl: {text:?} is not an action; the actions are pull, push and delete"));
        }
        action
    };
    Ok(texts.into_iter().filter_map(action).collect())
}

/// A description of the entry for messages: its comment, or else its conditions.
fn description(at: At<'_>) -> String {
    if let Some(comment) = at.at("comment").and_then(At::text).filter(|text| !text.is_empty()) {
        return comment.chars().take(100).collect();
    }
    let condition = |(key, at): (&str, At<'_>)| {
        let text = at.text().map_or_else(
            || {
                at.entries()
                    .filter_map(|(label, at)| Some(format!("{label}={}", at.text()?)))
                    .collect::<Vec<_>>()
                    .join(" ")
            },
            |text| format!("{text:?}"),
        );
        format!("{key} {text}")
    };
    let conditions: Vec<String> = at.at("match").into_iter().flat_map(At::entries).map(condition).collect();
    if conditions.is_empty() { "all users, all repositories".to_owned() } else { conditions.join(", ") }
}
