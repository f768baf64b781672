//! Compares thousands of random access lists with the [model](super::model): migrated rules never allow more than
//! `docker_auth` did.
//!
//! `MIGRATE_ROUNDS` sets the number of lists, `MIGRATE_SEED` the seed.

use std::{fmt::Write as _, net::Ipv4Addr};

use fastrand::Rng;

use super::{
    super::super::tests::{USERS, load, migrated},
    model::{self, ModelCaller, ModelEntry, ModelLabels},
};
use portcullis_access::{Action, Principal};

const ROUNDS: u64 = 1500;

/// True with this probability, in percent.
fn chance(numbers: &mut Rng, percent: usize) -> bool {
    numbers.usize(..100) < percent
}

fn pick<'a>(numbers: &mut Rng, list: &[&'a str]) -> &'a str {
    list[numbers.usize(..list.len())]
}

const NAMES: [&str; 7] = ["alice", "bob", "a/b", "/x/", "dev-1", "ci.x", "x"];
const EXTERNAL_USERS: [&str; 3] = ["zoe", "dev-9", "alice"];
const ACCOUNTS: &[&str] = &[
    "alice",
    "bob",
    "",
    "*",
    "/.+/",
    "/.*/",
    "/^dev-/",
    "dev-*",
    "${account}",
    "/${account}/",
    "a/*",
    "/^(alice|bob)$/",
    "ci?x",
    "[ab]*",
    "/^[a-z]+$/",
    "ci\\.x",
    "/x/",
    "${name}",
    "/^$/",
    "/a|/",
    "anonymous",
    "/^(dev)-.*$/",
    "dev-",
    "/^.*$/",
    "${labels:team}",
    "/${labels:team}/",
    "/^dev-${service}/",
    "/x",
    "${account}*",
];
const REPOSITORY_PATTERNS: &[&str] = &[
    "*",
    "a/*",
    "${account}/*",
    "/^${account}/",
    "/^${account}\\//",
    "/${account}/",
    "/^${account}?$/",
    "/^${account}+/",
    "/^${account}.*/",
    "${account}",
    "${account}*",
    "\\${account}",
    "/\\${account}/",
    "/^home/${account}/",
    "home/${account}/*",
    "/.*/",
    "/^a/",
    "/^(a|b)/x$/",
    "team-?",
    "[ab]",
    "${labels:team}/*",
    "/^(${labels:team}|public)/",
    "${name}",
    "/^${name}$/",
    "${account:1}/*",
    "/^.+$/",
    "/^team/.*$/",
    "a",
    "b/x",
    "A*",
    "/[a-z]+/",
    "/^[^/]+$/",
    "${account}/${account}",
    "/^${account}$|^b$/",
    "${service}/*",
    "/x/",
    "/^(a|${account})/x$/",
    "/^[${account}]/",
    "/^(home/)?${account}/.+$/",
    "*/*",
    "/^(${account})?a/",
    "a/b/*",
    "/${account}",
    "${account}/",
    "",
];
const REPOSITORIES: [&str; 26] = [
    "a",
    "b",
    "a/x",
    "b/x",
    "alice",
    "alice/x",
    "alice/alice",
    "a/b",
    "a/b/x",
    "x",
    "bob",
    "bob/y",
    "home/alice/z",
    "home/x",
    "team/q",
    "web/s",
    "data/s",
    "public/p",
    "dev-1/x",
    "team-1",
    "ali",
    "alic",
    "ci.x/a",
    "cixx/a",
    "dev-1",
    "dev/x",
];
const LABEL_VALUES: [&str; 5] = ["web", "data", "a.c", "alice", ".*"];
const ASKED: [&str; 3] = ["pull", "push", "delete"];

/// A user as written in the file.
#[derive(Clone, Debug)]
enum FileUser {
    /// `name:` without a value.
    Null,
    Password,
    Without(ModelLabels),
}

