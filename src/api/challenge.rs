//! Builds the responses to credentials that do not suffice: `WWW-Authenticate` challenges, which say how a client has
//! to authenticate and for which scopes, and requests to try again later.
//!
//! Invariant: a challenge contains no parameter with an empty value, because Docker stops parsing at one.

use std::{
    fmt::{Display, Write as _},
    time::Duration,
};

use http::header;

use super::{
    connection_info::ConnectionInfo,
    error::{ApiError, ErrorCode},
    state::Api,
};
use crate::{
    access::Scope,
    auth::{AuthenticationError, ChallengeScheme},
};

/// Why the response contains a challenge.
#[derive(Clone, Copy)]
pub(super) enum ChallengeReason {
    /// The request has no credentials.
    Missing,
    /// The password is wrong.
    WrongPassword,
    /// The token is invalid or has expired: the error `invalid_token` makes containerd fetch another token.
    InvalidToken,
    /// The token is valid and lacks the scope of the request.
    InsufficientScope,
}

impl ChallengeReason {
    fn error_code(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::WrongPassword => None,
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
        }
    }
}

/// A 401 error with a challenge for credentials that would suffice; a bearer challenge names a token for all of
/// `scopes`.
pub(super) fn challenge(
    api: &Api,
    connection: &ConnectionInfo,
    reason: ChallengeReason,
    scopes: &[Scope],
    message: impl Display,
) -> ApiError {
    let parts = api.components();
    let value = match parts.challenge {
        ChallengeScheme::Basic => basic(),
        ChallengeScheme::Bearer => {
            let realm = parts.realm.load().url(&connection.requested_host, connection.local_port);
            bearer(&realm, api.authenticator().service(), scopes, reason.error_code())
        }
    };
    ApiError::new(ErrorCode::Unauthorized, message).with_header(header::WWW_AUTHENTICATE, &value)
}

/// A 401 error with the Basic challenge of the token endpoint, which accepts passwords only.
pub(super) fn basic_challenge_error(error: &AuthenticationError) -> ApiError {
    ApiError::new(ErrorCode::Unauthorized, error).with_header(header::WWW_AUTHENTICATE, &basic())
}

/// The `Retry-After` of a failed store. Clients give up after a few attempts, so it is not immediate.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// A 429 or 503 error with `Retry-After` in whole seconds, at least one.
pub(super) fn retry_later_error(error: &AuthenticationError) -> ApiError {
    let (code, wait) = match error {
        AuthenticationError::Locked { retry_after } => (ErrorCode::TooManyRequests, *retry_after),
        AuthenticationError::Busy { retry_after } | AuthenticationError::IssuerUnreachable { retry_after } => {
            (ErrorCode::Unavailable, *retry_after)
        }
        AuthenticationError::Unavailable => (ErrorCode::Unavailable, UNAVAILABLE_RETRY_AFTER),
        AuthenticationError::WrongPassword
        | AuthenticationError::BadToken(_)
        | AuthenticationError::BadStoredToken(_)
        | AuthenticationError::BadHeader(_) => {
            return ApiError::internal(error);
        }
    };
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    ApiError::new(code, error).with_header(header::RETRY_AFTER, &seconds.max(1).to_string())
}

fn basic() -> String {
    r#"Basic realm="portcullis", charset="UTF-8""#.to_owned()
}

fn bearer(realm: &str, service: &str, scopes: &[Scope], error: Option<&str>) -> String {
    let mut value = format!(r#"Bearer realm="{realm}",service="{}""#, escape_quotes(service));
    // Writing to a String cannot fail.
    if let Some((first, others)) = scopes.split_first() {
        let _ = write!(value, r#",scope="{first}"#);
        let _ = others.iter().try_for_each(|scope| write!(value, " {scope}"));
        value.push('"');
    }
    if let Some(error) = error {
        let _ = write!(value, r#",error="{error}""#);
    }
    value
}

/// Escapes the service name, which is free text of the operator; the other parameters cannot contain a character that
/// needs escaping.
fn escape_quotes(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_leaves_out_what_is_empty() {
        let realm = "https://a/token";
        assert_eq!(bearer(realm, "a", &[], None), r#"Bearer realm="https://a/token",service="a""#);
        assert_eq!(
            bearer(realm, "a\"b", &[Scope::Catalog], Some("invalid_token")),
            r#"Bearer realm="https://a/token",service="a\"b",scope="registry:catalog:*",error="invalid_token""#
        );
    }

    #[test]
    fn several_scopes_are_one_parameter_with_spaces() {
        let scopes = Scope::parse_all(["repository:a:pull,push repository:b:pull"]);
        assert_eq!(
            bearer("https://a/token", "a", &scopes, Some("insufficient_scope")),
            "Bearer realm=\"https://a/token\",service=\"a\",scope=\"repository:a:pull,push repository:b:pull\",\
             error=\"insufficient_scope\""
        );
    }
}
