//! Migrates `cesanta/docker_auth`, a token server with users and an ordered access list.
//!
//! Invariant: users and rules that other backends hold are never guessed; what the file itself does not contain is
//! reported.

mod acl;
mod conditions;
mod pattern;
#[cfg(test)]
mod tests;
mod unsupported;
mod users;

use std::{path::Path, time::Duration};

use super::{
    acme_order,
    report::{Migration, ParseError},
    toml_writer::{TomlValue, is_claim},
    unsupported_keys,
    yaml::{NodeRef, YamlDocument},
};
use portcullis_text::format_duration;
use portcullis_tls::acme::LETS_ENCRYPT;
#[cfg(test)]
pub(super) use unsupported::KEYS;
use users::DockerAuthUsers;

const MAP_KEYS: [&str; 3] = ["server", "server.letsencrypt", "token"];
const TEXT_KEYS: [&str; 8] = [
    "server.certificate",
    "server.key",
    "server.letsencrypt.cache_dir",
    "server.letsencrypt.email",
    "server.letsencrypt.host",
    "server.tls_min_version",
    "token.expiration",
    "token.issuer",
];

/// Reads the configuration into `migration`; the users' hashes only if `htpasswd` names a file for them.
pub(super) fn read(
    document: &YamlDocument,
    htpasswd: Option<&Path>,
    migration: &mut Migration,
) -> Result<(), ParseError> {
    let root = document.root();
    document.warn(migration);
    check_types(root)?;
    unsupported_keys::report(root, "", &unsupported::KEYS, migration);
    certificate(root, migration);
    minimum_version(root, migration);
    token(root, migration);
    let users = DockerAuthUsers::read(root, migration)?;
    users.write_settings(htpasswd, migration);
    let entries = acl::read_entries(root.get("acl"), &users, migration)?;
    migration.add_rules(entries);
    migration.warn(
        None,
        "registry:2 deletes only if its config.yml says storage.delete.enabled: true; if yours does not, take \"delete\" out \
         of the rules",
    );
    Ok(())
}

/// Refuses values whose type `docker_auth` refuses.
fn check_types(root: NodeRef<'_>) -> Result<(), ParseError> {
    for key in MAP_KEYS {
        root.get(key).map(|at| at.map(key)).transpose()?;
    }
    for key in TEXT_KEYS {
        root.get(key).map(|at| at.scalar(key)).transpose()?;
    }
    Ok(())
}

const TOKEN_SERVER_NOTE: &str = "it was the token server's; if the registry had another name";

fn certificate(root: NodeRef<'_>, migration: &mut Migration) {
    let path = |key| root.get(key).filter(|at| at.text().is_some_and(|text| !text.is_empty() && !text.contains('\0')));
    let (certificate, key) = (path("server.certificate"), path("server.key"));
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let value = |at: NodeRef<'_>| TomlValue::text(at.text().unwrap_or_default());
            migration.set("tls.files", "certificate", value(certificate), certificate.line, "server.certificate");
            migration.set("tls.files", "key", value(key), key.line, "server.key");
            let advice = "name the registry's certificate and key in [tls.files]";
            migration.warn(certificate.line, &format!("server.certificate: {TOKEN_SERVER_NOTE}, {advice}"));
            if let Some(at) = root.get("server.letsencrypt").filter(|at| !at.is_null()) {
                let text = "server.letsencrypt: docker_auth does not use it beside a certificate; not carried over";
                migration.warn(at.line, text);
            }
        }
        (Some(half), None) | (None, Some(half)) => migration.warn(
            half.line,
            "a certificate needs its key beside it, and a key its certificate: not carried over; write both in [tls.files]",
        ),
        (None, None) => acme_certificate(root, migration),
    }
}

/// Carries `server.letsencrypt` over. `docker_auth` orders a certificate only if there is a mail address.
fn acme_certificate(root: NodeRef<'_>, migration: &mut Migration) {
    let key = "server.letsencrypt";
    let Some(at) = root.get(key).filter(|at| !at.is_null()) else { return };
    let given = |name: &str| at.get(name).filter(|at| at.text().is_some_and(|text| !text.is_empty()));
    let Some(email) = given("email") else {
        let text = format!("{key}: docker_auth does not use it without `email`; not carried over");
        return migration.warn(at.line, &text);
    };
    let host = given("host");
    let names = host.into_iter().filter_map(|host| Some((host.text()?, host.line)));
    let order = acme_order::AcmeOrder::new(key, names, migration);
    if let Some(host) = host {
        let advice = "write the registry's into `hostnames`";
        migration.warn(host.line, &format!("{key}.host: {TOKEN_SERVER_NOTE}, {advice}"));
    }
    order.write_settings(LETS_ENCRYPT, email.text(), at.line, migration);
}

/// Carries the minimum TLS version over, given as a name or as its number in the protocol.
fn minimum_version(root: NodeRef<'_>, migration: &mut Migration) {
    let key = "server.tls_min_version";
    let Some(at) = root.get(key).filter(|at| at.text().is_some_and(|text| !text.is_empty())) else { return };
    let text = at.text().unwrap_or_default();
    let version = match text.to_ascii_lowercase().as_str() {
        "tls13" | "0x0304" | "0x304" | "772" => "1.3",
        "tls12" | "0x0303" | "0x303" | "771" => "1.2",
        _ => return migration.warn(at.line, &format!("{key}: TLS 1.2 is the oldest version supported")),
    };
    migration.set("tls", "minimum_version", TomlValue::text(version), at.line, key);
}

/// The bounds of `auth.token.lifetime`, in seconds.
const TOKEN_LIFETIME_SECONDS: std::ops::RangeInclusive<u64> = 60..=3600;

fn token(root: NodeRef<'_>, migration: &mut Migration) {
    if let Some(issuer) = root.get("token.issuer") {
        match issuer.text().filter(|text| is_claim(text)) {
            Some(text) => migration.set("auth.token", "issuer", TomlValue::text(text), issuer.line, "token.issuer"),
            None => migration.warn(issuer.line, "token.issuer: not a valid issuer; the first of `hostnames` is used"),
        }
    }
    let Some(expiration) = root.get("token.expiration") else { return };
    let Some(seconds) = expiration.text().and_then(|text| text.parse::<u64>().ok()) else {
        return migration.warn(expiration.line, "token.expiration: not a number of seconds; tokens are valid for 5m");
    };
    let bounded = seconds.clamp(*TOKEN_LIFETIME_SECONDS.start(), *TOKEN_LIFETIME_SECONDS.end());
    if bounded != seconds {
        migration.warn(expiration.line, "token.expiration: tokens are valid for 1m to 1h; the nearest value was taken");
    }
    migration.set(
        "auth.token",
        "lifetime",
        TomlValue::text(format_duration(Duration::from_secs(bounded))),
        expiration.line,
        "token.expiration",
    );
}
