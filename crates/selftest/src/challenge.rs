//! Parses the `WWW-Authenticate` challenge of a 401 response: `Bearer` with its token endpoint, or `Basic`.
//!
//! Invariant: a token endpoint is reached over HTTPS. One on another server is named as such, so that the caller
//! verifies that server's certificate as well before a password is sent there.

use std::fmt;

use super::{Diagnosis, RegistryTarget, http_client::RegistryResponse};

/// The authentication scheme that the registry requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AuthChallenge {
    /// User name and password in every request.
    Basic,
    /// A token for a scope and this service, from the token endpoint.
    Bearer { endpoint: TokenEndpoint, service: String },
}

/// The token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenEndpoint {
    /// The server; `None` if it is the registry itself.
    pub(super) server: Option<RegistryTarget>,
    /// The path and query of the URL.
    pub(super) path: String,
}

impl fmt::Display for TokenEndpoint {
    /// The URL without its query, or the path alone on the registry itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(server) = &self.server {
            write!(f, "{server}")?;
        }
        f.write_str(self.path.split('?').next().unwrap_or_default())
    }
}

impl AuthChallenge {
    pub(super) fn parse(answer: &RegistryResponse, target: &RegistryTarget) -> Result<Self, Diagnosis> {
        let values = answer.headers.get_all(http::header::WWW_AUTHENTICATE);
        let texts: Vec<&str> = values.iter().filter_map(|value| value.to_str().ok()).collect();
        let with = |scheme: &str| texts.iter().find_map(|text| strip_scheme(text, scheme));
        if let Some(parameters) = with("bearer") {
            return Self::bearer(parameters, target);
        }
        if with("basic").is_some() {
            return Ok(Self::Basic);
        }
        Err(Diagnosis::new(
            "the 401 response has no WWW-Authenticate header with the scheme Bearer or Basic",
            "a proxy in front may remove the header: let it pass; the log of the server shows what was sent",
        ))
    }

    fn bearer(parameters: &str, target: &RegistryTarget) -> Result<Self, Diagnosis> {
        let parameters = parse_parameters(parameters);
        let named = |wanted: &str| {
            parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
        };
        let Some(realm) = named("realm") else {
            return Err(Diagnosis::new(
                "the challenge has no realm, which must be the URL of the token endpoint",
                "let the server send the URL of its token endpoint as the realm",
            ));
        };
        let endpoint = match path_on_target(realm, target) {
            Some(path) => TokenEndpoint { server: None, path },
            None => TokenEndpoint::parse(realm).ok_or_else(|| {
                Diagnosis::new(
                    format!("the challenge sends clients to {realm} for tokens, which is not an https URL of a server"),
                    "let the server send the https URL of its token endpoint as the realm; nothing was sent there, because a \
                     password over plain HTTP can be read on the network",
                )
            })?,
        };
        Ok(Self::Bearer { endpoint, service: named("service").cloned().unwrap_or_default() })
    }
}

impl TokenEndpoint {
    /// Parses the URL of a token endpoint on another server; `None` if it is not https, or contains a user.
    fn parse(url: &str) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https"))?;
        let server = format!("https://{authority}").parse().ok()?;
        let path = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Some(Self { server: Some(server), path })
    }
}

/// The path and query of a URL with the target's scheme, host and port, or of a URL without a host; `None` for any
/// other.
pub(super) fn path_on_target(url: &str, target: &RegistryTarget) -> Option<String> {
    if url.starts_with('/') && !url.starts_with("//") {
        return Some(url.to_owned());
    }
    let uri: http::Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let host: portcullis_tls::Hostname = authority.host().parse().ok()?;
    let is_here = uri.scheme_str() == Some("https")
        && !authority.as_str().contains('@')
        && host == target.host
        && authority.port_u16().unwrap_or(443) == target.port;
    is_here.then(|| uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string))
}

/// The rest of a challenge after the name of its scheme; `None` if it has another scheme.
fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (first, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    first.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Parses parameters `name="value"` and `name=value`, separated by commas; quoted values have backslash escapes.
fn parse_parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) =
            if let Some(quoted) = after.strip_prefix('"') { parse_quoted(quoted) } else { parse_unquoted(after) };
        found.push((name.trim_matches([' ', ',', '\t']).to_owned(), value));
        rest = next;
    }
    found
}

fn parse_unquoted(text: &str) -> (String, &str) {
    let (value, rest) = text.split_once(',').unwrap_or((text, ""));
    (value.trim().to_owned(), rest)
}

fn parse_quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<AuthChallenge, Diagnosis> {
        let mut headers = http::HeaderMap::new();
        for value in values {
            headers.append(http::header::WWW_AUTHENTICATE, value.parse().unwrap());
        }
        let answer = RegistryResponse { status: http::StatusCode::UNAUTHORIZED, headers, body: bytes::Bytes::new() };
        AuthChallenge::parse(&answer, &"https://registry.test:8443".parse().unwrap())
    }

    #[test]
    fn a_challenge_is_read_in_every_spelling() {
        let endpoint = TokenEndpoint { server: None, path: "/token?a=b".to_owned() };
        assert_eq!(endpoint.to_string(), "/token");
        let expected = AuthChallenge::Bearer { endpoint, service: "a, \"b\"".to_owned() };
        for value in [
            r#"Bearer realm="https://registry.test:8443/token?a=b",service="a, \"b\"""#,
            r#"bearer service="a, \"b\"" , realm="https://Registry.Test:8443/token?a=b", error="invalid_token""#,
            r#"BEARER realm=/token?a=b,service="a, \"b\"""#,
        ] {
            assert_eq!(read(&[value]).unwrap(), expected, "{value}");
        }
        assert_eq!(read(&["Basic realm=\"x\""]).unwrap(), AuthChallenge::Basic);
        assert_eq!(read(&["Negotiate", "basic"]).unwrap(), AuthChallenge::Basic);
    }

    #[test]
    fn a_realm_on_another_server_or_port_is_taken_with_that_server() {
        for (realm, name) in [
            ("https://registry.test/token?a", "registry.test"),
            ("https://Auth.Test:8443/token?a", "auth.test:8443"),
            ("https://[::1]:5001/token?a", "[::1]:5001"),
        ] {
            let challenge = read(&[&format!("Bearer realm=\"{realm}\",service=\"x\"")]).unwrap();
            let AuthChallenge::Bearer { endpoint, .. } = challenge else { panic!("{challenge:?}") };
            assert_eq!((endpoint.to_string(), endpoint.path.as_str()), (format!("https://{name}/token"), "/token?a"));
            assert_eq!(endpoint.server.unwrap().name, name);
        }
    }

    #[test]
    fn a_realm_that_is_no_https_url_of_a_server_is_a_fault_and_named() {
        for realm in [
            "http://registry.test:8443/token",
            "http://auth.test/token",
            "https://registry.test:8443@evil.test/token",
            "https://evil.test:99999/token",
            "ftp://evil.test/token",
            "//evil.test/token",
        ] {
            let fault = read(&[&format!("Bearer realm=\"{realm}\",service=\"x\"")]).unwrap_err();
            assert!(fault.cause.contains(&format!("sends clients to {realm} for tokens")), "{}", fault.cause);
        }
    }

    #[test]
    fn a_401_without_a_way_to_sign_in_is_a_fault() {
        assert!(read(&[]).unwrap_err().cause.contains("no WWW-Authenticate"));
        assert!(read(&["Negotiate"]).unwrap_err().cause.contains("no WWW-Authenticate"));
        assert!(read(&["Bearer service=\"x\""]).unwrap_err().cause.contains("no realm"));
    }
}
