//! Tests the selftest with certificates that nginx serves and that clients refuse.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::docker_registry::{OtherServers, start_nginx};
use super::{assert_fails, selftest, trust};
use crate::support::tool_command::ToolOutput;
use crate::support::{ServerDir, ToolCommand};

/// A certificate authority of the test, and the parameters of its certificate.
struct IssuingCa {
    key: KeyPair,
    params: CertificateParams,
}

impl IssuingCa {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self { key: KeyPair::generate().unwrap(), params }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn pem(&self) -> String {
        self.params.self_signed(&self.key).unwrap().pem()
    }
}

/// Prepares a CA that podman trusts and a certificate issued by it, changed by `change`, and serves it with nginx.
fn serve_certificate(stage: &ServerDir, change: impl FnOnce(&mut CertificateParams), names: &[&str]) -> OtherServers {
    let authority = IssuingCa::new("Test CA");
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "localhost");
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer()).unwrap();
    write_certificates(stage, &authority.pem(), &certificate.pem(), &key);
    start_nginx(stage, "return 200;", "")
}

fn write_certificates(stage: &ServerDir, authority: &str, chain: &str, key: &KeyPair) {
    fs::create_dir_all(stage.path("certs")).unwrap();
    stage.write("certs/ca.crt", authority);
    stage.write("certs/server.crt", chain);
    stage.write("certs/server.key", &key.serialize_pem());
    trust(stage, stage.port(), Path::new(&stage.path("certs/ca.crt")));
}

