//! The access list: entries in their order, the first that matches decides, as with our rules.
//!
//! Invariant: each entry becomes an [`Entry`] in its place, or is told to be about nothing that exists here.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        rules::{Carry, Entry},
        talk::Migration,
        yaml::At,
    },
    conditions::Conditions,
    users::Users,
};
use crate::access::{Action, Actions, Group, Who};

pub(super) fn entries(acl: Option<At<'_>>, users: &Users, migration: &mut Migration) -> Vec<Entry> {
    let Some(acl) = acl else {
        migration.warn(
            None,
            "there is no `acl`: who may do what is not in this file, so nobody may do anything; write [[access]]",
        );
        return Vec::new();
    };
    let mut groups = BTreeMap::new();
    acl.elements().into_iter().filter_map(|at| entry(at, users, &mut groups, migration)).collect()
}

/// The groups so far, by their names.
type Groups = BTreeMap<String, Arc<Group>>;

/// A group with these members, under its name if no other members have that.
fn named(mut group: Group, line: usize, groups: &mut Groups) -> Arc<Group> {
    while groups.get(&group.name).is_some_and(|known| known.members != group.members) {
        group.name = format!("{}-line-{line}", group.name);
    }
    groups.entry(group.name.clone()).or_insert_with(|| Arc::new(group)).clone()
}

fn entry(at: At<'_>, users: &Users, groups: &mut Groups, migration: &mut Migration) -> Option<Entry> {
    let line = at.line;
    let what = description(at);
    let Conditions { mut users, repositories, obstacle, group, nothing } = Conditions::read(at, users);
    if let Some(why) = nothing {
        migration.note(line, &format!("acl ({what}): left out: {why}"));
        return None;
    }
    let actions = actions(at, migration);
    let group = group.map(|group| named(group, line, groups));
    users.extend(group.iter().cloned().map(Who::Group));
    if let Some(why) = &obstacle {
        let instead = if actions.is_empty() {
            "closed for everybody whom it might have been about, so write by hand what they may"
        } else {
            "left out; no later rule gives more than this entry where it might have matched, so write by hand what is missing"
        };
        migration.warn(line, &format!("acl ({what}): {why}: {instead}"));
    } else if let Some(group) = group {
        let name = &group.name;
        migration.warn(
            line,
            &format!("acl ({what}): the pattern over users became the group {name} of those who fit today; keep it up to date"),
        );
    }
    let carry = obstacle.map_or(Carry::Exactly, Carry::LeftOut);
    Some(Entry { line, what, users, repositories, actions, carry })
}

fn actions(at: At<'_>, migration: &mut Migration) -> Actions {
    let words = at.at("actions").map(At::elements).unwrap_or_default();
    if let [word] = words.as_slice()
        && word.text() == Some("*")
    {
        return Actions::PULL_PUSH_DELETE;
    }
    let action = |word: At<'_>| {
        let text = word.text().unwrap_or_default();
        let action = text.parse().ok().filter(|action| *action != Action::Admin);
        if action.is_none() {
            migration.warn(word.line, &format!("acl: {text:?} is no action here: pull, push and delete are"));
        }
        action
    };
    words.into_iter().filter_map(action).collect()
}

/// The entry as it was written: its comment, or its conditions.
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
    if conditions.is_empty() { "everybody, everything".to_owned() } else { conditions.join(", ") }
}
