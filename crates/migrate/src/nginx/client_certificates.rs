//! Carries over the client certificates that nginx requires, to `[tls.client]`.
//!
//! nginx lets a certificate open a connection and names no user by it, so `user` is `"off"`. Invariant: certificates
//! count as required only if `[tls.client]` is written and says so.

use super::{
    super::{report::Migration, toml_writer::TomlValue},
    admission::ClientCertificates,
    if_condition::{self, IfEffect},
    scope::Scope,
    tls,
};

const TABLE: &str = "tls.client";

/// Writes `[tls.client]` and returns whether every connection requires a certificate.
pub(super) fn read(server: Scope<'_>, migration: &mut Migration) -> ClientCertificates {
    let authorities = server.find("ssl_client_certificate");
    let trusted = server.find("ssl_trusted_certificate");
    let verify = server.find("ssl_verify_client").filter(|directive| directive.first_argument() != "off");
    let Some(verify) = verify else {
        for unused in [authorities, trusted, server.find("ssl_crl")].into_iter().flatten() {
            let text = format!("{}: not needed: ssl_verify_client does not ask clients for certificates", unused.name);
            migration.note(unused.line, &text);
        }
        return ClientCertificates::NotRequired;
    };
    // Certificates may be optional in the handshake and still required by an `if` of the server.
    let refusing = server
        .directives()
        .iter()
        .any(|directive| directive.name == "if" && if_condition::effect(directive) == IfEffect::RequiresCertificate);
    let is_required = refusing || verify.first_argument() == "on";
    if verify.first_argument() == "optional_no_ca" && !is_required {
        let text = "ssl_verify_client optional_no_ca: certificates that nothing here verifies are not asked for";
        migration.warn(verify.line, text);
        return ClientCertificates::NotRequired;
    }
    let Some(directive) = authorities.or(trusted) else {
        migration.warn(verify.line, "ssl_verify_client: the authorities are missing; set tls.client.ca");
        return ClientCertificates::NotRequired;
    };
    let Some(ca) = tls::file_path(directive, migration) else { return ClientCertificates::NotRequired };
    if let (Some(_), Some(trusted)) = (authorities, trusted) {
        let text = "ssl_trusted_certificate: clients whose certificates only this file vouches for are refused; append it to the \
                    file of ssl_client_certificate";
        migration.warn(trusted.line, text);
    }
    let from = &directive.name;
    migration.set(TABLE, "ca", ca, directive.line, from);
    let mode = if is_required { "required" } else { "optional" };
    migration.set(TABLE, "mode", TomlValue::text(mode), verify.line, "ssl_verify_client");
    migration.set(TABLE, "user", TomlValue::text("off"), verify.line, "ssl_verify_client: a certificate names no user");
    let crl = server.find("ssl_crl");
    if let Some(crl) = crl {
        match tls::file_path(crl, migration) {
            Some(path) => migration.set(TABLE, "crl", path, crl.line, "ssl_crl"),
            None => return ClientCertificates::NotRequired,
        }
    }
    if is_required { ClientCertificates::Required } else { ClientCertificates::NotRequired }
}
