//! Tests client certificates (mTLS) with curl.

use std::time::Duration;

use serde_json::Value;

use crate::support::test_ca::{IssuedPair, TestCa};
use crate::support::tool_command::ToolOutput;
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually};

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

fn stage(authority: &TestCa, client: &str) -> ServerDir {
    let stage = ServerDir::new();
    stage.write("clients.crt", &authority.pem());
    stage.configure(&format!("[tls.client]\nca = \"clients.crt\"\n{client}\n[log]\naudit = \"audit.jsonl\"\n{RULES}"));
    stage
}

/// Writes a certificate and its key where [`curl_with_certificate`] finds them.
fn write_pair(stage: &ServerDir, name: &str, issued: &IssuedPair) {
    stage.write(&format!("{name}.crt"), &issued.certificate);
    stage.write(&format!("{name}.key"), &issued.key);
}

fn curl(server: &PortcullisServer, arguments: &[&str], path: &str) -> ToolOutput {
    let url = format!("https://localhost:{}{path}", server.stage.port());
    let tool = ToolCommand::new("curl").folder(server.stage.folder()).args(["-sS", "-i", "--cacert", "certs/ca.crt"]);
    tool.args(arguments).arg(url).run()
}

fn curl_with_certificate(server: &PortcullisServer, name: &str, arguments: &[&str], path: &str) -> ToolOutput {
    let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
    curl(server, &[&["--cert", &certificate, "--key", &key], arguments].concat(), path)
}

