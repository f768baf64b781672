//! Certificates and versions of TLS.
//!
//! Invariant: a path that nginx would put together at run time, or ask somebody else for, is told and not guessed.

use super::{
    super::{draft::Value, talk::Migration},
    scope::Scope,
    syntax::Directive,
};

pub(super) fn read(server: Scope<'_>, migration: &mut Migration) {
    certificate(server, migration);
    if let Some(protocols) = server.find("ssl_protocols") {
        let speaks = |version: &str| protocols.arguments.iter().any(|argument| argument == version);
        if ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"].into_iter().any(speaks) {
            migration.warn(protocols.line, "ssl_protocols: nothing older than TLS 1.2 is spoken");
        }
        let minimum = if speaks("TLSv1.3") && !speaks("TLSv1.2") { "1.3" } else { "1.2" };
        migration.set("tls", "minimum_version", Value::text(minimum), protocols.line, "ssl_protocols");
    }
}

fn certificate(server: Scope<'_>, migration: &mut Migration) {
    let certificates = server.holding(&["ssl_certificate"]);
    let keys = server.holding(&["ssl_certificate_key"]);
    if let Some(second) = certificates.get(1) {
        migration.warn(second.line, "ssl_certificate: one certificate is served, the first was taken");
    }
    let (Some(certificate), Some(key)) = (certificates.first(), keys.first()) else {
        if let Some(half) = certificates.first().or(keys.first()) {
            migration
                .warn(half.line, "ssl_certificate: a certificate needs its key beside it; write both in [tls.files]");
        }
        return;
    };
    if let Some(password) = server.find("ssl_password_file") {
        migration.warn(
            password.line,
            "ssl_password_file: keys with a passphrase are not read; take it off with `openssl pkey -in KEY -out NEW`",
        );
    }
    if let (Some(chain), Some(secret)) = (path(certificate, migration), path(key, migration)) {
        migration.set("tls.files", "certificate", chain, certificate.line, "ssl_certificate");
        migration.set("tls.files", "key", secret, key.line, "ssl_certificate_key");
    }
}

/// The file that a directive names.
pub(super) fn path(directive: &Directive, migration: &mut Migration) -> Option<Value> {
    let Directive { name, line, .. } = directive;
    let text = directive.first();
    let is_file = !text.is_empty() && !text.contains(['$', '\0']);
    if !is_file || ["data:", "engine:", "store:"].iter().any(|scheme| text.starts_with(scheme)) {
        migration.warn(*line, &format!("{name}: not the name of a file; write its contents to one and name that"));
        return None;
    }
    if text.starts_with('/') {
        return Some(Value::text(text));
    }
    migration.warn(*line, &format!("{name}: nginx looks in its own folder for {text:?}; /etc/nginx was put before it"));
    Some(Value::text(format!("/etc/nginx/{text}")))
}
