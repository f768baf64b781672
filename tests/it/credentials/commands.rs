//! Tests `portcullis token create|list|revoke`: their output and their errors.

use super::{ALICE, create, start, token};
use crate::support::ServerDir;
use crate::support::server_dir::basic;

#[test]
fn create_prints_the_secret_alone_on_standard_output() {
    let server = start();
    let made = token(&server, &["create", "ci", "--user", ALICE.name]).run_ok();
    let secret = made.stdout.strip_suffix('\n').unwrap();
    let (id, rest) = secret.strip_prefix("pcat_").unwrap().split_once('_').unwrap();
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    assert!(rest.len() == 43 && rest.bytes().all(letter), "256 bits: {made}");
    assert!(made.stderr.contains("ci") && !made.stderr.contains(secret), "{made}");
    assert_ne!(create(&server, "other", &[]), secret);
}

#[test]
fn the_list_says_everything_but_secrets() {
    let server = start();
    let secrets = [
        create(
            &server,
            "zebra",
            &["--repository", "team/**", "--repository", "x/*", "--action", "push", "--expires", "30d"],
        ),
        create(&server, "ant", &[]),
    ];
    let answer = super::ask(&server, ALICE.name, ALICE.password, "offline_token=true&client_id=docker").expect(200);
    let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    let listed = token(&server, &["list"]).run_ok().stdout;
    let lines: Vec<_> = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines.len(), 3, "{listed}");
    assert_eq!(lines[0][..5], ["ant", "alice", "**", "pull", "created"]);
    assert_eq!(lines[1][..5], ["zebra", "alice", "team/**,x/*", "pull,push", "created"]);
    assert!(listed.contains("never expires") && listed.contains("expires 20"), "{listed}");
    let (device, _) = refresh.strip_prefix("pcrt_").unwrap().split_once('_').unwrap();
    assert_eq!(lines[2][..5], [device, "alice", "device", "docker", "created"]);
    for secret in secrets.iter().chain([&refresh]) {
        // The secret is base64url, and may itself contain the underscore that precedes it.
        assert!(!listed.contains(secret.splitn(3, '_').nth(2).unwrap()), "{listed}");
    }
    assert!(!listed.contains('$'), "no hash: {listed}");
}

#[test]
fn what_cannot_be_made_is_an_error_that_says_why() {
    let server = start();
    create(&server, "ci", &[]);
    let user = ["--user", ALICE.name];
    for (arguments, why) in [
        (vec!["create", "ci", user[0], user[1]], "already"),
        (vec!["create", "x", "--user", "absent"], "no user \"absent\""),
        (vec!["create", "x"], "--user"),
        (vec!["create", "a b", user[0], user[1]], "name"),
        (vec!["create", "0123456789abcdef", user[0], user[1]], "id"),
        (vec!["create", "x", user[0], user[1], "--action", "fly"], "action"),
        (vec!["create", "x", user[0], user[1], "--repository", "Team"], "pattern"),
        (vec!["create", "x", user[0], user[1], "--expires", "soon"], "duration"),
        (vec!["revoke", "x"], "no token \"x\""),
        (vec!["revoke", "0123456789abcdef"], "no token"),
        (vec!["revoke", "../ci"], "no token"),
    ] {
        let failed = token(&server, &arguments).run_failing();
        assert!(failed.stdout.is_empty() && failed.stderr.contains("error:"), "{failed}");
        failed.assert_prints_one_of(&[why]);
    }
    assert_eq!(token(&server, &["list"]).run_ok().stdout.lines().count(), 1);
}

#[test]
fn a_folder_that_a_typing_error_names_is_not_made() {
    let stage = ServerDir::new();
    for arguments in [&["create", "ci", "--user", "alice"][..], &["list"], &["revoke", "ci"]] {
        stage
            .portcullis_command()
            .arg("token")
            .args(arguments)
            .args(["--data", "dta"])
            .run_failing()
            .assert_prints_one_of(&["dta"]);
    }
    assert!(!stage.path("dta").exists());
}

#[test]
fn a_secret_that_nobody_could_read_is_not_kept() {
    let server = start();
    let full = format!(
        "{} token create ci --user alice --data {} --htpasswd {} > /dev/full",
        crate::support::portcullis_server::BINARY,
        server.data().display(),
        server.users().display()
    );
    crate::support::ToolCommand::new("sh").args(["-c", &full]).run_failing().assert_prints_one_of(&["cannot write"]);
    assert_eq!(token(&server, &["list"]).run_ok().stdout, "");
}

#[test]
fn a_user_with_a_weak_hash_is_warned_about() {
    let legacy = "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";
    let server = ServerDir::new().with_users_file(legacy).start();
    let made = token(&server, &["create", "ci", "--user", ALICE.name]).run_ok();
    made.assert_prints_one_of(&["weak"]);
    super::alice(&server, made.stdout.trim_end()).get("/v2/").send().expect(200);
    // A login with the password upgrades the hash to bcrypt, which is another hash.
    super::alice(&server, "secret").get("/v2/").send().expect(200);
    super::alice(&server, made.stdout.trim_end()).get("/v2/").send().expect(401);
}

#[test]
fn the_commands_need_no_server() {
    let stage = ServerDir::new();
    std::fs::create_dir(stage.path("data")).unwrap();
    let said = |arguments: &[&str]| stage.portcullis_command().arg("token").args(arguments).run_ok().stdout;
    let secret = said(&["create", "ci", "--user", ALICE.name]);
    said(&["create", "kept", "--user", ALICE.name]);
    assert!(said(&["list"]).starts_with("ci"), "{}", said(&["list"]));
    said(&["revoke", "ci"]);
    let server = stage.start();
    let show = |secret: &str| server.request("GET", "/v2/", &[&basic(&format!("alice:{}", secret.trim_end()))], b"");
    show(&secret).expect(401);
    show(&said(&["create", "new", "--user", ALICE.name])).expect(200);
    assert_eq!(said(&["list"]).lines().count(), 2);
}
