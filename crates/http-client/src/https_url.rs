//! Parses and validates `https://` URLs.
//!
//! Invariant: an [`HttpsUrl`] has the scheme `https` and a host, and has neither a user name, a password nor a
//! fragment.

use std::{fmt, str::FromStr};

use http::{Uri, uri::Scheme};

/// A validated `https://` URL, with its exact text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpsUrl {
    text: String,
    host: String,
    port: u16,
    request_target: String,
}

impl HttpsUrl {
    /// The longest URL in bytes.
    pub const MAX_LEN: usize = 2048;

    /// The exact text of the URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host in lower case, IPv6 addresses without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 443 if the URL has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The request target: path and query.
    #[must_use]
    pub fn request_target(&self) -> &str {
        &self.request_target
    }

    /// Host and port for the `Host` header, without the default port.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }

    /// Whether the URL has a query.
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.request_target.contains('?')
    }

    /// Whether both URLs have the same host and port.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }
}

impl FromStr for HttpsUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if text.len() > Self::MAX_LEN {
            return Err(InvalidUrl::TooLong);
        }
        // The parser drops a fragment silently.
        if text.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidUrl::Malformed)?;
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Err(InvalidUrl::NotHttps);
        }
        let authority = uri.authority().ok_or(InvalidUrl::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::Credentials);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        // "host:" and "host:99999" have a port that cannot be parsed.
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(0) => return Err(InvalidUrl::Malformed),
            Some(port) => port,
            None if has_port => return Err(InvalidUrl::Malformed),
            None => 443,
        };
        if host.is_empty() {
            return Err(InvalidUrl::Malformed);
        }
        let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        Ok(Self { text: text.to_owned(), host, port, request_target: target })
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is not an accepted URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Over [`HttpsUrl::MAX_LEN`] bytes.
    #[error("a URL must not exceed {} bytes", HttpsUrl::MAX_LEN)]
    TooLong,
    /// Not a URL, or one without a host.
    #[error("not a URL with a host")]
    Malformed,
    /// Another scheme, or none: over plain HTTP an attacker on the network could forge the response.
    #[error("only https is accepted, because plain HTTP can be altered in transit")]
    NotHttps,
    /// A user name or a password before the host.
    #[error("the URL must not contain a user name or a password")]
    Credentials,
    /// A fragment (`#…`), which is never sent to the server.
    #[error("the URL must not contain '#'")]
    Fragment,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> HttpsUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_url_is_https_with_a_host_and_without_a_password() {
        for (text, reason) in [
            ("http://issuer.example", InvalidUrl::NotHttps),
            ("ftp://issuer.example", InvalidUrl::NotHttps),
            ("issuer.example", InvalidUrl::NotHttps),
            ("/path", InvalidUrl::NotHttps),
            ("", InvalidUrl::Malformed),
            ("https://", InvalidUrl::Malformed),
            ("https://a b", InvalidUrl::Malformed),
            ("https://a:0", InvalidUrl::Malformed),
            ("https://a:", InvalidUrl::Malformed),
            ("https://a:99999", InvalidUrl::Malformed),
            ("https://user:word@issuer.example", InvalidUrl::Credentials),
            ("https://issuer.example#x", InvalidUrl::Fragment),
        ] {
            assert_eq!(text.parse::<HttpsUrl>(), Err(reason), "{text:?}");
        }
        assert_eq!(format!("https://a/{}", "x".repeat(2048)).parse::<HttpsUrl>(), Err(InvalidUrl::TooLong));
    }

    #[test]
    fn the_parts_are_those_that_a_request_needs() {
        let parts = |text| (url(text).host().to_owned(), url(text).port(), url(text).request_target().to_owned());
        assert_eq!(parts("https://Issuer.example"), ("issuer.example".to_owned(), 443, "/".to_owned()));
        assert_eq!(parts("https://[::1]:8443/a?b=c"), ("::1".to_owned(), 8443, "/a?b=c".to_owned()));
        assert_eq!(url("https://[::1]:8443/").authority(), "[::1]:8443");
        assert_eq!(url("https://a:443/").authority(), "a");
    }

    #[test]
    fn an_origin_is_a_host_and_a_port() {
        let same = |one, other| url(one).same_origin(&url(other));
        assert!(same("https://a.example/x", "https://A.example:443/y?z"));
        assert!(!same("https://a.example", "https://a.example:8443"));
        assert!(!same("https://a.example", "https://b.a.example"));
        assert!(!same("https://a.example", "https://a.example.evil"));
    }
}
