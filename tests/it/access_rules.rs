//! Tests access rules: `check`'s diagnostics, and that `access explain` agrees with the server.

use std::process::Command;

use crate::support::portcullis_server::{ALICE, BINARY, BOB, TestUser};
use crate::support::server_dir::basic_authorization;
use crate::support::{PortcullisServer, ServerDir};

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

/// Whether the server allows a request for this action; a missing image does not count as a refusal.
fn server_allows(server: &PortcullisServer, user: Option<&TestUser>, action: &str, repository: &str) -> bool {
    let blob = format!("/v2/{repository}/blobs/sha256:{}", "0".repeat(64));
    let (method, path) = match action {
        "pull" => ("GET", blob),
        "push" => ("POST", format!("/v2/{repository}/blobs/uploads/")),
        "delete" => ("DELETE", blob),
        _ => panic!("{action} has no request of its own"),
    };
    let header = user.map_or_else(|| anonymous_token(server, repository), basic_authorization);
    let answer = server.request(method, &path, &[&header], b"");
    match answer.status {
        202 | 404 => true,
        401 | 403 => false,
        _ => panic!("{answer}"),
    }
}

/// Fetches an anonymous token, as clients do, with the rights of anonymous requests.
fn anonymous_token(server: &PortcullisServer, repository: &str) -> String {
    let path = format!("/token?service=localhost&scope=repository:{repository}:pull,push,delete");
    let answer = server.request("GET", &path, &[], b"").expect(200).json();
    format!("Authorization: Bearer {}", answer["token"].as_str().unwrap())
}

#[test]
fn explain_says_what_the_server_does() {
    let stage = ServerDir::new();
    stage.users(&[ALICE, BOB]);
    stage.configure(RULES);
    let server = stage.start();
    let mut warnings_found = Vec::new();
    for user in [Some(&ALICE), Some(&BOB), None] {
        let name = user.map_or("anonymous", |user| user.name);
        for action in ["pull", "push", "delete"] {
            for repository in ["public/a", "team/a", "team/a/b", "home/alice/a", "home/bob/a", "other"] {
                let said =
                    stage.portcullis_command().args(["access", "explain", name, action, repository]).run_ok().stdout;
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
                warnings_found.push(says_allowed);
            }
        }
    }
    assert!(warnings_found.contains(&true) && warnings_found.contains(&false));
}

#[test]
fn explain_names_the_rule_that_decides_with_its_line_and_the_ones_before_it() {
    let stage = ServerDir::new();
    stage.configure(RULES);
    let said = stage.portcullis_command().args(["access", "explain", "alice", "push", "team/app"]).run_ok();
    let lines: Vec<_> = said.stdout.lines().collect();
    assert!(lines[0].starts_with("allowed: rule 2 (portcullis.toml:"), "{said}");
    assert!(lines[2].starts_with("rule 1 (portcullis.toml:") && lines[2].ends_with("not match team/app"), "{said}");
    assert_eq!(said.stderr, "", "alice is known");
    let unknown = stage.portcullis_command().args(["access", "explain", "carol", "push", "team/app"]).run_ok();
    assert!(unknown.stderr.contains("there is no user carol"), "{unknown}");
    stage
        .portcullis_command()
        .args(["access", "explain", "alice", "fly", "team/app"])
        .run_failing()
        .assert_prints_one_of(&["pull, push, delete or admin"]);
    stage
        .portcullis_command()
        .args(["access", "explain", "alice", "pull", "Team"])
        .run_failing()
        .assert_prints_one_of(&["Team"]);
}