#[track_caller]
fn status(output: &ToolOutput) -> u16 {
    let line = output.stdout.lines().next().unwrap_or_else(|| panic!("there should be an answer: {output}"));
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A bearer token that was issued for a certificate.
fn token(server: &PortcullisServer, name: &str, scope: &str) -> String {
    let output = curl_with_certificate(server, name, &[], &format!("/token?service=localhost&scope={scope}"));
    assert_eq!(status(&output), 200, "{output}");
    let body: Value = serde_json::from_str(output.stdout.split("\r\n\r\n").last().unwrap()).unwrap();
    assert!(body.get("refresh_token").is_none(), "{output}");
    format!("Authorization: Bearer {}", body["token"].as_str().unwrap())
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_certificate_signs_its_user_in_without_a_password_and_without_a_line_in_the_users_file() {
    let authority = TestCa::new();
    let stage = stage(&authority, "");
    write_pair(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    for protocol in ["--http1.1", "--http2", "--tls-max=1.2"] {
        let protocol = protocol.split('=').collect::<Vec<_>>();
        assert_eq!(status(&curl_with_certificate(&server, "robot", &protocol, "/v2/")), 200);
    }
    let begun = curl_with_certificate(&server, "robot", &["-X", "POST"], "/v2/team/app/blobs/uploads/");
    assert_eq!(status(&begun), 202, "{begun}");
    let refused = curl_with_certificate(&server, "robot", &["-X", "POST"], "/v2/other/app/blobs/uploads/");
    assert_eq!(status(&refused), 403, "{refused}");
    assert!(refused.stdout.contains("robot may not push other/app"), "{refused}");
    let trail = std::fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    let signed_in = trail.lines().find(|line| line.contains("client_certificate")).expect("it is in the audit trail");
    assert!(signed_in.contains(r#""user":"robot""#) && signed_in.contains(r#""credential":""#), "{signed_in}");
    let refusal = trail.lines().find(|line| line.contains(r#""event":"refused""#)).expect("so is the refusal");
    assert!(refusal.contains("other/app"), "{refusal}");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn where_certificates_are_required_nobody_else_finishes_the_handshake() {
    let (authority, other) = (TestCa::new(), TestCa::new());
    let stage = stage(&authority, "");
    write_pair(&stage, "untrusted", &other.issue("robot"));
    write_pair(&stage, "late", &authority.issue_expired("robot"));
    write_pair(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    for output in [
        curl(&server, &["-u", "alice:wonderland and back"], "/v2/"),
        curl_with_certificate(&server, "untrusted", &[], "/v2/"),
        curl_with_certificate(&server, "late", &[], "/v2/"),
    ] {
        assert!(!output.is_success() && output.stdout.is_empty() && output.stderr.contains("alert"), "{output}");
    }
    assert_eq!(status(&curl_with_certificate(&server, "robot", &[], "/v2/")), 200);
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn where_certificates_are_optional_passwords_still_work_and_bad_certificates_do_not() {
    let (authority, other) = (TestCa::new(), TestCa::new());
    let stage = stage(&authority, "mode = \"optional\"");
    write_pair(&stage, "untrusted", &other.issue("robot"));
    write_pair(&stage, "robot", &authority.issue("robot"));
    write_pair(&stage, "odd", &authority.issue("@team"));
    let server = stage.start();
    server.assert_serving();
    assert_eq!(status(&curl(&server, &[], "/v2/")), 401);
    assert_eq!(status(&curl_with_certificate(&server, "robot", &[], "/v2/")), 200);
    // A name that is not valid for users does not sign in.
    assert_eq!(status(&curl_with_certificate(&server, "odd", &[], "/v2/")), 401);
    assert!(!curl_with_certificate(&server, "untrusted", &[], "/v2/").is_success());
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn the_header_wins_over_the_certificate() {
    let authority = TestCa::new();
    let stage = stage(&authority, "");
    write_pair(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    let alice = curl_with_certificate(
        &server,
        "robot",
        &["-u", "alice:wonderland and back", "-X", "POST"],
        "/v2/any/app/blobs/uploads/",
    );
    assert_eq!(status(&alice), 202, "alice may push where robot may not: {alice}");
    let wrong = curl_with_certificate(&server, "robot", &["-u", "alice:a guess"], "/v2/");
    assert_eq!(status(&wrong), 401, "a wrong password is no certificate: {wrong}");
    let forged = curl_with_certificate(&server, "robot", &["-H", "Authorization: Bearer a.b.c"], "/v2/");
    assert_eq!(status(&forged), 401, "{forged}");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_certificate_that_signs_nobody_in_only_opens_the_connection() {
    let authority = TestCa::new();
    let stage = stage(&authority, "user = \"off\"");
    write_pair(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    assert_eq!(status(&curl_with_certificate(&server, "robot", &[], "/v2/")), 401);
    assert_eq!(status(&curl_with_certificate(&server, "robot", &["-u", "alice:wonderland and back"], "/v2/")), 200);
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_token_that_was_given_for_a_certificate_ends_with_its_authority() {
    let (authority, other) = (TestCa::new(), TestCa::new());
    let stage = stage(&authority, "mode = \"optional\"");
    write_pair(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    let bearer = token(&server, "robot", "repository:team/app:pull,push");
    let push = || status(&curl(&server, &["-H", &bearer, "-X", "POST"], "/v2/team/app/blobs/uploads/"));
    assert_eq!(push(), 202, "the token is good on any connection");
    stage.write("clients.crt", &other.pem());
    assert!(eventually(Duration::from_secs(5), || push() == 401), "{}", server.log());
    assert!(!curl_with_certificate(&server, "robot", &[], "/v2/").is_success(), "and so does the certificate");
    stage.write("clients.crt", &authority.pem());
    assert!(eventually(Duration::from_secs(5), || push() == 202));
    stage.configure(RULES);
    assert!(eventually(Duration::from_secs(5), || push() == 401), "the server no longer requests certificates");
    server.assert_serving();
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_broken_file_of_authorities_keeps_the_old_ones_and_does_not_start() {
    let authority = TestCa::new();
    let stage = stage(&authority, "");
    write_pair(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    stage.write("clients.crt", "nothing of use");
    server.assert_log_contains("client certificate authorities not reloaded");
    assert_eq!(status(&curl_with_certificate(&server, "robot", &[], "/v2/")), 200);
    for command in ["serve", "check"] {
        let refused = stage.portcullis_command().arg(command).run_failing();
        assert!(refused.stderr.contains("clients.crt: no certificate in this file"), "{refused}");
        assert!(refused.stderr.contains("hint: "), "{refused}");
    }
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn sessions_are_not_resumed_where_certificates_are_asked_for() {
    let authority = TestCa::new();
    let stage = stage(&authority, "mode = \"optional\"");
    write_pair(&stage, "robot", &authority.issue("robot"));
    let server = stage.start();
    for version in ["-tls1_2", "-tls1_3"] {
        let target = stage.address().to_string();
        let options = ["-reconnect", "-cert", "robot.crt", "-key", "robot.key", "-CAfile", "certs/ca.crt"];
        let openssl =
            ToolCommand::new("openssl").folder(stage.folder()).args(["s_client", version, "-connect", &target]);
        let output = openssl.args(options).run();
        assert!(output.stdout.contains("New, TLSv1.") && !output.stdout.contains("Reused"), "{output}");
    }
    server.assert_serving();
}

#[test]
fn a_health_check_needs_no_certificate() {
    let stage = stage(&TestCa::new(), "");
    let mut server = stage.start();
    stage.portcullis_command().args(["check", "--live"]).run_ok();
    server.daemon.stop();
    stage.portcullis_command().args(["check", "--live"]).run_failing().assert_prints_one_of(&["does not answer"]);
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn the_certificate_of_a_proxy_signs_nobody_in_who_comes_through_it() {
    let authority = TestCa::new();
    let stage = stage(&authority, "");
    write_pair(&stage, "proxy", &authority.issue("robot"));
    let text = std::fs::read_to_string(stage.path("portcullis.toml")).unwrap();
    stage.write("portcullis.toml", &format!("trusted_proxies = [\"127.0.0.1\"]\n{text}"));
    let server = stage.start();
    for header in ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=_hidden"] {
        assert_eq!(status(&curl_with_certificate(&server, "proxy", &["-H", header], "/v2/")), 401, "{header}");
        let alice = curl_with_certificate(&server, "proxy", &["-H", header, "-u", "alice:wonderland and back"], "/v2/");
        assert_eq!(status(&alice), 200, "{header}");
    }
    assert_eq!(status(&curl_with_certificate(&server, "proxy", &[], "/v2/")), 200, "it may come for itself");
}
