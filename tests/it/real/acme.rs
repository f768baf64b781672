//! Tests ordering certificates by ACME, with Pebble in the place of Let's Encrypt.
//!
//! The clients here trust nothing but the root that Pebble issues from.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::pebble::{Pebble, PebbleConfig, table};
use crate::support::portcullis_server::completes_handshake;
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually, free_port, nginx};

/// The timeout for an order; on an idle machine it takes a second or two.
const ISSUING: Duration = Duration::from_secs(60);

/// A stage for a server that is named `registry.test`, at the address that `finishes_a_handshake` connects to.
fn stage() -> (ServerDir, u16) {
    (ServerDir::new(), free_port::free())
}

fn configure(stage: &ServerDir, redirect: u16, tables: &str) {
    let address = stage.address();
    let hostnames = r#"["registry.test", "localhost", "127.0.0.1"]"#;
    let text =
        format!("listen = [\"{address}\"]\nhostnames = {hostnames}\nredirect = \"127.0.0.1:{redirect}\"\n{tables}");
    stage.write("portcullis.toml", &text);
}

fn is_trusted(stage: &ServerDir, root: &Path) -> bool {
    completes_handshake(stage.address(), root)
}

#[track_caller]
fn gets_a_certificate(server: &PortcullisServer, pebble: &Pebble) {
    let root = pebble.root();
    let got = eventually(ISSUING, || is_trusted(&server.stage, &root));
    assert!(got, "{}\n--- pebble:\n{}", server.log(), pebble.log());
}

#[track_caller]
fn says(server: &PortcullisServer, words: &str) {
    let said = eventually(ISSUING, || server.log().contains(words));
    assert!(said, "the log should contain {words:?}:\n{}", server.log());
}

