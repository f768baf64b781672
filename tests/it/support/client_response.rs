//! Holds a response to the test client and checks it in its accessors.
//!
//! Invariant: a response that is not as expected fails the test with the request and the whole response.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// The parameters of a `WWW-Authenticate: Bearer` header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BearerChallenge {
    /// The URL of the token endpoint.
    pub(crate) realm: String,
    /// The name of the registry.
    pub(crate) service: String,
    /// The scope that the challenged request needs.
    pub(crate) scope: Option<String>,
    /// The error code about the credentials of the request.
    pub(crate) error: Option<String>,
}

/// A response, and the request for messages.
#[derive(Debug)]
pub(crate) struct ClientResponse {
    /// The request, for messages.
    pub(super) request_line: String,
    pub(crate) status: StatusCode,
    pub(crate) version: http::Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl ClientResponse {
    /// Asserts a status.
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self}");
        self
    }

    /// Asserts an error of this status and code.
    pub(crate) fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.first_error_code(), code, "{answer}");
        answer
    }

    /// The value of a header that must occur once.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.optional_header(name).unwrap_or_else(|| panic!("there should be a {name}: {self}"))
    }

    /// The value of a header that may be missing; panics if it occurs twice.
    pub(crate) fn optional_header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next();
        assert!(values.next().is_none(), "there should be one {name}: {self}");
        first.map(|value| value.to_str().unwrap())
    }

    /// Every value of a header.
    pub(crate) fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// The path in the `Location` header.
    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    /// The location with one more query parameter, as clients append theirs.
    pub(crate) fn location_with(&self, parameter: &str) -> String {
        let location = self.location();
        format!("{location}{}{parameter}", if location.contains('?') { '&' } else { '?' })
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The code of the first error.
    pub(crate) fn first_error_code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    /// The only challenge of a 401.
    pub(crate) fn challenge(&self) -> BearerChallenge {
        let value = self.header("www-authenticate");
        let rest = value.strip_prefix("Bearer ").unwrap_or_else(|| panic!("a Bearer challenge: {self}"));
        let mut challenge = BearerChallenge { realm: String::new(), service: String::new(), scope: None, error: None };
        // A value ends at a quote before a comma or at the end; scopes contain commas themselves.
        for parameter in rest.split_inclusive("\",").map(|parameter| parameter.trim_end_matches(',')) {
            let (name, value) = parameter.split_once('=').unwrap_or_else(|| panic!("{parameter}: {self}"));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = value.unwrap_or_else(|| panic!("{parameter} should be quoted: {self}")).to_owned();
            assert!(!value.is_empty(), "{name} should be left out if it is empty: {self}");
            match name {
                "realm" => challenge.realm = value,
                "service" => challenge.service = value,
                "scope" => challenge.scope = Some(value),
                "error" => challenge.error = Some(value),
                other => panic!("{other} is unknown to clients: {self}"),
            }
        }
        challenge
    }

    /// Checks the rules for every response below `/v2/` (protocol documentation, section "Everything under /v2/").
    pub(super) fn check_registry(&self, method: &Method) {
        assert_eq!(self.header("docker-distribution-api-version"), "registry/2.0", "{self}");
        assert!(self.optional_header("content-encoding").is_none(), "no answer should be compressed: {self}");
        assert!(self.optional_header("transfer-encoding").is_none(), "no answer should be chunked: {self}");
        let has_no_content = matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if method != Method::HEAD && !has_no_content {
            assert_eq!(self.header("content-length"), self.body.len().to_string(), "{self}");
        }
        if let Some(location) = self.optional_header("location") {
            assert!(location.starts_with("/v2/"), "a Location should be a path: {self}");
        }
        if self.status.as_u16() >= 400 && method != Method::HEAD {
            self.check_error();
        }
    }

    fn check_error(&self) {
        assert_eq!(self.header("content-type"), "application/json", "{self}");
        let document = self.json();
        let errors = document["errors"].as_array().unwrap_or_else(|| panic!("errors should be a list: {self}"));
        assert!(!errors.is_empty(), "an error should be among the errors: {self}");
        for error in errors {
            let code = error["code"].as_str().unwrap_or_else(|| panic!("an error should have a code: {self}"));
            assert!(code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{self}");
            assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{self}");
        }
    }
}

impl std::fmt::Display for ClientResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { request_line, status, headers, body, .. } = self;
        let shown = String::from_utf8_lossy(&body[..body.len().min(2000)]);
        write!(formatter, "{request_line}\n{status}\n{headers:#?}\n{shown}")
    }
}
