//! Access rules as an administrator meets them: what `check` says of mistakes, and that `access explain` says what the
//! server does.

use crate::support::portcullis::{ALICE, BOB, User};
use crate::support::stage::authorization;
use crate::support::{Running, Stage};

const RULES: &str = r#"
[groups]
team = ["alice"]

[[access]]
users        = ["anonymous", "*"]
repositories = ["public/**"]
actions      = ["pull"]

[[access]]
users        = ["@team"]
repositories = ["team/**"]
actions      = ["pull", "push", "delete"]

[[access]]
users        = ["*"]
repositories = ["home/{user}/**", "team/*"]
actions      = ["pull", "push"]
"#;

/// What the server says to an attempt that a missing image does not spoil.
fn server_allows(server: &Running<'_>, user: Option<&User>, action: &str, repository: &str) -> bool {
    let blob = format!("/v2/{repository}/blobs/sha256:{}", "0".repeat(64));
    let (method, path) = match action {
        "pull" => ("GET", blob),
        "push" => ("POST", format!("/v2/{repository}/blobs/uploads/")),
        "delete" => ("DELETE", blob),
        _ => panic!("{action} has no request of its own"),
    };
    let header = user.map_or_else(|| anonymous_token(server, repository), authorization);
    let answer = server.ask(method, &path, &[&header], b"");
    match answer.status {
        202 | 404 => true,
        401 | 403 => false,
        _ => panic!("{answer}"),
    }
}

/// Anonymous rights come with an anonymous token, as clients fetch it.
fn anonymous_token(server: &Running<'_>, repository: &str) -> String {
    let path = format!("/token?service=localhost&scope=repository:{repository}:pull,push,delete");
    let answer = server.ask("GET", &path, &[], b"").expect(200).json();
    format!("Authorization: Bearer {}", answer["token"].as_str().unwrap())
}

#[test]
fn explain_says_what_the_server_does() {
    let stage = Stage::new();
    stage.users(&[ALICE, BOB]);
    stage.configure(RULES);
    let server = stage.start();
    let mut told = Vec::new();
    for user in [Some(&ALICE), Some(&BOB), None] {
        let name = user.map_or("anonymous", |user| user.name);
        for action in ["pull", "push", "delete"] {
            for repository in ["public/a", "team/a", "team/a/b", "home/alice/a", "home/bob/a", "other"] {
                let said = stage.tool().args(["access", "explain", name, action, repository]).succeeds().stdout;
                let says_allowed = match said.split(':').next() {
                    Some("allowed") => true,
                    Some("denied") => false,
                    _ => panic!("{said}"),
                };
                assert_eq!(
                    says_allowed,
                    server_allows(&server, user, action, repository),
                    "{name} {action} {repository}"
                );
                told.push(says_allowed);
            }
        }
    }
    assert!(told.contains(&true) && told.contains(&false));
}

#[test]
fn explain_names_the_rule_that_decides_with_its_line_and_the_ones_before_it() {
    let stage = Stage::new();
    stage.configure(RULES);
    let said = stage.tool().args(["access", "explain", "alice", "push", "team/app"]).succeeds();
    let lines: Vec<_> = said.stdout.lines().collect();
    assert!(lines[0].starts_with("allowed: rule 2 (portcullis.toml:"), "{said}");
    assert!(lines[2].starts_with("rule 1 (portcullis.toml:") && lines[2].ends_with("is not about team/app"), "{said}");
    assert_eq!(said.stderr, "", "alice is known");
    let unknown = stage.tool().args(["access", "explain", "carol", "push", "team/app"]).succeeds();
    assert!(unknown.stderr.contains("there is no user carol"), "{unknown}");
    stage
        .tool()
        .args(["access", "explain", "alice", "fly", "team/app"])
        .fails()
        .says_one_of(&["pull, push, delete or admin"]);
    stage.tool().args(["access", "explain", "alice", "pull", "Team"]).fails().says_one_of(&["Team"]);
}

#[test]
fn a_rule_that_is_never_reached_is_told_by_check_with_its_line_and_keeps_no_server_from_running() {
    let stage = Stage::new();
    stage.configure(
        "[[access]]\nusers = [\"*\"]\nrepositories = [\"**\"]\nactions = [\"pull\"]\n\
         [[access]]\nusers = [\"alice\"]\nrepositories = [\"team/**\"]\nactions = [\"push\"]\n",
    );
    let checked = stage.tool().arg("check").fails();
    let line = checked.stderr.lines().find(|line| line.contains("portcullis.toml:7:1")).map(str::to_owned);
    let line = line.unwrap_or_else(|| panic!("the second rule is in line 7: {checked}"));
    assert!(
        line.starts_with("error: ") && line.contains("never reached") && line.contains("portcullis.toml:3:1"),
        "{line}"
    );
    let server = stage.start();
    server.says("never reached");
    server.lives();
}

#[test]
fn mistakes_in_rules_are_told_by_check_with_their_lines() {
    let stage = Stage::new();
    stage.configure(
        "[[access]]\nusers = [\"@nobody\"]\nrepositories = [\"a**\"]\nactions = [\"pull\"]\n\
         [[access]]\nusers = [\"*\"]\nrepositories = [\"Team/x\"]\nactions = [\"fly\"]\n",
    );
    let checked = stage.tool().arg("check").fails();
    for words in ["portcullis.toml:4:", "portcullis.toml:5:", "portcullis.toml:9:", "portcullis.toml:10:"] {
        let line = checked.stderr.lines().find(|line| line.contains(words));
        assert!(line.is_some_and(|line| line.starts_with("error: ")), "{words} should be told: {checked}");
    }
}

#[test]
fn a_user_who_is_put_into_a_group_is_admitted_without_a_restart() {
    let stage = Stage::new();
    stage.users(&[ALICE, BOB]);
    stage.configure(RULES);
    let server = stage.start();
    assert!(!server_allows(&server, Some(&BOB), "delete", "team/a"));
    stage.configure(&RULES.replace("team = [\"alice\"]", "team = [\"alice\", \"bob\"]"));
    server.says("access rules reloaded");
    assert!(server_allows(&server, Some(&BOB), "delete", "team/a"));
}
