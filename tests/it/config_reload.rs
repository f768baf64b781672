//! Tests changes of users, rules, configuration and certificates while the server runs.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::portcullis_server::{ALICE, BOB, TestUser};
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::{WireConnection, request};
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually};

/// The documented time within which changes take effect.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);

const ALICE_AFTERWARDS: TestUser = TestUser { name: "alice", password: "through the looking glass" };

fn signs_in(server: &PortcullisServer, user: &TestUser) -> bool {
    server.request("GET", "/v2/", &[&basic_authorization(user)], b"").status == 200
}

#[test]
fn users_that_come_and_go_and_passwords_that_change_are_known_within_seconds() {
    let stage = ServerDir::new();
    let server = stage.start();
    assert!(signs_in(&server, &ALICE) && !signs_in(&server, &BOB));
    let token = server.request(
        "GET",
        "/token?service=localhost&scope=repository:a:pull,push",
        &[&basic_authorization(&ALICE)],
        b"",
    );
    let bearer = format!("Authorization: Bearer {}", token.expect(200).json()["token"].as_str().unwrap());
    let is_good = || server.request("POST", "/v2/a/blobs/uploads/", &[&bearer], b"").status == 202;
    assert!(is_good());

    let bob = format!("bob:{}\n", bcrypt::hash(BOB.password, 4).unwrap());
    stage.write("htpasswd", &(fs::read_to_string(stage.path("htpasswd")).unwrap() + &bob));
    assert!(eventually(RELOAD_TIMEOUT, || signs_in(&server, &BOB)));
    assert!(signs_in(&server, &ALICE) && is_good(), "whose line did not change, nothing changed for");

    stage.users(&[ALICE_AFTERWARDS, BOB]);
    assert!(eventually(RELOAD_TIMEOUT, || signs_in(&server, &ALICE_AFTERWARDS)));
    assert!(!signs_in(&server, &ALICE), "the old password is no password any more, cached or not");
    assert!(!is_good(), "nor is a token that was given for it");

    stage.users(&[BOB]);
    assert!(eventually(RELOAD_TIMEOUT, || !signs_in(&server, &ALICE_AFTERWARDS)));
    assert!(signs_in(&server, &BOB));
}

#[test]
fn users_that_the_command_changes_are_known_within_seconds() {
    let stage = ServerDir::new();
    let server = stage.start();
    let added = stage
        .portcullis_command()
        .args(["user", "add", "bob", "--password-stdin", "--cost", "4"])
        .input("builder of things\n")
        .run();
    if !added.is_success() {
        // A cost below the minimum may be refused; the default one then takes a moment longer.
        stage
            .portcullis_command()
            .args(["user", "add", "bob", "--password-stdin"])
            .input("builder of things\n")
            .run_ok();
    }
    assert!(eventually(RELOAD_TIMEOUT, || signs_in(&server, &BOB)));
    stage.portcullis_command().args(["user", "remove", "bob"]).run_ok();
    assert!(eventually(RELOAD_TIMEOUT, || !signs_in(&server, &BOB)));
}

#[test]
fn a_broken_or_missing_users_file_keeps_the_users_that_were() {
    let stage = ServerDir::new();
    let server = stage.start();
    let good = fs::read_to_string(stage.path("htpasswd")).unwrap();
    for (times, broken) in [(1, "bob:plaintext-in-the-file\n"), (2, "\u{0}\u{1}no colon at all\n")] {
        stage.write("htpasswd", &format!("{good}{broken}"));
        let is_told = || server.log().matches("htpasswd:2").count() >= times;
        assert!(eventually(RELOAD_TIMEOUT, is_told), "{broken:?}:\n{}", server.log());
        assert!(signs_in(&server, &ALICE), "{broken:?}");
    }
    assert!(!server.log().contains("plaintext-in-the-file"), "it may be a password:\n{}", server.log());
    fs::remove_file(stage.path("htpasswd")).unwrap();
    server.assert_log_contains("there is no users file");
    assert!(signs_in(&server, &ALICE));
    assert!(!stage.path("htpasswd").exists(), "a running server makes no administrator");
    stage.users(&[BOB]);
    assert!(eventually(RELOAD_TIMEOUT, || signs_in(&server, &BOB)));
    assert!(!signs_in(&server, &ALICE));
}

