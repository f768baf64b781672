//! Computes the URL of the token endpoint (the realm of a challenge) as clients reach it from outside.
//!
//! Invariant: a realm is on one of this server's own addresses, whatever host the client names. From the client's text
//! it takes at most the spelling of an IP address of this server, and the port.

use std::{borrow::Cow, fmt::Display, net::IpAddr};

use http::uri::Authority;

use super::connection_info::RequestedHost;

/// The host names and addresses under which clients reach this server and its token endpoint.
#[derive(Clone, Debug)]
pub struct TokenRealm {
    hosts: Vec<CanonicalHost>,
}

/// A host in a normalised form, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CanonicalHost {
    /// An IP address; an IPv4-mapped IPv6 address becomes the IPv4 address.
    Address(IpAddr),
    /// A DNS name in lower case, without the final dot.
    Name(String),
}

impl CanonicalHost {
    /// Parses a host as it appears in a URL or a `Host` header.
    fn parse(text: &str) -> Self {
        let text = without_dot(text);
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        match bare.parse::<IpAddr>() {
            Ok(address) => Self::Address(address.to_canonical()),
            Err(_) => Self::Name(text.to_ascii_lowercase()),
        }
    }

    /// The host as it appears in a URL, with brackets around an IPv6 address.
    fn to_url_host(&self) -> Cow<'_, str> {
        match self {
            Self::Address(address @ IpAddr::V6(_)) => format!("[{address}]").into(),
            Self::Address(address @ IpAddr::V4(_)) => address.to_string().into(),
            Self::Name(name) => name.into(),
        }
    }
}

/// Removes a final dot. A name with a final dot is the same name (RFC 1034 section 3.1), and certificates contain it
/// without the dot.
fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

impl TokenRealm {
    /// The realm for the names under which clients reach this server; the first is used when a client names an unknown
    /// host. The names are strings because this module does not depend on the TLS host name type.
    pub fn new(hostnames: impl IntoIterator<Item = impl Display>) -> Self {
        Self { hosts: hostnames.into_iter().map(|name| CanonicalHost::parse(&name.to_string())).collect() }
    }

    /// The URL of the token endpoint for a request: on the host that the client requested, from this server or from a
    /// trusted proxy, if it is one of this server's hosts; else on the first configured host. `local_port` is the port
    /// that accepted the connection.
    pub(super) fn url(&self, requested: &RequestedHost, local_port: u16) -> String {
        if let Some(authority) = requested.authorities().find_map(|authority| self.own_authority(authority)) {
            return format!("https://{authority}/token");
        }
        let first = self.hosts.first().map_or("localhost".into(), CanonicalHost::to_url_host);
        let port = if local_port == 443 { String::new() } else { format!(":{local_port}") };
        format!("https://{first}{port}/token")
    }

