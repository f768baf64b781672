//! Carries over the load balancers in front of nginx, to `trusted_proxies` and `proxy_protocol`.
//!
//! Invariant: a proxy is trusted only if it sends a header that Portcullis reads, or the PROXY protocol; otherwise
//! clients could send that header themselves.

use std::net::IpAddr;

use super::{
    super::{report::Migration, toml_writer::TomlValue},
    scope::Scope,
    syntax::Directive,
};

/// The header that nginx reads by default (`real_ip_header`).
const DEFAULT_HEADER: &str = "X-Real-IP";

/// Writes `trusted_proxies` and `proxy_protocol` from `set_real_ip_from`, `real_ip_header` and `listen`.
pub(super) fn read(server: Scope<'_>, migration: &mut Migration) {
    let listens: Vec<_> = server.directives().iter().filter(|directive| directive.name == "listen").collect();
    let speaks = |directive: &&&Directive| directive.arguments.iter().any(|word| word == "proxy_protocol");
    let protocol = listens.iter().find(speaks);
    let from = server.find_all(&["set_real_ip_from"]);
    let header = server.find("real_ip_header");
    let name = header.map_or(DEFAULT_HEADER, |directive| directive.first_argument());
    let is_read = name.eq_ignore_ascii_case("X-Forwarded-For") || protocol.is_some();
    let Some(first) = from.first() else {
        if let Some(listen) = protocol {
            let text = "listen: connections begin with the PROXY protocol, and no set_real_ip_from names its senders; name the load \
                        balancers in trusted_proxies and set proxy_protocol = true";
            migration.warn(listen.line, text);
        }
        return;
    };
    if !is_read {
        let line = header.map_or(first.line, |directive| directive.line);
        let text = format!(
            "real_ip_header: {name} is not read; let the load balancer write X-Forwarded-For or the PROXY protocol, and name it \
             in trusted_proxies"
        );
        migration.warn(line, &text);
        return;
    }
    let mut networks: Vec<String> = Vec::new();
    for directive in &from {
        match parse_network(directive.first_argument()) {
            Some(network) if !networks.contains(&network) => networks.push(network),
            Some(_) => {}
            None => {
                let text = format!(
                    "set_real_ip_from: {} is not a network; name its addresses in trusted_proxies",
                    directive.first_argument()
                );
                migration.warn(directive.line, &text);
            }
        }
    }
    if networks.is_empty() {
        return;
    }
    migration.set("", "trusted_proxies", TomlValue::list(networks), first.line, "set_real_ip_from");
    if let Some(listen) = protocol {
        migration.set("", "proxy_protocol", TomlValue::Boolean(true), listen.line, "listen, with proxy_protocol");
        if listens.iter().any(|directive| !speaks(&directive)) {
            let text = "listen: proxy_protocol holds for all addresses, and for connections from trusted_proxies alone";
            migration.warn(listen.line, text);
        }
    }
}

/// A network in CIDR notation with its host bits cleared, which nginx does not require; `None` if it is not a network.
fn parse_network(text: &str) -> Option<String> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let most: u32 = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => return Some(address.to_string()),
        Some(bits) => bits.parse::<u32>().ok().filter(|bits| *bits <= most)?,
    };
    let first: IpAddr = match address {
        IpAddr::V4(address) => {
            std::net::Ipv4Addr::from(address.to_bits() & u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into()
        }
        IpAddr::V6(address) => {
            std::net::Ipv6Addr::from(address.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into()
        }
    };
    Some(format!("{first}/{bits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_from_their_first_address() {
        for (text, expected) in [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("10.1.2.3", Some("10.1.2.3")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("2001:db8::1/32", Some("2001:db8::/32")),
            ("unix:", None),
            ("balancer.example.com", None),
            ("10.0.0.0/33", None),
        ] {
            assert_eq!(parse_network(text).as_deref(), expected, "{text}");
        }
    }
}
