//! Tests the migration of `docker_auth`'s access list: regressions that allowed more than before, and random lists.

mod model;
mod random;

use super::super::tests::{USERS, allowed_actions, load, migrated, remarks};

/// What a caller may do in a repository after the migration of users and a list.
fn after(users: &str, acl: &str, caller: &str, repository: &str) -> String {
    allowed_actions(&migrated(USERS, &format!("users: {users}\nacl:\n{acl}")).toml, caller, repository)
}

#[test]
fn an_empty_account_in_an_expression_fits_every_repository() {
    let acl = "- {match: {name: '/^${account}/'}, actions: []}\n- {match: {}, actions: [pull]}\n";
    let users = "{alice: {}, '': {}}";
    assert_eq!(after(users, acl, "", "anything"), "");
    assert_eq!(after(users, acl, "alice", "alice/x"), "");
    assert_eq!(after(users, acl, "alice", "bob/x"), "pull");
    // Between two slashes, nothing is no expression, and `/` begins no name.
    let acl = "- {match: {name: '/${account}/'}, actions: []}\n- {match: {name: '/^${account}\\//'}, actions: []}\n\
               - {match: {}, actions: [pull]}\n";
    assert_eq!(after(users, acl, "", "anything"), "pull");
}

#[test]
fn a_user_with_nothing_behind_the_name_cannot_sign_in() {
    for nothing in ["", "~", "null"] {
        let users = format!("{{a: {{}}, '': {nothing}}}");
        assert_eq!(after(&users, "- {match: {}, actions: [pull]}\n", "", "x"), "", "{nothing:?}");
        let users = format!("{{a: {{labels: {{t: [w]}}}}, b: {nothing}}}");
        let toml =
            migrated(USERS, &format!("users: {users}\nacl: [{{match: {{account: '/./'}}, actions: [pull]}}]\n")).toml;
        assert!(!toml.contains("\"b\""), "{toml}");
    }
}

#[test]
fn labels_without_a_condition_are_about_everybody_and_the_anonymous_user_may_have_labels() {
    let acl = "- {match: {labels: {}}, actions: []}\n- {match: {}, actions: [pull]}\n";
    assert_eq!(after("{a: {}, '': {}}", acl, "", "x"), "");
    assert_eq!(after("{a: {}, '': {}}", acl, "a", "x"), "");
    let acl = "- {match: {labels: {team: web}}, actions: []}\n- {match: {}, actions: [pull]}\n";
    let users = "{a: {}, '': {labels: {team: [web]}}}";
    assert_eq!((after(users, acl, "", "x"), after(users, acl, "a", "x")), (String::new(), "pull".to_owned()));
}

#[test]
fn a_user_name_with_slashes_reaches_over_several_components_and_may_be_an_expression() {
    let acl = "- {match: {name: '${account}/*'}, actions: []}\n- {match: {}, actions: [pull]}\n";
    let users = "{a/b: {}, c: {}}";
    assert_eq!(after(users, acl, "a/b", "a/b/x"), "");
    assert_eq!(after(users, acl, "a/b", "a/c/x"), "pull");
    assert_eq!(after(users, acl, "c", "a/b/x"), "pull");
    let acl = "- {match: {name: '${account}'}, actions: []}\n- {match: {}, actions: [pull]}\n";
    assert_eq!(after("{/x/: {}}", acl, "/x/", "a/xyz"), "");
}

#[test]
fn letters_beside_the_account_that_change_its_meaning_close_what_they_might_be_about() {
    for name in ["/^${account}?$/", "\\${account}", "/^[${account}]/", "/\\${account}/"] {
        let acl = format!("- {{match: {{name: '{name}'}}, actions: []}}\n- {{match: {{}}, actions: [pull]}}\n");
        assert_eq!(after("{bob: {}}", &acl, "bob", "bo"), "", "{name}");
    }
}

