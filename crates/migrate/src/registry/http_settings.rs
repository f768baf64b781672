//! Carries over the registry's address, host names and certificates.
//!
//! Invariant: HTTPS stays HTTPS; plain HTTP becomes HTTPS, and that is reported.

use std::net::SocketAddr;

use super::{
    super::{report::Migration, toml_writer::TomlValue, yaml::NodeRef},
    startup_checks::non_empty_text,
    values::{bounded_duration, path_value},
};
use crate::acme_order;
use portcullis_tls::{Hostname, InvalidHostname, acme::LETS_ENCRYPT};

/// The source of the certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CertificateOrigin {
    /// No certificate: plain HTTP.
    Off,
    Files,
    Acme,
}

/// Writes `listen`, `hostnames`, `[tls]` and its tables, and `limits.drain_timeout`.
pub(super) fn read(root: NodeRef<'_>, migration: &mut Migration) {
    listen(root, migration);
    let has = |key| non_empty_text(root, key).is_some();
    let tls = match (has("http.tls.certificate"), has("http.tls.letsencrypt.cachefile")) {
        (true, _) => CertificateOrigin::Files,
        (false, true) => CertificateOrigin::Acme,
        (false, false) => CertificateOrigin::Off,
    };
    match tls {
        CertificateOrigin::Acme => acme_certificate(root, migration),
        CertificateOrigin::Files | CertificateOrigin::Off => {
            hostnames(root, migration);
            certificate(root, migration);
        }
    }
    if let Some(at) = root.get("http.tls.letsencrypt").filter(|at| tls != CertificateOrigin::Acme && !at.is_null()) {
        migration
            .warn(at.line, "http.tls.letsencrypt: registry:2 does not use it without `cachefile`; not carried over");
    }
    minimum_version(root, migration);
    client_certificates(root, tls, migration);
    if let Some(at) = root.get("http.draintimeout")
        && let Some(value) = bounded_duration(at, "http.draintimeout", 0, 3600, migration)
    {
        migration.set("limits", "drain_timeout", value, at.line, "http.draintimeout");
    }
}

fn listen(root: NodeRef<'_>, migration: &mut Migration) {
    let is_unix = root.get("http.net").is_some_and(|at| at.text().is_some_and(|net| net.starts_with("unix")));
    if is_unix {
        return;
    }
    let Some((_, at)) = non_empty_text(root, "http.addr") else {
        let line = root.get("http").map(|at| at.line);
        return migration
            .warn(line, "http.addr: missing; registry:2 takes any free port then, and `listen` is 0.0.0.0:443");
    };
    match at.text().and_then(parse_address) {
        Some(address) => migration.set("", "listen", TomlValue::list([address]), at.line, "http.addr"),
        None => migration.warn(at.line, "http.addr: an address is an IP address, a colon and a port; set `listen`"),
    }
}

/// The socket address as Go's `net.Listen` reads it: without a host, all IPv4 and IPv6 addresses (`[::]`).
fn parse_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    match host {
        "" => Some(SocketAddr::from(([0; 16], port))),
        "localhost" => Some(SocketAddr::from(([127, 0, 0, 1], port))),
        _ => None,
    }
}

fn hostnames(root: NodeRef<'_>, migration: &mut Migration) {
    if let Some((host, line)) = host(root, migration) {
        migration.set("", "hostnames", TomlValue::list([host]), line, "http.host");
    }
}

/// The host name of `http.host`, with its line; `None` with a warning if it is invalid.
fn host(root: NodeRef<'_>, migration: &mut Migration) -> Option<(Hostname, usize)> {
    let (text, at) = non_empty_text(root, "http.host")?;
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let port = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    let host = &authority[..port.unwrap_or(authority.len())];
    host.parse()
        .map(|host| (host, at.line))
        .map_err(|error: InvalidHostname| {
            migration.warn(at.line, &format!("http.host: {error}; set `hostnames`"));
        })
        .ok()
}

