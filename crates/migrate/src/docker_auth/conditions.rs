//! Resolves the conditions of an access list entry: which callers and repositories it matches, and what rules cannot
//! express.
//!
//! `docker_auth` inserts the caller's account, letter by letter, into a pattern and then parses the pattern. So the
//! same pattern has another meaning for a caller whose account is empty (`/^${account}/` matches every name then) or
//! contains slashes. Such callers get parts of their own.
//!
//! Invariant: users and repositories of an [`EntryPart`] are exactly those of the entry, or, where there is an
//! obstacle, at least all of them.

use std::collections::BTreeSet;

use super::{
    super::{
        pattern::{Atom, MatchSubject, Pattern},
        report::ParseError,
        yaml::NodeRef,
    },
    pattern,
    users::{DockerAuthUsers, UserLabels},
};
use portcullis_access::{Glob, Group, SubjectMatcher, UserName};

const ACCOUNT_VARIABLE: &str = "${account}";

/// Some of the callers that an entry matches, and the repositories that it matches for them.
pub(super) struct EntryPart {
    pub(super) users: Vec<SubjectMatcher>,
    /// The users of the file that match a pattern over users today. The group's name need not be unique.
    pub(super) group: Option<Group>,
    pub(super) repositories: Vec<Glob>,
    /// Why access rules cannot express the part, if they cannot.
    pub(super) obstacle: Option<String>,
}

impl EntryPart {
    fn matches_nothing(&self) -> bool {
        (self.users.is_empty() && self.group.is_none()) || self.repositories.is_empty()
    }
}

/// The conditions of one entry.
pub(super) struct EntryConditions<'a> {
    account: Option<&'a str>,
    kind: Option<&'a str>,
    name: Option<&'a str>,
    labels: Vec<(&'a str, &'a str)>,
    /// Why a condition of the entry has no counterpart in access rules, if there is such a condition.
    unsupported_condition: Option<String>,
}

/// The parts that an entry is split into.
pub(super) struct EntryParts {
    pub(super) list: Vec<EntryPart>,
    /// Why the entry matches nothing, for the case that there is no part.
    pub(super) no_match_reason: &'static str,
    /// Whether the entry may also match users who are not in the file.
    pub(super) may_match_external_users: bool,
}

impl<'a> EntryConditions<'a> {
    /// Reads `match`. Refuses what `docker_auth` refuses, and an entry without `match`, with which `docker_auth` does
    /// not start.
    pub(super) fn read(entry: NodeRef<'a>) -> Result<Self, ParseError> {
        let conditions = entry.get("match").filter(|at| !at.is_null()).ok_or_else(|| {
            let hint = "docker_auth does not start from this file; write match: {} for an entry about everything";
            ParseError::at(entry.line, "acl: an entry without `match`", hint)
        })?;
        let mut read = Self { account: None, kind: None, name: None, labels: Vec::new(), unsupported_condition: None };
        for (key, at) in conditions.map("match")?.into_iter().filter(|(_, at)| !at.is_null()) {
            match key {
                "account" => read.account = Some(at.scalar(key)?),
                "type" => read.kind = Some(at.scalar(key)?),
                "name" => read.name = Some(at.scalar(key)?),
                "labels" => {
                    let label = |(label, at): (&'a str, NodeRef<'a>)| Ok((label, at.scalar("labels")?));
                    read.labels = at.map(key)?.into_iter().map(label).collect::<Result<_, ParseError>>()?;
                }
                "service" if matches_everything(at.scalar(key)?) => {}
                "ip" => read.unsupported_condition = Some("access rules have no condition on addresses".to_owned()),
                _ => read.unsupported_condition = Some(format!("access rules have no condition `{key}`")),
            }
        }
        Ok(read)
    }

