//! Tests whole migrations of the three origins: the result is always a valid configuration and never contains a secret.

use std::path::Path;

use proptest::prelude::*;

use super::{Migrated, MigrationSource, ParseError, migrate};
use portcullis_access::Principal;
use portcullis_config::{self as config, Flags, LoadedConfig};

const NGINX: &str = include_str!("../../../tests/golden/migrate/nginx-public.conf");
const REGISTRY: &str = include_str!("../../../tests/golden/migrate/registry.yml");
const TOKEN: &str = include_str!("../../../tests/golden/migrate/registry-token.yml");
const DOCKER_AUTH: &str = include_str!("../../../tests/golden/migrate/docker_auth.yml");

pub(super) const USERS: MigrationSource<'_> = MigrationSource::DockerAuth { htpasswd: None };

pub(super) fn migrated(origin: MigrationSource<'_>, text: &str) -> Migrated {
    migrate(origin, "old", text).unwrap_or_else(|broken| panic!("{broken}"))
}

pub(super) fn broken(origin: MigrationSource<'_>, text: &str) -> ParseError {
    migrate(origin, "old", text).expect_err("this cannot be read")
}

pub(super) fn remarks(migrated: &Migrated) -> Vec<String> {
    migrated.diagnostics.iter().map(ToString::to_string).collect()
}

pub(super) fn load(toml: &str) -> LoadedConfig {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portcullis.toml");
    std::fs::write(&file, toml).unwrap();
    let flags = Flags { config: Some(file), ..Flags::default() };
    config::load(&flags, [], None).unwrap_or_else(|problems| panic!("{problems}\n{toml}"))
}

/// The actions of a user in a repository; of an anonymous request, if the name is empty.
pub(super) fn allowed_actions(toml: &str, user: &str, repository: &str) -> String {
    let principal = if user.is_empty() { Principal::Anonymous } else { Principal::User(user.parse().unwrap()) };
    load(toml).config.policy.actions(&principal, &repository.parse().unwrap()).to_string()
}

pub(super) fn site(inside: &str) -> String {
    format!("server {{ listen 443 ssl; auth_basic r; auth_basic_user_file /u; {inside} }}")
}

#[test]
fn the_users_of_docker_auth_may_do_what_they_might() {
    let toml = migrated(USERS, DOCKER_AUTH).toml;
    for (user, repository, actions) in [
        ("admin", "archive/x", "pull,push,delete"),
        ("anna", "archive/x", "pull"),
        ("", "archive/x/y", "pull"),
        ("anna", "web/site", "pull,push"),
        ("ben", "web/site", "pull,push"),
        ("ci-web", "web/site", "push"),
        ("door", "web/site", "pull"),
        ("door", "door/x", "pull,push,delete"),
        ("door", "door/x/y", "pull"),
        ("ben", "door/x", "pull"),
        ("ben", "data/x", ""),
        ("", "hello-world", "pull"),
        ("", "web/site", ""),
    ] {
        assert_eq!(allowed_actions(&toml, user, repository), actions, "{user} in {repository}");
    }
}

#[test]
fn nobody_anonymous_gets_in_where_docker_auth_has_no_anonymous_user() {
    let text = "users: {a: {}}\nacl:\n  - {match: {name: x}, actions: [pull]}\n  - {match: {account: \"\"}, actions: [pull]}\n";
    let toml = migrated(USERS, text).toml;
    assert_eq!((allowed_actions(&toml, "a", "x"), allowed_actions(&toml, "", "x")), ("pull".to_owned(), String::new()));
}