fn labels(numbers: &mut Rng) -> ModelLabels {
    let mut labels = ModelLabels::new();
    for label in ["team", "env"] {
        if chance(numbers, 40) {
            let values = (0..=numbers.usize(..2)).map(|_| pick(numbers, &LABEL_VALUES).to_owned());
            labels.push((label.to_owned(), values.collect()));
        }
    }
    labels
}

fn entry(numbers: &mut Rng) -> ModelEntry {
    let mut some = |percent, list: &[&str]| chance(numbers, percent).then(|| pick(numbers, list).to_owned());
    let account = some(60, ACCOUNTS);
    let name = some(70, REPOSITORY_PATTERNS);
    let kind = some(10, &["repository", "registry", "/repo/", "*", "/^${account}/", "${type}", "repo?itory"]);
    let service = some(10, &["/.+/", "/.*/", "*", "registry", "/^reg/", "${service}"]);
    let labels = if chance(numbers, 15) {
        let pattern = pick(numbers, &["web", "/^w/", "${account}", "*", "", "/a/", "a.c", "/a.c/", "${name}", "[wd]*"]);
        vec![(pick(numbers, &["team", "env", "none"]).to_owned(), pattern.to_owned())]
    } else {
        Vec::new()
    };
    let networks = [(Ipv4Addr::new(127, 0, 0, 0), 8), (Ipv4Addr::new(10, 0, 0, 1), 32), (Ipv4Addr::UNSPECIFIED, 0)];
    let ip = chance(numbers, 8).then(|| networks[numbers.usize(..3)]);
    let actions: &[&str] = match numbers.usize(..8) {
        0 | 1 => &["*"],
        2 | 3 => &[],
        4 => &["pull"],
        5 => &["pull", "push"],
        6 => &["*", "pull"],
        _ => &["push", "delete"],
    };
    ModelEntry {
        account,
        kind,
        name,
        service,
        ip,
        labels,
        actions: actions.iter().map(|text| (*text).to_owned()).collect(),
    }
}

/// The text as a quoted YAML scalar, in single or double quotes.
fn spelled(text: &str, numbers: &mut Rng) -> String {
    if chance(numbers, 50) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\"))
    }
}

