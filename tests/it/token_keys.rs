//! Tests token keys while a server runs, and the output of `portcullis token` about keys and tokens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::Value;

use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually};

/// The documented time until a new key signs is two seconds; a busy machine may need longer.
const ROTATION_TIMEOUT: Duration = Duration::from_secs(10);

const PEM: &str = "-----BEGIN PRIVATE KEY-----";

fn token(server: &PortcullisServer) -> String {
    let path = "/token?service=localhost&scope=repository:a:pull,push";
    let answer = server.request("GET", path, &[&basic_authorization(&ALICE)], b"").expect(200);
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn header(token: &str) -> Value {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn key_of(token: &str) -> String {
    header(token)["kid"].as_str().unwrap().to_owned()
}

fn is_accepted(server: &PortcullisServer, token: &str) -> bool {
    let bearer = format!("Authorization: Bearer {token}");
    server.request("POST", "/v2/a/blobs/uploads/", &[&bearer], b"").status == 202
}

fn listed(server: &PortcullisServer) -> Vec<String> {
    let keys = server.request("GET", "/token/jwks", &[], b"").expect(200).json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Rotates the keys and returns the message about the new one.
fn rotate(stage: &ServerDir, options: &[&str]) -> String {
    let rotated = stage.portcullis_command().args(["token", "rotate"]).args(options).run_ok();
    assert_eq!(rotated.stdout, "", "messages go to standard error");
    let line = rotated.stderr.lines().find(|line| line.contains("signs from now on")).unwrap();
    line.split_whitespace().nth(2).unwrap().to_owned()
}

#[test]
fn a_running_server_signs_with_a_new_key_and_believes_the_old_one_until_it_retires() {
    let stage = ServerDir::new();
    let server = stage.start();
    let old = token(&server);
    let signer = rotate(&stage, &[]);
    assert!(eventually(ROTATION_TIMEOUT, || key_of(&token(&server)) == signer), "{}", server.log());
    let new = token(&server);
    assert!(is_accepted(&server, &old) && is_accepted(&server, &new));
    assert_eq!(listed(&server), [signer.clone(), key_of(&old)]);
    let file = stage.path("certs/token.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // Ends the overlap, as if a day had passed.
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|line| line.starts_with("Retires: ")).unwrap();
    stage.write("certs/token.key", &text.replace(line, "Retires: 2001-02-03T04:05:06Z"));
    assert!(eventually(ROTATION_TIMEOUT, || !is_accepted(&server, &old)), "{}", server.log());
    assert!(is_accepted(&server, &new));
    assert_eq!(listed(&server), [signer.as_str()]);

    rotate(&stage, &["--keep", "61m"]);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!((text.matches(PEM).count(), text.contains("2001-02-03")), (2, false), "who had retired is gone");
    assert!(eventually(ROTATION_TIMEOUT, || listed(&server)[1..] == [signer.as_str()]));
    assert!(is_accepted(&server, &new));
}

#[test]
fn a_broken_key_file_keeps_the_keys_and_is_told_once() {
    let stage = ServerDir::new();
    let server = stage.start();
    let before = token(&server);
    let good = fs::read_to_string(stage.path("certs/token.key")).unwrap();
    stage.write("certs/token.key", &format!("{good}{PEM}\nAAEC\n-----END PRIVATE KEY-----\n"));
    let complaint = "token keys not reloaded";
    assert!(eventually(ROTATION_TIMEOUT, || server.log().contains(complaint)), "{}", server.log());
    assert!(server.log().contains("token.key:6: this is not a private key"), "{}", server.log());
    assert!(is_accepted(&server, &before) && is_accepted(&server, &token(&server)));
    stage
        .portcullis_command()
        .args(["token", "rotate"])
        .run_failing()
        .assert_prints_one_of(&["token.key:6: this is not a private key"]);
    stage
        .portcullis_command()
        .arg("check")
        .run_failing()
        .assert_prints_one_of(&["token.key:6: this is not a private key"]);

    stage.write("certs/token.key", &good);
    let signer = rotate(&stage, &[]);
    assert!(eventually(ROTATION_TIMEOUT, || key_of(&token(&server)) == signer), "{}", server.log());
    assert!(is_accepted(&server, &before));
    assert_eq!(server.log().matches(complaint).count(), 1, "{}", server.log());
}

#[test]
fn an_overlap_that_would_end_tokens_early_is_refused_with_what_to_give_instead() {
    let stage = ServerDir::new();
    drop(stage.start());
    let before = fs::read_to_string(stage.path("certs/token.key")).unwrap();
    for keep in ["0s", "5m", "60m", "3659s"] {
        let refused = stage.portcullis_command().args(["token", "rotate", "--keep", keep]).run_failing();
        refused.assert_prints_one_of(&["too short an overlap"]).assert_prints_one_of(&["hint: give 61m or more"]);
    }
    for keep in ["", "-1h", "1h30m", "soon", "99999999999999d"] {
        stage.portcullis_command().args(["token", "rotate", &format!("--keep={keep}")]).run_failing();
    }
    assert_eq!(fs::read_to_string(stage.path("certs/token.key")).unwrap(), before);
}

#[test]
fn a_key_that_is_there_signs_with_its_own_algorithm_and_the_next_one_is_what_was_asked_for() {
    let stage = ServerDir::new();
    drop(stage.start());
    stage.configure("[auth.token]\nalgorithm = \"EdDSA\"");
    let server = stage.start();
    assert!(server.log().contains("portcullis token rotate"), "{}", server.log());
    let first = token(&server);
    assert_eq!(header(&first)["alg"], "ES256");
    let signer = rotate(&stage, &[]);
    assert!(eventually(ROTATION_TIMEOUT, || key_of(&token(&server)) == signer), "{}", server.log());
    assert_eq!(header(&token(&server))["alg"], "EdDSA");
    assert!(is_accepted(&server, &first) && is_accepted(&server, &token(&server)));
    drop(server);
    assert!(!stage.start().log().contains("portcullis token rotate"));
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_key_at_the_end_of_the_file_verifies_and_has_a_certificate_before_it_signs() {
    let stage = ServerDir::new();
    let server = stage.start();
    let signer = key_of(&token(&server));
    let next = openssl(&stage, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", "");
    let before = fs::read_to_string(stage.path("certs/token.key")).unwrap();
    stage.write("certs/token.key", &format!("{before}{next}"));
    assert!(eventually(ROTATION_TIMEOUT, || listed(&server).len() == 2), "{}", server.log());
    assert_eq!(key_of(&token(&server)), signer);
    let printed = stage.portcullis_command().args(["token", "certificate"]).run_ok().stdout;
    assert_eq!(printed.matches("BEGIN CERTIFICATE").count(), 2);
    let last = listed(&server)[1].clone();
    stage.write("certs/token.key", &format!("{next}{before}"));
    assert!(eventually(ROTATION_TIMEOUT, || key_of(&token(&server)) == last), "{}", server.log());
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn rsa_keys_of_openssl_are_taken_from_2048_bits_on() {
    for (bits, is_good) in [("1024", false), ("2048", true)] {
        let stage = ServerDir::new();
        fs::create_dir(stage.path("certs")).unwrap();
        let option = format!("rsa_keygen_bits:{bits}");
        let make = ToolCommand::new("openssl").folder(stage.folder()).args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            &option,
        ]);
        make.args(["-out", "certs/token.key"]).run_ok();
        if is_good {
            let server = stage.start();
            assert!(is_accepted(&server, &token(&server)));
        } else {
            let refused = stage.portcullis_command().arg("serve").run_failing();
            refused
                .assert_prints_one_of(&["token.key:1: this RSA key has less than 2048 bits"])
                .assert_prints_one_of(&["hint: "]);
            stage.portcullis_command().arg("check").run_failing().assert_prints_one_of(&["less than 2048 bits"]);
        }
    }
}

/// The output of openssl for some input.
fn openssl(stage: &ServerDir, arguments: &str, input: &str) -> String {
    ToolCommand::new("openssl").folder(stage.folder()).args(arguments.split(' ')).input(input).run_ok().stdout
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn certificates_are_of_the_keys_in_the_file_for_ten_years_and_in_the_issuers_name() {
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let stage = ServerDir::new();
        stage.configure(&format!("[auth.token]\nissuer = \"tokens.example\"\nalgorithm = \"{algorithm}\""));
        rotate(&stage, &[]);
        let print = stage.portcullis_command().args(["token", "certificate"]).run_ok();
        let (printed, is_warned) = (print.stdout, print.stderr.contains("before Distribution 3"));
        assert_eq!(is_warned, algorithm == "EdDSA", "{}", print.stderr);
        assert_eq!(printed.matches("-----BEGIN CERTIFICATE-----").count(), 1, "{printed}");
        assert!(!printed.contains("PRIVATE"), "{printed}");
        let certified = openssl(&stage, "x509 -noout -pubkey", &printed);
        assert_eq!(certified, openssl(&stage, "pkey -in certs/token.key -pubout", ""), "{algorithm}");
        let subject = openssl(&stage, "x509 -noout -subject -issuer", &printed);
        assert_eq!(subject, "subject=CN = tokens.example\nissuer=CN = tokens.example\n");
        openssl(&stage, "x509 -noout -checkend 315000000", &printed);
        stage.write("root.pem", &printed);
        openssl(&stage, "verify -x509_strict -CAfile root.pem root.pem", "");

        rotate(&stage, &[]);
        let both = stage.portcullis_command().args(["token", "certificate"]).run_ok().stdout;
        let keys: Vec<String> = both
            .split_inclusive("-----END CERTIFICATE-----\n")
            .map(|one| openssl(&stage, "x509 -noout -pubkey", one))
            .collect();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0], openssl(&stage, "pkey -in certs/token.key -pubout", ""), "the one that signs is first");
        assert_eq!(keys[1], certified);
    }
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn the_certificate_that_a_token_brings_is_vouched_for_by_every_one_that_was_printed() {
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let stage = ServerDir::new();
        stage.configure(&format!("[auth.token]\ncertificate_chain = true\nalgorithm = \"{algorithm}\""));
        let server = stage.start();
        let token = token(&server);
        assert!(is_accepted(&server, &token));
        let chain = header(&token)["x5c"].as_array().unwrap().clone();
        assert_eq!(chain.len(), 1);
        let der = BASE64_STANDARD.decode(chain[0].as_str().unwrap()).unwrap();
        fs::write(stage.path("leaf.der"), der).unwrap();
        openssl(&stage, "x509 -inform DER -in leaf.der -out leaf.pem", "");
        for _ in 0..2 {
            stage.write("root.pem", &stage.portcullis_command().args(["token", "certificate"]).run_ok().stdout);
            openssl(&stage, "verify -x509_strict -CAfile root.pem leaf.pem", "");
        }
    }
}

#[test]
fn any_token_is_taken_apart_without_a_server_and_without_its_signature() {
    let stage = ServerDir::new();
    let token = token(&stage.start());
    let signature = token.rsplit_once('.').unwrap().1;
    let shown = [
        stage.portcullis_command().args(["token", "inspect", &token]).run_ok().stdout,
        stage.portcullis_command().args(["token", "inspect", "-"]).input(&format!("{token}\n")).run_ok().stdout,
        stage.portcullis_command().args(["token", "inspect"]).input(&format!("Bearer {token}\n")).run_ok().stdout,
    ];
    for shown in &shown {
        for part in
            ["\"alg\": \"ES256\"", "\"sub\": \"alice\"", "\"name\": \"a\"", "expires: 20", "signed: by the key "]
        {
            assert!(shown.contains(part), "{part}:\n{shown}");
        }
        assert!(shown.contains(&key_of(&token)) && !shown.contains(signature), "{shown}");
    }

    // A key that has retired, a key that the server does not have, and no key at all.
    rotate(&stage, &[]);
    let inspect = || stage.portcullis_command().args(["token", "inspect"]).input(&token).run_ok().stdout;
    assert!(inspect().contains(", which verifies tokens until 2"), "{}", inspect());
    let file = stage.path("certs/token.key");
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|line| line.starts_with("Retires: ")).unwrap();
    stage.write("certs/token.key", &text.replace(line, "Retires: 2001-02-03T04:05:06Z"));
    assert!(inspect().contains("which retired 2001-02-03T04:05:06Z: the token is not accepted"), "{}", inspect());
    fs::remove_file(&file).unwrap();
    assert!(inspect().contains("signed: not checked"), "{}", inspect());
    rotate(&stage, &[]);
    assert!(inspect().contains("signed: by no key of"), "{}", inspect());
}

#[test]
fn an_expired_and_foreign_token_is_taken_apart_as_well_and_other_things_are_refused() {
    let stage = ServerDir::new();
    rotate(&stage, &[]);
    // The example of RFC 7519, section 3.1: HMAC, and expired long ago.
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl\
                 LmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let shown = stage.portcullis_command().args(["token", "inspect"]).input(token).run_ok().stdout;
    for part in [
        "\"alg\": \"HS256\"",
        "\"iss\": \"joe\"",
        "expired: 2011-03-22T18:43:00Z, ",
        " days ago",
        "signed: by no key of",
    ] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    for nonsense in ["", "x", "a.b.c", "{\"token\": \"x\"}", &"A".repeat(200_000)] {
        stage
            .portcullis_command()
            .args(["token", "inspect"])
            .input(nonsense)
            .run_failing()
            .assert_prints_one_of(&["error: "]);
    }
}