#[test]
fn an_account_in_the_type_is_not_taken_for_a_type_that_fits_everybody() {
    assert_eq!(after("{bob: {}}", "- {match: {type: '/^${account}/'}, actions: [pull]}\n", "bob", "x"), "");
}

#[test]
fn users_of_another_source_get_nothing_that_an_entry_over_patterns_might_keep_from_them() {
    let acl = "- {match: {account: '/^ext-/'}, actions: []}\n- {match: {account: '/.+/'}, actions: [pull]}\n";
    let users = "{ext-a: {}, bob: {}}\nldap_auth: {addr: x}";
    assert_eq!(after(users, acl, "ext-a", "x"), "");
    assert_eq!(after(users, acl, "bob", "x"), "pull");
    assert_eq!(after(users, acl, "ext-new", "x"), "");
    let messages = remarks(&migrated(USERS, &format!("users: {users}\nacl:\n{acl}")));
    assert!(
        messages.iter().any(|remark| remark.contains("users who are not in this file may match it")),
        "{messages:#?}"
    );
    // Names that the pattern lists are known.
    let acl = "- {match: {account: '/^(eve|mallory)$/'}, actions: []}\n- {match: {account: '/.+/'}, actions: [pull]}\n";
    assert_eq!((after(users, acl, "eve", "x"), after(users, acl, "new", "x")), (String::new(), "pull".to_owned()));
}

#[test]
fn what_docker_auth_does_not_start_from_is_refused() {
    for (text, reason) in [
        ("users: {}\nacl: [{actions: [pull]}]\n", "2: acl: an entry without `match`"),
        ("users: {}\nacl: {}\n", "2: acl: a list, as in [a, b] is needed here"),
        ("users: {}\nacl: [{match: {}, actions: pull}]\n", "2: actions: a list, as in [a, b] is needed here"),
        ("users: {a: x}\nacl: []\n", "1: users: a map of keys and values is needed here"),
        ("users: {a: {labels: {t: web}}}\nacl: []\n", "1: labels: a list, as in [a, b] is needed here"),
        ("acl: [{match: {name: [a]}, actions: []}]\n", "1: name: a text is needed here"),
    ] {
        assert_eq!(super::super::tests::broken(USERS, text).to_string(), reason, "{text}");
    }
}

#[test]
fn lets_encrypt_of_docker_auth_becomes_tls_acme() {
    let text = |letsencrypt: &str| format!("server: {{letsencrypt: {letsencrypt}}}\nusers: {{}}\nacl: []\n");
    let migration = migrated(USERS, &text("{email: a@example.com, host: auth.example.com, cache_dir: /x}"));
    let config = load(&migration.toml).config;
    let portcullis_tls::CertificateSource::Acme(acme) = config.tls.source else { panic!("{}", migration.toml) };
    assert_eq!(acme.contact, ["mailto:a@example.com"]);
    assert_eq!(config.tls.hostnames[0].to_string(), "auth.example.com");
    let messages = remarks(&migration).join("\n");
    assert!(messages.contains("it was the token server's") && !messages.contains("no certificates"), "{messages}");
    for letsencrypt in ["{host: a.example.com}", "{email: a@example.com}", "{email: a@example.com, host: localhost}"] {
        let migration = migrated(USERS, &text(letsencrypt));
        assert!(!migration.toml.contains("[tls.acme]"), "{}", migration.toml);
        assert!(remarks(&migration).iter().any(|remark| remark.contains("server.letsencrypt")), "{letsencrypt}");
    }
}

#[test]
fn the_oldest_version_of_tls_is_kept() {
    for (version, expected) in [("TLS13", "\"1.3\""), ("0x0304", "\"1.3\""), ("TLS12", "\"1.2\"")] {
        let toml = migrated(USERS, &format!("server: {{tls_min_version: {version}}}\nacl: []\n")).toml;
        assert!(toml.contains(&format!("minimum_version = {expected}")), "{toml}");
    }
}