fn document(users: &[(&str, FileUser)], entries: &[ModelEntry], has_others: bool, numbers: &mut Rng) -> String {
    let mut out = "server: {addr: ':5001'}\ntoken: {issuer: i, expiration: 900}\nusers:\n".to_owned();
    let map = |labels: &ModelLabels| {
        let one = |(label, values): &(String, Vec<String>)| format!("{label}: [{}]", values.join(", "));
        format!("{{labels: {{{}}}}}", labels.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    for (name, user) in users {
        let value = match user {
            FileUser::Null => pick(numbers, &["", "~", "null"]).to_owned(),
            FileUser::Password => {
                "{password: '$2y$05$LO.vzwpWC5LZGqThvEfznu8qhb5SGqvBSWY1J3yZ4AxtMRZ3kN5jC'}".to_owned()
            }
            FileUser::Without(labels) if labels.is_empty() => "{}".to_owned(),
            FileUser::Without(labels) => map(labels),
        };
        let _ = writeln!(out, "  {}: {value}", spelled(name, numbers));
    }
    if has_others {
        out.push_str("ldap_auth: {addr: ldap.example.com}\n");
    }
    out.push_str("acl:\n");
    for ModelEntry { account, kind, name, service, ip, labels, actions } in entries {
        let mut conditions = Vec::new();
        for (key, value) in [("account", account), ("type", kind), ("name", name), ("service", service)] {
            match value {
                Some(value) => conditions.push(format!("{key}: {}", spelled(value, numbers))),
                None if chance(numbers, 5) => conditions.push(format!("{key}: {}", pick(numbers, &["", "~", "null"]))),
                None => {}
            }
        }
        conditions.extend(ip.map(|(address, bits)| format!("ip: {address}/{bits}")));
        if !labels.is_empty() || chance(numbers, 5) {
            let one = |(label, pattern): &(String, String)| format!("{label}: '{pattern}'");
            conditions.push(format!("labels: {{{}}}", labels.iter().map(one).collect::<Vec<_>>().join(", ")));
        }
        let actions: Vec<String> = actions.iter().map(|action| spelled(action, numbers)).collect();
        let actions =
            if actions.is_empty() && chance(numbers, 30) { String::new() } else { format!("[{}]", actions.join(", ")) };
        let _ = writeln!(out, "  - match: {{{}}}\n    actions: {actions}", conditions.join(", "));
    }
    out
}

/// The callers who can sign in, and the anonymous caller if the file has one; each with labels.
fn callers(users: &[(&str, FileUser)], has_others: bool, numbers: &mut Rng) -> Vec<(String, ModelLabels)> {
    let mut callers: Vec<(String, ModelLabels)> = Vec::new();
    for (name, user) in users {
        match user {
            FileUser::Null => {}
            FileUser::Password if name.is_empty() => {}
            FileUser::Password => callers.push(((*name).to_owned(), ModelLabels::new())),
            FileUser::Without(labels) => callers.push(((*name).to_owned(), labels.clone())),
        }
    }
    if has_others {
        let unknown = EXTERNAL_USERS.iter().filter(|name| !callers.iter().any(|(known, _)| known == *name));
        let unknown: Vec<_> = unknown.map(|name| ((*name).to_owned(), labels(numbers))).collect();
        callers.extend(unknown);
    }
    callers
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

#[test]
fn no_random_access_list_allows_more_after_its_migration() {
    let (rounds, seed) = (number("MIGRATE_ROUNDS").unwrap_or(ROUNDS), number("MIGRATE_SEED").unwrap_or(1));
    let (mut allowed, mut allowed_before) = (0, 0);
    for round in 0..rounds {
        let mut numbers = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let numbers = &mut numbers;
        let users: Vec<(&str, FileUser)> = NAMES
            .into_iter()
            .chain([""])
            .filter_map(|name| {
                let user = match numbers.usize(..8) {
                    0 => FileUser::Null,
                    1 => FileUser::Password,
                    2 | 3 => return None,
                    _ => FileUser::Without(labels(numbers)),
                };
                Some((name, user))
            })
            .collect();
        let has_others = chance(numbers, 25);
        let entries: Vec<ModelEntry> = (0..=numbers.usize(..5)).map(|_| entry(numbers)).collect();
        let text = document(&users, &entries, has_others, numbers);
        let toml = migrated(USERS, &text).toml;
        let policy = load(&toml).config.policy;
        let mut asked: Vec<(String, ModelLabels)> = callers(&users, has_others, numbers);
        if !asked.iter().any(|(name, _)| name.is_empty()) {
            for repository in REPOSITORIES {
                let ours = policy.actions(&Principal::Anonymous, &repository.parse().unwrap());
                assert!(
                    ours.is_empty(),
                    "round {round}: anonymous requests may {ours} in {repository}\n{text}\n{toml}"
                );
            }
        }
        for (account, labels) in asked.drain(..) {
            let principal =
                if account.is_empty() { Principal::Anonymous } else { Principal::User(account.parse().unwrap()) };
            for repository in REPOSITORIES {
                let ours = policy.actions(&principal, &repository.parse().unwrap());
                for (ip, service) in [([127, 0, 0, 1], "registry"), ([10, 0, 0, 1], "registry"), ([192, 0, 2, 1], "x")]
                {
                    let caller =
                        ModelCaller { account: account.clone(), labels: labels.clone(), ip: ip.into(), service };
                    let theirs = model::granted(&entries, &caller, repository, &ASKED);
                    let more =
                        ours.iter().find(|action| !theirs.contains(&action.as_str()) || *action == Action::Admin);
                    assert!(
                        more.is_none(),
                        "round {round} of seed {seed}: {principal} ({labels:?}) may {ours} in {repository}, and before {theirs:?} \
                         from {ip:?}\n{text}\n{toml}"
                    );
                    allowed += ours.iter().count();
                    allowed_before += theirs.len();
                }
            }
        }
    }
    // A migration that closes everything would pass too.
    assert!(allowed * 5 > allowed_before * 2, "only {allowed} of {allowed_before} answers are still a yes");
}