#[test]
fn rules_that_are_not_in_the_file_open_nothing() {
    for (origin, text) in [
        (USERS, "users: {a: {}}\nacl_mongo: {}\n"),
        (USERS, "acl: []\n"),
        (USERS, "acl:\n  - {match: {name: \"/x{2}/\"}, actions: []}\n  - {match: {}, actions: [\"*\"]}\n"),
        (MigrationSource::Registry, TOKEN),
        (MigrationSource::Registry, "version: 0.1\nauth: {token: {realm: x}}\nstorage: {delete: {enabled: true}}\n"),
        (MigrationSource::Nginx, "server { listen 443 ssl; include auth.conf; location / { proxy_pass http://r; } }"),
        (MigrationSource::Nginx, &site("location / { auth_request /auth; proxy_pass http://r; }")),
        (MigrationSource::Nginx, &site("ssl_verify_client on; location / { proxy_pass http://r; }")),
        (MigrationSource::Nginx, &site("location / { allow 10.0.0.0/8; deny all; proxy_pass http://r; }")),
        (MigrationSource::Nginx, &site("location / { if ($x) { return 403; } proxy_pass http://r; }")),
        (MigrationSource::Nginx, &site("location / { deny all; proxy_pass http://r; }")),
        (MigrationSource::Nginx, &site("location / { access_by_lua_block { f() } proxy_pass http://r; }")),
        (MigrationSource::Nginx, &site("location /ui/ { proxy_pass http://r; }")),
        (MigrationSource::Nginx, &site("location / { proxy_pass http://r; } location ~ ^/v2/[a-z]+/ { deny all; }")),
    ] {
        let migrated = migrated(origin, text);
        for user in ["", "a"] {
            assert_eq!(
                allowed_actions(&migrated.toml, user, "some/name"),
                "",
                "{user:?} after {text}:\n{}",
                migrated.toml
            );
        }
        assert!(remarks(&migrated).iter().any(|remark| remark.starts_with("warning: ")), "{text}");
    }
}

#[test]
fn a_registry_refuses_afterwards_what_it_refused_before() {
    let htpasswd = "auth: {htpasswd: {path: x}}\n";
    for (text, actions) in [
        ("", "pull,push"),
        ("storage: {delete: {enabled: false}}\n", "pull,push"),
        ("storage: {delete: {enabled: true}}\n", "pull,push,delete"),
        ("storage: {delete: {enabled: yes}}\n", "pull,push,delete"),
        ("storage: {delete: {enabled: true}, maintenance: {readonly: {enabled: true}}}\n", "pull"),
        ("proxy: {remoteurl: 'https://registry-1.docker.io'}\n", "pull"),
    ] {
        let toml = migrated(MigrationSource::Registry, &format!("version: 0.1\n{htpasswd}{text}")).toml;
        assert_eq!(
            (allowed_actions(&toml, "a", "x"), allowed_actions(&toml, "", "x")),
            (actions.to_owned(), String::new()),
            "{text}"
        );
        let open = migrated(MigrationSource::Registry, &format!("version: 0.1\n{text}")).toml;
        assert_eq!(
            (allowed_actions(&open, "a", "x"), allowed_actions(&open, "", "x")),
            (actions.to_owned(), String::new()),
            "without auth, {text}"
        );
    }
}