#[test]
fn a_certificate_is_ordered_by_tls_alpn_01_kept_and_not_ordered_again() {
    let (stage, redirect) = stage();
    // No server listens for http-01.
    let pebble = Pebble::start(PebbleConfig::new(stage.port(), free_port::free()));
    configure(&stage, redirect, &format!("{}contact = [\"admin@example.com\"]\n", pebble.table()));
    let server = stage.start();
    gets_a_certificate(&server, &pebble);
    assert!(server.log().contains("tls-alpn-01") && !server.log().contains("ERROR"), "{}", server.log());
    for left_out in ["localhost", "127.0.0.1"] {
        let words = format!("certify neither IP addresses nor local names name={left_out}");
        assert!(server.log().contains(&words), "{words}: {}", server.log());
    }
    for kept in ["acme.pem", "acme-account.json"] {
        let mode = fs::metadata(stage.path("certs").join(kept)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{kept}");
    }
    assert!(!stage.path("certs/ca.crt").exists(), "no authority of our own is made");
    let kept = fs::read(stage.path("certs/acme.pem")).unwrap();
    drop(server);

    let server = stage.start();
    assert!(is_trusted(&stage, &pebble.root()), "from the first handshake on");
    server.daemon.signal(Signal::HUP);
    says(&server, "reloading");
    assert!(!server.log().contains("ordering a certificate"), "{}", server.log());
    assert_eq!((pebble.issued(), fs::read(stage.path("certs/acme.pem")).unwrap()), (1, kept));
}

#[test]
fn a_certificate_is_ordered_by_http_01_where_the_redirecting_port_is_what_is_reached() {
    let (stage, redirect) = stage();
    let pebble = Pebble::start(PebbleConfig::new(free_port::free(), redirect));
    configure(&stage, redirect, &format!("{}challenge = \"http-01\"\n", pebble.table()));
    let server = stage.start();
    gets_a_certificate(&server, &pebble);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
    let url = format!("http://127.0.0.1:{redirect}/.well-known/acme-challenge/anything");
    let after = ToolCommand::new("curl").args(["-s", "-i", &url]).run_ok();
    assert!(after.stdout.starts_with("HTTP/1.1 308 "), "nothing is special outside of a validation: {after}");
}

#[test]
fn where_tls_alpn_01_finds_somebody_else_http_01_is_tried() {
    let (stage, redirect) = stage();
    // Another server has the port of this validation.
    let pebble = Pebble::start(PebbleConfig::new(free_port::free(), redirect));
    configure(&stage, redirect, &pebble.table());
    let server = stage.start();
    gets_a_certificate(&server, &pebble);
    let log = server.log();
    assert!(log.contains("could not validate the names: registry.test: "), "{log}");
    let ways: Vec<&str> = log.lines().filter(|line| line.contains("ordering a certificate")).collect();
    assert!(ways.len() == 2 && ways[0].contains("tls-alpn-01") && ways[1].contains("http-01"), "{log}");
}

#[test]
fn a_certificate_is_renewed_before_it_ends_and_running_clients_notice_nothing() {
    let (stage, redirect) = stage();
    let pebble =
        Pebble::start(PebbleConfig { certificate_lifetime_seconds: 18, ..PebbleConfig::new(stage.port(), redirect) });
    configure(&stage, redirect, &pebble.table());
    let server = stage.start();
    gets_a_certificate(&server, &pebble);
    let root = pebble.root();
    let mut refused = 0;
    let renewed = eventually(ISSUING, || {
        refused += u32::from(!is_trusted(&stage, &root));
        pebble.issued() >= 2 && server.log().matches("certificate replaced").count() >= 2
    });
    assert!(renewed, "{}", server.log());
    assert_eq!(refused, 0, "at no moment is there none:\n{}", server.log());
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn names_that_lead_elsewhere_are_told_with_the_directorys_reason_and_tried_again_later() {
    let (stage, redirect) = stage();
    // No server listens at this address.
    let pebble = Pebble::start(PebbleConfig { dns_address: "127.0.0.2", ..PebbleConfig::new(stage.port(), redirect) });
    configure(&stage, redirect, &format!("{}challenge = \"tls-alpn-01\"\n", pebble.table()));
    let server = stage.start();
    says(&server, "could not validate the names: registry.test: ");
    let log = server.log();
    for words in ["do the names resolve to this server", "retry_in_seconds=", "challenge=\"tls-alpn-01\""] {
        assert!(log.contains(words), "{words}: {log}");
    }
    // The server still serves, with a certificate that no client trusts.
    assert!(!is_trusted(&stage, &pebble.root()));
    assert_eq!(log.matches("ordering a certificate").count(), 1, "the next try is a minute away: {log}");

    pebble.set_dns_address("127.0.0.1");
    server.daemon.signal(Signal::HUP);
    gets_a_certificate(&server, &pebble);
}

#[test]
fn a_directory_that_is_down_keeps_no_server_from_serving() {
    let (stage, redirect) = stage();
    let plan = PebbleConfig::new(stage.port(), redirect);
    let directory = plan.port;
    // Its CA certificate must exist before the directory runs.
    let authority = Pebble::start(PebbleConfig::new(free_port::free(), free_port::free()));
    configure(&stage, redirect, &table(directory, &authority.ca()));
    let server = stage.start();
    says(&server, "no certificate from the ACME directory");
    assert!(server.log().contains("Connection refused"), "{}", server.log());
    assert!(server.log().contains("is tls.acme.directory right and reachable"), "{}", server.log());
    drop(authority);

    let pebble = Pebble::start(plan);
    configure(&stage, redirect, &pebble.table());
    gets_a_certificate(&server, &pebble);
}

#[test]
fn a_directory_of_an_unknown_authority_is_not_believed() {
    let (stage, redirect) = stage();
    let pebble = Pebble::start(PebbleConfig::new(stage.port(), redirect));
    let public = pebble.table().lines().filter(|line| !line.starts_with("ca")).collect::<Vec<_>>().join("\n");
    configure(&stage, redirect, &public);
    let server = stage.start();
    says(&server, "no certificate from the ACME directory");
    assert!(server.log().contains("UnknownIssuer"), "{}", server.log());
    assert_eq!(pebble.issued(), 0);
}

#[test]
fn refused_nonces_are_nobodys_fault() {
    let (stage, redirect) = stage();
    let pebble =
        Pebble::start(PebbleConfig { refused_nonces_percent: 20, ..PebbleConfig::new(stage.port(), redirect) });
    configure(&stage, redirect, &pebble.table());
    let server = stage.start();
    gets_a_certificate(&server, &pebble);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn another_name_means_another_certificate_and_an_account_that_is_forgotten_is_opened_again() {
    let (stage, redirect) = stage();
    let plan = PebbleConfig::new(stage.port(), redirect);
    let port = plan.port;
    let pebble = Pebble::start(plan);
    configure(&stage, redirect, &pebble.table());
    let server = stage.start();
    gets_a_certificate(&server, &pebble);
    drop(pebble);

    // A new Pebble has none of the accounts of the previous one.
    let pebble = Pebble::start(PebbleConfig { port, ..PebbleConfig::new(stage.port(), redirect) });
    let address = stage.address();
    let hostnames = r#"["registry.test", "second.test"]"#;
    stage.write("portcullis.toml", &format!("listen = [\"{address}\"]\nhostnames = {hostnames}\n{}", pebble.table()));
    gets_a_certificate(&server, &pebble);
    assert!(server.log().contains("account no longer exists at"), "{}", server.log());
    let text = ToolCommand::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName", "-in"])
        .args([stage.path("certs/acme.pem")])
        .run_ok();
    assert!(text.stdout.contains("DNS:registry.test, DNS:second.test"), "{text}");
}

#[test]
fn a_running_server_goes_over_to_ordered_certificates_and_back() {
    let (stage, redirect) = stage();
    let pebble = Pebble::start(PebbleConfig::new(stage.port(), redirect));
    configure(&stage, redirect, "");
    let server = stage.start();
    let own = stage.path("certs/ca.crt");
    assert!(is_trusted(&stage, &own));
    configure(&stage, redirect, &pebble.table());
    let root = pebble.root();
    let mut had_neither = 0;
    let went_over = eventually(ISSUING, || {
        let is_ordered = is_trusted(&stage, &root);
        had_neither += u32::from(!is_ordered && !is_trusted(&stage, &own) && !is_trusted(&stage, &root));
        is_ordered
    });
    assert!(went_over && had_neither == 0, "the old one stays until the new one is there:\n{}", server.log());
    configure(&stage, redirect, "");
    assert!(eventually(ISSUING, || is_trusted(&stage, &own)), "{}", server.log());
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn what_was_kept_and_is_damaged_is_ordered_again_and_an_account_that_is_damaged_is_told() {
    let (stage, redirect) = stage();
    let pebble = Pebble::start(PebbleConfig::new(stage.port(), redirect));
    configure(&stage, redirect, &pebble.table());
    fs::create_dir(stage.path("certs")).unwrap();
    stage.write("certs/acme.pem", "-----BEGIN CERTIFICATE-----\nAAAA");
    let account = stage.write("certs/acme-account.json", "{\"directory\":7}");
    let server = stage.start();
    says(&server, "acme-account.json: not an ACME account");
    assert!(server.log().contains("restore the file, or remove it"), "{}", server.log());
    assert!(server.log().contains("the stored certificate cannot be used"), "{}", server.log());
    assert_eq!(fs::read_to_string(&account).unwrap(), "{\"directory\":7}", "it may be mended, so it stays");

    fs::remove_file(&account).unwrap();
    server.daemon.signal(Signal::HUP);
    gets_a_certificate(&server, &pebble);
}

#[test]
fn an_authority_that_cannot_be_read_is_found_by_check() {
    let (stage, redirect) = stage();
    configure(&stage, redirect, "[tls.acme]\nca = \"nowhere.crt\"");
    let found = stage.portcullis_command().arg("check").run_failing();
    assert!(found.stderr.contains("nowhere.crt: No such file") && found.stderr.contains("hint: "), "{found}");
    stage.write("nowhere.crt", "hello");
    stage.portcullis_command().arg("check").run_failing().assert_prints_one_of(&["no certificate in this file"]);
}

#[test]
fn a_server_that_is_restarted_again_and_again_does_not_order_again_and_again() {
    let (stage, redirect) = stage();
    let pebble = Pebble::start(PebbleConfig { dns_address: "127.0.0.2", ..PebbleConfig::new(stage.port(), redirect) });
    configure(&stage, redirect, &format!("{}challenge = \"tls-alpn-01\"\n", pebble.table()));
    let server = stage.start();
    says(&server, "could not validate the names: registry.test: ");
    drop(server);
    let record = fs::read_to_string(stage.path("certs/acme-retry.json")).unwrap();
    assert!(record.contains("\"failures\":1"), "{record}");

    pebble.set_dns_address("127.0.0.1");
    for _ in 0..3 {
        let server = stage.start();
        says(&server, "orders failed before this start; continuing their back-off (SIGHUP retries at once) failures=1");
        assert!(!server.log().contains("ordering a certificate"), "{}", server.log());
    }
    assert_eq!(fs::read_to_string(stage.path("certs/acme-retry.json")).unwrap(), record);

    let server = stage.start();
    says(&server, "continuing their back-off");
    server.daemon.signal(Signal::HUP);
    gets_a_certificate(&server, &pebble);
    let is_gone = || !stage.path("certs/acme-retry.json").exists();
    assert!(eventually(ISSUING, is_gone), "a success is the end of the back-off: {}", server.log());
}

#[test]
fn an_order_that_a_crash_cut_off_counts_as_a_failure_and_another_directory_need_not_wait_for_it() {
    let (stage, redirect) = stage();
    let pebble = Pebble::start(PebbleConfig::new(stage.port(), redirect));
    // A directory that never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    configure(&stage, redirect, &table(silent.local_addr().unwrap().port(), &pebble.ca()));
    let mut server = stage.start();
    says(&server, "ordering a certificate");
    server.daemon.signal(Signal::KILL);
    assert!(server.daemon.wait_for_exit(ISSUING).is_some());
    drop(server);

    let server = stage.start();
    says(&server, "continuing their back-off (SIGHUP retries at once) failures=1");
    assert!(!server.log().contains("ordering a certificate"), "{}", server.log());
    drop(server);
    let record = fs::read_to_string(stage.path("certs/acme-retry.json")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record["next_attempt"] = u64::MAX.into();
    stage.write("certs/acme-retry.json", &record.to_string());
    let server = stage.start();
    // The longest pause of the back-off, with its jitter: five hours.
    says(&server, "failures=1 retry_in_seconds=18000");
    drop(server);

    configure(&stage, redirect, &pebble.table());
    let server = stage.start();
    gets_a_certificate(&server, &pebble);
    assert!(!server.log().contains("continuing their back-off"), "{}", server.log());
}

#[test]
fn an_account_is_bound_to_the_external_account_that_the_directory_requires() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let (stage, redirect) = stage();
    let plan = PebbleConfig { external_account: Some(("kid-1", KEY)), ..PebbleConfig::new(stage.port(), redirect) };
    let pebble = Pebble::start(plan);
    configure(&stage, redirect, &pebble.table());
    let server = stage.start();
    says(&server, "it requires external account binding: set tls.acme.eab.key_id and tls.acme.eab.hmac_key_file");

    // Another key of the same length: the signature of the binding is wrong.
    let file = stage.write("eab.key", &KEY.chars().rev().collect::<String>());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let table = format!("{}[tls.acme.eab]\nkey_id = \"kid-1\"\nhmac_key_file = \"eab.key\"\n", pebble.table());
    configure(&stage, redirect, &table);
    says(&server, "check tls.acme.eab.key_id and the key in tls.acme.eab.hmac_key_file");
    let warned = stage.portcullis_command().arg("check").run();
    assert!(warned.to_string().contains("eab.key: every user of this machine can read"), "{warned}");

    stage.write("eab.key", &format!("{KEY}\n"));
    server.daemon.signal(Signal::HUP);
    gets_a_certificate(&server, &pebble);
    assert!(!server.log().contains(KEY) && !warned.to_string().contains(KEY));

    stage.write("eab.key", "not a key");
    let found = stage.portcullis_command().arg("check").run_failing();
    assert!(found.stderr.contains("eab.key: not a key in base64url") && found.stderr.contains("hint: "), "{found}");
}

/// A directory in front of Pebble, which has no renewal information of its own: nginx serves Pebble's directory
/// document with a `renewalInfo` that answers for every certificate with this window. Everything else goes to Pebble
/// directly.
fn serve_renewal_info(front: &ServerDir, pebble: &Pebble, start: &str, end: &str) -> crate::support::daemon::Daemon {
    let document =
        ToolCommand::new("curl").args(["-sS", "--cacert"]).args([&pebble.ca()]).arg(pebble.directory()).run_ok();
    let mut document: serde_json::Value = serde_json::from_str(&document.stdout).unwrap();
    document["renewalInfo"] = format!("https://127.0.0.1:{}/renewal", front.port()).into();
    front.write("dir", &document.to_string());
    front.write("renewal", &serde_json::json!({ "suggestedWindow": { "start": start, "end": end } }).to_string());
    let folder = front.folder().display();
    let inside = format!(
        "location = /dir {{ alias {folder}/dir; }}\n\
         location /renewal/ {{ access_log {folder}/renewal.log; add_header Retry-After 7200; root {folder}; try_files /renewal =404; }}"
    );
    nginx::start(front, front.address(), &inside)
}

#[test]
fn the_renewal_information_of_the_directory_decides_when_a_certificate_is_renewed() {
    let ((stage, redirect), front) = (stage(), ServerDir::new());
    // Makes a certificate for nginx.
    drop(front.start());
    let pebble = Pebble::start(PebbleConfig::new(stage.port(), redirect));
    let authorities = [pebble.ca(), front.path("certs/ca.crt")].map(|path| fs::read_to_string(path).unwrap()).concat();
    let ca = front.write("both.crt", &authorities);
    configure(&stage, redirect, &table(front.port(), &ca));

    // Pebble's certificates are valid for 90 days, so this window is no reason to renew.
    let far = serve_renewal_info(&front, &pebble, "2090-01-01T00:00:00Z", "2090-01-02T00:00:00Z");
    let server = stage.start();
    gets_a_certificate(&server, &pebble);
    says(&server, "the ACME directory suggests when to renew the certificate");
    drop(server);
    drop(far);
    let id = certificate_id(&stage);
    let queried = fs::read_to_string(front.path("renewal.log")).unwrap();
    assert!(queried.contains(&format!("GET /renewal/{id} ")), "{id}: {queried}");

    // As after a revocation.
    let _past = serve_renewal_info(&front, &pebble, "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
    let server = stage.start();
    says(&server, &format!("replaces=\"{id}\""));
    assert!(eventually(ISSUING, || pebble.issued() == 2), "{}", server.log());
    // nginx answers for the new certificate as for the old one, and that is no reason for order after order.
    let is_recorded = || {
        fs::read_to_string(stage.path("certs/acme-retry.json")).is_ok_and(|text| text.contains("\"failures\":1"))
            && certificate_id(&stage) != id
    };
    assert!(eventually(ISSUING, is_recorded), "{}", server.log());
    assert_eq!(server.log().matches("certificate issued").count(), 1, "{}", server.log());
    assert!(is_trusted(&stage, &pebble.root()) && !server.log().contains("ERROR"), "{}", server.log());
}

/// The identifier of the stored certificate in renewal information (RFC 9773, 4.1).
fn certificate_id(stage: &ServerDir) -> String {
    let read = |arguments: &[&str]| {
        let file = stage.path("certs/acme.pem");
        let output = ToolCommand::new("openssl").args(["x509", "-noout", "-in"]).args([&file]).args(arguments).run_ok();
        let hex: String = output
            .stdout
            .rsplit(['=', '\n'])
            .find(|text| text.contains(|l: char| l.is_ascii_hexdigit()))
            .unwrap()
            .to_owned();
        let digits: Vec<u8> = hex.trim().bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect::<Vec<u8>>()
    };
    let mut serial = read(&["-serial"]);
    if serial[0] >= 0x80 {
        serial.insert(0, 0);
    }
    let encode = |bytes: &[u8]| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, bytes);
    format!("{}.{}", encode(&read(&["-ext", "authorityKeyIdentifier"])), encode(&serial))
}