#[test]
fn lists_and_explanations_whose_reader_closed_the_pipe_end_without_an_error() {
    let stage = ServerDir::new();
    stage.configure(RULES);
    std::fs::create_dir(stage.path("data")).unwrap();
    stage.portcullis_command().args(["token", "create", "ci", "--user", "alice"]).run_ok();
    for arguments in [&["access", "explain", "alice", "push", "team/app"][..], &["token", "list"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let command = Command::new(BINARY).args(arguments).current_dir(stage.folder()).stdout(writer).output().unwrap();
        assert!(command.status.success() && command.stderr.is_empty(), "{arguments:?}: {command:?}");
    }
}

#[test]
fn a_rule_that_is_never_reached_is_told_by_check_with_its_line_and_keeps_no_server_from_running() {
    let stage = ServerDir::new();
    stage.configure(
        "[[access]]\nusers = [\"*\"]\nrepositories = [\"**\"]\nactions = [\"pull\"]\n\
         [[access]]\nusers = [\"alice\"]\nrepositories = [\"team/**\"]\nactions = [\"push\"]\n",
    );
    let checked = stage.portcullis_command().arg("check").run_failing();
    let line = checked.stderr.lines().find(|line| line.contains("portcullis.toml:7:1")).map(str::to_owned);
    let line = line.unwrap_or_else(|| panic!("the second rule is in line 7: {checked}"));
    assert!(
        line.starts_with("error: ") && line.contains("never reached") && line.contains("portcullis.toml:3:1"),
        "{line}"
    );
    let server = stage.start();
    server.assert_log_contains("never reached");
    server.assert_serving();
}

#[test]
fn mistakes_in_rules_are_told_by_check_with_their_lines() {
    let stage = ServerDir::new();
    stage.configure(
        "[[access]]\nusers = [\"@unknown\"]\nrepositories = [\"a**\"]\nactions = [\"pull\"]\n\
         [[access]]\nusers = [\"*\"]\nrepositories = [\"Team/x\"]\nactions = [\"fly\"]\n",
    );
    let checked = stage.portcullis_command().arg("check").run_failing();
    for words in ["portcullis.toml:4:", "portcullis.toml:5:", "portcullis.toml:9:", "portcullis.toml:10:"] {
        let line = checked.stderr.lines().find(|line| line.contains(words));
        assert!(line.is_some_and(|line| line.starts_with("error: ")), "{words} should be reported: {checked}");
    }
}

#[test]
fn a_user_who_is_put_into_a_group_is_admitted_without_a_restart() {
    let stage = ServerDir::new();
    stage.users(&[ALICE, BOB]);
    stage.configure(RULES);
    let server = stage.start();
    assert!(!server_allows(&server, Some(&BOB), "delete", "team/a"));
    stage.configure(&RULES.replace("team = [\"alice\"]", "team = [\"alice\", \"bob\"]"));
    server.assert_log_contains("access rules reloaded");
    assert!(server_allows(&server, Some(&BOB), "delete", "team/a"));
}

/// The warnings of `check` about rules without effect, each with its hint.
fn warnings(stage: &ServerDir) -> Vec<String> {
    let checked = stage.portcullis_command().arg("check").run_ok();
    let lines: Vec<&str> = checked.stderr.lines().collect();
    let warnings_found =
        lines.windows(2).filter(|pair| pair[0].starts_with("warning: ") && pair[0].contains("no effect"));
    let warnings_found = warnings_found.map(|pair| {
        assert!(pair[1].starts_with("hint: "), "{checked}");
        pair.join("\n")
    });
    warnings_found.collect()
}

#[test]
fn rules_that_can_take_no_effect_are_warned_of_with_their_lines_and_the_reason() {
    let stage = ServerDir::new();
    stage.users(&[ALICE, BOB]);
    let rule = |users: &str, repositories: &str| {
        format!("[[access]]\nusers = [{users}]\nrepositories = [{repositories}]\nactions = [\"pull\"]\n")
    };
    let rules = [
        rule(r#""carol", "@gone""#, r#""**""#),
        rule(r#""anonymous""#, r#""home/{user}/**""#),
        rule(r#""*""#, r#""_cache/**", "a..b""#),
        rule(r#""alice""#, r#""team/**""#),
        rule(r#""bob""#, r#""**""#),
        rule(r#""bob", "alice", "carol""#, r#""team/app""#),
        rule(r#""*", "anonymous""#, r#""public/**""#),
    ];
    stage.configure(&format!("[groups]\ngone = [\"dave\"]\n{}", rules.concat()));
    let warnings_found = warnings(&stage);
    let text = std::fs::read_to_string(stage.path("portcullis.toml")).unwrap();
    let starts: Vec<usize> =
        text.lines().enumerate().filter(|(_, line)| *line == "[[access]]").map(|(index, _)| index + 1).collect();
    let place = |number: usize| format!("portcullis.toml:{}:1", starts[number - 1]);
    for (output, number, words, hint) in [
        (&warnings_found[0], 1, "carol or @gone cannot sign in".to_owned(), "portcullis user add NAME"),
        (
            &warnings_found[1],
            2,
            "no repository name matches \"home/{user}/**\" for anonymous".to_owned(),
            "signed-in user",
        ),
        (
            &warnings_found[2],
            3,
            "no repository name matches \"_cache/**\" or \"a..b\"".to_owned(),
            "begins and ends with",
        ),
        (
            &warnings_found[3],
            6,
            format!("rule 4 at {} and rule 5 at {} decide everything", place(4), place(5)),
            "move it before them, or remove it",
        ),
    ] {
        let beginning = format!("warning: {}: rule {number} can take no effect: {words}", place(number));
        assert!(output.starts_with(&beginning) && output.contains(hint), "{beginning}\n{output}");
    }
    assert_eq!(warnings_found.len(), 4, "{warnings_found:?}");
}

#[test]
fn users_who_sign_in_by_other_ways_than_the_users_file_are_not_missed() {
    let stage = ServerDir::new();
    let rule = "[[access]]\nusers = [\"ci\", \"robot\"]\nrepositories = [\"**\"]\nactions = [\"pull\"]\n";
    let workload = |claim: &str| {
        format!(
            "[[auth.workload]]\nissuer = \"https://ci.example\"\naudience = \"a\"\nclaims.repository = \"{claim}\"\nuser = \"ci\"\n"
        )
    };
    stage.configure(rule);
    assert!(warnings(&stage)[0].contains("ci or robot cannot sign in"));
    stage.configure(&format!("{rule}{}", workload("acme/app")));
    assert_eq!(warnings(&stage), [""; 0]);
    stage.configure(&format!("{rule}{}{}", workload("acme/*"), workload("acme/app")));
    let warnings_found = warnings(&stage);
    assert!(
        warnings_found[0].contains("auth.workload: rule 2, for ci, can take no effect: rule 1 admits every token"),
        "{warnings_found:?}"
    );
    assert_eq!(warnings_found.len(), 1, "{warnings_found:?}");
    stage.configure(&format!("{rule}{}repositories = [\"_acme/**\"]\n", workload("acme/app")));
    assert!(warnings(&stage)[0].contains("rule 1, for ci, can take no effect: no repository name matches"));
    let others = rule.replace("\"ci\", \"robot\"", "\"alice\"");
    stage.configure(&format!("{others}{}", workload("acme/app")));
    assert!(warnings(&stage)[0].contains("rule 1, for ci, can take no effect: no access rule lets this user"));
    stage.configure(&workload("acme/app"));
    assert_eq!(warnings(&stage), [""; 0]);
    // The file is created at the first start.
    stage.configure(rule);
    std::fs::remove_file(stage.path("htpasswd")).unwrap();
    assert_eq!(warnings(&stage), [""; 0]);
    let authority = crate::support::test_ca::TestCa::new();
    stage.write("clients.pem", &authority.pem());
    stage.users(&[ALICE]);
    stage.configure(&format!("[tls.client]\nca = \"clients.pem\"\n{rule}"));
    assert_eq!(warnings(&stage), [""; 0]);
    stage.configure(&format!("[tls.client]\nca = \"clients.pem\"\nuser = \"off\"\n{rule}"));
    assert_eq!(warnings(&stage).len(), 1);
}
