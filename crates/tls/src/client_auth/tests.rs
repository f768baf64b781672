//! Tests client certificates with authorities that the tests generate.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};

use super::*;
use crate::InvalidCertificateProof;

const NOW: Duration = Duration::from_secs(1_800_000_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW
}

fn between(params: &mut CertificateParams) {
    params.not_before = (now() - DAY).into();
    params.not_after = (now() + DAY).into();
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        between(&mut params);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> ClientChain {
        let mut params = CertificateParams::default();
        between(&mut params);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), &self.0).unwrap();
        ClientChain::new(&[certificate.der().clone()]).unwrap()
    }

    fn named(&self, name: &str) -> ClientChain {
        self.issue(|params| params.distinguished_name.push(DnType::CommonName, name))
    }

    fn revoke(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now().into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: (now() - DAY).into(),
            next_update: (now() + DAY).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

struct Stage {
    folder: tempfile::TempDir,
    config: ClientConfig,
}

impl Stage {
    fn new(authorities: &[&Authority], user: ClientUser) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("clients.crt");
        let stage = Self { folder, config: ClientConfig { ca, crl: None, mode: ClientMode::Required, user } };
        stage.trust(authorities);
        stage
    }

    fn trust(&self, authorities: &[&Authority]) {
        std::fs::write(&self.config.ca, authorities.iter().map(|authority| authority.0.pem()).collect::<String>())
            .unwrap();
    }

    fn with_list(mut self, text: &str) -> Self {
        let path: PathBuf = self.folder.path().join("clients.crl");
        std::fs::write(&path, text).unwrap();
        self.config.crl = Some(path);
        self
    }

    fn load(&self) -> ClientTrust {
        ClientTrust::load(Some(&self.config), now()).unwrap()
    }

    fn reload(&self, trust: &ClientTrust) -> bool {
        trust.reload(Some(&self.config), now()).unwrap()
    }
}

fn name(trust: &ClientTrust, chain: &ClientChain) -> Option<String> {
    trust.verify(chain, now()).map(|certified| certified.name)
}

#[test]
fn a_certificate_of_the_authority_is_its_common_name_and_that_of_another_is_nobody() {
    let (ours, other) = (Authority::new("ours"), Authority::new("ours"));
    let trust = Stage::new(&[&ours], ClientUser::CommonName).load();
    assert_eq!(name(&trust, &ours.named("alice")).unwrap(), "alice");
    assert_eq!(name(&trust, &other.named("alice")), None);
    assert!(trust.is_enabled() && trust.client_auth_mandatory());
}

#[test]
fn a_certificate_out_of_time_or_for_servers_is_nobody() {
    let ours = Authority::new("ours");
    let trust = Stage::new(&[&ours], ClientUser::CommonName).load();
    let alice = ours.named("alice");
    assert!(trust.verify(&alice, now() + DAY * 2).is_none());
    assert!(trust.verify(&alice, now() - DAY * 2).is_none());
    let server = ours.issue(|params| {
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(name(&trust, &server), None);
}

#[test]
fn only_the_one_name_of_the_chosen_kind_is_read() {
    let ours = Authority::new("ours");
    let mail = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let with = |names: Vec<SanType>| {
        ours.issue(|params| {
            params.distinguished_name.push(DnType::CommonName, "a common name");
            params.subject_alt_names = names;
        })
    };
    let (one, two) = (
        with(vec![mail("a@b.test"), dns("host.test")]),
        with(vec![mail("a@b.test"), mail("c@d.test"), dns("a.test"), dns("b.test")]),
    );
    for (rule, expected) in [
        (ClientUser::CommonName, Some("a common name")),
        (ClientUser::Email, Some("a@b.test")),
        (ClientUser::DnsName, Some("host.test")),
        (ClientUser::NoUser, None),
    ] {
        let trust = Stage::new(&[&ours], rule).load();
        assert_eq!(name(&trust, &one).as_deref(), expected, "{rule:?}");
        let is_ambiguous = rule != ClientUser::CommonName;
        assert_eq!(name(&trust, &two).is_none(), is_ambiguous, "{rule:?}");
    }
    let trust = Stage::new(&[&ours], ClientUser::Email).load();
    assert_eq!(name(&trust, &ours.named("alice")), None, "there is no mail address in it");
}

#[test]
fn what_a_certificate_proved_ends_with_its_time_its_authorities_and_the_rule() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let mut stage = Stage::new(&[&ours], ClientUser::CommonName);
    let trust = stage.load();
    let proof = trust.verify(&ours.named("alice"), now()).unwrap().proof;
    let again: CertificateProof = proof.to_string().parse().unwrap();
    assert!(again == proof && trust.is_proof_valid(&again, now()));
    assert!(!trust.is_proof_valid(&proof, now() + DAY * 2));

    assert!(!stage.reload(&trust), "nothing changed");
    stage.trust(&[&other]);
    assert!(stage.reload(&trust) && !trust.is_proof_valid(&proof, now()));
    stage.trust(&[&ours]);
    assert!(stage.reload(&trust) && trust.is_proof_valid(&proof, now()));
    stage.config.user = ClientUser::Email;
    assert!(stage.reload(&trust) && !trust.is_proof_valid(&proof, now()));
    assert!(trust.reload(None, now()).unwrap() && !trust.is_proof_valid(&proof, now()) && !trust.is_enabled());
}

#[test]
fn a_connection_that_was_accepted_signs_nobody_in_after_its_authority_is_gone() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let stage = Stage::new(&[&ours, &other], ClientUser::CommonName);
    let trust = stage.load();
    let alice = ours.named("alice");
    assert!(name(&trust, &alice).is_some());
    stage.trust(&[&other]);
    stage.reload(&trust);
    assert_eq!(name(&trust, &alice), None);
}

