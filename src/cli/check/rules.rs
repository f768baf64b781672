//! Warns of access rules, and of rules for the tokens of CI jobs, that can take no effect.
//!
//! Invariant: there is no warning about a rule that some client can match. The users who can sign in are known only
//! if the users file can be read and client certificates do not sign in users.

use super::warning::CheckWarning;
use crate::{
    access::{NoEffect, Principal, Rule, RuleNumber, SubjectMatcher, UserName},
    auth::{users::read_leniently, workload},
    config::{Config, LoadedConfig},
    tls::{ClientConfig, ClientUser},
};

/// A warning for each rule that can take no effect, except those that are findings already.
pub(super) fn examine(loaded: &LoadedConfig) -> Vec<CheckWarning> {
    access_rules(loaded).into_iter().chain(workload_rules(&loaded.config)).collect()
}

fn access_rules(loaded: &LoadedConfig) -> Vec<CheckWarning> {
    let Config { policy, .. } = &loaded.config;
    let users = users(&loaded.config);
    let can_sign_in = |name: &UserName| users.as_ref().is_none_or(|users| users.contains(name));
    let unreachable: Vec<RuleNumber> = policy.unreachable().into_iter().map(|(number, _)| number).collect();
    let without_effect =
        policy.without_effect(can_sign_in).into_iter().filter(|(number, _)| !unreachable.contains(number));
    without_effect.map(|(number, why)| warning(loaded, number, &why)).collect()
}

/// The users that can sign in, from the users file and the workload rules; `None` if they are not all known.
fn users(config: &Config) -> Option<Vec<UserName>> {
    let certificates = config.tls.client.as_ref().is_some_and(|ClientConfig { user, .. }| *user != ClientUser::NoUser);
    if certificates {
        return None;
    }
    // A missing file is created at the first start, and a broken one is a finding already.
    let file = read_leniently(&config.auth.htpasswd).ok()?;
    let jobs = config.workloads.iter().map(|rule| rule.user.clone());
    Some(file.users().map(|(name, _)| name.clone()).chain(jobs).collect())
}

fn warning(loaded: &LoadedConfig, number: RuleNumber, why: &NoEffect) -> CheckWarning {
    let rule = &loaded.config.policy.rules()[number.0 - 1];
    let (reason, hint) = match why {
        NoEffect::Users => (
            format!("{} cannot sign in", list(&rule.users, "or", SubjectMatcher::to_string)),
            "correct the names, or add the users: portcullis user add NAME",
        ),
        NoEffect::Repositories => (format!("no repository name matches {}", patterns(rule)), pattern_hint(rule)),
        NoEffect::Earlier(earlier) => {
            let places = list(earlier, "and", |number| format!("{number} at {}", loaded.place(*number)));
            (format!("{places} decide everything that it is about"), "move it before them, or remove it")
        }
    };
    CheckWarning::new(format!("{}: {number} can take no effect: {reason}", loaded.place(number)), hint.to_owned())
}

fn patterns(rule: &Rule) -> String {
    let who = if has_user(rule) {
        format!(" for {}", list(&rule.users, "or", SubjectMatcher::to_string))
    } else {
        String::new()
    };
    format!("{}{who}", list(&rule.repositories, "or", |glob| format!("{:?}", glob.to_string())))
}

fn pattern_hint(rule: &Rule) -> &'static str {
    if has_user(rule) {
        "{user} is replaced by the name of the signed-in user, which must be possible in a repository name: lower-case letters and \
         digits, with single '.', '_', '__' or dashes between them"
    } else {
        "each part of a repository name begins and ends with a lower-case letter or a digit, and has single '.', '_', '__' or \
         dashes between them"
    }
}

fn has_user(rule: &Rule) -> bool {
    rule.repositories.iter().any(|glob| glob.to_string().contains("{user}"))
}

/// A warning for each workload rule that no token can match first, or whose user has no permission.
fn workload_rules(config: &Config) -> Vec<CheckWarning> {
    let rules = config.workloads.iter().enumerate();
    let without_effect = rules.filter_map(|(index, rule)| {
        let (reason, hint) = workload_reason(config, index, rule)?;
        let text = format!("auth.workload: rule {}, for {}, can take no effect: {reason}", index + 1, rule.user);
        Some(CheckWarning::new(text, hint.to_owned()))
    });
    without_effect.collect()
}

fn workload_reason(config: &Config, index: usize, rule: &workload::WorkloadRule) -> Option<(String, &'static str)> {
    // The first workload rule that a token matches determines its restrictions.
    if let Some(earlier) = config.workloads[..index].iter().position(|earlier| earlier.covers(rule)) {
        let reason = format!("rule {} admits every token that it admits", earlier + 1);
        return Some((reason, "move it before the other one, or remove it"));
    }
    if rule.limits.as_ref().is_some_and(|limits| !limits.allow_any_access(&rule.user)) {
        let reason = "no repository name matches its repositories".to_owned();
        return Some((
            reason,
            "correct the patterns, or leave them out: then the access rules alone decide what the job may do",
        ));
    }
    let may_do_something = config.policy.allows_any_action(&Principal::User(rule.user.clone()));
    let hint = "add an access rule for this user, or correct the name";
    (!may_do_something).then(|| ("no access rule lets this user do anything".to_owned(), hint))
}

/// `a`, `a or b`, `a, b or c`.
fn list<T>(entries: &[T], word: &str, text: impl Fn(&T) -> String) -> String {
    let texts: Vec<String> = entries.iter().map(text).collect();
    match texts.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} {word} {last}", others.join(", ")),
        Some((last, _)) => last.clone(),
        None => "none".to_owned(),
    }
}
