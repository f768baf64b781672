//! Where the registry listens, its names and its certificate.
//!
//! Invariant: nothing that was HTTPS becomes anything else; what was plain HTTP becomes HTTPS, and that is told.

use std::net::SocketAddr;

use super::{
    super::{draft::Value, talk::Migration, yaml::At},
    duration, path,
};
use crate::tls::Hostname;

pub(super) fn read(root: At<'_>, migration: &mut Migration) {
    listen(root, migration);
    hostnames(root, migration);
    certificate(root, migration);
    if let Some(at) = root.at("http.draintimeout")
        && let Some(value) = duration(at, "http.draintimeout", 0, 3600, migration)
    {
        migration.set("limits", "drain_timeout", value, at.line, "http.draintimeout");
    }
}

fn listen(root: At<'_>, migration: &mut Migration) {
    let is_unix = root.at("http.net").is_some_and(|at| at.text().is_some_and(|net| net.starts_with("unix")));
    let Some(at) = root.at("http.addr").filter(|_| !is_unix) else { return };
    match at.text().and_then(address) {
        Some(address) => migration.set("", "listen", Value::list([address]), at.line, "http.addr"),
        None => migration.warn(at.line, "http.addr: an address is an IP address, a colon and a port; set `listen`"),
    }
}

/// As Go listens: without a host on every address of both kinds, which `[::]` is.
fn address(text: &str) -> Option<SocketAddr> {
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

fn hostnames(root: At<'_>, migration: &mut Migration) {
    let Some(at) = root.at("http.host").filter(|at| !at.is_null()) else { return };
    let text = at.text().unwrap_or_default();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let port = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
    let host = &authority[..port.unwrap_or(authority.len())];
    match host.parse::<Hostname>() {
        Ok(host) => migration.set("", "hostnames", Value::list([host]), at.line, "http.host"),
        Err(error) => migration.warn(at.line, &format!("http.host: {error}; set `hostnames`")),
    }
}

fn certificate(root: At<'_>, migration: &mut Migration) {
    let (certificate, key) = (path(root, "http.tls.certificate"), path(root, "http.tls.key"));
    match (certificate, key) {
        (Some((certificate, line)), Some((key, key_line))) => {
            migration.set("tls.files", "certificate", certificate, line, "http.tls.certificate");
            migration.set("tls.files", "key", key, key_line, "http.tls.key");
        }
        (Some((_, line)), None) | (None, Some((_, line))) => migration.warn(
            line,
            "http.tls: a certificate needs its key beside it, and a key its certificate: write both in [tls.files]",
        ),
        (None, None) if root.at("http.tls.letsencrypt").is_some() => {}
        (None, None) => {
            let line = root.at("http").map(|at| at.line);
            migration.warn(
                line,
                "http.tls: there is no certificate: it was plain HTTP, which is not served; one is made on first start, and \
                 clients must trust its authority, or name yours in [tls.files]",
            );
        }
    }
    let Some(minimum) = root.at("http.tls.minimumtls") else { return };
    match minimum.text() {
        Some("tls1.3") => {
            migration.set("tls", "minimum_version", Value::text("1.3"), minimum.line, "http.tls.minimumtls");
        }
        Some("tls1.2") => {
            migration.set("tls", "minimum_version", Value::text("1.2"), minimum.line, "http.tls.minimumtls");
        }
        Some(_) | None => migration.warn(minimum.line, "http.tls.minimumtls: nothing older than TLS 1.2 is spoken"),
    }
}
