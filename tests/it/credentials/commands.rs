//! Tests `portcullis token create|list|revoke`: their output and their errors.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portcullis::storage;
use rustix::process::Signal;

use super::{ALICE, BOB, create, start, token};
use crate::support::oci_layout::digest;
use crate::support::portcullis_server::BINARY;
use crate::support::server_dir::{basic, basic_authorization};
use crate::support::wire_connection::head;
use crate::support::{PortcullisServer, ServerDir, eventually};

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

/// The status of a request to `server` with a token of [`ALICE`]'s.
fn status_with(server: &PortcullisServer, secret: &str) -> u16 {
    server.request("GET", "/v2/", &[&basic(&format!("alice:{}", secret.trim_end()))], b"").status
}

#[test]
fn a_token_that_is_in_use_is_refused_by_the_next_request_after_its_revocation() {
    let stage = ServerDir::new();
    let server = stage.start();
    let said = |arguments: &[&str]| stage.portcullis_command().arg("token").args(arguments).run_ok();
    for round in 0..5 {
        let made = said(&["create", "ci", "--user", "alice"]);
        assert_eq!(status_with(&server, &made.stdout), 200, "round {round}");
        said(&["revoke", "ci"]);
        assert_eq!(status_with(&server, &made.stdout), 401, "round {round}");
        let log = server.log();
        assert!(!log.contains(made.stdout.trim_end()), "the secret is not logged: {log}");
    }
    server.assert_log_contains("access token created");
    server.assert_log_contains("token revoked");
}

#[test]
fn a_user_who_was_just_added_can_have_a_token_at_once() {
    let stage = ServerDir::new();
    let server = stage.start();
    stage.users(&[ALICE, BOB]);
    let secret = stage.portcullis_command().args(["token", "create", "ci", "--user", BOB.name]).run_ok().stdout;
    server.request("GET", "/v2/", &[&basic(&format!("bob:{}", secret.trim_end()))], b"").expect(200);
}

#[test]
fn while_the_server_drains_its_connections_tokens_are_created_and_revoked() {
    let stage = ServerDir::new();
    stage.configure("[limits]\ndrain_timeout = \"10m\"");
    let mut server = stage.start();
    let kept = stage.portcullis_command().args(["token", "create", "old", "--user", "alice"]).run_ok().stdout;
    let mut upload = server.connect();
    let header = [&*basic_authorization(&ALICE), "Content-Length: 1000", "Expect: 100-continue"];
    let path = format!("/v2/a/blobs/uploads/?digest={}", digest(b"never sent"));
    upload.send(head("POST", &path, &header).as_bytes());
    // The server sends it when it starts to read the body.
    upload.response_to("POST").expect(100);
    server.daemon.signal(Signal::TERM);
    assert!(eventually(Duration::from_secs(60), || server.log().contains("stopping")), "{}", server.log());
    let said = |arguments: &[&str]| stage.portcullis_command().arg("token").args(arguments).run_ok().stdout;
    let secret = said(&["create", "new", "--user", "alice"]);
    said(&["revoke", "old"]);
    assert!(server.log().matches("access token created").count() == 2, "{}", server.log());
    assert!(server.log().contains("token revoked"), "{}", server.log());
    drop(upload);
    assert!(server.daemon.wait_for_exit(Duration::from_secs(60)).is_some(), "{}", server.log());
    drop(server);
    let server = stage.start();
    assert_eq!((status_with(&server, &secret), status_with(&server, &kept)), (200, 401));
}

/// A command `token` that has printed that it waits for the process with the lock.
fn waiting_command(stage: &ServerDir, arguments: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.current_dir(stage.folder()).arg("token").args(arguments);
    let mut command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(command.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("waiting for the portcullis that uses "), "{said}");
    command
}

#[test]
fn when_the_server_has_closed_its_socket_the_commands_wait_until_it_has_ended() {
    let stage = ServerDir::new();
    fs::create_dir(stage.path("data")).unwrap();
    let said = |arguments: &[&str]| stage.portcullis_command().arg("token").args(arguments).run_ok().stdout;
    said(&["create", "old", "--user", "alice"]);
    // As a server at the end of its shutdown: it has the lock and no socket.
    let lock = storage::lock_data_dir(&stage.path("data"), &[]).unwrap().expect("the lock is free");
    let commands =
        [&["create", "new", "--user", "alice"][..], &["revoke", "old"]].map(|words| waiting_command(&stage, words));
    drop(lock);
    for mut command in commands {
        assert!(command.wait().unwrap().success());
    }
    let listed = said(&["list"]);
    assert!(listed.starts_with("new") && !listed.contains("old"), "{listed}");
}
