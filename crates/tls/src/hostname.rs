//! Parses and validates host names: DNS names and IP addresses.
//!
//! Invariant: a [`DnsName`] is in lower case and follows DNS's grammar, so it can be used in a certificate, a URL or a
//! header without another check.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A host as in a URL: a DNS name or an IP address, without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hostname {
    /// A DNS name.
    Name(DnsName),
    /// An IP address.
    Address(IpAddr),
}

impl Hostname {
    /// Returns the default names: this machine's name (if it is valid) and the loopback names and addresses.
    #[must_use]
    pub fn defaults(machine_name: Option<&str>) -> Vec<Self> {
        let localhost = Self::Name(DnsName("localhost".to_owned()));
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].map(Self::Address);
        let machine = machine_name.and_then(|name| name.parse().ok());
        let mut names = Vec::new();
        for name in machine.into_iter().chain([localhost]).chain(loopback) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Returns host and port as a URL's authority: IPv6 addresses in brackets, and no port 443, which `https` implies.
    #[must_use]
    pub fn authority(&self, port: u16) -> String {
        let host = match self {
            Self::Address(IpAddr::V6(address)) => format!("[{address}]"),
            Self::Address(IpAddr::V4(_)) | Self::Name(_) => self.to_string(),
        };
        if port == 443 { host } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for Hostname {
    type Err = InvalidHostname;

    fn from_str(text: &str) -> Result<Self, InvalidHostname> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            // Clients write ::ffff:10.0.0.1 as 10.0.0.1.
            return Ok(Self::Address(address.to_canonical()));
        }
        text.parse().map(Self::Name)
    }
}

/// A DNS name in lower case, without a trailing dot and without wildcards.
///
/// Underscores are accepted: RFC 952 does not permit them in host names, but containers of a Compose file may be called
/// `my_registry`, and Go's and rustls' verifiers accept them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(String);

impl DnsName {
    /// Maximum length in characters, without the trailing dot (RFC 1035, 2.3.4: 255 octets on the wire).
    pub const MAX_LEN: usize = 253;

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DnsName {
    type Err = InvalidHostname;

    fn from_str(text: &str) -> Result<Self, InvalidHostname> {
        if text.is_empty() {
            return Err(InvalidHostname::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(InvalidHostname::TooLong);
        }
        if text.contains('/') || text.contains(':') {
            return Err(InvalidHostname::MoreThanHost);
        }
        if text.contains('*') {
            return Err(InvalidHostname::Wildcard);
        }
        if !text.split('.').all(is_label) {
            return Err(InvalidHostname::Label);
        }
        let last = text.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidHostname::LooksLikeAddress);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

fn is_label(label: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
}

/// Why a text is not a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostname {
    /// The text is empty.
    #[error("a host name is empty")]
    Empty,
    /// The text is longer than [`DnsName::MAX_LEN`] bytes.
    #[error("a host name has at most {} characters", DnsName::MAX_LEN)]
    TooLong,
    /// The text contains a scheme, a port or a path.
    #[error("a host name must not contain 'https://', a port or a path")]
    MoreThanHost,
    /// A wildcard such as `*.example.com`, to which clients cannot connect.
    #[error("a host name names one host, so it holds no '*'")]
    Wildcard,
    /// A part between dots violates the grammar.
    #[error("each part of a host name is 1 to 63 letters, digits, '-' or '_', with '-' neither first nor last")]
    Label,
    /// The last part is a number, so clients would parse the name as an IPv4 address.
    #[error("this is neither an IP address nor a host name (a name does not end in a number)")]
    LooksLikeAddress,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Hostname, InvalidHostname> {
        text.parse()
    }

    #[test]
    fn names_are_lowered_and_addresses_are_addresses() {
        assert_eq!(parse("Registry.Example.COM").unwrap().to_string(), "registry.example.com");
        assert_eq!(parse("10.30.20.214").unwrap(), Hostname::Address("10.30.20.214".parse().unwrap()));
        assert_eq!(parse("[::1]").unwrap(), Hostname::Address("::1".parse().unwrap()));
        assert_eq!(parse("::ffff:10.0.0.1").unwrap().to_string(), "10.0.0.1");
        assert!(parse("my_registry").is_ok());
    }

    #[test]
    fn what_is_no_host_is_refused_with_its_reason() {
        assert_eq!(parse(""), Err(InvalidHostname::Empty));
        assert_eq!(parse("registry:5000"), Err(InvalidHostname::MoreThanHost));
        assert_eq!(parse("https://registry"), Err(InvalidHostname::MoreThanHost));
        assert_eq!(parse("*.example.com"), Err(InvalidHostname::Wildcard));
        assert_eq!(parse("a..b"), Err(InvalidHostname::Label));
        assert_eq!(parse("-a.b"), Err(InvalidHostname::Label));
        assert_eq!(parse("a b"), Err(InvalidHostname::Label));
        assert_eq!(parse("10.30.20.999"), Err(InvalidHostname::LooksLikeAddress));
        assert_eq!(parse(&"a".repeat(254)), Err(InvalidHostname::TooLong));
    }

    #[test]
    fn the_authority_brackets_ipv6_and_leaves_out_the_default_port() {
        assert_eq!(parse("::1").unwrap().authority(5000), "[::1]:5000");
        assert_eq!(parse("registry.test").unwrap().authority(443), "registry.test");
    }

    #[test]
    fn the_defaults_are_the_machine_and_the_loopback_without_doubles() {
        let text = |names: Vec<Hostname>| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(Hostname::defaults(Some("Machine"))), ["machine", "localhost", "127.0.0.1", "::1"]);
        assert_eq!(text(Hostname::defaults(Some("localhost"))), ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(text(Hostname::defaults(Some("not a name"))), ["localhost", "127.0.0.1", "::1"]);
    }
}
