//! Implements `portcullis access explain`: evaluates the access rules for a user, an action and a repository, and the
//! limits of the workload rules that sign the user in.
//!
//! Invariant: the answer comes from the [`Policy`](crate::access::Policy) that the server evaluates, never from a
//! second implementation of the rules.

use std::{
    io::{self, Write},
    str::FromStr,
};

use super::{CommandError, error::ignore_broken_pipe, load_config::load};
use crate::{
    access::{Action, Explanation, InvalidUserName, PolicyDecision, Principal, RuleNumber, SkipReason, UserName},
    auth::{users::read_leniently, workload::WorkloadRule},
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
    /// Explain whether a user may do an action in a repository, which rule decides, and what workload rules leave of it
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
    let written = explain(&loaded, args, &mut io::stdout().lock());
    ignore_broken_pipe(written).map_err(|error| CommandError::new(error, None))
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
    let jobs = WorkloadVerdict::new(loaded, args);
    let (verdict, reason) = match policy.decide(principal, *action, repository) {
        PolicyDecision::Allowed(rule) if jobs.denies_all() => {
            ("denied", format!("{} allows it, but no workload rule of {principal} does", rule_label(loaded, rule)))
        }
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
    jobs.explain(args, out)
}

/// What the workload rules of a user leave of the access rules: a job may do what both allow.
struct WorkloadVerdict<'a> {
    /// The workload rules of the user, each with its number in the configuration and whether it allows the action.
    rules: Vec<(usize, &'a WorkloadRule, bool)>,
    /// Whether the user can sign in with a password or an access token as well, which these rules do not narrow.
    has_password: bool,
}

impl<'a> WorkloadVerdict<'a> {
    fn new(loaded: &'a LoadedConfig, args: &ExplainArgs) -> Self {
        let ExplainArgs { user: PrincipalArg(principal), action, repository } = args;
        let Principal::User(user) = principal else { return Self { rules: Vec::new(), has_password: false } };
        let is_allowed = |rule: &WorkloadRule| {
            let limits = rule.limits.as_ref();
            limits.is_none_or(|limits| limits.allowed_actions(principal, repository).contains(*action))
        };
        let rules = loaded.config.workloads.iter().enumerate().filter(|(_, rule)| rule.user == *user);
        // If the file cannot be read, the user may be in it.
        let has_password =
            read_leniently(&loaded.config.auth.htpasswd).map_or(true, |users| users.hash(user).is_some());
        Self { rules: rules.map(|(index, rule)| (index + 1, rule, is_allowed(rule))).collect(), has_password }
    }

    /// Whether the user signs in by workload rules only, and none of them allows the action.
    fn denies_all(&self) -> bool {
        !self.has_password && !self.rules.is_empty() && self.rules.iter().all(|(_, _, is_allowed)| !is_allowed)
    }

    fn explain(&self, args: &ExplainArgs, out: &mut dyn Write) -> io::Result<()> {
        let ExplainArgs { user: PrincipalArg(principal), action, repository } = args;
        for (number, rule, is_allowed) in &self.rules {
            let effect = match &rule.limits {
                None => "does not narrow the access rules".to_owned(),
                Some(_) if *is_allowed => format!("permits {action} in {repository}, within the access rules"),
                Some(_) => format!("does not permit {action} in {repository}"),
            };
            writeln!(out, "auth.workload: rule {number} signs {principal} in and {effect}\n  {rule}")?;
        }
        if !self.rules.is_empty() && self.has_password {
            writeln!(out, "the password of {principal} is not narrowed by workload rules")?;
        }
        Ok(())
    }
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

    /// A job of one project, whose token narrows what rule 3 lets it do.
    const WORKLOADS: &str = r#"
[[access]]
users = ["ci-acme"]
repositories = ["team/**"]
actions = ["pull", "push"]
[[auth.workload]]
issuer = "https://ci.example"
audience = "registry"
claims = { project = "1" }
user = "ci-acme"
repositories = ["team/app/*"]
actions = ["pull"]
[[auth.workload]]
issuer = "https://ci.example"
audience = "registry"
claims = { project = "2" }
user = "other"
"#;

    fn explained(rules: &str, user: &str, action: &str, repository: &str) -> String {
        explained_with_users("", rules, user, action, repository)
    }

    /// With this content of the users file.
    fn explained_with_users(users: &str, rules: &str, user: &str, action: &str, repository: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("portcullis.toml");
        std::fs::write(&file, rules).unwrap();
        let htpasswd = folder.path().join("htpasswd");
        std::fs::write(&htpasswd, users).unwrap();
        let flags = Flags { config: Some(file.clone()), htpasswd: Some(htpasswd), ..Flags::default() };
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
    fn a_job_is_told_how_its_workload_rule_narrows_the_access_rules() {
        let rule = r#"  issuer = "https://ci.example", audience = "registry", claims = { project = "1" }, user = "ci-acme", repositories = ["team/app/*"], actions = ["pull"]"#;
        let allowed = explained(WORKLOADS, "ci-acme", "pull", "team/app/x");
        let lines: Vec<_> = allowed.lines().collect();
        assert_eq!(lines[0], "allowed: rule 1 (portcullis.toml:2:1) allows it");
        let expected = "auth.workload: rule 1 signs ci-acme in and permits pull in team/app/x, within the access rules";
        assert_eq!(lines[2..4], [expected, rule], "{allowed}");
        for (action, repository) in [("push", "team/app/x"), ("pull", "team/other")] {
            let denied = explained(WORKLOADS, "ci-acme", action, repository);
            let lines: Vec<_> = denied.lines().collect();
            let expected =
                "denied: rule 1 (portcullis.toml:2:1) allows it, but no workload rule of ci-acme does".to_owned();
            assert_eq!(lines[0], expected, "{denied}");
            let expected =
                format!("auth.workload: rule 1 signs ci-acme in and does not permit {action} in {repository}");
            assert_eq!(lines[2..4], [&expected, rule], "{denied}");
        }
    }

    #[test]
    fn a_job_without_limits_and_a_user_with_a_password_keep_what_the_access_rules_allow() {
        let open = WORKLOADS.replace("repositories = [\"team/app/*\"]\nactions = [\"pull\"]", "");
        let text = explained(&open, "ci-acme", "push", "team/other");
        assert!(text.starts_with("allowed: ") && text.contains("does not narrow the access rules"), "{text}");
        assert!(!explained(WORKLOADS, "anonymous", "pull", "a").contains("workload"));

        let users = "ci-acme:$2y$04$abcdefghijklmnopqrstuuO2CIyfQuTzuFsVnuMXCSUcjuRlSZNVO\n";
        let text = explained_with_users(users, WORKLOADS, "ci-acme", "push", "team/other");
        assert!(text.starts_with("allowed: ") && text.contains("does not permit push in team/other"), "{text}");
        assert!(text.ends_with("the password of ci-acme is not narrowed by workload rules\n"), "{text}");
    }

    #[test]
    fn without_rules_the_answer_says_so() {
        let text = explained("", "alice", "push", "a");
        assert!(text.starts_with("allowed: the default rule, which applies without any [[access]], allows"), "{text}");
    }
}
