//! `cesanta/docker_auth`: a token server with users and an ordered access list.
//!
//! Invariant: users and rules that other backends hold are never guessed; what the file does not say itself is told.

mod acl;
mod conditions;
mod users;

use std::path::Path;

use super::{
    draft::{Value, is_claim},
    span,
    talk::Migration,
    yaml::{At, Node},
};
use users::Users;

/// Keys that are told, whether that changes anything, and what to do.
const TOLD: &[(&str, bool, &str)] = &[
    (
        "server.addr",
        false,
        "docker_auth's own address; the token endpoint is on the registry's now, so set `listen` to that",
    ),
    ("server.net", true, "only TCP is served"),
    ("server.path_prefix", false, "the token endpoint is /token, and clients are told so"),
    ("server.real_ip_header", true, "headers of proxies are not trusted; let clients connect directly"),
    ("server.real_ip_pos", true, "headers of proxies are not trusted; let clients connect directly"),
    (
        "server.letsencrypt",
        true,
        "no certificates are fetched; let certbot write them and name its files in [tls.files]",
    ),
    ("server.hsts", false, "not needed: plain HTTP is never served"),
    ("server.tls_min_version", false, "TLS is 1.2 at least; write minimum_version = \"1.3\" below [tls] for more"),
    ("server.tls_curve_preferences", false, "not needed: only safe ones are spoken"),
    ("server.tls_cipher_suites", false, "not needed: only safe ones are spoken"),
    (
        "token.certificate",
        false,
        "not needed: tokens are signed with a key that is made on first start, and verified here",
    ),
    ("token.key", false, "not needed: tokens are signed with a key that is made on first start, and verified here"),
    ("token.disable_legacy_key_id", false, "not needed: tokens are verified here"),
    ("google_auth", true, "no sign-in by Google; make users with `portcullis user add`"),
    ("github_auth", true, "no sign-in by GitHub; make users with `portcullis user add`"),
    ("gitlab_auth", true, "no sign-in by GitLab; make users with `portcullis user add`"),
    ("oidc_auth", true, "no sign-in by OpenID Connect; make users with `portcullis user add`"),
    ("ldap_auth", true, "no LDAP; make users with `portcullis user add`"),
    ("mongo_auth", true, "no MongoDB; make users with `portcullis user add`"),
    ("xorm_auth", true, "no database; make users with `portcullis user add`"),
    ("ext_auth", true, "no programs are asked; make users with `portcullis user add`"),
    ("plugin_authn", true, "no plugins; make users with `portcullis user add`"),
    ("acl_mongo", true, "its rules are not in this file; write them as [[access]]"),
    ("acl_xorm", true, "its rules are not in this file; write them as [[access]]"),
    ("ext_authz", true, "no programs are asked; write its rules as [[access]]"),
    ("plugin_authz", true, "no plugins; write its rules as [[access]]"),
    ("casbin_authz", true, "its rules are not in this file; write them as [[access]]"),
];

/// What is carried over below.
const CARRIED: &[&str] = &["server.certificate", "server.key", "token.issuer", "token.expiration", "users", "acl"];

pub(super) fn read(document: &Node, htpasswd: Option<&Path>, migration: &mut Migration) {
    let root = document.root();
    told(root, "", migration);
    certificate(root, migration);
    token(root, migration);
    let users = Users::read(root.at("users"), migration);
    users.carry(htpasswd, migration);
    let entries = acl::entries(root.at("acl"), &users, migration);
    migration.rules(entries);
    migration.warn(
        None,
        "registry:2 deletes only if its config.yml says storage.delete.enabled: true; if yours does not, take \"delete\" out \
         of the rules",
    );
}

/// Goes through all keys, so that none is passed over in silence.
fn told(at: At<'_>, path: &str, migration: &mut Migration) {
    for (key, below) in at.entries() {
        let full = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let inside = |known: &str| known.strip_prefix(&full).is_some_and(|rest| rest.starts_with('.'));
        if CARRIED.contains(&full.as_str()) {
            continue;
        }
        if let Some((_, matters, why)) = TOLD.iter().find(|(known, ..)| *known == full) {
            let text = format!("{full}: {why}");
            if *matters { migration.warn(below.line, &text) } else { migration.note(below.line, &text) }
        } else if below.is_map()
            && (CARRIED.iter().any(|known| inside(known)) || TOLD.iter().any(|(known, ..)| inside(known)))
        {
            told(below, &full, migration);
        } else if !below.is_null() {
            migration.warn(below.line, &format!("{full}: not known here, and not carried over"));
        }
    }
}

fn certificate(root: At<'_>, migration: &mut Migration) {
    let path = |key| root.at(key).filter(|at| at.text().is_some_and(|text| !text.is_empty() && !text.contains('\0')));
    let (certificate, key) = (path("server.certificate"), path("server.key"));
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let value = |at: At<'_>| Value::text(at.text().unwrap_or_default());
            migration.set("tls.files", "certificate", value(certificate), certificate.line, "server.certificate");
            migration.set("tls.files", "key", value(key), key.line, "server.key");
            migration.warn(
                certificate.line,
                "server.certificate: it was the token server's; if the registry had another name, name the registry's \
                 certificate and key in [tls.files]",
            );
        }
        (Some(half), None) | (None, Some(half)) => migration.warn(
            half.line,
            "a certificate needs its key beside it, and a key its certificate: not carried over; write both in [tls.files]",
        ),
        (None, None) => {}
    }
}

/// The bounds of `auth.token.lifetime`, in seconds.
const LIFETIME: std::ops::RangeInclusive<u64> = 60..=3600;

fn token(root: At<'_>, migration: &mut Migration) {
    if let Some(issuer) = root.at("token.issuer") {
        match issuer.text().filter(|text| is_claim(text)) {
            Some(text) => migration.set("auth.token", "issuer", Value::text(text), issuer.line, "token.issuer"),
            None => migration.warn(issuer.line, "token.issuer: no name for an issuer; the first of `hostnames` is one"),
        }
    }
    let Some(expiration) = root.at("token.expiration") else { return };
    let Some(seconds) = expiration.text().and_then(|text| text.parse::<u64>().ok()) else {
        return migration.warn(expiration.line, "token.expiration: no number of seconds; tokens live for 5m");
    };
    let bounded = seconds.clamp(*LIFETIME.start(), *LIFETIME.end());
    if bounded != seconds {
        migration.warn(expiration.line, "token.expiration: tokens live for 1m to 1h; the nearest of these was taken");
    }
    migration.set("auth.token", "lifetime", Value::text(span::spell(bounded)), expiration.line, "token.expiration");
}
