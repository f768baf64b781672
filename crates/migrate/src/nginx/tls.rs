//! Carries over certificates, keys and the minimum TLS version, to `[tls.files]` and `[tls]`.
//!
//! Invariant: a path that nginx would compute at run time, or a key that it would fetch from another store, is
//! reported and not guessed.

use super::{
    super::{report::Migration, toml_writer::TomlValue},
    scope::Scope,
    syntax::Directive,
};

/// Writes the certificates of these servers and the minimum version of the first one.
pub(super) fn read(servers: &[Scope<'_>], migration: &mut Migration) {
    let mut is_first = true;
    for server in servers {
        for (certificate, key) in certificate_pairs(*server, migration) {
            let (Some(chain), Some(secret)) = (file_path(certificate, migration), file_path(key, migration)) else {
                continue;
            };
            if is_first {
                migration.set("tls.files", "certificate", chain, certificate.line, "ssl_certificate");
                migration.set("tls.files", "key", secret, key.line, "ssl_certificate_key");
            } else {
                migration.add_certificate(chain, secret, certificate.line);
            }
            is_first = false;
        }
    }
    let protocols = servers.first().and_then(|server| server.find("ssl_protocols"));
    if let Some(protocols) = protocols {
        let speaks = |version: &str| protocols.arguments.iter().any(|argument| argument == version);
        if ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"].into_iter().any(speaks) {
            migration.warn(protocols.line, "ssl_protocols: TLS 1.2 is the oldest version supported");
        }
        let minimum = if speaks("TLSv1.3") && !speaks("TLSv1.2") { "1.3" } else { "1.2" };
        migration.set("tls", "minimum_version", TomlValue::text(minimum), protocols.line, "ssl_protocols");
    }
}

/// The certificates of a server, each with its key: nginx pairs them by their order.
fn certificate_pairs<'a>(server: Scope<'a>, migration: &mut Migration) -> Vec<(&'a Directive, &'a Directive)> {
    let certificates = server.find_all(&["ssl_certificate"]);
    let keys = server.find_all(&["ssl_certificate_key"]);
    let paired = certificates.len().min(keys.len());
    if let Some(half) = certificates.get(paired).or(keys.get(paired)) {
        migration.warn(half.line, "ssl_certificate: a certificate needs its key beside it; write both in [tls.files]");
    }
    certificates.into_iter().zip(keys).collect()
}

/// Whether this is the name of a file, the same for every request.
pub(super) fn is_file_name(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(['$', '\0'])
        && !["data:", "engine:", "store:"].iter().any(|scheme| text.starts_with(scheme))
}

/// The path that a directive names, made absolute; `None` with a warning if it is not a file name.
pub(super) fn file_path(directive: &Directive, migration: &mut Migration) -> Option<TomlValue> {
    let Directive { name, line, .. } = directive;
    let text = directive.first_argument();
    if !is_file_name(text) {
        migration.warn(*line, &format!("{name}: not the name of a file; write its contents to one and name that"));
        return None;
    }
    if text.starts_with('/') {
        return Some(TomlValue::text(text));
    }
    migration.warn(*line, &format!("{name}: nginx looks in its own folder for {text:?}; /etc/nginx was put before it"));
    Some(TomlValue::text(format!("/etc/nginx/{text}")))
}
