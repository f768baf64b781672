//! Migrates `cesanta/docker_auth`, a token server with users and an ordered access list.
//!
//! Invariant: users and rules that other backends hold are never guessed; what the file itself does not contain is
//! reported.

mod acl;
mod conditions;
#[cfg(test)]
mod tests;
mod unsupported;
mod users;

use std::path::Path;

use super::{
    acme,
    draft::{Value, is_claim},
    span,
    talk::{Broken, Migration},
    unsupported_keys,
    yaml::{At, Document},
};
use portcullis_tls::acme::LETS_ENCRYPT;
#[cfg(test)]
pub(super) use unsupported::KNOWN;
use users::Users;

const MAPS: [&str; 3] = ["server", "server.letsencrypt", "token"];
const TEXTS: [&str; 8] = [
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
pub(super) fn read(document: &Document, htpasswd: Option<&Path>, migration: &mut Migration) -> Result<(), Broken> {
    let root = document.root();
    document.warn(migration);
    types(root)?;
    unsupported_keys::report(root, "", &unsupported::KNOWN, migration);
    certificate(root, migration);
    minimum_version(root, migration);
    token(root, migration);
    let users = Users::read(root, migration)?;
    users.carry(htpasswd, migration);
    let entries = acl::entries(root.at("acl"), &users, migration)?;
    migration.rules(entries);
    migration.warn(
        None,
        "registry:2 deletes only if its config.yml says storage.delete.enabled: true; if yours does not, take \"delete\" out \
         of the rules",
    );
    Ok(())
}

/// Refuses values whose type `docker_auth` refuses.
fn types(root: At<'_>) -> Result<(), Broken> {
    for key in MAPS {
        root.at(key).map(|at| at.map(key)).transpose()?;
    }
    for key in TEXTS {
        root.at(key).map(|at| at.scalar(key)).transpose()?;
    }
    Ok(())
}

const OF_THE_TOKEN_SERVER: &str = "it was the token server's; if the registry had another name";

fn certificate(root: At<'_>, migration: &mut Migration) {
    let path = |key| root.at(key).filter(|at| at.text().is_some_and(|text| !text.is_empty() && !text.contains('\0')));
    let (certificate, key) = (path("server.certificate"), path("server.key"));
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let value = |at: At<'_>| Value::text(at.text().unwrap_or_default());
            migration.set("tls.files", "certificate", value(certificate), certificate.line, "server.certificate");
            migration.set("tls.files", "key", value(key), key.line, "server.key");
            let advice = "name the registry's certificate and key in [tls.files]";
            migration.warn(certificate.line, &format!("server.certificate: {OF_THE_TOKEN_SERVER}, {advice}"));
            if let Some(at) = root.at("server.letsencrypt").filter(|at| !at.is_null()) {
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
fn acme_certificate(root: At<'_>, migration: &mut Migration) {
    let key = "server.letsencrypt";
    let Some(at) = root.at(key).filter(|at| !at.is_null()) else { return };
    let given = |name: &str| at.at(name).filter(|at| at.text().is_some_and(|text| !text.is_empty()));
    let Some(email) = given("email") else {
        let text = format!("{key}: docker_auth does not use it without `email`; not carried over");
        return migration.warn(at.line, &text);
    };
    let host = given("host");
    let names = host.into_iter().filter_map(|host| Some((host.text()?, host.line)));
    let order = acme::Order::new(key, names, migration);
    if let Some(host) = host {
        let advice = "write the registry's into `hostnames`";
        migration.warn(host.line, &format!("{key}.host: {OF_THE_TOKEN_SERVER}, {advice}"));
    }
    order.carry(LETS_ENCRYPT, email.text(), at.line, migration);
}

/// Carries the minimum TLS version over, given as a name or as its number in the protocol.
fn minimum_version(root: At<'_>, migration: &mut Migration) {
    let key = "server.tls_min_version";
    let Some(at) = root.at(key).filter(|at| at.text().is_some_and(|text| !text.is_empty())) else { return };
    let text = at.text().unwrap_or_default();
    let version = match text.to_ascii_lowercase().as_str() {
        "tls13" | "0x0304" | "0x304" | "772" => "1.3",
        "tls12" | "0x0303" | "0x303" | "771" => "1.2",
        _ => return migration.warn(at.line, &format!("{key}: TLS 1.2 is the oldest version supported")),
    };
    migration.set("tls", "minimum_version", Value::text(version), at.line, key);
}

/// The bounds of `auth.token.lifetime`, in seconds.
const LIFETIME: std::ops::RangeInclusive<u64> = 60..=3600;

fn token(root: At<'_>, migration: &mut Migration) {
    if let Some(issuer) = root.at("token.issuer") {
        match issuer.text().filter(|text| is_claim(text)) {
            Some(text) => migration.set("auth.token", "issuer", Value::text(text), issuer.line, "token.issuer"),
            None => migration.warn(issuer.line, "token.issuer: not a valid issuer; the first of `hostnames` is used"),
        }
    }
    let Some(expiration) = root.at("token.expiration") else { return };
    let Some(seconds) = expiration.text().and_then(|text| text.parse::<u64>().ok()) else {
        return migration.warn(expiration.line, "token.expiration: not a number of seconds; tokens are valid for 5m");
    };
    let bounded = seconds.clamp(*LIFETIME.start(), *LIFETIME.end());
    if bounded != seconds {
        migration.warn(expiration.line, "token.expiration: tokens are valid for 1m to 1h; the nearest value was taken");
    }
    migration.set("auth.token", "lifetime", Value::text(span::spell(bounded)), expiration.line, "token.expiration");
}