#[test]
fn nginx_lets_in_whom_it_let_in() {
    let pass = "proxy_pass http://r;";
    for (inside, user, nobody) in [
        (format!("location / {{ {pass} }}"), "pull,push", ""),
        (format!("location /v2/ {{ {pass} }} location / {{ return 404; }}"), "pull,push", ""),
        (format!("location / {{ {pass} }} location /v2/some/ {{ auth_basic off; {pass} }}"), "pull,push", "pull,push"),
        (format!("location / {{ {pass} }} location ~* ^/V2/Some/ {{ deny all; {pass} }}"), "", ""),
        (format!("location / {{ limit_except GET HEAD {{ deny all; }} {pass} }}"), "pull", ""),
        (format!("location / {{ auth_basic off; limit_except GET {{ auth_basic r; }} {pass} }}"), "pull,push", "pull"),
        (
            format!("location / {{ auth_basic off; limit_except GET POST {{ auth_basic r; }} {pass} }}"),
            "pull,push",
            "pull",
        ),
        (format!("if ($request_method !~ ^(GET|HEAD)$) {{ return 403; }} location / {{ {pass} }}"), "pull", ""),
        (format!("satisfy any; allow all; location / {{ {pass} }}"), "pull,push", "pull,push"),
        (format!("satisfy any; allow 10.0.0.1; deny all; location / {{ {pass} }}"), "pull,push", ""),
        (format!("location ~ ^/v2/ {{ {pass} }} location / {{ root /www; }}"), "pull,push", ""),
        (format!("location ~ /\\.ht {{ deny all; }} location / {{ {pass} }}"), "pull,push", ""),
        (format!("location / {{ {pass} }} location /v2/some/ {{ deny all; {pass} }}"), "", ""),
        (format!("location / {{ deny all; }} location /v2/some/ {{ {pass} }}"), "pull,push", ""),
        (format!("location / {{ {pass} }} location /v2/some/ {{ auth_basic_user_file /other; {pass} }}"), "", ""),
    ] {
        let toml = migrated(MigrationSource::Nginx, &site(&inside)).toml;
        assert_eq!(
            (allowed_actions(&toml, "a", "some/name").as_str(), allowed_actions(&toml, "", "some/name").as_str()),
            (user, nobody),
            "{inside}\n{toml}"
        );
    }
}

#[test]
fn where_nothing_here_asks_for_passwords_something_that_is_not_here_may() {
    let open = [
        (MigrationSource::Nginx, "server { listen 443 ssl; location / { proxy_pass http://r; } }"),
        (
            MigrationSource::Nginx,
            "server { listen 443 ssl; location / { limit_except GET { deny all; } proxy_pass http://r; } }",
        ),
        (MigrationSource::Registry, "version: 0.1\n"),
        (MigrationSource::Registry, "version: 0.1\nauth:\n"),
    ];
    for (origin, text) in open {
        let migrated = migrated(origin, text);
        assert_eq!(allowed_actions(&migrated.toml, "", "x"), "", "{text}:\n{}", migrated.toml);
        assert!(migrated.toml.contains("\n#actions      = [\"pull\""), "{text}:\n{}", migrated.toml);
    }
}

#[test]
fn a_hash_that_docker_auth_did_not_take_lets_nobody_in() {
    let text = "users:\n  old: {password: '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ='}\nacl: []\n";
    let migrated = migrated(MigrationSource::DockerAuth { htpasswd: Some(Path::new("u")) }, text);
    assert_eq!(migrated.users.users().count(), 0);
    assert!(remarks(&migrated)[0].starts_with("warning: old:2: users: old: docker_auth accepts bcrypt only"));
}

#[test]
fn the_server_of_the_registry_is_taken_and_the_others_are_told() {
    let text = "server { listen 80; location / { proxy_pass http://wiki; } }\n\
                server { listen 8443 ssl; auth_basic r; auth_basic_user_file /u; location /v2/ { proxy_pass http://r; } }\n";
    let migrated = migrated(MigrationSource::Nginx, text);
    assert_eq!(load(&migrated.toml).config.server.listen, ["0.0.0.0:8443".parse().unwrap()]);
    let messages = remarks(&migrated);
    assert!(
        messages[0].starts_with("warning: old:1: server: not carried over: the server in line 2 was taken"),
        "{messages:#?}"
    );
}

#[test]
fn plain_http_becomes_a_redirect_or_https() {
    let both = "server { listen 443 ssl; listen 80; location / { proxy_pass http://r; } }";
    let config = load(&migrated(MigrationSource::Nginx, both).toml).config;
    assert_eq!((config.server.listen[0].port(), config.server.redirect.unwrap().port()), (443, 80));
    let plain = "server { listen 80; location / { proxy_pass http://r; } }";
    let config = load(&migrated(MigrationSource::Nginx, plain).toml).config;
    assert_eq!((config.server.listen[0].port(), config.server.redirect), (80, None));
}