    /// The authority for the realm of a client that requested this one; `None` if it is not one of this server's hosts.
    ///
    /// A DNS name is written as it is configured, however the client spells it. An IP address and the port keep the
    /// client's spelling: go-containerregistry accepts a realm on a private address only if it equals, character by
    /// character, the `host:port` that it connects to, and Docker trusts a CA per `host:port`.
    fn own_authority(&self, authority: &Authority) -> Option<String> {
        // An authority may contain user information, which must not appear in a realm.
        if authority.as_str().contains('@') {
            return None;
        }
        // A port without digits is the default port. One that is no port would be missing in the realm.
        let has_port = !matches!(authority.as_str().strip_prefix(authority.host()), Some("" | ":"));
        if has_port && authority.port_u16().is_none() {
            return None;
        }
        let host = CanonicalHost::parse(authority.host());
        self.hosts.contains(&host).then(|| {
            let spelled = match &host {
                CanonicalHost::Address(_) => without_dot(authority.host()),
                CanonicalHost::Name(name) => name,
            };
            authority.port_u16().map_or_else(|| spelled.to_owned(), |port| format!("{spelled}:{port}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Uri, header};

    use super::*;

    fn url(host: &str, port: u16) -> String {
        forwarded(None, host, port)
    }

    fn forwarded(forwarded_host: Option<&str>, host: &str, local_port: u16) -> String {
        let realm = TokenRealm::new(["Registry.example", "::1", "10.0.0.7"]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        realm.url(&RequestedHost::parse(forwarded_host, &Uri::from_static("/v2/"), &headers), local_port)
    }

    #[test]
    fn the_realm_is_on_the_host_that_a_proxy_was_asked_for_if_that_is_ours() {
        let behind = |host| forwarded(Some(host), "10.0.0.7:8443", 8443);
        assert_eq!(behind("registry.example"), "https://registry.example/token");
        assert_eq!(behind("registry.example:5000"), "https://registry.example:5000/token");
        for host in ["evil.example", "x@registry.example", "", "\"", "registry.example/a"] {
            assert_eq!(behind(host), "https://10.0.0.7:8443/token", "{host}");
        }
    }

    #[test]
    fn the_realm_is_on_the_host_that_the_caller_used() {
        assert_eq!(url("registry.example:8443", 8443), "https://registry.example:8443/token");
        assert_eq!(url("registry.example:443", 8443), "https://registry.example:443/token");
        assert_eq!(url("10.0.0.7:5000", 8443), "https://10.0.0.7:5000/token");
        assert_eq!(url("[::1]:5000", 8443), "https://[::1]:5000/token");
    }

    #[test]
    fn the_realm_is_never_on_a_host_that_is_not_ours() {
        for host in [
            "evil.example",
            "evil.example:8443",
            "registry.example@evil.example",
            "x@registry.example",
            "",
            ".",
            "\"a",
            "registry.example..",
            "registry.example.evil.example.",
            "[::2]",
            "[::ffff:10.0.0.8]",
            "10.0.0.70",
        ] {
            assert_eq!(url(host, 8443), "https://registry.example:8443/token", "{host}");
        }
        assert_eq!(url("evil.example", 443), "https://registry.example/token");
    }

    #[test]
    fn a_port_that_is_none_is_not_lost_in_the_realm() {
        for host in ["registry.example:99999", "registry.example:65536", "10.0.0.7:99999", "[::1]:99999"] {
            assert_eq!(url(host, 8443), "https://registry.example:8443/token", "{host}");
        }
        assert_eq!(forwarded(Some("registry.example:99999"), "10.0.0.7:5000", 8443), "https://10.0.0.7:5000/token");
    }

    #[test]
    fn another_spelling_of_an_address_of_ours_gets_the_realm_of_that_address() {
        for host in ["registry.example.", "REGISTRY.Example", "Registry.Example."] {
            assert_eq!(url(host, 443), "https://registry.example/token", "{host}");
            assert_eq!(url(&format!("{host}:5000"), 8443), "https://registry.example:5000/token", "{host}");
        }
        assert_eq!(url("registry.example:", 8443), "https://registry.example/token");
        assert_eq!(url("10.0.0.7.:5000", 8443), "https://10.0.0.7:5000/token");
        assert_eq!(forwarded(Some("REGISTRY.example.:5000"), "10.0.0.7", 8443), "https://registry.example:5000/token");
    }

    #[test]
    fn the_spelling_of_an_ip_address_is_the_callers_because_clients_compare_it_letter_by_letter() {
        for host in ["[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::ffff:10.0.0.7]", "[::FFFF:a00:7]"] {
            assert_eq!(url(&format!("{host}:5000"), 8443), format!("https://{host}:5000/token"));
            assert_eq!(url(host, 443), format!("https://{host}/token"));
        }
    }

    #[test]
    fn without_a_host_of_ours_an_ipv6_address_that_comes_first_is_in_brackets() {
        let (realm, requested) = (TokenRealm::new(["::1"]), RequestedHost::default());
        assert_eq!(realm.url(&requested, 8443), "https://[::1]:8443/token");
        assert_eq!(realm.url(&requested, 443), "https://[::1]/token");
    }
}
