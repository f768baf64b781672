//! Tests pairs of certificate and key that a server can use, and pairs that it cannot.

use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};

use super::*;

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn params() -> CertificateParams {
    let mut params = CertificateParams::new(["registry.test".to_owned(), "10.0.0.1".to_owned()]).unwrap();
    params.not_before = (SystemTime::UNIX_EPOCH + NOW - Duration::from_secs(3600)).into();
    params.not_after = (SystemTime::UNIX_EPOCH + NOW + Duration::from_secs(3600)).into();
    params
}

struct Files(tempfile::TempDir);

impl Files {
    fn of(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::with(&params.self_signed(&key).unwrap().pem(), &key.serialize_pem())
    }

    fn with(certificate: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tls.crt"), certificate).unwrap();
        std::fs::write(folder.path().join("tls.key"), key).unwrap();
        Self(folder)
    }

    fn load(&self) -> Result<ServerIdentity, SourceError> {
        let now = SystemTime::UNIX_EPOCH + NOW;
        load_files(&self.0.path().join("tls.crt"), &self.0.path().join("tls.key"), now)
    }

    fn openssl(&self, arguments: &str) {
        let ran = std::process::Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.0.path())
            .output()
            .expect("openssl is needed: apt-get install openssl");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn a_good_pair_becomes_an_identity_with_its_names() {
    let identity = Files::of(&params()).load().unwrap();
    assert_eq!(identity.names(), ["registry.test", "10.0.0.1"]);
    assert!(identity.covers(&"registry.test".parse().unwrap()));
    assert!(!identity.covers(&"other.test".parse().unwrap()));
}

#[test]
fn a_wildcard_covers_one_label_only() {
    let mut params = params();
    params.subject_alt_names = CertificateParams::new(["*.example.com".to_owned()]).unwrap().subject_alt_names;
    let identity = Files::of(&params).load().unwrap();
    assert!(identity.covers(&"registry.example.com".parse().unwrap()));
    assert!(!identity.covers(&"a.b.example.com".parse().unwrap()));
    assert!(!identity.covers(&"example.com".parse().unwrap()));
}

#[test]
fn keys_in_all_three_pem_forms_are_read() {
    for generate in [
        "ecparam -name prime256v1 -genkey -out tls.key", // SEC1, with an EC PARAMETERS section before it
        "genrsa -traditional -out tls.key 2048",         // PKCS#1
        "genpkey -algorithm ed25519 -out tls.key",       // PKCS#8
    ] {
        let files = Files::with("", "");
        files.openssl(generate);
        files.openssl("req -new -x509 -key tls.key -subj /CN=r -addext subjectAltName=DNS:r -out tls.crt -days 3650");
        // The pair is generated and checked at the real time.
        let identity = load_files(&files.0.path().join("tls.crt"), &files.0.path().join("tls.key"), SystemTime::now());
        assert_eq!(identity.unwrap().names(), ["r"], "{generate}");
    }
}

#[test]
fn an_expired_certificate_is_refused_with_the_date() {
    let mut params = params();
    params.not_after = (SystemTime::UNIX_EPOCH + NOW - Duration::from_secs(60)).into();
    let error = Files::of(&params).load().unwrap_err();
    assert!(error.to_string().ends_with("tls.crt: the certificate expired on 2027-01-15 07:59 UTC"), "{error}");
}

#[test]
fn a_certificate_of_the_future_is_refused() {
    let mut params = params();
    params.not_before = (SystemTime::UNIX_EPOCH + NOW + Duration::from_secs(60)).into();
    assert!(matches!(Files::of(&params).load(), Err(SourceError::NotYetValid { .. })));
}

#[test]
fn a_certificate_without_names_is_refused() {
    let mut params = params();
    params.subject_alt_names.clear();
    let error = Files::of(&params).load().unwrap_err();
    assert!(matches!(error, SourceError::NoNames { .. }));
    assert!(error.hint().contains("subject alternative name"));
}

#[test]
fn a_certificate_for_clients_is_refused() {
    let mut params = params();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert!(matches!(Files::of(&params).load(), Err(SourceError::NotForServers { .. })));
}

#[test]
fn a_key_that_does_not_match_is_refused() {
    let files = Files::of(&params());
    std::fs::write(files.0.path().join("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(files.load(), Err(SourceError::KeyMismatch { .. })));
}

#[test]
fn files_with_the_wrong_contents_say_what_is_missing() {
    let key = KeyPair::generate().unwrap();
    let certificate = params().self_signed(&key).unwrap().pem();
    let load = |certificate: &str, key: &str| Files::with(certificate, key).load().unwrap_err();
    assert!(matches!(load("", &key.serialize_pem()), SourceError::NoCertificate { .. }));
    let binary = load("0\u{1}\0\0\u{1}0", &key.serialize_pem());
    assert!(binary.hint().contains("openssl x509 -inform der"), "{binary}");
    assert!(matches!(load(&certificate, &certificate), SourceError::NoKey { .. }));
    assert!(matches!(load(&certificate[..200], &key.serialize_pem()), SourceError::Pem { .. }));
    let files = Files::with(&certificate, &key.serialize_pem());
    std::fs::remove_file(files.0.path().join("tls.crt")).unwrap();
    assert!(matches!(files.load(), Err(SourceError::Read { .. })));
}

#[test]
fn an_encrypted_key_is_refused_and_the_command_to_decrypt_it_is_named() {
    for (generate, name) in [
        ("genpkey -algorithm rsa -aes256 -pass pass:secret -out tls.key", "PKCS#8"),
        ("genrsa -traditional -aes256 -passout pass:secret -out tls.key 2048", "PKCS#1"),
    ] {
        let files = Files::of(&params());
        files.openssl(generate);
        let error = files.load().unwrap_err();
        assert!(matches!(error, SourceError::EncryptedKey { .. }), "{name}: {error}");
        assert!(error.hint().contains("openssl pkey -in"));
    }
}

#[test]
fn a_pkcs8_key_with_the_label_of_pkcs1_is_read_as_openssl_reads_it() {
    let files = Files::with("", "");
    files.openssl("genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out tls.key");
    files.openssl("req -new -x509 -key tls.key -subj /CN=r -addext subjectAltName=DNS:r -out tls.crt -days 3650");
    let key = files.0.path().join("tls.key");
    let text = std::fs::read_to_string(&key).unwrap().replace("PRIVATE KEY", "RSA PRIVATE KEY");
    std::fs::write(&key, text).unwrap();
    load_files(&files.0.path().join("tls.crt"), &key, SystemTime::now()).unwrap();
}
