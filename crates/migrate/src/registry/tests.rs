//! Tests whole files of registry:2: files that it does not start from are refused; certificates and directory are kept.

use super::super::{
    MigrationSource,
    tests::{allowed_actions, broken, load, migrated, remarks},
};
use portcullis_tls::{CertificateSource, ClientMode, ClientUser};

/// A file that registry:2 starts from, with `more` at its end.
fn file(more: &str) -> String {
    format!("version: 0.1\nhttp: {{addr: ':5000'}}\n{more}")
}

fn refused(more: &str) -> String {
    broken(MigrationSource::Registry, &file(more)).to_string()
}

#[test]
fn a_file_of_another_version_or_without_one_is_refused() {
    let reason = |text: &str| broken(MigrationSource::Registry, text).reason;
    assert_eq!(reason("storage: filesystem\n"), "there is no `version`, without which registry:2 reads no file");
    for version in ["0.2", "1", "0.10", "v0.1", "", "[0.1]"] {
        assert!(reason(&format!("version: {version}\nstorage: filesystem\n")).starts_with("version: "), "{version}");
    }
    for version in ["0.1", "'0.1'", "!!str 0.1"] {
        migrated(MigrationSource::Registry, &format!("version: {version}\nstorage: filesystem\n"));
    }
}

#[test]
fn a_file_that_registry_2_does_not_start_from_is_refused_with_its_line() {
    for (more, reason) in [
        ("storage: {inmemory: , filesystem: }\n", "3: storage: there is one driver at most"),
        ("storage: Filesystem\n", "3: storage.Filesystem: there is no such driver"),
        ("storage: [filesystem]\n", "3: storage: a map of keys and values is needed here"),
        ("storage: {filesystem: , delete: true}\n", "3: storage.delete: a map of keys and values is needed here"),
        ("storage: {filesystem: , maintenance: {readonly: true}}\n", "3: storage.maintenance.readonly: it is a map"),
        (
            "storage: {filesystem: , maintenance: {readonly: {enabled: 'true'}}}\n",
            "3: storage.maintenance.readonly.enabled",
        ),
        ("storage: {filesystem: , maintenance: {readonly: {enabled: }}}\n", "3: storage.maintenance.readonly.enabled"),
        (
            "storage: {filesystem: , maintenance: {uploadpurging: }}\n",
            "3: storage.maintenance.uploadpurging: it is a map",
        ),
        (
            "storage: {filesystem: , maintenance: {uploadpurging: {age: 5d}}}\n",
            "3: storage.maintenance.uploadpurging.age",
        ),
        (
            "storage: {filesystem: , maintenance: {uploadpurging: {age: 5}}}\n",
            "3: storage.maintenance.uploadpurging.age",
        ),
        ("storage: {filesystem: {maxthreads: many}}\n", "3: storage.filesystem.maxthreads"),
        ("storage: {filesystem: , redirect: {disable: x}}\n", "3: storage.redirect.disable"),
        ("auth: {none: , htpasswd: {realm: r, path: p}}\n", "3: auth: there is one kind at most"),
        ("auth: {Htpasswd: {realm: r, path: p}}\n", "3: auth.Htpasswd: there is no such kind"),
        ("auth: {htpasswd: {realm: 5, path: p}}\n", "3: auth.htpasswd.realm: it is a text"),
        ("auth: {htpasswd: r}\n", "3: auth.htpasswd: a map of keys and values is needed here"),
        ("auth: [htpasswd]\n", "3: auth: a map of keys and values is needed here"),
        ("log: {level: trace}\n", "3: log.level: the level is one of error, warn, info, debug"),
        ("log: {formatter: JSON}\n", "3: log.formatter: it is one of json, logstash, text"),
        ("proxy: {remoteurl: [x]}\n", "3: proxy.remoteurl: a text is needed here"),
    ] {
        let said = refused(more);
        assert!(said.starts_with(reason), "{more}: {said}");
    }
    for (http, reason) in [
        (
            "tls: {certificate: c, key: k, letsencrypt: {cachefile: x}}",
            "http.tls: there is a certificate or letsencrypt",
        ),
        ("tls: {certificate: c, key: k, minimumtls: tls9}", "http.tls.minimumtls: it is one of"),
        ("tls: {certificate: c, key: k, clientcas: ca.pem}", "http.tls.clientcas: a list, as in [a, b] is needed here"),
        ("net: udp", "http.net: it is one of tcp, unix"),
    ] {
        let said = broken(MigrationSource::Registry, &format!("version: 0.1\nhttp: {{{http}}}\n")).to_string();
        assert!(said.starts_with(&format!("2: {reason}")), "{http}: {said}");
    }
}