/// A selftest that fails, because of the certificate or because nginx is not a registry. skopeo, which reads the same
/// trust directories as podman, must judge the certificate alike.
fn run(stage: &ServerDir) -> ToolOutput {
    let output = selftest(stage, &format!("https://localhost:{}", stage.port())).run_failing();
    let image = format!("docker://localhost:{}/a", stage.port());
    let skopeo = ToolCommand::new("skopeo").env("HOME", stage.folder()).args(["inspect", &image]).run_failing();
    let is_refused = skopeo.stderr.contains("x509: ") || skopeo.stderr.contains("tls: ");
    let is_trusted = output.stdout.contains("ok      podman: ");
    assert_eq!(is_refused, !is_trusted, "skopeo and the selftest should agree: {output}\n{skopeo}");
    output
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn an_expired_certificate_is_told_with_its_date() {
    let stage = ServerDir::new();
    let change = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    };
    let _site = serve_certificate(&stage, change, &["localhost"]);
    assert_fails(
        &run(&stage),
        "certificate",
        "has expired on 2020-02-01",
        "renew it on the server; or set this machine's clock",
    );
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_certificate_of_the_future_is_told_with_its_date() {
    let stage = ServerDir::new();
    let change = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
        params.not_after = rcgen::date_time_ymd(2091, 1, 1);
    };
    let _site = serve_certificate(&stage, change, &["localhost"]);
    assert_fails(&run(&stage), "certificate", "not yet valid: it begins on 2090-01-01", "set this machine's clock");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_certificate_without_alternative_names_is_told_in_the_words_of_go() {
    let stage = ServerDir::new();
    let _site = serve_certificate(&stage, |_| {}, &[]);
    assert_fails(&run(&stage), "certificate", "relies on legacy Common Name field, use SANs instead", "DNS:localhost");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_certificate_for_clients_is_told() {
    let stage = ServerDir::new();
    let usage = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    let _site = serve_certificate(&stage, usage, &["localhost"]);
    assert_fails(&run(&stage), "certificate", "not meant for servers", "extended key usage serverAuth");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_chain_without_its_intermediate_is_told_and_the_whole_one_is_trusted() {
    let stage = ServerDir::new();
    let (root, mut middle) = (IssuingCa::new("Test Root"), IssuingCa::new("Test Intermediate"));
    middle.params.use_authority_key_identifier_extension = true;
    let between = middle.params.signed_by(&middle.key, &root.issuer()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &middle.issuer()).unwrap();
    write_certificates(&stage, &root.pem(), &leaf.pem(), &key);
    let started = start_nginx(&stage, "return 200;", "");
    assert_fails(
        &run(&stage),
        "podman",
        "\"Test Intermediate\", which is neither in",
        "append its certificate to the server's certificate file",
    );
    drop(started);
    write_certificates(&stage, &root.pem(), &format!("{}{}", leaf.pem(), between.pem()), &key);
    let _started = start_nginx(&stage, "return 200;", "");
    let output = run(&stage);
    assert!(output.stdout.contains("ok      podman: trusted because of "), "{output}");
}

/// Makes a root, an intermediate changed by `change`, and a server certificate; nginx serves them in this order.
fn serve_chain(stage: &ServerDir, change: impl FnOnce(&mut IssuingCa), order: [usize; 3]) -> OtherServers {
    let (root, mut middle) = (IssuingCa::new("Test Root"), IssuingCa::new("Test Intermediate"));
    change(&mut middle);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &middle.issuer()).unwrap();
    let between = middle.params.signed_by(&middle.key, &root.issuer()).unwrap();
    let all = [leaf.pem(), between.pem(), root.pem()];
    write_certificates(stage, &root.pem(), &order.map(|index| all[index].as_str()).concat(), &key);
    start_nginx(stage, "return 200;", "")
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn an_expired_intermediate_is_told_and_not_the_root_that_is_trusted() {
    let stage = ServerDir::new();
    let change = |middle: &mut IssuingCa| {
        middle.params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        middle.params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    };
    let _site = serve_chain(&stage, change, [0, 1, 2]);
    let output = run(&stage);
    let words = "certificate 2 (CN=Test Intermediate) of the chain expired on 2020-02-01";
    assert_fails(&output, "podman", words, "fetch the current certificate of CN=Test Intermediate");
    assert!(
        output.stdout.contains("x509: certificate has expired or is not yet valid"),
        "in the words of Go: {output}"
    );
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn an_intermediate_that_is_no_authority_is_told() {
    let stage = ServerDir::new();
    let _site = serve_chain(&stage, |middle| middle.params.is_ca = IsCa::ExplicitNoCa, [0, 1, 2]);
    assert_fails(
        &run(&stage),
        "podman",
        "(CN=Test Intermediate) of the chain is not marked as an authority",
        "CA:TRUE",
    );
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_chain_out_of_order_is_trusted_here_and_noted() {
    let stage = ServerDir::new();
    let _site = serve_chain(&stage, |_| {}, [0, 2, 1]);
    let output = run(&stage);
    assert!(output.stdout.contains("ok      podman: trusted because of "), "{output}");
    assert!(
        output.stdout.contains("note    chain: the chain is out of order: certificate 3 (CN=Test Inter"),
        "{output}"
    );
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_servers_certificate_that_is_marked_as_an_authority_is_trusted_here_and_noted() {
    let stage = ServerDir::new();
    let change = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let _site = serve_certificate(&stage, change, &["localhost"]);
    let output = run(&stage);
    assert!(output.stdout.contains("ok      podman: trusted because of "), "{output}");
    assert!(output.stdout.contains("is marked as an authority (basicConstraints CA:TRUE)"), "{output}");
    stage.write("new.crt", &IssuingCa::new("Test CA").pem());
    trust(&stage, stage.port(), &stage.path("new.crt"));
    assert_fails(&run(&stage), "podman", "but another one of that name signed it", "the server has a new authority");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_trusted_authority_that_has_expired_is_told_as_such() {
    let stage = ServerDir::new();
    let mut authority = IssuingCa::new("Test CA");
    authority.params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    authority.params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    let key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority.issuer()).unwrap();
    write_certificates(&stage, &authority.pem(), &leaf.pem(), &key);
    let _site = start_nginx(&stage, "return 200;", "");
    let words = "the authority \"Test CA\" that is trusted here is valid from 2020-01-01 00:00 UTC to 2020-02-01";
    assert_fails(&run(&stage), "podman", words, "fetch the authority's current ca.crt");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_certificate_that_signs_itself_is_trusted_where_it_was_put_and_told_where_not() {
    let stage = ServerDir::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    // As `openssl req -x509` makes certificates.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let itself = params.self_signed(&key).unwrap().pem();
    write_certificates(&stage, &itself, &itself, &key);
    let _site = start_nginx(&stage, "return 200;", "");
    let output = run(&stage);
    assert!(output.stdout.contains("ok      podman: trusted because of "), "{output}");
    fs::remove_dir_all(stage.path(".config")).unwrap();
    assert_fails(&run(&stage), "podman", "it is signed by itself", "with the server's certificate as ca.crt");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn another_authority_of_the_same_name_is_told_as_such() {
    let stage = ServerDir::new();
    let _site = serve_certificate(&stage, |_| {}, &["localhost"]);
    stage.write("new.crt", &IssuingCa::new("Test CA").pem());
    trust(&stage, stage.port(), &stage.path("new.crt"));
    assert_fails(&run(&stage), "podman", "but another one of that name signed it", "the server has a new authority");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn versions_of_tls_that_are_too_old_are_told() {
    let stage = ServerDir::new();
    drop(stage.start());
    let _site = start_nginx(&stage, "return 200;", "ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;");
    assert_fails(&run(&stage), "tls", "TLS version of the server is too old", "ssl_protocols TLSv1.2 TLSv1.3;");
}
