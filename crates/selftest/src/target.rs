//! Parses the URL of the registry to test into host and port.
//!
//! Invariant: a [`RegistryTarget`] is reached over HTTPS, and its host is valid in a URL, a header and a certificate.

use std::{fmt, str::FromStr};

use http::Uri;

use portcullis_tls::Hostname;

/// The host and port of a registry, as clients name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryTarget {
    /// The host name or address, without the port.
    pub host: Hostname,
    /// The port, by default 443.
    pub port: u16,
    /// `host` or `host:port` as given: the beginning of image references, and the name of the folders in which clients
    /// look for authorities.
    pub name: String,
}

impl fmt::Display for RegistryTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.name)
    }
}

impl FromStr for RegistryTarget {
    type Err = InvalidRegistryTarget;

    fn from_str(text: &str) -> Result<Self, InvalidRegistryTarget> {
        // A target may be copied from an image reference, which has no scheme.
        let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let uri: Uri = whole.parse().map_err(|_| InvalidRegistryTarget::Malformed)?;
        if uri.scheme_str() != Some("https") {
            return Err(InvalidRegistryTarget::NotHttps);
        }
        let authority = uri.authority().ok_or(InvalidRegistryTarget::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(InvalidRegistryTarget::User);
        }
        if !matches!(uri.path(), "" | "/" | "/v2" | "/v2/") || uri.query().is_some() {
            return Err(InvalidRegistryTarget::Path);
        }
        let host: Hostname = authority.host().parse().map_err(|_| InvalidRegistryTarget::Malformed)?;
        let port = match authority.port() {
            None if authority.as_str().len() > authority.host().len() => return Err(InvalidRegistryTarget::Malformed),
            None => 443,
            Some(port) => Some(port.as_u16()).filter(|port| *port > 0).ok_or(InvalidRegistryTarget::Malformed)?,
        };
        Ok(Self { host, port, name: authority.as_str().to_ascii_lowercase() })
    }
}

/// Why a text is not the URL of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegistryTarget {
    /// There is no host, or no valid port after the colon.
    #[error("expected https://HOST or https://HOST:PORT")]
    Malformed,
    /// The scheme is not `https`.
    #[error("only https is tested: clients use plain HTTP only with registries that are configured as insecure")]
    NotHttps,
    /// The URL contains a user before the host.
    #[error("name the user with --user; the password is read from the terminal or standard input")]
    User,
    /// The URL contains a path other than `/v2/`, or a query.
    #[error("a registry is a host and a port; name a repository with --repository")]
    Path,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_host_and_a_port_with_or_without_the_scheme() {
        let parts = |text: &str| {
            let target: RegistryTarget = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            (target.host.to_string(), target.port, target.name)
        };
        let expected = ("registry.test".to_owned(), 8443, "registry.test:8443".to_owned());
        for text in ["https://registry.test:8443", "https://Registry.Test:8443/", "registry.test:8443/v2/"] {
            assert_eq!(parts(text), expected, "{text}");
        }
        assert_eq!(parts("https://10.0.0.1"), ("10.0.0.1".to_owned(), 443, "10.0.0.1".to_owned()));
        assert_eq!(parts("https://[::1]:5000"), ("::1".to_owned(), 5000, "[::1]:5000".to_owned()));
    }

    #[test]
    fn what_is_no_registry_is_refused_with_its_reason() {
        for (text, reason) in [
            ("http://registry.test", InvalidRegistryTarget::NotHttps),
            ("https://alice:secret@registry.test", InvalidRegistryTarget::User),
            ("https://registry.test/team/app", InvalidRegistryTarget::Path),
            ("https://registry.test?x", InvalidRegistryTarget::Path),
            ("https://registry.test:", InvalidRegistryTarget::Malformed),
            ("https://registry.test:0", InvalidRegistryTarget::Malformed),
            ("https://registry.test:99999", InvalidRegistryTarget::Malformed),
            ("", InvalidRegistryTarget::Malformed),
        ] {
            assert_eq!(text.parse::<RegistryTarget>(), Err(reason), "{text:?}");
        }
    }
}
