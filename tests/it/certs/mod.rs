//! Tests `portcullis cert`, the download of the CA certificate, and several certificates on one address.

mod trust;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;

use crate::support::wire_connection::WireConnection;
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually};

/// The documented time within which changes take effect.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn openssl(folder: &Path, arguments: &str) -> String {
    ToolCommand::new("openssl").folder(folder).args(arguments.split_whitespace()).run_ok().stdout
}

/// The SHA-256 fingerprint of a certificate file in OpenSSL's notation: `AB:CD:…`
fn fingerprint(folder: &Path, certificate: &str) -> String {
    let shown = openssl(folder, &format!("x509 -in {certificate} -noout -fingerprint -sha256"));
    shown.trim().rsplit('=').next().unwrap().to_owned()
}

/// The fingerprint of the certificate that the server sends to a client with this server name.
fn served(server: &PortcullisServer, name: &str) -> String {
    let target = server.stage.address();
    let asked = if name.is_empty() { "-noservername".to_owned() } else { format!("-servername {name}") };
    let output = openssl(server.stage.folder(), &format!("s_client -connect {target} {asked}"));
    let path = server.stage.write("served.crt", &output);
    fingerprint(server.stage.folder(), path.to_str().unwrap())
}

/// A self-signed certificate for these names that is valid for so many more days, and its key.
fn make_certificate(names: &[&str], days: u32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
    params.not_before = (SystemTime::now() - 60 * DAY).into();
    params.not_after = (SystemTime::now() + DAY * days + DAY / 2).into();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn write_certificate(stage: &ServerDir, file: &str, names: &[&str], days: u32) {
    let (certificate, key) = make_certificate(names, days);
    stage.write(&format!("{file}.key"), &key);
    stage.write(&format!("{file}.crt"), &certificate);
}

const THREE: &str = "[tls.files]\ncertificate = \"a.crt\"\nkey = \"a.key\"\n\
    [[tls.files.more]]\ncertificate = \"b.crt\"\nkey = \"b.key\"\n\
    [[tls.files.more]]\ncertificate = \"c.crt\"\nkey = \"c.key\"\n";

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_renewal_by_command_is_served_within_seconds_and_clients_that_trust_the_authority_notice_nothing() {
    let stage = ServerDir::new();
    let server = stage.start();
    fs::copy(stage.path("certs/ca.crt"), stage.path("trusted.crt")).unwrap();
    let before = served(&server, "localhost");
    let output = stage.portcullis_command().args(["cert", "renew"]).run_ok();
    let made = fingerprint(stage.folder(), "certs/server.crt");
    assert!(output.stderr.contains(&made) && made != before, "{output}");
    assert!(eventually(RELOAD_TIMEOUT, || served(&server, "localhost") == made), "{}", server.log());
    assert!(WireConnection::open(stage.address(), &stage.path("trusted.crt")).is_ok());
    server.assert_log_contains("certificate replaced");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn host_names_that_change_in_the_file_are_in_the_certificate_within_seconds() {
    let stage = ServerDir::new();
    let server = stage.start();
    fs::copy(stage.path("certs/ca.crt"), stage.path("trusted.crt")).unwrap();
    let text = fs::read_to_string(stage.path("portcullis.toml")).unwrap();
    stage.write("portcullis.toml", &text.replace("\"registry.test\"", "\"registry.test\", \"new.test\""));
    let target = stage.address();
    let verify =
        format!("s_client -connect {target} -CAfile trusted.crt -verify_hostname new.test -verify_return_error");
    let is_named = || ToolCommand::new("openssl").folder(stage.folder()).args(verify.split(' ')).run().is_success();
    assert!(eventually(2 * RELOAD_TIMEOUT, is_named), "{}", server.log());
}

#[test]
fn nothing_is_renewed_that_was_not_made_here() {
    let stage = ServerDir::new();
    stage
        .portcullis_command()
        .args(["cert", "renew"])
        .run_failing()
        .assert_prints_one_of(&["there is no certificate authority yet"]);
    stage
        .portcullis_command()
        .args(["cert", "show"])
        .run_failing()
        .assert_prints_one_of(&["the first start of 'portcullis serve' creates it"]);
    assert!(!stage.path("certs/ca.crt").exists());
    write_certificate(&stage, "a", &["localhost"], 30);
    stage.configure("[tls.files]\ncertificate = \"a.crt\"\nkey = \"a.key\"");
    let refused = stage.portcullis_command().args(["cert", "renew"]).run_failing();
    assert!(refused.stderr.contains("[tls.files]") && refused.stderr.contains("hint: "), "{refused}");
    stage.portcullis_command().args(["cert", "trust", "docker"]).run_failing().assert_prints_one_of(&["--ca FILE"]);
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn show_says_of_every_certificate_what_openssl_says_and_never_a_key() {
    let stage = ServerDir::new();
    drop(stage.start());
    let shown = stage.portcullis_command().args(["cert", "show"]).run_ok();
    for words in [
        "certs/server.crt\n  names     localhost, registry.test, 127.0.0.1, ::1\n",
        "(89 days left)",
        "(certificate authority)",
        "certs/server.key",
        fingerprint(stage.folder(), "certs/server.crt").as_str(),
        fingerprint(stage.folder(), "certs/ca.crt").as_str(),
    ] {
        assert!(shown.stdout.contains(words), "{words}: {shown}");
    }
    assert!(!shown.to_string().contains("PRIVATE"), "{shown}");

    for (file, days) in [("a", 40), ("b", 3), ("c", 90)] {
        write_certificate(&stage, file, &["localhost", &format!("{file}.test")], days);
    }
    // A chain: the second certificate takes the place of an issuer's.
    let chain = ["a", "c"].map(|file| fs::read_to_string(stage.path(&format!("{file}.crt"))).unwrap()).concat();
    stage.write("a.crt", &chain);
    fs::copy(stage.path("c.key"), stage.path("b.key")).unwrap();
    stage.configure(THREE);
    let shown = stage.portcullis_command().args(["cert", "show"]).run_ok().stdout;
    for words in [
        "a.crt (1 of 2)",
        "a.crt (2 of 2)",
        "(40 days left)",
        "(3 days left)",
        "problem   b.key: this private key does not",
    ] {
        assert!(shown.contains(words), "{words}:\n{shown}");
    }
    assert_eq!(shown.matches("  SHA-256   ").count(), 4, "{shown}");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn the_authority_is_fetched_by_anybody_and_is_the_one_whose_fingerprint_the_server_printed() {
    let stage = ServerDir::new();
    let server = stage.start();
    let url = format!("https://{}/ca.crt", stage.address());
    ToolCommand::new("curl").folder(stage.folder()).args(["-k", "-sS", "-f", "-o", "fetched.crt", &url]).run_ok();
    let printed = fingerprint(stage.folder(), "fetched.crt");
    assert!(server.log().contains(&printed), "{}", server.log());
    assert_eq!(fs::read(stage.path("fetched.crt")).unwrap(), fs::read(stage.path("certs/ca.crt")).unwrap());
    let answer = server.request("GET", "/ca.crt", &[], b"");
    assert_eq!(answer.expect(200).header("content-type"), Some("application/x-pem-file"));
    ToolCommand::new("curl").folder(stage.folder()).args(["-sS", "-f", "--cacert", "fetched.crt", &url]).run_ok();
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_certificate_of_ones_own_has_no_authority_to_fetch() {
    let stage = ServerDir::new();
    write_certificate(&stage, "a", &["localhost"], 30);
    stage.configure("[tls.files]\ncertificate = \"a.crt\"\nkey = \"a.key\"");
    let _server = stage.start();
    let url = format!("https://{}/ca.crt", stage.address());
    let output = ToolCommand::new("curl").args(["-k", "-sS", "-w", "%{http_code}", &url]).run_ok();
    assert!(output.stdout.ends_with("404") && output.stdout.contains("NAME_UNKNOWN"), "{output}");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn each_name_gets_its_certificate_and_unknown_ones_the_first() {
    let stage = ServerDir::new();
    write_certificate(&stage, "a", &["a.test", "localhost"], 40);
    write_certificate(&stage, "b", &["*.b.test"], 40);
    write_certificate(&stage, "c", &["x.b.test"], 40);
    stage.configure(THREE);
    let server = stage.start();
    for (name, file) in
        [("a.test", "a"), ("y.b.test", "b"), ("x.b.test", "c"), ("X.B.test", "c"), ("unknown.test", "a"), ("", "a")]
    {
        let expected = fingerprint(stage.folder(), &format!("{file}.crt"));
        assert_eq!(served(&server, name), expected, "{name:?} should get {file}");
    }
    // The broken pair keeps its old certificate, while the other one is still renewed.
    let broken = fingerprint(stage.folder(), "b.crt");
    stage.write("b.crt", "-----BEGIN CERTIFICATE-----\nhalf");
    write_certificate(&stage, "c", &["x.b.test"], 40);
    let renewed = fingerprint(stage.folder(), "c.crt");
    assert!(eventually(RELOAD_TIMEOUT, || served(&server, "x.b.test") == renewed), "{}", server.log());
    assert_eq!(served(&server, "y.b.test"), broken);
    server.assert_log_contains("b.crt: ");
}

#[test]
fn a_further_certificate_that_is_broken_is_refused_at_start() {
    let stage = ServerDir::new();
    for file in ["a", "b", "c"] {
        write_certificate(&stage, file, &["localhost"], 40);
    }
    stage.configure(THREE);
    fs::remove_file(stage.path("c.key")).unwrap();
    for command in ["serve", "check"] {
        stage.portcullis_command().arg(command).run_failing().assert_prints_one_of(&["c.key: No such file"]);
    }
    stage.configure(
        "[tls.files]\ncertificate = \"a.crt\"\nkey = \"a.key\"\n[[tls.files.more]]\ncertificate = \"b.crt\"",
    );
    stage
        .portcullis_command()
        .arg("check")
        .run_failing()
        .assert_prints_one_of(&["portcullis.toml:6:1: this pair has no key"]);
    stage.configure("[[tls.files.more]]\ncertificate = \"b.crt\"\nkey = \"b.key\"");
    stage.portcullis_command().arg("check").run_failing().assert_prints_one_of(&["tls.files.certificate is missing"]);
}

/// Writes a volume as the kubelet does: the files are links through `..data`, which is replaced in one step.
fn write_projected_volume(stage: &ServerDir, version: &str, pair: &(String, String)) {
    let folder = stage.path("volume").join(format!("..{version}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("tls.crt"), &pair.0).unwrap();
    fs::write(folder.join("tls.key"), &pair.1).unwrap();
    let (new, data) = (stage.path("volume/..data_tmp"), stage.path("volume/..data"));
    symlink(format!("..{version}"), &new).unwrap();
    fs::rename(new, data).unwrap();
    for name in ["tls.crt", "tls.key"] {
        let _ = symlink(format!("..data/{name}"), stage.path("volume").join(name)); // exists from the second call on
    }
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_secret_that_kubernetes_exchanges_behind_its_link_is_served_within_seconds() {
    let stage = ServerDir::new();
    write_projected_volume(&stage, "2026_01", &make_certificate(&["localhost"], 40));
    stage.configure("[tls.files]\ncertificate = \"volume/tls.crt\"\nkey = \"volume/tls.key\"");
    let server = stage.start();
    assert_eq!(served(&server, "localhost"), fingerprint(stage.folder(), "volume/tls.crt"));
    write_projected_volume(&stage, "2026_02", &make_certificate(&["localhost"], 40));
    let second = fingerprint(stage.folder(), "volume/tls.crt");
    assert!(eventually(RELOAD_TIMEOUT, || served(&server, "localhost") == second), "{}", server.log());
    assert!(!server.log().contains("certificate not exchanged"), "{}", server.log());
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_certificate_that_certbot_renews_link_by_link_is_served_without_a_word_of_the_half_of_it() {
    let stage = ServerDir::new();
    let archive = |number: u32| {
        let (certificate, key) = make_certificate(&["localhost"], 40);
        stage.write(&format!("fullchain{number}.pem"), &certificate);
        stage.write(&format!("privkey{number}.pem"), &key);
    };
    let link = |name: &str, number: u32| {
        symlink(format!("{name}{number}.pem"), stage.path("new-link")).unwrap();
        fs::rename(stage.path("new-link"), stage.path(&format!("{name}.pem"))).unwrap();
    };
    archive(1);
    link("fullchain", 1);
    link("privkey", 1);
    stage.configure("[tls.files]\ncertificate = \"fullchain.pem\"\nkey = \"privkey.pem\"");
    let server = stage.start();
    archive(2);
    link("privkey", 2);
    link("fullchain", 2);
    let second = fingerprint(stage.folder(), "fullchain.pem");
    assert!(eventually(RELOAD_TIMEOUT, || served(&server, "localhost") == second), "{}", server.log());
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn sighup_says_what_is_wrong_with_a_pair_and_keeps_the_old_one() {
    let stage = ServerDir::new();
    write_certificate(&stage, "a", &["localhost"], 40);
    stage.configure("[tls.files]\ncertificate = \"a.crt\"\nkey = \"a.key\"");
    let server = stage.start();
    let first = served(&server, "localhost");
    stage.write("a.key", &make_certificate(&["localhost"], 40).1);
    server.daemon.signal(Signal::HUP);
    server.assert_log_contains("a.key: this private key does not belong to the certificate in a.crt");
    assert_eq!(served(&server, "localhost"), first);
    write_certificate(&stage, "a", &["localhost"], 40);
    server.daemon.signal(Signal::HUP);
    let second = fingerprint(stage.folder(), "a.crt");
    assert!(eventually(RELOAD_TIMEOUT, || served(&server, "localhost") == second), "{}", server.log());
}

#[test]
fn a_certificate_in_its_last_two_weeks_is_a_warning_in_the_log_and_of_check() {
    let stage = ServerDir::new();
    stage.configure("[tls.files]\ncertificate = \"a.crt\"\nkey = \"a.key\"");
    write_certificate(&stage, "a", &["localhost"], 10);
    let server = stage.start();
    server.assert_log_contains("in 10 days");
    assert!(server.log().contains("seconds_left=") && server.log().contains("a.crt"), "{}", server.log());
    let found = stage.portcullis_command().arg("check").run_ok();
    let line = found.stderr.lines().find(|line| line.contains("a.crt: the certificate expires on "));
    assert!(line.is_some_and(|line| line.starts_with("warning: ") && line.contains("in 10 days")), "{found}");
    write_certificate(&stage, "a", &["localhost"], 16);
    server.assert_log_contains("certificate replaced");
    let warning_count = server.log().matches("the certificate expires").count();
    assert_eq!(warning_count, 1, "sixteen days are enough, and one warning a day too:\n{}", server.log());
    let found = stage.portcullis_command().arg("check").run();
    assert!(!found.stderr.contains("expires on"), "{found}");
}

#[test]
fn a_self_made_certificate_that_has_expired_is_no_finding_unless_its_authority_lacks_the_key() {
    let stage = ServerDir::new();
    drop(stage.start());
    let [ca, ca_key] = ["ca.crt", "ca.key"].map(|name| fs::read_to_string(stage.path("certs").join(name)).unwrap());
    let issuer_key = KeyPair::from_pem(&ca_key).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&ca, issuer_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["localhost", "registry.test", "127.0.0.1", "::1"].map(str::to_owned);
    let mut params = CertificateParams::new(names.to_vec()).unwrap();
    params.not_before = (SystemTime::now() - 90 * DAY).into();
    params.not_after = (SystemTime::now() - DAY).into();
    params.use_authority_key_identifier_extension = true;
    stage.write("certs/server.key", &key.serialize_pem());
    stage.write("certs/server.crt", &params.signed_by(&key, &issuer).unwrap().pem());

    let found = stage.portcullis_command().arg("check").run();
    assert!(found.is_success(), "{found}");
    fs::rename(stage.path("certs/ca.key"), stage.path("elsewhere")).unwrap();
    stage
        .portcullis_command()
        .arg("check")
        .run_failing()
        .assert_prints_one_of(&["server.crt: the certificate expired on "]);
    fs::rename(stage.path("elsewhere"), stage.path("certs/ca.key")).unwrap();
    let server = stage.start();
    assert!(WireConnection::open(stage.address(), &stage.path("certs/ca.crt")).is_ok(), "{}", server.log());
}
