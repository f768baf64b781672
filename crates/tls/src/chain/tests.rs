//! Tests chains that all clients accept, that some reject, and that all reject.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_000
}

struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

fn params(name: &str, days: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now() - DAY * 100).into();
    let end = if days < 0 { now() - DAY * days.unsigned_abs() } else { now() + DAY * days.unsigned_abs() };
    params.not_after = end.into();
    params
}

/// Creates an authority of this name, valid for so many days from now, issued by another one or by itself.
fn authority(name: &str, days: i32, by: Option<&Authority>) -> Authority {
    let mut params = params(name, days);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = match by {
        Some(by) => params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let certificate = certificate.der().clone();
    Authority { params, key, certificate }
}

fn leaf(by: &Authority) -> CertificateDer<'static> {
    let issuer = Issuer::from_params(&by.params, &by.key);
    params("leaf", 90).signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone()
}

/// Returns the faults of a chain, each with whether it is certain.
fn said(chain: &[&CertificateDer<'static>]) -> Vec<(bool, String)> {
    let chain: Vec<_> = chain.iter().map(|certificate| (*certificate).clone()).collect();
    let lines: Vec<usize> = (0..chain.len()).map(|index| index * 10 + 1).collect();
    let faults = Chain::parse(&chain, &lines).unwrap().faults(now());
    faults.iter().map(|fault| (fault.is_certain(), format!("{fault}; {}", fault.hint()))).collect()
}

#[track_caller]
fn says(chain: &[&CertificateDer<'static>], is_certain: bool, words: &[&str]) {
    let said = said(chain);
    let has_all = |text: &str| words.iter().all(|word| text.contains(word));
    assert!(said.len() == 1 && said[0].0 == is_certain && has_all(&said[0].1), "{words:?}: {said:?}");
}

#[test]
fn a_chain_that_every_client_accepts_has_no_fault_with_its_root_or_without() {
    let root = authority("root", 900, None);
    let upper = authority("upper", 500, Some(&root));
    let lower = authority("lower", 300, Some(&upper));
    let leaf = leaf(&lower);
    for chain in [
        &[&leaf, &lower.certificate][..],
        &[&leaf, &lower.certificate, &upper.certificate],
        &[&leaf, &lower.certificate, &upper.certificate, &root.certificate],
    ] {
        assert_eq!(said(chain), []);
    }
}

#[test]
fn an_expired_intermediate_is_named_with_its_line_and_its_end() {
    let root = authority("root", 900, None);
    let middle = authority("inter", -10, Some(&root));
    let leaf = leaf(&middle);
    says(
        &[&leaf, &middle.certificate],
        true,
        &["certificate 2 (line 11, CN=inter) of the chain expired on 2024-09-24"],
    );
    let early = authority("inter", 500, Some(&root));
    let chain = Chain::parse(&[leaf, early.certificate], &[]).unwrap();
    assert!(matches!(chain.faults(now() - DAY * 200)[..], [ChainFault::Missing { .. }]), "its key is another one");
}

#[test]
fn an_intermediate_that_ends_soon_is_mentioned_only_if_it_ends_before_the_servers_certificate() {
    let root = authority("root", 900, None);
    let soon = authority("inter", 20, Some(&root));
    says(&[&leaf(&soon), &soon.certificate], false, &["CN=inter) of the chain expires on", "before the server's own"]);
    let later = authority("inter", 89, Some(&root));
    assert_eq!(said(&[&leaf(&later), &later.certificate]), []);
}

#[test]
fn of_two_certificates_of_an_intermediate_the_one_that_is_in_time_counts() {
    let root = authority("root", 900, None);
    let new = authority("inter", 500, Some(&root));
    let mut params = params("inter", -10);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let old = params.signed_by(&new.key, &Issuer::from_params(&root.params, &root.key)).unwrap().der().clone();
    let leaf = leaf(&new);
    assert_eq!(said(&[&leaf, &old, &new.certificate]), []);
    says(&[&leaf, &old], true, &["certificate 2 (line 11, CN=inter) of the chain expired"]);
}

#[test]
fn an_issuer_that_is_missing_is_certain_only_where_others_were_sent_in_its_place() {
    let root = authority("root", 900, None);
    let middle = authority("inter", 500, Some(&root));
    let leaf = leaf(&middle);
    says(
        &[&leaf],
        false,
        &["CN=leaf) was issued by CN=inter, whose certificate is not in the chain", "nothing is missing"],
    );
    says(
        &[&leaf, &root.certificate],
        true,
        &["was issued by CN=inter, whose", "append the certificate of CN=inter after"],
    );
    let renewed = authority("inter", 500, Some(&root));
    says(
        &[&leaf, &renewed.certificate],
        true,
        &["but not by certificate 2 (line 11, CN=inter), which has another key"],
    );
    let lower = authority("lower", 400, Some(&middle));
    let leaf = super::tests::leaf(&lower);
    says(
        &[&leaf, &lower.certificate, &root.certificate],
        false,
        &["certificate 2 (line 11, CN=lower) was issued by CN=inter"],
    );
}

#[test]
fn a_chain_out_of_order_is_told_with_the_right_order() {
    let root = authority("root", 900, None);
    let middle = authority("inter", 500, Some(&root));
    let leaf = leaf(&middle);
    let words = ["certificate 3 (line 21, CN=inter) issued certificate 1 (line 1, CN=leaf)", "in the order 1, 3, 2"];
    says(&[&leaf, &root.certificate, &middle.certificate], false, &words);
    let other = authority("other", 500, None);
    says(&[&leaf, &other.certificate, &middle.certificate], false, &["in the order 1, 3, 2"]);
}

#[test]
fn certificates_that_have_no_part_in_the_chain_are_told() {
    let root = authority("root", 900, None);
    let middle = authority("inter", 500, Some(&root));
    let (leaf, other) = (leaf(&middle), authority("other", 500, None));
    let chain = [&leaf, &middle.certificate, &root.certificate, &other.certificate];
    says(&chain, false, &["certificate 4 (line 31, CN=other) has no part in the chain"]);
    says(&[&leaf, &leaf, &middle.certificate], false, &["certificate 2 (line 11, CN=leaf) has no part"]);
}

#[test]
fn an_issuer_that_is_no_authority_and_a_server_that_is_one_are_told() {
    let root = authority("root", 900, None);
    let mut middle = authority("inter", 500, Some(&root));
    let params = params("inter", 500);
    let plain = params.signed_by(&middle.key, &Issuer::from_params(&root.params, &root.key)).unwrap();
    middle.certificate = plain.der().clone();
    says(&[&leaf(&middle), &middle.certificate], true, &["CN=inter) of the chain is not marked as an authority"]);
    says(&[&root.certificate], false, &["the server's own, is marked as an authority", "CA:FALSE"]);
}
