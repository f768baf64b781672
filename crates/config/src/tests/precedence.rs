//! Tests of the precedence of the sources, and of the defaults.

use std::{path::Path, time::Duration};

use super::{
    super::{SettingPlace, keys::KEYS},
    *,
};
use portcullis_access::{Action, Policy, Principal};
use portcullis_auth::{ChallengeScheme, LegacyHashes};
use portcullis_server::ServerLimits;
use portcullis_storage as storage;
use portcullis_telemetry::LogFormat;
use portcullis_tls::{CertificateSource, MinimumVersion, acme::LETS_ENCRYPT};

fn hostnames(config: &Config) -> Vec<String> {
    config.tls.hostnames.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_has_to_be_configured() {
    let config = config("");
    assert_eq!(config.server.listen, ["0.0.0.0:443".parse().unwrap()]);
    assert_eq!(config.server.redirect, None);
    assert_eq!(config.server.limits, ServerLimits::default());
    assert_eq!(hostnames(&config), ["machine", "localhost", "127.0.0.1", "::1"]);
    assert_eq!(config.tls.minimum_version, MinimumVersion::default());
    assert_eq!(config.tls.source, CertificateSource::SelfSigned { directory: "certs".into() });
    assert_eq!(config.auth.htpasswd, Path::new("htpasswd"));
    assert_eq!(config.auth.challenge, ChallengeScheme::Bearer);
    assert_eq!(config.auth.legacy_hashes, LegacyHashes::Rehash);
    assert_eq!(config.auth.token.lifetime, Duration::from_secs(300));
    assert_eq!(config.auth.token.issuer, "machine");
    assert_eq!(config.auth.token.service, "machine");
    assert_eq!(config.auth.token.key, Path::new("certs/token.key"));
    assert_eq!(config.policy, Policy::allow_all_signed_in());
    assert!(!config.registry.sparse_manifests);
    let direct_io = storage::DirectIo::Auto;
    assert_eq!(config.storage, storage::StoreConfig::Filesystem { root: "data".into(), direct_io });
    assert_eq!((config.telemetry.format, config.telemetry.filter.as_str()), (LogFormat::Text, "info"));
}

#[test]
fn direct_io_can_be_switched_off() {
    let config = config("[storage.filesystem]\ndirect = \"off\"");
    let direct_io = storage::DirectIo::Off;
    assert_eq!(config.storage, storage::StoreConfig::Filesystem { root: "data".into(), direct_io });
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let text = b"listen = [\"127.0.0.1:1\"]\nhostnames = [\"file\"]\n[log]\nlevel = \"warn\"\nformat = \"json\"";
    let variables = [("PORTCULLIS_LISTEN", "127.0.0.1:2, [::1]:2"), ("PORTCULLIS_HOSTNAMES", "variable")];
    let flags = Flags { listen: vec!["127.0.0.1:3".into()], ..Flags::default() };
    let config = load_with(&flags, &variables, text).unwrap().config;
    assert_eq!(config.server.listen, ["127.0.0.1:3".parse().unwrap()]);
    assert_eq!(hostnames(&config), ["variable"]);
    assert_eq!((config.telemetry.format, config.telemetry.filter.as_str()), (LogFormat::Json, "warn"));
    let config = load_with(&Flags::default(), &variables, text).unwrap().config;
    assert_eq!(config.server.listen, ["127.0.0.1:2".parse().unwrap(), "[::1]:2".parse().unwrap()]);
}

#[test]
fn a_variable_can_be_a_number_or_a_truth_too() {
    let variables = [
        ("PORTCULLIS_LIMITS__CONNECTIONS", "7"),
        ("PORTCULLIS_REGISTRY__SPARSE_MANIFESTS", "true"),
        ("PORTCULLIS_AUTH__TOKEN__LIFETIME", "90s"),
        ("PORTCULLIS_REDIRECT", ""),
    ];
    let config = load_with(&Flags::default(), &variables, b"").unwrap().config;
    assert_eq!(config.server.limits.connections, 7);
    assert!(config.registry.sparse_manifests);
    assert_eq!(config.auth.token.lifetime, Duration::from_secs(90));
    assert_eq!(config.server.redirect, None);
}

#[test]
fn a_certificate_that_is_ordered_is_kept_where_the_strongest_source_says() {
    let text = "hostnames = [\"registry.example.com\"]\n[tls.acme]\ncontact = [\"a@example.com\"]\n";
    let loaded = |flags: Flags, variables: &[(&str, &str)], text: &str| {
        let config = load_with(&flags, variables, text.as_bytes()).unwrap().config;
        let CertificateSource::Acme(acme) = config.tls.source else { panic!("{:?}", config.tls.source) };
        assert_eq!(config.auth.token.key, acme.folder.join("token.key"), "the keys of one server are in one folder");
        acme
    };
    let acme = loaded(Flags::default(), &[], text);
    assert_eq!((acme.directory.as_str(), acme.folder.as_path()), (LETS_ENCRYPT, Path::new("certs")));
    assert_eq!((acme.contact.as_slice(), acme.ca), (&["mailto:a@example.com".to_owned()][..], None));
    // A container image sets the folder in a variable, whichever source of the certificate the file chooses.
    let variables = [("PORTCULLIS_TLS__SELF_SIGNED__DIRECTORY", "/c")];
    assert_eq!(loaded(Flags::default(), &variables, text).folder, Path::new("/c"));
    let of_its_own = format!("{text}folder = \"/f\"");
    assert_eq!(loaded(Flags::default(), &variables, &of_its_own).folder, Path::new("/f"));
    let flags = Flags { certs: Some("/g".into()), ..Flags::default() };
    assert_eq!(loaded(flags, &variables, &of_its_own).folder, Path::new("/g"));
}

#[test]
fn issuer_and_service_follow_the_first_host_name_and_the_token_key_the_certificates() {
    let config = config("hostnames = [\"registry.example.com\", \"10.0.0.1\"]\n[tls.self_signed]\ndirectory = \"/c\"");
    assert_eq!(config.auth.token.issuer, "registry.example.com");
    assert_eq!(config.auth.token.service, "registry.example.com");
    assert_eq!(config.auth.token.key, Path::new("/c/token.key"));
}

#[test]
fn a_certificate_named_anywhere_wins_over_one_that_would_be_made() {
    let files = CertificateSource::Files { certificate: "c".into(), key: "k".into(), additional: Vec::new() };
    let flags = Flags { certs: Some("/certs".into()), ..Flags::default() };
    let config = load_with(&flags, &[], b"[tls.files]\ncertificate = \"c\"\nkey = \"k\"").unwrap().config;
    assert_eq!(config.tls.source, files);
    assert_eq!(config.auth.token.key, Path::new("/certs/token.key"));
    let flags = Flags { tls_cert: Some("c".into()), tls_key: Some("k".into()), ..flags };
    let config = load_with(&flags, &[], b"[tls.self_signed]").unwrap().config;
    assert_eq!(config.tls.source, files);
}

#[test]
fn rules_and_groups_become_the_policy() {
    let config = config(
        "[groups]\nteam = [\"bob\"]\n\
         [[access]]\nusers = [\"@team\"]\nrepositories = [\"secret/**\"]\nactions = []\n\
         [[access]]\nusers = [\"*\"]\nrepositories = [\"**\"]\nactions = [\"pull\", \"push\"]",
    );
    let name = "secret/app".parse().unwrap();
    let actions = |user: &str| config.policy.actions(&Principal::User(user.parse().unwrap()), &name);
    assert!(actions("bob").is_empty());
    assert!(actions("alice").contains(Action::Push) && !actions("alice").contains(Action::Delete));
}

#[test]
fn the_file_may_have_a_byte_order_mark_and_windows_line_ends() {
    let text = b"\xef\xbb\xbfredirect = \"127.0.0.1:80\"\r\n[tls]\r\nminimum_version = \"1.3\"\r\n";
    let loaded = load_with(&Flags::default(), &[], text).unwrap();
    assert_eq!(loaded.config.tls.minimum_version, MinimumVersion::Tls13);
    assert!(loaded.file.unwrap().ends_with("portcullis.toml"));
    let text = b"\xef\xbb\xbfredirekt = 1\r\nlisten = 1";
    let problems = load_with(&Flags::default(), &[], text).unwrap_err();
    assert!(problems.starts_with("error: portcullis.toml:1:1: ") && problems.contains(".toml:2:10: "), "{problems}");
}

#[test]
fn places_are_told_in_the_order_flags_variables_file() {
    let file = SettingPlace::File { name: "f".into(), line: 1, column: 1 };
    assert!(
        SettingPlace::Flag("--x") < SettingPlace::Variable("A".into()) && SettingPlace::Variable("A".into()) < file
    );
}

#[test]
fn every_key_is_read() {
    for variable in KEYS.iter().filter_map(|key| key.variable()) {
        let problems = load_with(&Flags::default(), &[(&variable, "\0")], b"").unwrap_err();
        assert!(problems.starts_with(&format!("error: {variable}: ")), "{problems}");
    }
}