    /// Splits the entry into parts whose users and repositories rules can name.
    pub(super) fn parts(&self, users: &DockerAuthUsers) -> EntryParts {
        let kind =
            self.kind.map(|kind| parse_pattern(kind, MatchSubject::Text).filter(|_| !kind.contains(ACCOUNT_VARIABLE)));
        if let Some(Some(kind)) = &kind
            && !kind.matches("repository", "")
        {
            let nothing = "it is not about repositories; the catalog lists the repositories that a user may pull";
            return EntryParts { list: Vec::new(), no_match_reason: nothing, may_match_external_users: false };
        }
        let obstacle = match kind {
            Some(None) => Some("its `type` cannot be expressed".to_owned()),
            Some(Some(_)) | None => self.unsupported_condition.clone(),
        };
        let (signed_in, is_about_strangers) = self.signed_in_part(users);
        let mut parts = self.parts_of_users_with_slashes(users);
        let anonymous = self.anonymous_part(users);
        match anonymous {
            Some(anonymous)
                if anonymous.repositories == signed_in.repositories && anonymous.obstacle == signed_in.obstacle =>
            {
                let users = signed_in.users.iter().cloned().chain([SubjectMatcher::Anonymous]).collect();
                parts.push(EntryPart { users, ..signed_in });
            }
            _ => {
                parts.push(signed_in);
                parts.extend(anonymous);
            }
        }
        let nothing = if parts.iter().all(|part| part.repositories.is_empty()) {
            "no repository name matches it"
        } else {
            "no user of the file matches it"
        };
        parts.retain(|part| !part.matches_nothing());
        if let Some(obstacle) = obstacle {
            for part in &mut parts {
                part.obstacle = Some(obstacle.clone());
            }
        }
        EntryParts { list: parts, no_match_reason: nothing, may_match_external_users: is_about_strangers }
    }

    /// The part for signed-in users, and whether it may match users who are not in the file.
    fn signed_in_part(&self, users: &DockerAuthUsers) -> (EntryPart, bool) {
        let (repositories, mut obstacle) = match self.name {
            Some(name) if !is_account_whole(name) => unreadable_name(),
            name => matching_repositories(name),
        };
        let everybody = || (vec![SubjectMatcher::SignedIn], None);
        let is_everybody = |account| {
            let has_slashes = users.file_users().any(|(name, _)| name.as_str().contains('/'));
            parse_pattern(account, MatchSubject::Text).is_some_and(|pattern| {
                pattern.matches_everything() || (pattern.matches_every_component() && !has_slashes)
            })
        };
        let literals = |account: &str| literals(&parse_pattern(account, MatchSubject::Text)?);
        let mut is_about_strangers = false;
        let (who, group) = match self.account {
            None if self.labels.is_empty() => everybody(),
            Some(account) if self.labels.is_empty() && is_everybody(account) => everybody(),
            Some(account) if self.labels.is_empty() && literals(account).is_some() => {
                let names = literals(account).unwrap_or_default();
                (names.into_iter().filter_map(|name| name.parse().ok()).map(SubjectMatcher::User).collect(), None)
            }
            Some(_) | None => {
                is_about_strangers = users.has_external_users;
                match self.matching_users(users) {
                    Some(_) if is_about_strangers && (obstacle.is_some() || self.unsupported_condition.is_some()) => {
                        everybody()
                    }
                    Some(group) => (Vec::new(), Some(group).filter(|group| !group.members.is_empty())),
                    None => {
                        obstacle = Some("its `account` or `labels` cannot be expressed".to_owned());
                        everybody()
                    }
                }
            }
        };
        (EntryPart { users: who, group, repositories, obstacle }, is_about_strangers)
    }

    /// One part for each user whose name contains a slash, if the entry's `name` contains `${account}`.
    fn parts_of_users_with_slashes(&self, users: &DockerAuthUsers) -> Vec<EntryPart> {
        if !self.name.is_some_and(|name| name.contains(ACCOUNT_VARIABLE)) {
            return Vec::new();
        }
        let with_slashes = users.file_users().filter(|(name, _)| name.as_str().contains('/'));
        let part = |(name, labels): (&UserName, &UserLabels)| {
            self.part_of_one(SubjectMatcher::User(name.clone()), name.as_str(), labels)
        };
        with_slashes.filter_map(part).collect()
    }

    /// The part for requests without a sign-in, if the file has an anonymous user.
    fn anonymous_part(&self, users: &DockerAuthUsers) -> Option<EntryPart> {
        self.part_of_one(SubjectMatcher::Anonymous, "", users.anonymous.as_ref()?)
    }

    /// The part of the entry for one caller; `None` if its conditions do not match the caller.
    fn part_of_one(&self, who: SubjectMatcher, account: &str, labels: &UserLabels) -> Option<EntryPart> {
        let fits = self.matches_caller(account, labels);
        let name = self.name.map(|name| substitute_account(name, account));
        let (repositories, unreadable) = matching_repositories(name.as_deref());
        let obstacle =
            if fits.is_none() { Some("its `account` or `labels` cannot be expressed".to_owned()) } else { unreadable };
        (fits != Some(false)).then(|| EntryPart { users: vec![who], group: None, repositories, obstacle })
    }