/// Writes `[tls.acme]` for the names that registry:2 orders certificates for.
fn acme_certificate(root: NodeRef<'_>, migration: &mut Migration) {
    let key = "http.tls.letsencrypt";
    let line = root.get(key).map_or(1, |at| at.line);
    let elements = root.get("http.tls.letsencrypt.hosts").map(NodeRef::elements).unwrap_or_default();
    let names = elements.into_iter().filter_map(|at| Some((at.text()?, at.line)));
    let mut order = acme_order::AcmeOrder::new(key, names, migration);
    match host(root, migration) {
        Some((host, _)) if order.hosts.contains(&host) => order.move_to_front(&host),
        Some((host, line)) => migration.warn(
            line,
            &format!(
                "http.host: {host} is none of letsencrypt.hosts, so no certificate is ordered for it; not carried over"
            ),
        ),
        None => {}
    }
    let directory = non_empty_text(root, "http.tls.letsencrypt.directoryurl").map_or(LETS_ENCRYPT, |(url, _)| url);
    let contact = non_empty_text(root, "http.tls.letsencrypt.email").map(|(email, _)| email);
    order.write_settings(directory, contact, line, migration);
}

/// Writes `[tls.client]`: with TLS, registry:2 requires client certificates of `http.tls.clientcas`.
fn client_certificates(root: NodeRef<'_>, tls: CertificateOrigin, migration: &mut Migration) {
    let key = "http.tls.clientcas";
    let Some(at) = root.get(key) else { return };
    let authorities: Vec<NodeRef<'_>> = at.elements();
    let Some(first) = authorities.first() else { return };
    if tls == CertificateOrigin::Off {
        let text =
            format!("{key}: without a certificate of its own registry:2 asks clients for none; not carried over");
        return migration.warn(at.line, &text);
    }
    migration.set("tls.client", "ca", TomlValue::text(first.text().unwrap_or_default()), first.line, key);
    migration.set("tls.client", "mode", TomlValue::text("required"), at.line, "registry:2 requires a certificate");
    migration.set("tls.client", "user", TomlValue::text("off"), at.line, "certificates do not sign users in");
    if authorities.len() > 1 {
        migration.warn(
            at.line,
            &format!(
                "{key}: [tls.client] has one file of authorities, and the first one was taken; put them all into it"
            ),
        );
    }
    if let Some((mode, at)) = non_empty_text(root, "http.tls.clientauth")
        && mode != "require-and-verify-client-cert"
    {
        let words = "registry:2 ignores this key and requires a certificate of these authorities; if yours is \
                     Distribution 3, write mode = \"optional\" below [tls.client]";
        migration.warn(at.line, &format!("http.tls.clientauth: {words}"));
    }
}

fn certificate(root: NodeRef<'_>, migration: &mut Migration) {
    let (certificate, key) = (path_value(root, "http.tls.certificate"), path_value(root, "http.tls.key"));
    match (certificate, key) {
        (Some((certificate, line)), Some((key, key_line))) => {
            migration.set("tls.files", "certificate", certificate, line, "http.tls.certificate");
            migration.set("tls.files", "key", key, key_line, "http.tls.key");
        }
        (Some((_, line)), None) | (None, Some((_, line))) => migration.warn(
            line,
            "http.tls: a certificate needs its key beside it, and a key its certificate: write both in [tls.files]",
        ),
        (None, None) => {
            let line = root.get("http").map(|at| at.line);
            migration.warn(
                line,
                "http.tls: there is no certificate: it was plain HTTP, which is not served; one is made on first start, and \
                 clients must trust its authority, or name yours in [tls.files]",
            );
        }
    }
}

fn minimum_version(root: NodeRef<'_>, migration: &mut Migration) {
    let Some((_, minimum)) = non_empty_text(root, "http.tls.minimumtls") else { return };
    match minimum.text() {
        Some("tls1.3") => {
            migration.set("tls", "minimum_version", TomlValue::text("1.3"), minimum.line, "http.tls.minimumtls");
        }
        Some("tls1.2") => {
            migration.set("tls", "minimum_version", TomlValue::text("1.2"), minimum.line, "http.tls.minimumtls");
        }
        Some(_) | None => migration.warn(minimum.line, "http.tls.minimumtls: TLS 1.2 is the oldest version supported"),
    }
}
