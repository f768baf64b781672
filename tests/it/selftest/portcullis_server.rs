//! Tests the selftest against this server, well and badly configured.

use std::fs;

use super::{assert_fails, selftest, signed_in, steps, trust};
use crate::support::ServerDir;
use crate::support::free_port;
use crate::support::portcullis_server::{ALICE, BOB, TestUser};
use crate::support::test_ca::{IssuedPair, TestCa};

fn url(stage: &ServerDir) -> String {
    format!("https://localhost:{}", stage.port())
}

#[test]
fn a_registry_that_is_well_passes_every_step_and_keeps_nothing() {
    let stage = ServerDir::new();
    let server = stage.start();
    let output = signed_in(&stage, &url(&stage), &ALICE).run_ok();
    let expected = [
        "ok resolve",
        "ok connect",
        "ok tls",
        "ok certificate",
        "ok trust",
        "ok ping",
        "ok challenge",
        "ok clock",
        "ok token",
        "ok sign in",
        "ok token",
        "ok push",
        "ok pull",
        "ok delete",
    ];
    assert_eq!(steps(&output), expected, "{output}");
    assert_eq!(output.stderr, "", "the report is data");
    assert!(!output.stdout.contains(ALICE.password) && !server.log().contains(ALICE.password));
    let left = server.request_as_alice("GET", "/v2/alice/selftest/tags/list", &[], b"");
    assert!(!String::from_utf8_lossy(&left.body).contains("selftest-"), "what was pushed should be gone: {left}");
}

#[test]
fn without_a_user_everything_up_to_the_anonymous_token_is_tried() {
    let stage = ServerDir::new();
    let server = stage.start();
    trust(&stage, stage.port(), &stage.path("certs/ca.crt"));
    let output = selftest(&stage, &url(&stage)).run_ok();
    assert_eq!(
        steps(&output)[4..],
        ["ok podman", "ok ping", "ok challenge", "ok clock", "ok token", "note push"],
        "{output}"
    );
    assert!(output.stdout.contains(".config/containers/certs.d/localhost:"), "{output}");
    server.assert_serving();
}

#[test]
fn basic_challenges_are_met_as_well() {
    let stage = ServerDir::new();
    stage.configure("[auth]\nchallenge = \"basic\"");
    let _server = stage.start();
    let output = signed_in(&stage, &url(&stage), &ALICE).run_ok();
    assert!(
        output.stdout.contains("ok      challenge: Basic\n") && output.stdout.contains("ok      pull: "),
        "{output}"
    );
}

#[test]
fn an_authority_that_nobody_trusts_is_told_with_the_file_to_put_where() {
    let stage = ServerDir::new();
    let server = stage.start();
    let output =
        selftest(&stage, &url(&stage)).args(["-u", "alice", "--password-stdin"]).input("secret\n").run_failing();
    let place = format!("sudo portcullis cert trust podman --host localhost:{} --ca ca.crt --apply", stage.port());
    assert_fails(
        &output,
        "podman",
        "x509: certificate signed by unknown authority: not trusted on this machine: ",
        &place,
    );
    assert!(
        !server.log().contains("secret") && !output.stdout.contains("ping"),
        "no password is sent to an untrusted server: {output}"
    );

    stage.write("bin/nerdctl", "");
    stage.write("bin/containerd", "");
    let output = selftest(&stage, &url(&stage)).run_failing();
    let place = format!("portcullis cert trust containerd --host localhost:{} --ca ca.crt", stage.port());
    assert!(output.stdout.contains("failed  containerd: ") && output.stdout.contains(&place), "{output}");

    fs::remove_dir_all(stage.path("bin")).unwrap();
    let output = selftest(&stage, &url(&stage)).env("PATH", "").run_failing();
    assert_fails(&output, "trust", "not trusted on this machine: ", "--ca ca.crt");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn where_no_client_looks_at_certificates_no_password_is_sent() {
    let stage = ServerDir::new();
    let server = stage.start();
    let folder = format!("/etc/containerd/certs.d/localhost:{}", stage.port());
    let held = ClientConfigDir::make(&folder);
    fs::write(held.0.join("hosts.toml"), "skip_verify = true\n").unwrap();
    let tool = selftest(&stage, &url(&stage)).args(["-u", "alice", "--password-stdin"]).input("secret\n");
    fs::remove_file(stage.path("bin/podman")).unwrap();
    stage.write("bin/ctr", "");
    let output = tool.run_failing();
    assert_fails(&output, "trust", "no client here verifies the certificate", "remove skip_verify");
    assert!(
        output.stdout.contains("note    containerd: does not verify certificates: skip_verify in /etc/containerd"),
        "{output}"
    );
    server.assert_serving();
}

/// A client's configuration directory for one registry, whose port no other test has; removed on drop.
struct ClientConfigDir(std::path::PathBuf);

impl ClientConfigDir {
    fn make(path: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        Self(path.into())
    }
}

impl Drop for ClientConfigDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        // Only if it is empty, because it may have been there before.
        for above in self.0.ancestors().skip(1).take(1) {
            let _ = fs::remove_dir(above);
        }
    }
}

