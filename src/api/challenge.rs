//! The challenge: telling a client how to sign in.
//!
//! Invariant: the realm never names a host that the caller chose; a parameter without a value is left out, because Docker
//! stops reading at an empty one.

use std::fmt::{Display, Write as _};

use http::{HeaderMap, Uri, header, uri::Authority};

use super::{
    error::{ApiError, Code},
    state::Api,
};
use crate::{access::Scope, auth::ChallengeScheme};

/// Where clients find the token endpoint.
#[derive(Clone, Debug)]
pub struct Realm {
    hostnames: Vec<String>,
}

impl Realm {
    /// The names under which this server is reached; the first is used when a caller names another one. They are texts
    /// here: this floor does not know how certificates name hosts.
    pub fn new(hostnames: impl IntoIterator<Item = impl Display>) -> Self {
        Self { hostnames: hostnames.into_iter().map(|name| name.to_string().to_ascii_lowercase()).collect() }
    }

    /// The URL of the token endpoint for a caller: on the host that the caller used, with us or with the proxy before us, if it is one of ours (clients trust a CA for each `host:port`, and go-containerregistry refuses a realm on
    /// another private address), else on the first of our names.
    fn url(&self, target: Target<'_>) -> String {
        let Target { uri, headers, forwarded_host, local_port } = target;
        let forwarded = || forwarded_host?.parse().ok().filter(|authority| self.is_ours(authority));
        let named = || uri.authority().cloned().or_else(|| headers.get(header::HOST)?.to_str().ok()?.parse().ok());
        if let Some(authority) = forwarded().or_else(|| named().filter(|authority| self.is_ours(authority))) {
            return format!("https://{authority}/token");
        }
        let first = self.hostnames.first().map_or("localhost", String::as_str);
        let first = if first.contains(':') { format!("[{first}]") } else { first.to_owned() };
        let port = if local_port == 443 { String::new() } else { format!(":{local_port}") };
        format!("https://{first}{port}/token")
    }

    fn is_ours(&self, authority: &Authority) -> bool {
        // An authority may carry user information, which has no business in a realm.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        !authority.as_str().contains('@') && self.hostnames.contains(&host)
    }
}

/// What a request says about how it reached us.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    /// The host that a trusted proxy was asked for.
    pub(super) forwarded_host: Option<&'a str>,
    pub(super) local_port: u16,
}

/// Why a challenge is sent.
#[derive(Clone, Copy)]
pub(super) enum Reason {
    /// No credentials came.
    Missing,
    /// A password that is wrong.
    WrongPassword,
    /// A token that does not hold: `invalid_token` makes containerd fetch another.
    InvalidToken,
    /// A token that does not reach so far.
    InsufficientScope,
}

impl Reason {
    fn error(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::WrongPassword => None,
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
        }
    }
}

/// 401, with the challenge that would lead to the right credentials.
pub(super) fn challenge(
    api: &Api,
    target: Target<'_>,
    reason: Reason,
    scope: Option<&Scope>,
    message: impl Display,
) -> ApiError {
    let parts = api.parts();
    let value = match parts.challenge {
        ChallengeScheme::Basic => basic(),
        ChallengeScheme::Bearer => {
            let realm = parts.realm.load().url(target);
            bearer(&realm, api.authenticator().service(), scope, reason.error())
        }
    };
    ApiError::new(Code::Unauthorized, message).with_header(header::WWW_AUTHENTICATE, &value)
}

/// The challenge of the token endpoint itself, which takes passwords only.
pub(super) fn basic() -> String {
    r#"Basic realm="portcullis", charset="UTF-8""#.to_owned()
}

fn bearer(realm: &str, service: &str, scope: Option<&Scope>, error: Option<&str>) -> String {
    let mut value = format!(r#"Bearer realm="{realm}",service="{}""#, quoted(service));
    // Writing to a String cannot fail.
    if let Some(scope) = scope {
        let _ = write!(value, r#",scope="{scope}""#);
    }
    if let Some(error) = error {
        let _ = write!(value, r#",error="{error}""#);
    }
    value
}

/// The service is the administrator's text; the others are made of tokens that need no escape.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str, port: u16) -> String {
        forwarded(None, host, port)
    }

    fn forwarded(forwarded_host: Option<&str>, host: &str, local_port: u16) -> String {
        let realm = Realm::new(["Registry.example", "::1", "10.0.0.7"]);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        realm.url(Target { uri: &Uri::from_static("/v2/"), headers: &headers, forwarded_host, local_port })
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
        assert_eq!(url("REGISTRY.example", 443), "https://REGISTRY.example/token");
        assert_eq!(url("10.0.0.7:5000", 8443), "https://10.0.0.7:5000/token");
        assert_eq!(url("[::1]:5000", 8443), "https://[::1]:5000/token");
    }

    #[test]
    fn the_realm_is_never_on_a_host_that_is_not_ours() {
        for host in
            ["evil.example", "evil.example:8443", "registry.example@evil.example", "x@registry.example", "", "\"a"]
        {
            assert_eq!(url(host, 8443), "https://registry.example:8443/token", "{host}");
        }
        assert_eq!(url("evil.example", 443), "https://registry.example/token");
    }

    #[test]
    fn a_challenge_leaves_out_what_is_empty() {
        let realm = "https://a/token";
        assert_eq!(bearer(realm, "a", None, None), r#"Bearer realm="https://a/token",service="a""#);
        let scope = Scope::Catalog;
        assert_eq!(
            bearer(realm, "a\"b", Some(&scope), Some("invalid_token")),
            r#"Bearer realm="https://a/token",service="a\"b",scope="registry:catalog:*",error="invalid_token""#
        );
    }
}