#[test]
fn what_is_no_configuration_of_that_kind_is_refused() {
    assert_eq!(broken(MigrationSource::Nginx, "events {}").line, None);
    assert_eq!(
        broken(MigrationSource::Nginx, "server {\n  listen 80\n}").to_string(),
        "2: \"listen\" does not end with ;"
    );
    assert_eq!(broken(MigrationSource::Registry, "version: [0.1\nhttp: }").line, Some(2));
    assert!(broken(USERS, "").hint.contains("right file"));
}

#[test]
fn neither_hashes_nor_secrets_are_told() {
    for (origin, text) in
        [(MigrationSource::Registry, REGISTRY), (MigrationSource::Registry, TOKEN), (USERS, DOCKER_AUTH)]
    {
        let migrated = migrated(origin, text);
        let messages = format!("{}\n{}", migrated.toml, remarks(&migrated).join("\n"));
        for secret in ["$2y$", "asecret", "averysecretword", "anotherverysecretword", "AKIA"] {
            assert!(!messages.contains(secret), "{secret} in\n{messages}");
        }
    }
}

#[test]
fn users_are_handed_over_only_if_a_file_is_named() {
    assert_eq!(migrated(USERS, DOCKER_AUTH).users.users().count(), 0);
    let origin = MigrationSource::DockerAuth { htpasswd: Some(Path::new("/etc/users")) };
    let migrated = migrated(origin, DOCKER_AUTH);
    let names: Vec<_> = migrated.users.users().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["admin", "anna", "ben", "ci-web"], "door had no password");
    assert_eq!(load(&migrated.toml).config.auth.htpasswd, Path::new("/etc/users"));
}

#[test]
fn settings_outside_our_bounds_are_told_and_the_nearest_is_taken() {
    let text = "token: {expiration: 5}\nacl: []\n";
    assert!(migrated(USERS, text).toml.contains("lifetime = \"1m\""));
    let text = "version: 0.1\nstorage: {maintenance: {uploadpurging: {age: 1s}}}\nhttp: {draintimeout: 9h}\n";
    let toml = migrated(MigrationSource::Registry, text).toml;
    assert!(toml.contains("upload_expiry = \"1m\"") && toml.contains("drain_timeout = \"1h\""), "{toml}");
}

/// The damaged directive that names a users file closes the rule; the comment contains the directive's name.
#[test]
fn a_control_character_in_a_directive_does_not_break_the_comment_about_it() {
    let text = site("location /v2/ { auth_basi\u{1}c_user_file /u; proxy_pass http://r; }");
    assert!(
        migrated(MigrationSource::Nginx, &text).toml.contains("auth_basi\u{fffd}c_user_file"),
        "{}",
        migrated(MigrationSource::Nginx, &text).toml
    );
    load(&migrated(MigrationSource::Nginx, &text).toml);
}

/// The text with a few pieces replaced: the position, the length, and the replacement of each.
fn damaged(text: &str, wounds: &[(usize, usize, &str)]) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for (at, length, instead) in wounds {
        let start = at % letters.len().max(1);
        let end = (start + length).min(letters.len());
        letters.splice(start..end, instead.chars());
    }
    letters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_read_what_is_written_is_a_configuration_with_rules(
        which in 0..4usize,
        wounds in proptest::collection::vec((
            any::<usize>(), 0..40usize,
            prop::sample::select(vec!["", "\"", "\\", "\u{0}", "*", "[::]:1", "{", "}", ";", "\n", "#", "'", ": ", "- ", "@", "é", "\u{85}"]),
        ), 1..6),
    ) {
        let (origin, text) =
            [(MigrationSource::Nginx, NGINX), (MigrationSource::Registry, REGISTRY), (MigrationSource::Registry, TOKEN), (USERS, DOCKER_AUTH)][which];
        if let Ok(migrated) = migrate(origin, "a\nb\u{1}.conf", &damaged(text, &wounds)) {
            prop_assert!(!load(&migrated.toml).rules.is_empty());
            prop_assert!(migrated.diagnostics.iter().all(|remark| !remark.to_string().contains('\n')));
        }
    }
}
