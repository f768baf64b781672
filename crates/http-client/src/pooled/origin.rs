//! The origin of a URL: scheme, host and port (RFC 6454).
//!
//! Invariant: an [`Origin`] has a host in lower case and a port that is not 0.

use std::{fmt, str::FromStr};

use http::Uri;

/// Scheme, host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Origin {
    /// The origin of an absolute URI without a user name.
    pub fn from_uri(uri: &Uri) -> Result<Self, InvalidOrigin> {
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) | None => return Err(InvalidOrigin::NotHttp),
        };
        let authority = uri.authority().ok_or(InvalidOrigin::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(InvalidOrigin::Credentials);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        // "host:" and "host:99999" have a port that cannot be parsed.
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if has_port => return Err(InvalidOrigin::Malformed),
            None => scheme.default_port(),
        };
        if host.is_empty() || port == 0 {
            return Err(InvalidOrigin::Malformed);
        }
        Ok(Self { scheme, host, port })
    }

    /// The host in lower case, IPv6 addresses without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also if it is the default of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the scheme is `http`.
    #[must_use]
    pub fn is_plaintext(&self) -> bool {
        self.scheme == Scheme::Http
    }

    /// Host and port for the `Host` header, without the default port.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Reads `scheme://host[:port]`; a path is ignored.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        Self::from_uri(&text.parse().map_err(|_| InvalidOrigin::Malformed)?)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// Why a URL has no origin that requests can go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigin {
    /// Not a URL with a host and a valid port.
    #[error("not a URL with a host")]
    Malformed,
    /// A scheme other than `http` and `https`, or none.
    #[error("the URL must begin with https:// or http://")]
    NotHttp,
    /// A user name or a password before the host.
    #[error("the URL must not contain a user name or a password")]
    Credentials,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_scheme_the_host_and_the_port_of_a_url() {
        for (text, origin, authority) in [
            ("https://S3.example.com/bucket?x", "https://s3.example.com", "s3.example.com"),
            ("https://s3.example.com:443", "https://s3.example.com", "s3.example.com"),
            ("http://127.0.0.1:8333/", "http://127.0.0.1:8333", "127.0.0.1:8333"),
            ("http://[::1]:80", "http://[::1]", "[::1]"),
            ("http://a:443", "http://a:443", "a:443"),
        ] {
            let parsed: Origin = text.parse().unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.authority().as_str()), (origin, authority), "{text}");
            assert_eq!(origin.parse(), Ok(parsed), "{text}");
        }
        assert_ne!("http://a:443".parse::<Origin>(), "https://a:443".parse::<Origin>());
    }

    #[test]
    fn what_requests_cannot_go_to_is_no_origin() {
        for (text, reason) in [
            ("ftp://a", InvalidOrigin::NotHttp),
            ("a.example", InvalidOrigin::NotHttp),
            ("/path", InvalidOrigin::NotHttp),
            ("", InvalidOrigin::Malformed),
            ("https://", InvalidOrigin::Malformed),
            ("https://a:", InvalidOrigin::Malformed),
            ("https://a:0", InvalidOrigin::Malformed),
            ("https://a:99999", InvalidOrigin::Malformed),
            ("https://user:word@a", InvalidOrigin::Credentials),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(reason), "{text:?}");
        }
    }
}
