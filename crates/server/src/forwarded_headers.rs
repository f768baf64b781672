//! Parses `X-Forwarded-*` and `Forwarded` headers: the client's address and the host it requested.
//!
//! Invariant: the headers are read only on connections from a trusted proxy, and the chain of addresses only as far as
//! trusted proxies wrote it: an untrusted client may have invented everything to the left of its own address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, header};
use tracing::debug;

use super::TrustedProxies;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client and host of a request, as trusted proxies report them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForwardedInfo {
    /// The rightmost address in the chain that is not a trusted proxy.
    pub(super) client: IpAddr,
    /// Whether a proxy forwarded the request, that is, one of the headers names a client.
    pub(super) is_forwarded: bool,
    /// Host that the client requested, optionally with a port; the client chose it freely.
    pub(super) host: Option<Arc<str>>,
    /// Whether the client sent the request to the proxy over plain HTTP.
    pub(super) is_plaintext: bool,
}

/// Reads the headers of a request on a connection from `peer`; `None` if `peer` is not a trusted proxy.
pub(super) fn parse_headers(headers: &HeaderMap, peer: IpAddr, proxies: &TrustedProxies) -> Option<ForwardedInfo> {
    if !proxies.trusts(peer) {
        return None;
    }
    let chain = header_elements(headers, &FOR);
    let chain: Vec<_> = chain.iter().map(|node| parse_address(node)).collect();
    let standard = forwarded_elements(headers);
    let by_standard: Vec<_> = standard.iter().map(|element| element.node.as_deref().and_then(parse_address)).collect();
    let client = match (chain.is_empty(), by_standard.is_empty()) {
        (_, true) => client_address(&chain, peer, proxies),
        (true, false) => client_address(&by_standard, peer, proxies),
        (false, false) => {
            // A proxy usually writes one of the two headers and passes on the other as the client sent it.
            let (one, other) = (client_address(&chain, peer, proxies), client_address(&by_standard, peer, proxies));
            if one == other {
                one
            } else {
                debug!(%peer, "X-Forwarded-For and Forwarded name different clients; both are ignored");
                peer
            }
        }
    };
    let plain = header_elements(headers, &PROTO).last().cloned().or_else(|| standard.last()?.proto.clone());
    let is_plain = plain.is_some_and(|proto| proto.eq_ignore_ascii_case("http"));
    let host = requested_host(headers).or_else(|| standard.first()?.host.clone());
    let is_passed_on = !(chain.is_empty() && by_standard.is_empty());
    Some(ForwardedInfo { client, is_forwarded: is_passed_on, host: host.map(Arc::from), is_plaintext: is_plain })
}

/// Walks the chain from the right, past trusted proxies, to the first other address. An unreadable element ends the
/// walk.
fn client_address(chain: &[Option<IpAddr>], peer: IpAddr, proxies: &TrustedProxies) -> IpAddr {
    let mut client = peer;
    for node in chain.iter().rev() {
        let Some(address) = node else { break };
        client = *address;
        if !proxies.trusts(client) {
            break;
        }
    }
    client
}

/// Returns the elements of a comma-separated header, over all its lines.
fn header_elements(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).into_iter();
    // A line that is not text still counts as an element of the chain.
    let lines = lines.map(|line| line.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(|element| element.trim().to_owned()).collect()
}

/// Returns the host that the first proxy received; adds the port if only `X-Forwarded-RedirectPort` contains it.
fn requested_host(headers: &HeaderMap) -> Option<String> {
    let host = header_elements(headers, &HOST).into_iter().next().filter(|host| !host.is_empty())?;
    let has_port = host.rsplit_once(':').is_some_and(|(name, _)| !name.contains(':') || name.ends_with(']'));
    let port = header_elements(headers, &PORT).into_iter().next().and_then(|port| port.parse::<u16>().ok());
    match port {
        Some(port) if !has_port && port != 443 => Some(format!("{host}:{port}")),
        Some(_) | None => Some(host),
    }
}

/// Parses an address as proxies write it: bare, or with a port and then, for IPv6, in brackets.
fn parse_address(node: &str) -> Option<IpAddr> {
    let bare = || node.parse::<IpAddr>().ok();
    let with_port = || node.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    bare().or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

/// One element of a `Forwarded` header (RFC 7239).
#[derive(Default)]
struct ForwardedElement {
    node: Option<String>,
    host: Option<String>,
    proto: Option<String>,
}

fn forwarded_elements(headers: &HeaderMap) -> Vec<ForwardedElement> {
    let lines = headers.get_all(header::FORWARDED).into_iter().map(|line| line.to_str().unwrap_or("?"));
    lines.flat_map(|line| split_unquoted(line, ',')).map(|text| parse_element(&text)).collect()
}

fn parse_element(text: &str) -> ForwardedElement {
    let mut element = ForwardedElement::default();
    for pair in split_unquoted(text, ';') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = unquote(value.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => element.node = Some(value),
            "host" => element.host = Some(value),
            "proto" => element.proto = Some(value),
            _ => {}
        }
    }
    element
}

