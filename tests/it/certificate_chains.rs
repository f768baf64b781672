//! Tests certificate chains that some or all clients refuse: what `check` and the log report about them.

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::ServerDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const FILES: &str = "[tls.files]\ncertificate = \"chain.pem\"\nkey = \"server.key\"";

/// A key and the parameters of its certificate.
struct ChainIssuer {
    params: CertificateParams,
    key: KeyPair,
}

/// Parameters of a certificate that became valid 30 days ago and expires in `days`; negative if it has expired.
fn params(name: &str, days: i64) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - DAY * 30).into();
    let days_off = DAY * u32::try_from(days.unsigned_abs()).unwrap();
    params.not_after = if days < 0 { now - days_off } else { now + days_off }.into();
    params
}

impl ChainIssuer {
    fn new(name: &str, days: i64) -> Self {
        let mut params = params(name, days);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { params, key: KeyPair::generate().unwrap() }
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> String {
        params.signed_by(key, &Issuer::from_params(&self.params, &self.key)).unwrap().pem().replace("\r\n", "\n")
    }
}

/// The certificates of a server, of its intermediate, which expires in so many days, and of its root; the key is
/// written into the stage's directory.
fn chain(stage: &ServerDir, days: i64) -> [String; 3] {
    let (root, middle) = (ChainIssuer::new("root", 900), ChainIssuer::new("inter", days));
    let key = KeyPair::generate().unwrap();
    let mut leaf = params("localhost", 60);
    leaf.subject_alt_names = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().subject_alt_names;
    stage.write("server.key", &key.serialize_pem());
    let middle_pem = root.sign(&middle.params, &middle.key);
    [middle.sign(&leaf, &key), middle_pem, root.sign(&root.params, &root.key)]
}

/// Writes the chain and a configuration that names it.
fn configure(stage: &ServerDir, chain: &[&String]) {
    stage.write("chain.pem", &chain.iter().map(|pem| pem.as_str()).collect::<String>());
    stage.configure(FILES);
}

/// Asserts that `check` reports this about a chain, as an error or as a warning, and that a server that starts warns
/// too.
#[track_caller]
fn assert_reported(stage: &ServerDir, chain: &[&String], is_error: bool, words: &str, hint: &str) {
    configure(stage, chain);
    let checked = stage.portcullis_command().arg("check").run();
    let begin = if is_error { "error: " } else { "warning: " };
    let mut lines = checked.stderr.lines().skip_while(|line| !(line.starts_with(begin) && line.contains(words)));
    assert!(lines.next().is_some(), "{words}: {checked}");
    assert!(lines.next().is_some_and(|line| line.starts_with("hint: ") && line.contains(hint)), "{hint}: {checked}");
    assert_eq!(checked.is_success(), !is_error, "{checked}");
    let server = stage.start();
    server.assert_log_contains(words);
    let log = server.log();
    let is_logged = |line: &str| line.contains(" WARN ") && line.contains(words) && line.contains("chain.pem");
    assert!(log.lines().any(is_logged), "{words}: {log}");
}

#[test]
fn an_expired_intermediate_fails_the_check_and_is_warned_of_by_a_server_that_starts() {
    let stage = ServerDir::new();
    let [leaf, middle, _] = chain(&stage, -10);
    let line = leaf.lines().count() + 1;
    let end = SystemTime::now() - DAY * 10;
    let day = portcullis::tls::date(end).split(' ').next().unwrap().to_owned();
    let words = format!("certificate 2 (line {line}, CN=inter) of the chain expired on {day}");
    assert_reported(&stage, &[&leaf, &middle], true, &words, "fetch the current certificate of CN=inter");
}

#[test]
fn an_intermediate_that_is_missing_is_named_and_a_whole_chain_is_fine() {
    let stage = ServerDir::new();
    let [leaf, middle, root] = chain(&stage, 300);
    let words = "certificate 1 (line 1, CN=localhost) was issued by CN=inter, whose certificate is not in the chain";
    assert_reported(&stage, &[&leaf], false, words, "if CN=inter is an intermediate, append its certificate");
    assert_reported(&stage, &[&leaf, &root], true, words, "append the certificate of CN=inter after certificate 1");
    for whole in [&[&leaf, &middle][..], &[&leaf, &middle, &root]] {
        configure(&stage, whole);
        let checked = stage.portcullis_command().arg("check").run_ok();
        assert!(!checked.stderr.contains("chain"), "{checked}");
    }
}

#[test]
fn a_chain_out_of_order_is_told_with_the_order_that_is_right() {
    let stage = ServerDir::new();
    let [leaf, middle, root] = chain(&stage, 300);
    assert_reported(
        &stage,
        &[&leaf, &root, &middle],
        false,
        "the chain is out of order: certificate 3 (line ",
        "put them in the order 1, 3, 2",
    );
    stage.write("chain.pem", &format!("{middle}{leaf}"));
    let refused = stage.portcullis_command().arg("serve").run_failing();
    assert!(refused.stderr.contains("does not belong to the certificate in "), "{refused}");
    assert!(refused.stderr.contains("hint: the key belongs to certificate 2 (line "), "{refused}");
}

#[test]
fn a_servers_certificate_that_is_marked_as_an_authority_is_a_warning() {
    let stage = ServerDir::new();
    let mut itself = ChainIssuer::new("localhost", 60);
    itself.params.subject_alt_names = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().subject_alt_names;
    stage.write("server.key", &itself.key.serialize_pem());
    let certificate = itself.sign(&itself.params, &itself.key);
    let words =
        "certificate 1 (line 1, CN=localhost), the server's own, is marked as an authority (basicConstraints CA:TRUE)";
    assert_reported(&stage, &[&certificate], false, words, "CA:FALSE");
}

#[test]
fn a_file_of_which_a_certificate_would_be_skipped_is_refused_with_the_line() {
    let stage = ServerDir::new();
    let [leaf, middle, _] = chain(&stage, 300);
    let line = leaf.lines().count() + 1;
    stage.write("chain.pem", &format!("{leaf} {middle}"));
    stage.configure(FILES);
    for command in ["check", "serve"] {
        let refused = stage.portcullis_command().arg(command).run_failing();
        assert!(refused.stderr.contains(&format!("chain.pem: line {line}: this looks like the boundary")), "{refused}");
        assert!(refused.stderr.contains("hint: "), "{refused}");
    }
}
