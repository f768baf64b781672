//! Implements `portcullis access explain`: evaluates the access rules for a user, an action and a repository.
//!
//! Invariant: the answer comes from the [`Policy`](crate::access::Policy) that the server evaluates, never from a
//! second implementation of the rules.

use std::{
    io::{self, Write},
    str::FromStr,
};

use super::{CommandError, load};
use crate::{
    access::{Action, Explanation, InvalidUserName, PolicyDecision, Principal, RuleNumber, SkipReason, UserName},
    auth::users::read_leniently,
    config::{Flags, LoadedConfig},
    oci::RepositoryName,
};

/// Explain what the access rules allow
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Explain whether a user may do an action in a repository, and which rule decides
    Explain(ExplainArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct ExplainArgs {
    /// The user's name, or `anonymous` for a client that is not signed in
    user: PrincipalArg,
    /// pull, push, delete or admin
    action: Action,
    /// The repository
    repository: RepositoryName,
}

/// The principal that the question is about, parsed from a user name or `anonymous`.
#[derive(Clone, Debug)]
struct PrincipalArg(Principal);

impl FromStr for PrincipalArg {
    type Err = InvalidUserName;

    fn from_str(text: &str) -> Result<Self, InvalidUserName> {
        Ok(Self(if text == "anonymous" { Principal::Anonymous } else { Principal::User(text.parse()?) }))
    }
}

pub(super) fn run(args: &Args, flags: &Flags) -> Result<(), CommandError> {
    let Command::Explain(args) = &args.command;
    let loaded = load(flags)?;
    if let Principal::User(name) = &args.user.0 {
        warn_of_unknown_user(&loaded, name);
    }
    explain(&loaded, args, &mut io::stdout().lock()).map_err(|error| CommandError::new(error, None))
}

/// Warns of a user that is not in the users file. It is no error: a rule may be written before its user is added.
fn warn_of_unknown_user(loaded: &LoadedConfig, name: &UserName) {
    let path = &loaded.config.auth.htpasswd;
    if loaded.config.workloads.iter().any(|rule| rule.user == *name) {
        return;
    }
    if read_leniently(path).is_ok_and(|users| users.hash(name).is_none()) {
        let _ = writeln!(io::stderr(), "warning: there is no user {name} in {}", path.display());
    }
}

fn explain(loaded: &LoadedConfig, args: &ExplainArgs, out: &mut dyn Write) -> io::Result<()> {
    let ExplainArgs { user: PrincipalArg(principal), action, repository } = args;
    let policy = &loaded.config.policy;
    let (verdict, reason) = match policy.decide(principal, *action, repository) {
        PolicyDecision::Allowed(rule) => ("allowed", format!("{} allows it", rule_label(loaded, rule))),
        PolicyDecision::Denied(Some(rule)) => {
            ("denied", format!("{} decides, and {action} is not among its actions", rule_label(loaded, rule)))
        }
        PolicyDecision::Denied(None) => ("denied", format!("no rule matches {principal} and {repository}")),
    };
    writeln!(out, "{verdict}: {reason}")?;
    let Explanation { skipped: passed, deciding } = policy.explain(principal, repository);
    if let Some((_, rule)) = deciding {
        writeln!(out, "  {rule}")?;
    }
    for (number, rule, why) in passed {
        let why = match why {
            SkipReason::User => format!("does not match {principal}"),
            SkipReason::Repository => format!("does not match {repository}"),
        };
        writeln!(out, "{} {why}\n  {rule}", rule_label(loaded, number))?;
    }
    Ok(())
}

/// A rule's number and its place in the configuration, or a phrase for the default rule.
fn rule_label(loaded: &LoadedConfig, rule: RuleNumber) -> String {
    if loaded.rules.is_empty() {
        return "the default rule, which applies without any [[access]],".to_owned();
    }
    format!("{rule} ({})", loaded.place(rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
[groups]
team = ["alice"]
[[access]]
users = ["bob"]
repositories = ["**"]
actions = ["pull"]
[[access]]
users = ["@team"]
repositories = ["home/{user}/**"]
actions = ["pull", "push", "delete"]
[[access]]
users = ["@team", "anonymous"]
repositories = ["team/**"]
actions = ["pull"]
"#;

    fn explained(rules: &str, user: &str, action: &str, repository: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("portcullis.toml");
        std::fs::write(&file, rules).unwrap();
        let flags = Flags { config: Some(file.clone()), ..Flags::default() };
        let loaded = crate::config::load(&flags, [], None).unwrap();
        let args = ExplainArgs {
            user: user.parse().unwrap(),
            action: action.parse().unwrap(),
            repository: repository.parse().unwrap(),
        };
        let mut out = Vec::new();
        explain(&loaded, &args, &mut out).unwrap();
        String::from_utf8(out).unwrap().replace(file.to_str().unwrap(), "portcullis.toml")
    }

    #[test]
    fn the_rule_that_decides_is_named_with_its_line_and_those_before_it_with_the_reason() {
        assert_eq!(
            explained(RULES, "alice", "pull", "team/app"),
            r#"allowed: rule 3 (portcullis.toml:12:1) allows it
  users = ["@team", "anonymous"], repositories = ["team/**"], actions = ["pull"]
rule 1 (portcullis.toml:4:1) does not match alice
  users = ["bob"], repositories = ["**"], actions = ["pull"]
rule 2 (portcullis.toml:8:1) does not match team/app
  users = ["@team"], repositories = ["home/{user}/**"], actions = ["pull", "push", "delete"]
"#
        );
    }

    #[test]
    fn a_refusal_says_whether_a_rule_or_its_absence_refuses() {
        let first_line =
            |user, action, repository| explained(RULES, user, action, repository).lines().next().unwrap().to_owned();
        assert_eq!(
            first_line("alice", "push", "team/app"),
            "denied: rule 3 (portcullis.toml:12:1) decides, and push is not among its actions"
        );
        assert_eq!(first_line("anonymous", "pull", "other"), "denied: no rule matches anonymous and other");
    }

    #[test]
    fn without_rules_the_answer_says_so() {
        let text = explained("", "alice", "push", "a");
        assert!(text.starts_with("allowed: the default rule, which applies without any [[access]], allows"), "{text}");
    }
}
