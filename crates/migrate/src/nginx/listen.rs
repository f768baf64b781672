//! Parses the addresses of `listen` in all of nginx's notations and writes `listen` and `redirect`.
//!
//! Invariant: no address is written twice, and none is both for HTTPS and for the redirect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    super::{report::Migration, toml_writer::TomlValue},
    missing_settings,
    scope::Scope,
    syntax::Directive,
};

/// Whether the directive turns TLS on.
pub(super) fn is_tls(directive: &Directive) -> bool {
    match directive.name.as_str() {
        "listen" => directive.arguments.iter().any(|argument| argument == "ssl"),
        "ssl" => directive.first_argument() == "on",
        _ => false,
    }
}

/// The socket address; a missing host or port has nginx's default. `None` for names and Unix sockets.
fn parse_address(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return Some((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, port.parse().ok()?),
        _ => (text, 80),
    };
    let host: IpAddr = match host {
        "*" => Ipv4Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(host) => host.parse::<Ipv6Addr>().ok()?.into(),
            None => host.parse().ok()?,
        },
    };
    Some((host, port).into())
}

/// The plain-HTTP addresses of a server, each with its line.
pub(super) fn plaintext_addresses(server: Scope<'_>) -> Vec<(SocketAddr, usize)> {
    let own = server.directives();
    if own.iter().any(|directive| directive.name == "ssl" && is_tls(directive)) {
        return Vec::new();
    }
    let listens = own.iter().filter(|directive| directive.name == "listen" && !is_tls(directive));
    let found = listens.filter_map(|directive| Some((parse_address(directive.first_argument())?, directive.line)));
    if own.iter().any(|directive| directive.name == "listen") {
        found.collect()
    } else {
        vec![((Ipv4Addr::UNSPECIFIED, 80).into(), server.line)]
    }
}

/// Writes `listen`, and `redirect` from the plain-HTTP addresses and those of a `redirect` server.
pub(super) fn read(servers: &[Scope<'_>], redirect: Vec<(SocketAddr, usize)>, migration: &mut Migration) {
    let plain: Vec<(SocketAddr, usize)> = servers.iter().flat_map(|server| plaintext_addresses(*server)).collect();
    let mut secure: Vec<(SocketAddr, usize)> = Vec::new();
    let all = servers.iter().flat_map(Scope::directives);
    for directive in all.filter(|directive| directive.name == "listen") {
        report_options(directive, migration);
        match parse_address(directive.first_argument()) {
            Some(address) if !plain.contains(&(address, directive.line)) => {
                if secure.iter().all(|(known, _)| *known != address) {
                    secure.push((address, directive.line));
                }
            }
            Some(_) => {}
            None => {
                let text =
                    format!("listen: {:?} is not an IP address and a port; set `listen`", directive.first_argument());
                migration.warn(directive.line, &text);
            }
        }
    }
    let mut plain = plain;
    if secure.is_empty() && !plain.is_empty() {
        let line = plain[0].1;
        migration.warn(
            line,
            "listen: it was plain HTTP, which is not served: it is HTTPS now, with a certificate that is made on first start; \
             clients must trust its authority, or name yours in [tls.files]",
        );
        secure = std::mem::take(&mut plain);
        secure.dedup_by_key(|(address, _)| *address);
    }
    if let Some((_, line)) = secure.first() {
        let addresses = TomlValue::list(secure.iter().map(|(address, _)| address));
        migration.set("", "listen", addresses, *line, "listen");
    }
    for (_, line) in &plain {
        migration
            .warn(*line, "listen: the registry could be reached in plain HTTP; such requests are sent to HTTPS now");
    }
    write_redirect(
        plain.into_iter().chain(redirect).filter(|(one, _)| secure.iter().all(|(other, _)| one != other)),
        migration,
    );
}

fn write_redirect(mut addresses: impl Iterator<Item = (SocketAddr, usize)>, migration: &mut Migration) {
    let Some((first, line)) = addresses.next() else { return };
    migration.set("", "redirect", TomlValue::text(first), line, "listen, for the redirect to HTTPS");
    for (other, line) in addresses.filter(|(other, _)| *other != first) {
        let text = format!("listen: the redirect to HTTPS has one address, {first}; {other} is not served");
        migration.warn(line, &text);
    }
}

fn report_options(directive: &Directive, migration: &mut Migration) {
    let row = directive
        .arguments
        .iter()
        .filter(|option| *option == "quic")
        .find_map(|option| missing_settings::find_row(option));
    if let Some(row) = row {
        migration.warn(directive.line, &format!("listen: {}", row.reason()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_all_their_spellings() {
        for (text, expected) in [
            ("443", "0.0.0.0:443"),
            ("*:443", "0.0.0.0:443"),
            ("10.0.0.1", "10.0.0.1:80"),
            ("10.0.0.1:8443", "10.0.0.1:8443"),
            ("[::]:443", "[::]:443"),
            ("[::1]", "[::1]:80"),
            ("localhost:5000", "127.0.0.1:5000"),
            ("localhost", "127.0.0.1:80"),
        ] {
            assert_eq!(parse_address(text), Some(expected.parse().unwrap()), "{text}");
        }
        for text in ["unix:/run/nginx.sock", "registry.example.com:443", "", "[::1", "$port", "70000"] {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }
}