#[test]
fn what_a_variable_may_give_is_missed_in_a_warning() {
    for (more, key) in [
        ("", "storage"),
        ("storage: {delete: {enabled: true}}\n", "storage"),
        ("auth: htpasswd\n", "auth.htpasswd.realm"),
        ("auth: {htpasswd: {realm: r}}\n", "auth.htpasswd.path"),
        ("auth: {token: {realm: r, service: s, issuer: i}}\n", "auth.token.rootcertbundle"),
        ("auth: {silly: {realm: r}}\n", "auth.silly.service"),
        ("storage: {filesystem: , maintenance: {uploadpurging: {}}}\n", "storage.maintenance.uploadpurging.age"),
        ("storage: {filesystem: , cache: {blobdescriptor: redis}}\n", "redis"),
    ] {
        let messages = remarks(&migrated(MigrationSource::Registry, &file(more)));
        let missed = format!(": {key}: missing; registry:2 does not start without it");
        assert!(
            messages.iter().any(|remark| remark.starts_with("warning: ") && remark.contains(&missed)),
            "{more}: {messages:#?}"
        );
    }
}

#[test]
fn the_folder_of_images_is_kept_when_the_driver_is_a_word() {
    let root = |storage: &str| {
        let toml = migrated(MigrationSource::Registry, &file(&format!("storage: {storage}\n"))).toml;
        toml.lines().find_map(|line| Some(line.strip_prefix("root = ")?.to_owned()))
    };
    for storage in
        ["filesystem", "'filesystem'", "{filesystem: }", "{filesystem: {}}", "{filesystem: {maxthreads: 100}}"]
    {
        assert_eq!(root(storage).as_deref(), Some("\"/var/lib/registry\""), "{storage}");
    }
    assert_eq!(root("{filesystem: {rootdirectory: /srv}}").as_deref(), Some("\"/srv\""));
    for storage in ["inmemory", "{s3: {bucket: b}}", "{filesystem: {rootdirectory: }}"] {
        assert_eq!(root(storage), None, "{storage}");
    }
}

#[test]
fn a_quoted_true_deletes_nothing() {
    for (enabled, actions) in [
        ("true", "pull,push,delete"),
        ("y", "pull,push,delete"),
        ("On", "pull,push,delete"),
        ("'true'", "pull,push"),
        ("\"yes\"", "pull,push"),
        ("tRUE", "pull,push"),
        ("1", "pull,push"),
        ("", "pull,push"),
    ] {
        let text = file(&format!("storage: {{filesystem: , delete: {{enabled: {enabled}}}}}\n"));
        assert_eq!(allowed_actions(&migrated(MigrationSource::Registry, &text).toml, "a", "x"), actions, "{enabled}");
    }
}

#[test]
fn what_a_merge_or_a_second_key_switches_off_is_off() {
    for delete in ["{enabled: true, <<: *off}", "{enabled: true, enabled: false}", "{<<: [*off, *on]}", "*off"] {
        let text = format!(
            "x: &off {{enabled: false}}\ny: &on {{enabled: true}}\nstorage: {{filesystem: , delete: {delete}}}\n"
        );
        assert_eq!(
            allowed_actions(&migrated(MigrationSource::Registry, &file(&text)).toml, "a", "x"),
            "pull,push",
            "{delete}"
        );
    }
}

#[test]
fn no_authentication_has_many_spellings() {
    for auth in ["", "auth:\n", "auth: none\n", "auth: {None: {}}\n", "auth: {}\n", "auth: ''\n"] {
        let migration = migrated(MigrationSource::Registry, &file(auth));
        assert_eq!(
            (allowed_actions(&migration.toml, "", "x"), allowed_actions(&migration.toml, "a", "x")),
            (String::new(), "pull,push".into())
        );
        assert!(migration.toml.contains("no auth; "), "{auth}: {}", migration.toml);
    }
}

