//! The login of `docker login`: the ping `GET /v2/`, the token request, and the second ping with credentials.
//!
//! Invariant: passwords and tokens are sent only in `Authorization` headers; no line of the report contains one.

use std::time::SystemTime;

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use http::{HeaderName, Method, StatusCode, header};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};
use zeroize::Zeroizing;

use super::{
    Diagnosis, RegistryTarget,
    challenge::AuthChallenge,
    connect::{client_certificate_rejected, client_certificate_required},
    failed_request::{FailedRequest, is_html_page},
    http_client::{RegistryRequest, RegistryResponse, SelfTestClient},
};
use portcullis_auth::Password;

/// The value of an `Authorization` header.
pub(super) type AuthorizationValue = Zeroizing<String>;

const API_VERSION_HEADER: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Checks that the response to `GET /v2/` comes from a registry. Returns a text for the report, and the response.
pub(super) fn check_ping(
    target: &RegistryTarget,
    answer: RegistryResponse,
) -> Result<(String, RegistryResponse), Diagnosis> {
    // nginx accepts the handshake without a client certificate or with a wrong one, and answers with one of two pages.
    let has_words = |words: &[u8]| answer.body.windows(words.len()).any(|window| window == words);
    if answer.status == StatusCode::BAD_REQUEST && has_words(b"SSL certificate error") {
        return Err(client_certificate_rejected("400 The SSL certificate error"));
    }
    if answer.status == StatusCode::BAD_REQUEST && has_words(b"SSL certificate") {
        return Err(client_certificate_required(target));
    }
    let is_expected = matches!(answer.status, StatusCode::OK | StatusCode::UNAUTHORIZED);
    let version = answer.header(&API_VERSION_HEADER).map(str::to_owned);
    if !is_expected || (is_html_page(&answer) && version.is_none()) {
        let deed = FailedRequest { user: None, about: None, request: "GET /v2/".to_owned() };
        return Err(deed.diagnose(&answer));
    }
    let Some(version) = version.filter(|version| version.contains("registry/2.0")) else {
        return Err(Diagnosis::new(
            format!(
                "GET /v2/ is answered with {} and without Docker-Distribution-Api-Version: registry/2.0",
                answer.status
            ),
            "is this a registry? a proxy in front must not take this header away (nginx: add_header \
             'Docker-Distribution-Api-Version' 'registry/2.0' always;)",
        ));
    };
    Ok((format!("GET /v2/ is answered with {}, {version}", answer.status), answer))
}

/// The challenge as a text for the report.
pub(super) fn describe_challenge(challenge: &AuthChallenge) -> String {
    match challenge {
        AuthChallenge::Basic => "Basic".to_owned(),
        AuthChallenge::Bearer { endpoint, service } => format!("Bearer, tokens from {endpoint} for {service}"),
    }
}

/// A login to the registry: its challenge, and the user with the password if there is one.
pub(super) struct Login<'a> {
    pub(super) caller: &'a SelfTestClient<'a>,
    /// The client for the token endpoint, if that is on another server.
    pub(super) token_caller: Option<&'a SelfTestClient<'a>>,
    pub(super) challenge: Option<&'a AuthChallenge>,
    pub(super) user: Option<(&'a str, &'a Password)>,
}

impl Login<'_> {
    /// The `Authorization` value for requests of this scope: fetches a token, or encodes user and password for `Basic`.
    pub(super) async fn authorization(&self, scope: Option<&str>) -> Result<AuthorizationValue, Diagnosis> {
        let Some(AuthChallenge::Bearer { endpoint, service }) = self.challenge else {
            return Ok(self.basic_authorization().unwrap_or_default());
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("service", service).append_pair("client_id", "portcullis-selftest");
        if let Some((name, _)) = self.user {
            query.append_pair("account", name);
        }
        if let Some(scope) = scope {
            query.append_pair("scope", scope);
        }
        let path = &endpoint.path;
        let separator = if path.contains('?') { '&' } else { '?' };
        let whole = format!("{path}{separator}{}", query.finish());
        let question = RegistryRequest::new(Method::GET, &whole);
        let question = match self.basic_authorization() {
            Some(value) => question.header(header::AUTHORIZATION, &value),
            None => question,
        };
        let answer = self.token_caller.unwrap_or(self.caller).send(question).await?;
        if answer.status != StatusCode::OK {
            return Err(self.failed_request(format!("GET {endpoint}")).diagnose(&answer));
        }
        let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = ["token", "access_token"].iter().find_map(|field| document.get(field)?.as_str());
        let token = token.filter(|token| !token.is_empty()).ok_or_else(|| {
            Diagnosis::new(
                format!("GET {endpoint} is answered with 200 and without a token"),
                "the realm of the challenge must be the URL of a token endpoint; look at what answers there",
            )
        })?;
        Ok(Zeroizing::new(format!("Bearer {token}")))
    }

    /// The second ping of `docker login`, with credentials.
    pub(super) async fn ping(&self, authorization: &AuthorizationValue) -> Result<(), Diagnosis> {
        let question = RegistryRequest::new(Method::GET, "/v2/").header(header::AUTHORIZATION, authorization);
        let answer = self.caller.send(question).await?;
        if answer.status == StatusCode::OK {
            return Ok(());
        }
        if answer.status == StatusCode::UNAUTHORIZED && matches!(self.challenge, Some(AuthChallenge::Bearer { .. })) {
            return Err(Diagnosis::new(
                "GET /v2/ is answered with 401 although the token was issued a moment ago",
                "the registry rejects tokens of its token endpoint: issuer, service (audience), key and clock must agree on both sides",
            ));
        }
        Err(self.failed_request("GET /v2/".to_owned()).diagnose(&answer))
    }

    fn basic_authorization(&self) -> Option<AuthorizationValue> {
        let (name, password) = self.user?;
        let pair = Zeroizing::new(format!("{name}:{}", password.expose()));
        Some(Zeroizing::new(format!("Basic {}", BASE64.encode(pair.as_bytes()))))
    }

    fn failed_request(&self, request: String) -> FailedRequest<'_> {
        FailedRequest { user: self.user.map(|(name, _)| name), about: None, request }
    }
}

/// Parses an HTTP date in the form `Sun, 06 Nov 1994 08:49:37 GMT`, the only one that servers may send (RFC 9110,
/// 5.6.7).
pub(super) fn parse_http_date(text: &str) -> Option<SystemTime> {
    // RFC 2822 accepts the zone `GMT` as well.
    OffsetDateTime::parse(text, &Rfc2822).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_is_read_as_servers_write_it() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(time));
        assert_eq!(parse_http_date("yesterday"), None);
    }
}