/// Splits at a separator outside quotes.
fn split_unquoted(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut part, mut is_quoted, mut is_escaped) = (Vec::new(), String::new(), false, false);
    for character in text.chars() {
        if character == separator && !is_quoted {
            parts.push(std::mem::take(&mut part).trim().to_owned());
            continue;
        }
        if character == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = is_quoted && character == '\\' && !is_escaped;
        part.push(character);
    }
    parts.push(part.trim().to_owned());
    parts
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    inner.replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "10.0.0.1";

    fn proxies() -> TrustedProxies {
        TrustedProxies {
            subnets: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            uses_proxy_protocol: false,
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        lines.iter().map(pair).fold(HeaderMap::new(), |mut map, (name, value): (_, HeaderValue)| {
            map.append(name, value);
            map
        })
    }

    fn parse_lines(lines: &[(&'static str, &str)]) -> ForwardedInfo {
        parse_headers(&headers(lines), PEER.parse().unwrap(), &proxies()).unwrap()
    }

    fn client(lines: &[(&'static str, &str)]) -> String {
        parse_lines(lines).client.to_string()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_listened_to() {
        let lines = headers(&[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-host", "a.test")]);
        assert_eq!(parse_headers(&lines, "192.0.2.1".parse().unwrap(), &proxies()), None);
        assert_eq!(parse_headers(&lines, PEER.parse().unwrap(), &TrustedProxies::default()), None);
        assert!(parse_headers(&lines, "::ffff:10.0.0.1".parse().unwrap(), &proxies()).is_some());
    }

    #[test]
    fn the_client_is_the_nearest_that_is_no_trusted_proxy() {
        let of = |chain: &str| client(&[("x-forwarded-for", chain)]);
        assert_eq!(of("203.0.113.9"), "203.0.113.9");
        assert_eq!(of("198.51.100.1, 203.0.113.9"), "203.0.113.9", "the left one may be made up");
        assert_eq!(of("198.51.100.1, 203.0.113.9, 10.2.3.4,fd00::1"), "203.0.113.9");
        assert_eq!(of("10.9.9.9, 10.2.3.4"), "10.9.9.9", "a client of our own network");
        assert_eq!(of("203.0.113.9:4711"), "203.0.113.9");
        assert_eq!(of("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(of("2001:db8::1"), "2001:db8::1");
        assert_eq!(of("::ffff:203.0.113.9"), "203.0.113.9");
        let two_lines = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(client(&two_lines), "203.0.113.9");
    }

    #[test]
    fn what_cannot_be_read_ends_the_way() {
        for chain in ["", "unknown", "203.0.113.9, unknown", "203.0.113.9,", "203.0.113.9, a b"] {
            assert_eq!(client(&[("x-forwarded-for", chain)]), PEER, "{chain:?}");
        }
        assert_eq!(client(&[("x-forwarded-for", "203.0.113.9, unknown, 10.2.3.4")]), "10.2.3.4");
    }

    #[test]
    fn the_standard_header_says_the_same() {
        let of = |value: &str| client(&[("forwarded", value)]);
        assert_eq!(of("for=203.0.113.9;proto=https;by=10.0.0.1"), "203.0.113.9");
        assert_eq!(of("for=198.51.100.1, For=\"[2001:db8::1]:4711\""), "2001:db8::1");
        assert_eq!(of("for=\"203.0.113.9,;\", for=_hidden"), PEER);
        let both = |value: &str| client(&[("x-forwarded-for", "203.0.113.9"), ("forwarded", value)]);
        assert_eq!(both("for=203.0.113.9"), "203.0.113.9");
        assert_eq!(both("for=198.51.100.1"), PEER, "one of them was made up");
    }

    #[test]
    fn the_host_and_the_protocol_are_the_ones_of_the_client() {
        let host = |lines: &[(&'static str, &str)]| parse_lines(lines).host.as_deref().map(str::to_owned);
        assert_eq!(host(&[("x-forwarded-host", "a.test:8443, inner")]).unwrap(), "a.test:8443");
        assert_eq!(host(&[("x-forwarded-host", "a.test"), ("x-forwarded-port", "8443")]).unwrap(), "a.test:8443");
        assert_eq!(host(&[("x-forwarded-host", "a.test"), ("x-forwarded-port", "443")]).unwrap(), "a.test");
        assert_eq!(host(&[("x-forwarded-host", "[::1]"), ("x-forwarded-port", "1")]).unwrap(), "[::1]:1");
        assert_eq!(host(&[("forwarded", "host=\"a.test:1\";proto=http")]).unwrap(), "a.test:1");
        assert_eq!(host(&[]), None);
        assert!(parse_lines(&[("x-forwarded-proto", "http")]).is_plaintext);
        assert!(parse_lines(&[("forwarded", "proto=http")]).is_plaintext);
        assert!(!parse_lines(&[("x-forwarded-proto", "https")]).is_plaintext);
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_the_proxy_s_own_entry_decides(made_up in "[ -~]{0,60}") {
            let chain = format!("{made_up},203.0.113.9");
            prop_assert_eq!(client(&[("x-forwarded-for", &chain)]), "203.0.113.9");
        }
    }
}