#[test]
fn an_authority_that_was_made_anew_is_told_from_one_that_was_never_known() {
    let (stage, other) = (ServerDir::new(), ServerDir::new());
    let _server = stage.start();
    drop(other.start());
    trust(&stage, stage.port(), &other.path("certs/ca.crt"));
    let output = selftest(&stage, &url(&stage)).run_failing();
    assert_fails(&output, "podman", "the file is not the right one", "put its certificate there as ca.crt");

    stage.write("broken.crt", "not a certificate");
    trust(&stage, stage.port(), &stage.path("broken.crt"));
    let output = selftest(&stage, &url(&stage)).run_failing();
    assert_fails(&output, "podman", "cannot be used: there is no certificate in it", "-----BEGIN CERTIFICATE-----");
}

#[test]
fn a_name_that_the_certificate_does_not_have_is_told_with_those_that_it_has() {
    let stage = ServerDir::new();
    let text = fs::read_to_string(stage.path("portcullis.toml")).unwrap();
    let start = text.find("hostnames").unwrap();
    stage.write("portcullis.toml", &format!("{}hostnames = [\"registry.test\"]\n", &text[..start]));
    let _server = stage.start();
    let output = signed_in(&stage, &url(&stage), &ALICE).run_failing();
    assert_fails(
        &output,
        "certificate",
        "the certificate is not for localhost; it is for registry.test",
        "issued again with DNS:localhost too; a Portcullis with a self-signed one does so when localhost is in its hostnames",
    );
    let output = signed_in(&stage, &format!("https://127.0.0.1:{}", stage.port()), &ALICE).run_failing();
    assert_fails(&output, "certificate", "the certificate is not for 127.0.0.1", "IP:127.0.0.1");
}

#[test]
fn a_wrong_password_is_told_with_the_command_that_checks_it() {
    let stage = ServerDir::new();
    let server = stage.start();
    let wrong = TestUser { name: "alice", password: "looking glass" };
    let output = signed_in(&stage, &url(&stage), &wrong).run_failing();
    assert_fails(&output, "token", "wrong user or password", "portcullis user verify alice");
    assert!(!output.to_string().contains(wrong.password), "{output}");
    stage.configure("[auth]\nchallenge = \"basic\"");
    drop(server);
    let _server = stage.start();
    let output = signed_in(&stage, &url(&stage), &wrong).run_failing();
    assert_fails(&output, "sign in", "wrong user or password", "portcullis user verify alice");
}

