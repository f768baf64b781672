//! What an entry of the list is about: whom, which repositories, and what cannot be expressed.
//!
//! Invariant: [`Users`](Conditions::users) and repositories are exactly those of the entry, or, where there is an obstacle,
//! at least all of them.

use std::collections::BTreeSet;

use super::{
    super::{
        pattern::{Pattern, Subject},
        yaml::At,
    },
    users::{Labels, Users},
};
use crate::access::{Glob, Group, UserName, Who};

/// The conditions of one entry.
pub(super) struct Conditions {
    pub(super) users: Vec<Who>,
    pub(super) repositories: Vec<Glob>,
    /// Why the entry cannot be expressed.
    pub(super) obstacle: Option<String>,
    /// Those whom a pattern over users fits today, under a name that others may have as well.
    pub(super) group: Option<Group>,
    /// Why the entry is about no repository at all.
    pub(super) nothing: Option<String>,
}

impl Conditions {
    pub(super) fn read(entry: At<'_>, known: &Users) -> Self {
        let condition = |key| entry.at("match").and_then(|at| at.at(key)).filter(|at| !at.is_null());
        let mut obstacle = None;
        let mut nothing = None;
        let pattern = |at: At<'_>, subject| Pattern::docker_auth(at.text().unwrap_or("["), subject).ok();
        if let Some(kind) = condition("type") {
            match pattern(kind, Subject::Text) {
                None => obstacle = Some("its `type` cannot be expressed".to_owned()),
                Some(kind) if !kind.matches("repository", "") => {
                    nothing =
                        Some("it is not about repositories; the catalog shows everyone what they may pull".to_owned());
                }
                Some(_) => {}
            }
        }
        for (key, at) in entry.at("match").into_iter().flat_map(At::entries) {
            let is_read = ["account", "type", "name", "labels"].contains(&key);
            let is_any = key == "service" && pattern(at, Subject::Text).is_some_and(|service| service.is_everything());
            if !is_read && !is_any && !at.is_null() {
                let words = if key == "ip" {
                    "addresses are no condition of our rules".to_owned()
                } else {
                    format!("`{key}` is no condition of our rules")
                };
                obstacle = Some(words);
            }
        }
        let repositories = match condition("name") {
            None => every_repository(),
            Some(name) => pattern(name, Subject::Repository).and_then(|name| name.globs()).unwrap_or_else(|| {
                obstacle = Some("its `name` cannot be expressed by our patterns".to_owned());
                every_repository()
            }),
        };
        if repositories.is_empty() {
            nothing = Some("no repository has such a name".to_owned());
        }
        let (users, group) = users(condition("account"), condition("labels"), known).unwrap_or_else(|| {
            obstacle = Some("its `account` or `labels` cannot be expressed".to_owned());
            (everybody(known), None)
        });
        let group = group.filter(|group| !group.members.is_empty());
        if users.is_empty() && group.is_none() {
            nothing = Some("none of the users here fits it".to_owned());
        }
        Self { users, repositories, obstacle, group, nothing }
    }
}

fn every_repository() -> Vec<Glob> {
    "**".parse().into_iter().collect()
}

/// Everybody whom the server lets in.
fn everybody(known: &Users) -> Vec<Who> {
    let anonymous = known.anonymous.then_some(Who::Anonymous);
    [Who::SignedIn].into_iter().chain(anonymous).collect()
}

type Named = (Vec<Who>, Option<Group>);

fn users(account: Option<At<'_>>, labels: Option<At<'_>>, known: &Users) -> Option<Named> {
    let Some(account) = account else {
        return match labels {
            None => Some((everybody(known), None)),
            Some(_) => Some((Vec::new(), Some(group(None, labels, known)?))),
        };
    };
    let pattern = Pattern::docker_auth(account.text()?, Subject::Text).ok()?;
    let anonymous = known.anonymous && pattern.matches("", "");
    if labels.is_none() {
        let anonymous = anonymous.then_some(Who::Anonymous);
        if let Some(name) = pattern.literal() {
            return Some((name.parse().ok().map(Who::User).or(anonymous).into_iter().collect(), None));
        }
        let has_slashes = known.known().any(|(name, _)| name.as_str().contains('/'));
        if pattern.is_everything() || (pattern.is_everything_within() && !has_slashes) {
            return Some(([Who::SignedIn].into_iter().chain(anonymous).collect(), None));
        }
    }
    let group = group(Some((account.text()?, &pattern)), labels, known)?;
    // Nobody anonymous has labels.
    let others = (labels.is_none() && anonymous).then_some(Who::Anonymous);
    Some((others.into_iter().collect(), Some(group)))
}

/// Those of the users in the file whom the conditions fit.
fn group(account: Option<(&str, &Pattern)>, labels: Option<At<'_>>, known: &Users) -> Option<Group> {
    let wanted: Vec<(&str, &str, Pattern)> = labels
        .into_iter()
        .flat_map(At::entries)
        .map(|(label, at)| Some((label, at.text()?, Pattern::docker_auth(at.text()?, Subject::Text).ok()?)))
        .collect::<Option<_>>()?;
    let fits = |(name, labels): &(&UserName, &Labels)| {
        let has = |(label, _, pattern): &(&str, &str, Pattern)| {
            let values = labels.get(*label).map(Vec::as_slice).unwrap_or_default();
            values.iter().any(|value| pattern.matches(value, name.as_str()))
        };
        account.is_none_or(|(_, pattern)| pattern.matches(name.as_str(), name.as_str())) && wanted.iter().all(has)
    };
    let members: BTreeSet<UserName> = known.known().filter(fits).map(|(name, _)| name.clone()).collect();
    let words = account.map(|(text, _)| text).into_iter();
    let name = words.chain(wanted.iter().flat_map(|(label, value, _)| [*label, *value])).collect::<Vec<_>>().join("-");
    Some(Group { name: word(&name), members })
}

/// The letters and digits of a text, as a name for a group.
fn word(text: &str) -> String {
    let parts: Vec<&str> =
        text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let word: String = parts.join("-").chars().take(60).collect();
    // `anonymous` is somebody else, and nothing is no name.
    if word.parse::<UserName>().is_ok() { word } else { "users".to_owned() }
}