    /// Whether the conditions on account and labels match one caller; `None` if they cannot be parsed.
    fn matches_caller(&self, account: &str, labels: &UserLabels) -> Option<bool> {
        let matches = |text: &str, subject: &str| {
            let pattern = parse_pattern(&substitute_account(text, account), MatchSubject::Text)?;
            // Go's `.` does not match a line feed; a `Pattern` matches any letter.
            (!subject.contains('\n')).then(|| pattern.matches(subject, account))
        };
        if let Some(text) = self.account
            && !matches(text, account)?
        {
            return Some(false);
        }
        for (label, text) in &self.labels {
            let values = labels.get(*label).map(Vec::as_slice).unwrap_or_default();
            let fits: Vec<bool> = values.iter().map(|value| matches(text, value)).collect::<Option<_>>()?;
            if !fits.contains(&true) {
                // A pattern that cannot be parsed may match, even where there is no value to try.
                parse_pattern(&substitute_account(text, account), MatchSubject::Text)?;
                return Some(false);
            }
        }
        Some(true)
    }

    /// The users of the file that match the conditions, as a group; `None` if a condition cannot be parsed.
    fn matching_users(&self, users: &DockerAuthUsers) -> Option<Group> {
        let mut members = BTreeSet::new();
        for (name, labels) in users.file_users() {
            if self.matches_caller(name.as_str(), labels)? {
                members.insert(name.clone());
            }
        }
        let labels = self.labels.iter().flat_map(|(label, value)| [*label, *value]);
        let words: Vec<&str> = self.account.into_iter().chain(labels).collect();
        Some(Group { name: group_name(&words.join("-")), members })
    }
}

/// Whether a pattern without variables matches every text.
fn matches_everything(text: &str) -> bool {
    parse_pattern(text, MatchSubject::Text).is_some_and(|pattern| pattern.matches_everything())
}

/// The parsed pattern; `None` if it is not supported.
fn parse_pattern(text: &str, subject: MatchSubject) -> Option<Pattern> {
    pattern::parse(text, subject).ok()
}

/// All texts that the pattern matches, if it has no wildcards.
fn literals(pattern: &Pattern) -> Option<Vec<String>> {
    let one = |atoms: &Vec<Atom>| Pattern(vec![atoms.clone()]).literal();
    pattern.0.iter().map(one).collect()
}

/// The pattern with the account inserted, its special letters escaped.
fn substitute_account(text: &str, account: &str) -> String {
    let mut quoted = String::new();
    for letter in account.chars() {
        if r"\.+*?()|[]{}^$".contains(letter) {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    text.replace(ACCOUNT_VARIABLE, &quoted)
}

/// Whether the account keeps its meaning as a unit wherever it is inserted: no escape, class or quantifier beside it
/// applies to its first or last letter alone.
fn is_account_whole(text: &str) -> bool {
    let is_regex = text.len() > 2 && text.starts_with('/') && text.ends_with('/');
    text.match_indices(ACCOUNT_VARIABLE).all(|(start, _)| {
        let (before, after) = (&text[..start], &text[start + ACCOUNT_VARIABLE.len()..]);
        let is_repeated = is_regex && after.starts_with(['*', '+', '?', '{']);
        !before.ends_with('\\') && !before.contains('[') && !is_repeated
    })
}

fn every_repository() -> Vec<Glob> {
    "**".parse().into_iter().collect()
}

fn unreadable_name() -> (Vec<Glob>, Option<String>) {
    (every_repository(), Some("its `name` cannot be expressed as repository patterns".to_owned()))
}

/// The repositories that a pattern matches; if it cannot be expressed, all repositories and an obstacle.
fn matching_repositories(name: Option<&str>) -> (Vec<Glob>, Option<String>) {
    let Some(name) = name else { return (every_repository(), None) };
    let globs = parse_pattern(name, MatchSubject::Repository).and_then(|pattern| pattern.globs());
    globs.map_or_else(unreadable_name, |globs| (globs, None))
}

/// A group name made from the letters and digits of a text, or `users` if that is not a valid name.
fn group_name(text: &str) -> String {
    let parts: Vec<&str> =
        text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let word: String = parts.join("-").chars().take(60).collect();
    // `anonymous` is reserved for requests without a sign-in, and the empty text is not a name.
    if word.parse::<UserName>().is_ok() { word } else { "users".to_owned() }
}