#[test]
fn too_many_wrong_passwords_are_told_with_how_long_to_wait() {
    let stage = ServerDir::new();
    let server = stage.start();
    let header = crate::support::server_dir::basic("alice:wrong");
    let mut last = 401;
    for _ in 0..60 {
        last = server.request("GET", "/v2/", &[&header], b"").status;
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
    let output = signed_in(&stage, &url(&stage), &ALICE).run_failing();
    assert_fails(&output, "token", "429 Too Many Requests", "seconds, and look for other clients at this address");
    assert!(!output.stdout.contains("wait some seconds"), "the answer says how long: {output}");
}

#[test]
fn rules_that_refuse_are_told_with_the_command_that_explains_them() {
    let stage = ServerDir::new();
    stage.users(&[ALICE, BOB]);
    stage.configure(
        "[[access]]\nusers = [\"alice\"]\nrepositories = [\"**\"]\nactions = [\"pull\"]\n\
         [[access]]\nusers = [\"bob\"]\nrepositories = [\"team/**\"]\nactions = [\"pull\", \"push\"]\n",
    );
    let _server = stage.start();
    let output = signed_in(&stage, &url(&stage), &ALICE).run_failing();
    assert_fails(
        &output,
        "push",
        "403 Forbidden",
        "see which rule decides, on the machine of the registry: portcullis access explain alice push alice/selftest",
    );
    // A user who may push but not delete passes, and the output names what remains.
    let output = signed_in(&stage, &url(&stage), &BOB).args(["--repository", "team/app"]).run_ok();
    assert!(
        output
            .stdout
            .contains("note    delete: bob may not delete here (403 Forbidden), which is fine: team/app:selftest-"),
        "{output}"
    );
}

#[test]
fn a_port_where_nobody_listens_and_a_name_that_leads_nowhere_are_told_apart() {
    let stage = ServerDir::new();
    let output = selftest(&stage, &url(&stage)).run_failing();
    assert_fails(&output, "connect", "connection refused", "start the server, or name the port on which it listens");
    let output = selftest(&stage, "https://nowhere.invalid").run_failing();
    assert_fails(&output, "resolve", "nowhere.invalid does not resolve", "getent hosts nowhere.invalid");
}

#[test]
fn plain_http_is_told_in_the_words_of_docker() {
    let stage = ServerDir::new();
    let plain = free_port::free();
    let text = fs::read_to_string(stage.path("portcullis.toml")).unwrap();
    stage.write("portcullis.toml", &format!("redirect = \"127.0.0.1:{plain}\"\n{text}"));
    let _server = stage.start();
    let output = selftest(&stage, &format!("https://localhost:{plain}")).run_failing();
    assert_fails(&output, "tls", "server gave HTTP response to HTTPS client", "name the registry's HTTPS port");
}

#[test]
fn arguments_that_name_no_registry_are_refused_before_anything_is_asked() {
    let stage = ServerDir::new();
    for (argument, words) in [
        ("http://localhost:5000", "only https is tested"),
        ("https://alice:secret@localhost", "--user"),
        ("https://localhost/team/app", "--repository"),
    ] {
        let output = selftest(&stage, argument).run_failing();
        assert!(output.stderr.contains(words) && output.to_string().contains("exit status: 2"), "{output}");
    }
    let output = selftest(&stage, "localhost").args(["-u", "alice"]).run_failing();
    assert!(output.stderr.contains("there is no terminal to ask for the password on\nhint: "), "{output}");
}

fn write_pair(folder: &std::path::Path, name: &str, pair: &IssuedPair) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(format!("{name}.cert")), &pair.certificate).unwrap();
    fs::write(folder.join(format!("{name}.key")), &pair.key).unwrap();
}

#[test]
fn a_server_that_requires_client_certificates_passes_with_the_one_that_podman_has_or_that_is_named() {
    let stage = ServerDir::new();
    let authority = TestCa::new();
    stage.write("clients.crt", &authority.pem());
    stage.configure("[tls.client]\nca = \"clients.crt\"\nuser = \"off\"");
    let _server = stage.start();
    let folder = stage.path(&format!(".config/containers/certs.d/localhost:{}", stage.port()));
    write_pair(&folder, "client", &authority.issue("robot"));
    let output = signed_in(&stage, &url(&stage), &ALICE).run_ok();
    assert!(
        output.stdout.starts_with("ok      client certificate: ") && output.stdout.contains("as podman presents it"),
        "{output}"
    );
    assert!(output.stdout.contains("ok      delete: "), "{output}");

    fs::remove_dir_all(&folder).unwrap();
    write_pair(stage.folder(), "mine", &authority.issue("robot"));
    let named = ["--client-cert", "mine.cert", "--client-key", "mine.key"];
    let output = signed_in(&stage, &url(&stage), &ALICE).args(named).run_ok();
    assert!(output.stdout.contains("ok      client certificate: mine.cert, named here"), "{output}");

    write_pair(stage.folder(), "other", &authority.issue("robot"));
    let mixed = ["--client-cert", "mine.cert", "--client-key", "other.key"];
    let output = signed_in(&stage, &url(&stage), &ALICE).args(mixed).run_failing();
    assert_fails(&output, "client certificate", "it is not the key of mine.cert", "a PEM file of certificates");
}