#[test]
fn a_revoked_certificate_and_what_it_proved_end_with_the_list() {
    let ours = Authority::new("ours");
    let alice = ours.issue(|params| {
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.serial_number = Some(SerialNumber::from(0x00ff_u64));
    });
    let stage = Stage::new(&[&ours], ClientUser::CommonName).with_list(&ours.revoke(&[7]));
    let trust = stage.load();
    let proof = trust.verify(&alice, now()).unwrap().proof;
    let stage = stage.with_list(&ours.revoke(&[7, 0xff]));
    std::fs::write(&stage.config.ca, ours.0.pem()).unwrap();
    assert!(stage.reload(&trust));
    assert!(name(&trust, &alice).is_none() && !trust.is_proof_valid(&proof, now()));
}

#[test]
fn files_that_vouch_for_nobody_are_refused_and_change_nothing() {
    let ours = Authority::new("ours");
    let stage = Stage::new(&[&ours], ClientUser::CommonName);
    let trust = stage.load();
    let mut params = CertificateParams::default();
    between(&mut params);
    let leaf = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    for (text, words) in [(leaf.as_str(), "not a certificate authority"), ("", "no certificate in this file")] {
        std::fs::write(&stage.config.ca, text).unwrap();
        let error = trust.reload(Some(&stage.config), now()).unwrap_err();
        assert!(error.to_string().contains(words) && !error.hint().is_empty(), "{error}");
    }
    stage.trust(&[&ours]);
    let late = trust.reload(Some(&stage.config), now() + DAY * 2).unwrap_err();
    assert!(matches!(late, SourceError::Expired { .. }), "{late}");
    let stage = stage.with_list("no list");
    let error = trust.reload(Some(&stage.config), now()).unwrap_err();
    assert!(matches!(error, SourceError::RevocationList { .. }), "{error}");
    assert!(name(&trust, &ours.named("alice")).is_some());
}

#[test]
fn what_is_no_proof_is_not_read() {
    for text in
        ["", "a:b:1", "::", "a", &format!("{}:{}:x", ProofDigest::from_bytes(b""), ProofDigest::from_bytes(b""))]
    {
        assert_eq!(text.parse::<CertificateProof>(), Err(InvalidCertificateProof), "{text:?}");
    }
    let most = format!("{0}:{0}:{1}", ProofDigest::from_bytes(b""), u64::MAX);
    assert_eq!(most.parse::<CertificateProof>(), Err(InvalidCertificateProof));
}

#[test]
fn authorities_are_a_set_in_which_order_and_other_blocks_mean_nothing() {
    let (one, two) = (Authority::new("one"), Authority::new("two"));
    let stage = Stage::new(&[&one], ClientUser::CommonName).with_list(&format!("text\n{}", one.revoke(&[7])));
    let list = format!("\u{feff}{}{}", one.revoke(&[7]), two.revoke(&[8]).replace('\n', "\r\n"));
    std::fs::write(stage.config.crl.as_ref().unwrap(), list).unwrap();
    let old = two.0.pem().replace("CERTIFICATE", "X509 CERTIFICATE");
    let other = "-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n";
    let commented =
        Authority::new("three").0.pem().replace("-----BEGIN", "# -----BEGIN").replace("-----END", "# -----END");
    for text in [
        format!("{old}{}", one.0.pem()),
        format!("one\n{other}{}\ntwo: x\n{}", one.0.pem(), two.0.pem().replace("CERTIFICATE", "TRUSTED CERTIFICATE")),
        format!("\u{feff}{}{commented}{}", one.0.pem(), two.0.pem().trim_end()),
    ] {
        std::fs::write(&stage.config.ca, &text).unwrap();
        let trust = ClientTrust::load(Some(&stage.config), now()).unwrap_or_else(|error| panic!("{error}: {text}"));
        for authority in [&one, &two] {
            assert_eq!(name(&trust, &authority.named("alice")).as_deref(), Some("alice"), "{text}");
        }
    }
    let damaged = one.0.pem().replacen('\n', "\n*", 1);
    std::fs::write(&stage.config.ca, damaged).unwrap();
    let error = ClientTrust::load(Some(&stage.config), now()).unwrap_err();
    assert!(error.to_string().contains("clients.crt: line 2: this is not base64"), "{error}");
}