#[test]
fn where_only_some_kinds_of_images_could_be_pushed_nobody_pushes() {
    let text = file("storage: filesystem\npolicy: {repository: {classes: [image]}}\n");
    assert_eq!(allowed_actions(&migrated(MigrationSource::Registry, &text).toml, "a", "x"), "pull");
    let text = file("storage: {filesystem: , delete: {enabled: true}}\npolicy: {repository: {classes: [image]}}\n");
    assert_eq!(allowed_actions(&migrated(MigrationSource::Registry, &text).toml, "a", "x"), "pull,delete");
}

fn with_tls(tls: &str, more: &str) -> String {
    format!("version: 0.1\nstorage: filesystem\nhttp: {{addr: ':443', tls: {{{tls}}}{more}}}\n")
}

#[test]
fn lets_encrypt_becomes_tls_acme_for_the_same_names() {
    let tls = "letsencrypt: {cachefile: /x, email: a@example.com, hosts: [b.example.com, a.example.com]}";
    let migration = migrated(MigrationSource::Registry, &with_tls(tls, ", host: https://a.example.com"));
    let config = load(&migration.toml).config;
    let CertificateSource::Acme(acme) = config.tls.source else { panic!("{}", migration.toml) };
    assert_eq!(acme.contact, ["mailto:a@example.com"]);
    let names: Vec<String> = config.tls.hostnames.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a.example.com", "b.example.com"]);

    let tls = "letsencrypt: {cachefile: /x, directoryurl: 'https://ca.example.com/dir', hosts: [a.example.com]}";
    let migration = migrated(MigrationSource::Registry, &with_tls(tls, ", host: https://other.example.com"));
    let config = load(&migration.toml).config;
    let CertificateSource::Acme(acme) = config.tls.source else { panic!("{}", migration.toml) };
    assert_eq!(acme.directory, "https://ca.example.com/dir");
    assert_eq!(config.tls.hostnames.len(), 1, "registry:2 orders no certificate for other.example.com");
    assert!(remarks(&migration).iter().any(|remark| remark.contains("other.example.com is none of letsencrypt.hosts")));
}

#[test]
fn lets_encrypt_that_orders_nothing_is_not_carried_over() {
    for tls in [
        "letsencrypt: {email: a@example.com, hosts: [a.example.com]}",
        "letsencrypt: {cachefile: /x, email: a@example.com}",
        "letsencrypt: {cachefile: /x, hosts: [localhost, 10.0.0.1, '*.example.com']}",
    ] {
        let migration = migrated(MigrationSource::Registry, &with_tls(tls, ""));
        assert!(
            matches!(load(&migration.toml).config.tls.source, CertificateSource::SelfSigned { .. }),
            "{}",
            migration.toml
        );
        assert!(remarks(&migration).iter().any(|remark| remark.contains("http.tls.letsencrypt: ")), "{tls}");
    }
}

#[test]
fn authorities_of_clients_become_tls_client_and_the_rules_stay_open() {
    for (tls, more) in [
        ("certificate: c, key: k, clientcas: [ca.pem]", ""),
        ("letsencrypt: {cachefile: /x, hosts: [a.example.com]}, clientcas: [ca.pem, other.pem]", ""),
        ("certificate: c, key: k, clientcas: [ca.pem], clientauth: verify-client-cert-if-given", ""),
    ] {
        let migration = migrated(MigrationSource::Registry, &with_tls(tls, more));
        let client = load(&migration.toml).config.tls.client.unwrap_or_else(|| panic!("{}", migration.toml));
        assert_eq!((client.mode, client.user), (ClientMode::Required, ClientUser::NoUser));
        assert_eq!(client.ca, std::path::Path::new("ca.pem"));
        assert_eq!(allowed_actions(&migration.toml, "a", "x"), "pull,push");
        let messages = remarks(&migration).join("\n");
        assert_eq!(messages.contains("put them all into it"), tls.contains("other.pem"), "{messages}");
        assert_eq!(messages.contains("mode = \"optional\""), tls.contains("clientauth"), "{messages}");
    }
}

#[test]
fn authorities_of_clients_without_tls_had_no_effect() {
    let migration = migrated(MigrationSource::Registry, &with_tls("key: k, clientcas: [ca.pem]", ""));
    assert_eq!(load(&migration.toml).config.tls.client, None);
    assert!(remarks(&migration).iter().any(|remark| remark.contains("asks clients for none")));
}
