//! Tests client certificates (mTLS) with curl.

use std::time::Duration;

use serde_json::Value;

use crate::support::authority::{Authority, Issued};
use crate::support::tool::Finished;
use crate::support::{Running, Stage, Tool, eventually};

const RULES: &str = r#"
[[access]]
users = ["robot"]
repositories = ["team/**"]
actions = ["pull", "push"]

[[access]]
users = ["alice"]
repositories = ["**"]
actions = ["pull", "push", "delete"]
"#;

fn stage(authority: &Authority, client: &str) -> Stage {
    let stage = Stage::new();
    stage.write("clients.crt", &authority.pem());
    stage.configure(&format!("[tls.client]\nca = \"clients.crt\"\n{client}\n[log]\naudit = \"audit.jsonl\"\n{RULES}"));
    stage
}

/// Writes a certificate and its key where [`with`] finds them.
fn keep(stage: &Stage, name: &str, issued: &Issued) {
    stage.write(&format!("{name}.crt"), &issued.certificate);
    stage.write(&format!("{name}.key"), &issued.key);
}

fn curl(server: &Running<'_>, arguments: &[&str], path: &str) -> Finished {
    let url = format!("https://localhost:{}{path}", server.stage.port());
    let tool = Tool::new("curl").folder(server.stage.folder()).args(["-sS", "-i", "--cacert", "certs/ca.crt"]);
    tool.args(arguments).arg(url).run()
}

fn with(server: &Running<'_>, name: &str, arguments: &[&str], path: &str) -> Finished {
    let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
    curl(server, &[&["--cert", &certificate, "--key", &key], arguments].concat(), path)
}

