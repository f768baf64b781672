//! The proxies through which requests go, as the environment of the process names them.
//!
//! `HTTPS_PROXY` and `HTTP_PROXY` have the form `http://[user:password@]host[:port]`; the scheme may be missing.
//! `NO_PROXY` is a list of hosts, domains, addresses and subnets, each with or without a port, separated by commas; `*`
//! is every host. Loopback addresses and `localhost` are never reached through a proxy.
//!
//! Invariant: the user name and the password of a proxy are in no message and in no `Debug` output.

use std::{fmt, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use super::Origin;

/// The proxies for each scheme, and the hosts that are reached without one. The default has none.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    exceptions: Vec<ProxyException>,
}

impl Proxies {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, or the same names in lower case. `variable` returns the value
    /// of an environment variable.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidProxy> {
        let value = |name: &str| {
            let value = variable(name).or_else(|| variable(&name.to_ascii_lowercase()));
            value.filter(|value| !value.is_empty())
        };
        let proxy = |name| value(name).map(|value| Proxy::parse(&value).ok_or(InvalidProxy(name))).transpose();
        let exceptions = value("NO_PROXY").unwrap_or_default();
        Ok(Self {
            https: proxy("HTTPS_PROXY")?,
            http: proxy("HTTP_PROXY")?,
            exceptions: exceptions.split(',').filter_map(ProxyException::parse).collect(),
        })
    }

    /// The proxy for a server; `None`: it is reached directly.
    pub(super) fn find(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = if origin.is_plaintext() { self.http.as_ref() } else { self.https.as_ref() };
        proxy.filter(|_| !is_local(origin.host()) && !self.exceptions.iter().any(|entry| entry.matches(origin)))
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The value of a variable is not a proxy that can be used. The value may contain a password and is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} must have the form http://host:port or http://user:password@host:port")]
pub struct InvalidProxy(&'static str);

/// A proxy, which is reached over plain HTTP.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) origin: Origin,
    /// The value of `Proxy-Authorization`.
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let authority = rest.split(['/', '?', '#']).next()?;
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials), host),
            None => (None, authority),
        };
        let origin = Origin::from_uri(&format!("{scheme}://{host}/").parse::<Uri>().ok()?).ok()?;
        let authorization = match credentials {
            Some(credentials) => Some(basic_authorization(credentials)?),
            None => None,
        };
        origin.is_plaintext().then_some(Self { origin, authorization })
    }
}

fn basic_authorization(credentials: &str) -> Option<HeaderValue> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let mut decoded: Vec<u8> = percent_decode_str(user).collect();
    decoded.push(b':');
    decoded.extend(percent_decode_str(password));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(decoded))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.origin)
    }
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug)]
struct ProxyException {
    hosts: ExceptionHosts,
    /// `None`: every port.
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum ExceptionHosts {
    All,
    Subnet(IpNet),
    /// A domain without a dot in front, and the names below it.
    Domain(String),
}

impl ProxyException {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_ascii_lowercase();
        let (host, port) = match entry.rsplit_once(':') {
            // More than one colon without brackets is an IPv6 address.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port.parse().ok()?)),
            Some(_) | None => (entry.as_str(), None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let hosts = if host == "*" {
            ExceptionHosts::All
        } else if let Some(subnet) = host.parse().ok().or_else(|| host.parse().ok().map(|host: IpAddr| host.into())) {
            ExceptionHosts::Subnet(subnet)
        } else {
            ExceptionHosts::Domain(host.trim_start_matches('*').trim_start_matches('.').to_owned())
        };
        (!host.is_empty()).then_some(Self { hosts, port })
    }

    fn matches(&self, origin: &Origin) -> bool {
        let host = origin.host();
        self.port.is_none_or(|port| port == origin.port())
            && match &self.hosts {
                ExceptionHosts::All => true,
                ExceptionHosts::Subnet(subnet) => host.parse().is_ok_and(|host: IpAddr| subnet.contains(&host)),
                ExceptionHosts::Domain(domain) => {
                    host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, InvalidProxy> {
        Proxies::from_env(|name| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()))
    }

    fn proxy_for(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.find(&url.parse().unwrap()).map(|proxy| proxy.origin.to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let both = proxies(&[("HTTPS_PROXY", "http://secure.test:3128/"), ("http_proxy", "plain.test:8080")]).unwrap();
        assert_eq!(proxy_for(&both, "https://store.test").as_deref(), Some("http://secure.test:3128"));
        assert_eq!(proxy_for(&both, "http://store.test").as_deref(), Some("http://plain.test:8080"));
        let none = proxies(&[("HTTPS_PROXY", "")]).unwrap();
        assert_eq!(proxy_for(&none, "https://store.test"), None);
    }

    #[test]
    fn exceptions_are_hosts_domains_addresses_and_subnets() {
        let exceptions =
            "a.test, .b.test,*.c.test,192.0.2.7,10.0.0.0/8,2001:db8::/32,d.test:8443,[2001:db9::1]:443,,x:y";
        let proxies = proxies(&[("HTTPS_PROXY", "http://proxy.test:3128"), ("NO_PROXY", exceptions)]).unwrap();
        for direct in [
            "https://a.test",
            "https://www.A.test:8443",
            "https://b.test",
            "https://www.c.test",
            "https://192.0.2.7",
            "https://10.1.2.3",
            "https://[2001:db8::1]",
            "https://d.test:8443",
            "https://[2001:db9::1]",
            "https://127.0.0.1",
            "https://localhost:8443",
            "https://[::1]",
        ] {
            assert_eq!(proxy_for(&proxies, direct), None, "{direct}");
        }
        for through in [
            "https://nota.test",
            "https://192.0.2.8",
            "https://d.test",
            "https://[2001:db9::1]:8443",
            "https://x",
            "https://11.0.0.1",
        ] {
            assert!(proxy_for(&proxies, through).is_some(), "{through}");
        }
        let all = super::Proxies::from_env(|name| Some(if name == "NO_PROXY" { "*" } else { "proxy.test" }.to_owned()));
        assert_eq!(proxy_for(&all.unwrap(), "https://store.test"), None);
    }

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let proxies = proxies(&[("HTTPS_PROXY", "http://us%65r:p%40ss@proxy.test:3128")]).unwrap();
        let proxy = proxies.find(&"https://store.test".parse().unwrap()).unwrap();
        assert_eq!(proxy.authorization.as_ref().unwrap(), &format!("Basic {}", STANDARD.encode("user:p@ss")));
        let shown = format!("{proxies:?} {:?}", proxy.authorization);
        assert!(!shown.contains("ss@") && !shown.contains("Basic") && !shown.contains("%40"), "{shown}");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_without_showing_it() {
        for value in ["https://secret@proxy.test", "socks5://secret@proxy.test", "http://secret@", "secret proxy"] {
            let refused = proxies(&[("HTTPS_PROXY", value)]).unwrap_err();
            let message = refused.to_string();
            assert!(message.starts_with("HTTPS_PROXY ") && !message.contains("secret"), "{message}");
        }
    }
}
