//! Turns the access list of `docker_auth` into rule entries, in order: the first match decides, as with access rules.
//!
//! Invariant: each entry of the list becomes [`AccessEntry`] values in its place, or is reported as matching nothing
//! that exists here.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        access_entries::{AccessEntry, Mapping},
        report::{Migration, ParseError},
        yaml::NodeRef,
    },
    conditions::{EntryConditions, EntryPart, EntryParts},
    users::DockerAuthUsers,
};
use portcullis_access::{Action, Actions, Group, SubjectMatcher};

/// The entries of the list; empty with a warning if there is no `acl`. Refuses what `docker_auth` refuses.
pub(super) fn read_entries(
    acl: Option<NodeRef<'_>>,
    users: &DockerAuthUsers,
    migration: &mut Migration,
) -> Result<Vec<AccessEntry>, ParseError> {
    let Some(acl) = acl.filter(|acl| !acl.is_null()) else {
        migration
            .warn(None, "there is no `acl`: this file holds no access rules, so nothing is allowed; write [[access]]");
        return Ok(Vec::new());
    };
    let mut list = AclReader { users, groups: BTreeMap::new(), has_external_users: false, entries: Vec::new() };
    for at in acl.list("acl")? {
        list.read_entry(at, migration)?;
    }
    Ok(list.entries)
}

/// The entries read so far.
struct AclReader<'a> {
    users: &'a DockerAuthUsers,
    groups: Groups,
    /// Whether an earlier entry may match users who are not in the file. From then on, entries for all users become
    /// entries for the users in the file.
    has_external_users: bool,
    entries: Vec<AccessEntry>,
}

/// The groups created so far, by their names.
type Groups = BTreeMap<String, Arc<Group>>;

/// The group with these members: under its own name, or with the line appended if the name has other members already.
fn unique_group(mut group: Group, line: usize, groups: &mut Groups) -> Arc<Group> {
    while groups.get(&group.name).is_some_and(|known| known.members != group.members) {
        group.name = format!("{}-line-{line}", group.name);
    }
    groups.entry(group.name.clone()).or_insert_with(|| Arc::new(group)).clone()
}

impl AclReader<'_> {
    fn read_entry(&mut self, at: NodeRef<'_>, migration: &mut Migration) -> Result<(), ParseError> {
        let (line, what) = (at.line, description(at));
        let EntryParts { list: parts, no_match_reason: nothing, may_match_external_users: is_about_strangers } =
            EntryConditions::read(at)?.parts(self.users);
        let actions = read_actions(at, migration)?;
        if parts.is_empty() && !is_about_strangers {
            migration.note(line, &format!("acl ({what}): left out: {nothing}"));
        }
        for EntryPart { users, group, repositories, obstacle } in parts {
            let users = self.rule_users(users, group, line);
            report_entry(&what, line, obstacle.as_deref(), actions, &users, migration);
            let carry = obstacle.map_or(Mapping::Exact, Mapping::Omitted);
            self.entries.push(AccessEntry {
                line,
                description: what.clone(),
                users,
                repositories,
                actions,
                mapping: carry,
            });
        }
        if is_about_strangers && !self.has_external_users {
            self.has_external_users = true;
            migration.warn(
                line,
                &format!(
                    "acl ({what}): users who are not in this file may match it; from here on \"*\" became the group \
                     {FILE_USERS_GROUP} of the users in the file; add the others to the rules that they need"
                ),
            );
        }
        Ok(())
    }

    fn rule_users(&mut self, users: Vec<SubjectMatcher>, group: Option<Group>, line: usize) -> Vec<SubjectMatcher> {
        let has_strangers = self.has_external_users;
        let group = group.map(|group| unique_group(group, line, &mut self.groups));
        let mut all: Vec<SubjectMatcher> = group.into_iter().map(SubjectMatcher::Group).collect();
        for who in users {
            match who {
                SubjectMatcher::SignedIn if has_strangers => {
                    let members = self.users.file_users().map(|(name, _)| name.clone()).collect();
                    let group = Group { name: FILE_USERS_GROUP.to_owned(), members };
                    if !group.members.is_empty() {
                        all.push(SubjectMatcher::Group(unique_group(group, line, &mut self.groups)));
                    }
                }
                who @ (SubjectMatcher::SignedIn
                | SubjectMatcher::Anonymous
                | SubjectMatcher::User(_)
                | SubjectMatcher::Group(_)) => all.push(who),
            }
        }
        all
    }
}

/// The name of the group of all users in the file.
const FILE_USERS_GROUP: &str = "users-of-the-file";

fn report_entry(
    what: &str,
    line: usize,
    obstacle: Option<&str>,
    actions: Actions,
    users: &[SubjectMatcher],
    migration: &mut Migration,
) {
    if let Some(why) = obstacle {
        let instead = if actions.is_empty() {
            "closed for all users that it may match; write their rules by hand"
        } else {
            "left out; no later rule allows more than this entry where it may match; write the missing rules by hand"
        };
        return migration.warn(line, &format!("acl ({what}): {why}: {instead}"));
    }
    let groups = users.iter().filter_map(|who| match who {
        SubjectMatcher::Group(group) => Some(&group.name),
        SubjectMatcher::Anonymous | SubjectMatcher::SignedIn | SubjectMatcher::User(_) => None,
    });
    for name in groups.filter(|name| *name != FILE_USERS_GROUP) {
        migration.warn(
            line,
            &format!("acl ({what}): the pattern over users became the group {name} of the users that match today; keep it up to date"),
        );
    }
}

fn read_actions(at: NodeRef<'_>, migration: &mut Migration) -> Result<Actions, ParseError> {
    let words = at.get("actions").map(|at| at.list("actions")).transpose()?.unwrap_or_default();
    let texts: Vec<(&str, usize)> =
        words.into_iter().map(|word| Ok((word.scalar("actions")?, word.line))).collect::<Result<_, ParseError>>()?;
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
fn description(at: NodeRef<'_>) -> String {
    if let Some(comment) = at.get("comment").and_then(NodeRef::text).filter(|text| !text.is_empty()) {
        return comment.chars().take(100).collect();
    }
    let condition = |(key, at): (&str, NodeRef<'_>)| {
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
    let conditions: Vec<String> = at.get("match").into_iter().flat_map(NodeRef::entries).map(condition).collect();
    if conditions.is_empty() { "all users, all repositories".to_owned() } else { conditions.join(", ") }
}