#[track_caller]
fn status(told: &Finished) -> u16 {
    let line = told.stdout.lines().next().unwrap_or_else(|| panic!("there should be an answer: {told}"));
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A bearer token that was issued for a certificate.
fn token(server: &Running<'_>, name: &str, scope: &str) -> String {
    let told = with(server, name, &[], &format!("/token?service=localhost&scope={scope}"));
    assert_eq!(status(&told), 200, "{told}");
    let body: Value = serde_json::from_str(told.stdout.split("\r\n\r\n").last().unwrap()).unwrap();
    assert!(body.get("refresh_token").is_none(), "{told}");
    format!("Authorization: Bearer {}", body["token"].as_str().unwrap())
}

#[test]
fn a_certificate_signs_its_user_in_without_a_password_and_without_a_line_in_the_users_file() {
    let authority = Authority::new();
    let stage = stage(&authority, "");
    keep(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    for protocol in ["--http1.1", "--http2", "--tls-max=1.2"] {
        let protocol = protocol.split('=').collect::<Vec<_>>();
        assert_eq!(status(&with(&server, "robot", &protocol, "/v2/")), 200);
    }
    let begun = with(&server, "robot", &["-X", "POST"], "/v2/team/app/blobs/uploads/");
    assert_eq!(status(&begun), 202, "{begun}");
    let refused = with(&server, "robot", &["-X", "POST"], "/v2/other/app/blobs/uploads/");
    assert_eq!(status(&refused), 403, "{refused}");
    assert!(refused.stdout.contains("robot may not push other/app"), "{refused}");
    let trail = std::fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    let signed_in = trail.lines().find(|line| line.contains("client_certificate")).expect("it is in the audit trail");
    assert!(signed_in.contains(r#""user":"robot""#) && signed_in.contains(r#""credential":""#), "{signed_in}");
    let refusal = trail.lines().find(|line| line.contains(r#""event":"refused""#)).expect("so is the refusal");
    assert!(refusal.contains("other/app"), "{refusal}");
}

#[test]
fn where_certificates_are_required_nobody_else_finishes_the_handshake() {
    let (authority, other) = (Authority::new(), Authority::new());
    let stage = stage(&authority, "");
    keep(&stage, "untrusted", &other.issue("robot"));
    keep(&stage, "late", &authority.issue_expired("robot"));
    keep(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    for told in [
        curl(&server, &["-u", "alice:wonderland and back"], "/v2/"),
        with(&server, "untrusted", &[], "/v2/"),
        with(&server, "late", &[], "/v2/"),
    ] {
        assert!(!told.is_success() && told.stdout.is_empty() && told.stderr.contains("alert"), "{told}");
    }
    assert_eq!(status(&with(&server, "robot", &[], "/v2/")), 200);
}

#[test]
fn where_certificates_are_optional_passwords_still_work_and_bad_certificates_do_not() {
    let (authority, other) = (Authority::new(), Authority::new());
    let stage = stage(&authority, "mode = \"optional\"");
    keep(&stage, "untrusted", &other.issue("robot"));
    keep(&stage, "robot", &authority.issue("robot"));
    keep(&stage, "odd", &authority.issue("@team"));
    let server = stage.start();
    server.lives();
    assert_eq!(status(&curl(&server, &[], "/v2/")), 401);
    assert_eq!(status(&with(&server, "robot", &[], "/v2/")), 200);
    // A name that is not valid for users does not sign in.
    assert_eq!(status(&with(&server, "odd", &[], "/v2/")), 401);
    assert!(!with(&server, "untrusted", &[], "/v2/").is_success());
}

#[test]
fn the_header_wins_over_the_certificate() {
    let authority = Authority::new();
    let stage = stage(&authority, "");
    keep(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    let alice =
        with(&server, "robot", &["-u", "alice:wonderland and back", "-X", "POST"], "/v2/any/app/blobs/uploads/");
    assert_eq!(status(&alice), 202, "alice may push where robot may not: {alice}");
    let wrong = with(&server, "robot", &["-u", "alice:a guess"], "/v2/");
    assert_eq!(status(&wrong), 401, "a wrong password is no certificate: {wrong}");
    let forged = with(&server, "robot", &["-H", "Authorization: Bearer a.b.c"], "/v2/");
    assert_eq!(status(&forged), 401, "{forged}");
}

#[test]
fn a_certificate_that_signs_nobody_in_only_opens_the_connection() {
    let authority = Authority::new();
    let stage = stage(&authority, "user = \"off\"");
    keep(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    assert_eq!(status(&with(&server, "robot", &[], "/v2/")), 401);
    assert_eq!(status(&with(&server, "robot", &["-u", "alice:wonderland and back"], "/v2/")), 200);
}

#[test]
fn a_token_that_was_given_for_a_certificate_ends_with_its_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let stage = stage(&authority, "mode = \"optional\"");
    keep(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    let bearer = token(&server, "robot", "repository:team/app:pull,push");
    let push = || status(&curl(&server, &["-H", &bearer, "-X", "POST"], "/v2/team/app/blobs/uploads/"));
    assert_eq!(push(), 202, "the token is good on any connection");
    stage.write("clients.crt", &other.pem());
    assert!(eventually(Duration::from_secs(5), || push() == 401), "{}", server.log());
    assert!(!with(&server, "robot", &[], "/v2/").is_success(), "and so does the certificate");
    stage.write("clients.crt", &authority.pem());
    assert!(eventually(Duration::from_secs(5), || push() == 202));
    stage.configure(RULES);
    assert!(eventually(Duration::from_secs(5), || push() == 401), "the server no longer requests certificates");
    server.lives();
}

#[test]
fn a_broken_file_of_authorities_keeps_the_old_ones_and_does_not_start() {
    let authority = Authority::new();
    let stage = stage(&authority, "");
    keep(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    stage.write("clients.crt", "nothing of use");
    server.says("client certificate authorities not reloaded");
    assert_eq!(status(&with(&server, "robot", &[], "/v2/")), 200);
    for command in ["serve", "check"] {
        let refused = stage.tool().arg(command).fails();
        assert!(refused.stderr.contains("clients.crt: no certificate in this file"), "{refused}");
        assert!(refused.stderr.contains("hint: "), "{refused}");
    }
}

#[test]
fn sessions_are_not_resumed_where_certificates_are_asked_for() {
    let authority = Authority::new();
    let stage = stage(&authority, "mode = \"optional\"");
    keep(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    for version in ["-tls1_2", "-tls1_3"] {
        let target = stage.address().to_string();
        let options = ["-reconnect", "-cert", "robot.crt", "-key", "robot.key", "-CAfile", "certs/ca.crt"];
        let openssl = Tool::new("openssl").folder(stage.folder()).args(["s_client", version, "-connect", &target]);
        let told = openssl.args(options).run();
        assert!(told.stdout.contains("New, TLSv1.") && !told.stdout.contains("Reused"), "{told}");
    }
    server.lives();
}

#[test]
fn a_health_check_needs_no_certificate() {
    let stage = stage(&Authority::new(), "");
    let mut server = stage.start();
    stage.tool().args(["check", "--live"]).succeeds();
    server.daemon.stop();
    stage.tool().args(["check", "--live"]).fails().says_one_of(&["does not answer"]);
}

#[test]
fn the_certificate_of_a_proxy_signs_nobody_in_who_comes_through_it() {
    let authority = Authority::new();
    let stage = stage(&authority, "");
    keep(&stage, "proxy", &authority.issue("robot"));
    let text = std::fs::read_to_string(stage.path("portcullis.toml")).unwrap();
    stage.write("portcullis.toml", &format!("trusted_proxies = [\"127.0.0.1\"]\n{text}"));
    let server = stage.start();
    for header in ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=_hidden"] {
        assert_eq!(status(&with(&server, "proxy", &["-H", header], "/v2/")), 401, "{header}");
        let alice = with(&server, "proxy", &["-H", header, "-u", "alice:wonderland and back"], "/v2/");
        assert_eq!(status(&alice), 200, "{header}");
    }
    assert_eq!(status(&with(&server, "proxy", &[], "/v2/")), 200, "it may come for itself");
}