fn may_push(server: &PortcullisServer, repository: &str) -> bool {
    let answer = server.request_as_alice("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
    match answer.status {
        202 => true,
        403 => {
            answer.expect_registry_error(403, "DENIED");
            false
        }
        _ => panic!("{answer}"),
    }
}

fn rule(repository: &str) -> String {
    format!("[[access]]\nusers = [\"alice\"]\nrepositories = [\"{repository}\"]\nactions = [\"pull\", \"push\"]")
}

#[test]
fn access_rules_that_change_in_the_file_are_obeyed_within_seconds() {
    let stage = ServerDir::new();
    stage.configure(&rule("a"));
    let server = stage.start();
    let path = "/token?service=localhost&scope=repository:a:pull,push";
    let token = server.request("GET", path, &[&basic_authorization(&ALICE)], b"").expect(200).json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let bearer = format!("Authorization: Bearer {token}");
    assert!(may_push(&server, "a") && !may_push(&server, "b"));
    server.request("POST", "/v2/a/blobs/uploads/", &[&bearer], b"").expect(202);
    stage.configure(&rule("b"));
    assert!(eventually(RELOAD_TIMEOUT, || may_push(&server, "b")));
    assert!(!may_push(&server, "a"));
    // A token that was issued earlier allows only what the current rules allow.
    let answer = server.request("POST", "/v2/a/blobs/uploads/", &[&bearer], b"");
    assert!(matches!(answer.status, 401 | 403), "{answer}");
    server.assert_log_contains("access rules reloaded");
}

#[test]
fn a_configuration_that_breaks_changes_nothing_and_is_told() {
    let stage = ServerDir::new();
    stage.configure(&rule("a"));
    let server = stage.start();
    stage.configure(&format!("{}\n[nonsense]\n[log]\nlevel = \"wran\"", rule("b")));
    server.daemon.signal(Signal::HUP);
    server.assert_log_contains("configuration not reloaded");
    server.assert_log_contains("unknown table 'nonsense'");
    server.assert_log_contains("wran");
    assert!(may_push(&server, "a") && !may_push(&server, "b"));
    fs::remove_file(stage.path("portcullis.toml")).unwrap();
    server.daemon.signal(Signal::HUP);
    server.assert_log_contains("portcullis.toml is gone");
    server.daemon.signal(Signal::HUP);
    let is_told_again = || server.log().matches("portcullis.toml is gone").count() == 2;
    assert!(eventually(RELOAD_TIMEOUT, is_told_again), "{}", server.log());
    assert!(
        may_push(&server, "a") && !may_push(&server, "b"),
        "a file that is gone takes no rule away:\n{}",
        server.log()
    );
    stage.configure(&rule("b"));
    assert!(eventually(RELOAD_TIMEOUT, || may_push(&server, "b")), "{}", server.log());
}

#[test]
fn sighup_reloads_at_once_and_leaves_running_connections_alone() {
    let stage = ServerDir::new();
    stage.configure(&rule("a"));
    let server = stage.start();
    let mut wire = server.connect();
    let alice = basic_authorization(&ALICE);
    wire.send(&request("GET", "/v2/", &[&alice], b""));
    wire.response_to("GET").expect(200);
    for _ in 0..20 {
        server.daemon.signal(Signal::HUP);
    }
    server.assert_log_contains("reloading");
    wire.send(&request("GET", "/v2/", &[&alice], b""));
    wire.response_to("GET").expect(200);
    server.assert_serving();
}

fn make_certificate(stage: &ServerDir, name: &str) {
    let folder = stage.folder();
    let key = format!("genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out {name}.key");
    let certificate = format!(
        "req -new -x509 -key {name}.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=CA:FALSE \
         -addext extendedKeyUsage=serverAuth -days 30 -out {name}.crt"
    );
    for arguments in [key, certificate] {
        ToolCommand::new("openssl").folder(folder).args(arguments.split_whitespace()).run_ok();
    }
}

fn install(stage: &ServerDir, name: &str) {
    for end in ["key", "crt"] {
        stage.write(&format!("own.{end}"), &fs::read_to_string(stage.path(&format!("{name}.{end}"))).unwrap());
    }
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_certificate_that_is_exchanged_is_served_within_seconds_and_a_broken_one_is_not() {
    let stage = ServerDir::new();
    make_certificate(&stage, "first");
    make_certificate(&stage, "second");
    install(&stage, "first");
    stage.configure("[tls.files]\ncertificate = \"own.crt\"\nkey = \"own.key\"");
    let server = stage.start();
    let is_served = |name: &str| WireConnection::open(stage.address(), &stage.path(&format!("{name}.crt"))).is_ok();
    assert!(is_served("first") && !is_served("second"));
    let mut open = WireConnection::open(stage.address(), &stage.path("first.crt")).unwrap();

    install(&stage, "second");
    assert!(eventually(RELOAD_TIMEOUT, || is_served("second")), "{}", server.log());
    assert!(!is_served("first"));
    open.send(&request("GET", "/v2/", &[&basic_authorization(&ALICE)], b""));
    open.response_to("GET").expect(200);

    stage.write("own.crt", "-----BEGIN CERTIFICATE-----\nbroken\n");
    let is_refused = |times| server.log().matches("certificate not reloaded; the old one stays").count() >= times;
    assert!(eventually(RELOAD_TIMEOUT, || is_refused(1)), "{}", server.log());
    assert!(is_served("second"));
    stage.write("own.crt", &fs::read_to_string(stage.path("first.crt")).unwrap());
    assert!(eventually(RELOAD_TIMEOUT, || is_refused(2)), "{}", server.log());
    assert!(is_served("second"), "a certificate without its key is not served");
    install(&stage, "first");
    assert!(eventually(RELOAD_TIMEOUT, || is_served("first")));
}
