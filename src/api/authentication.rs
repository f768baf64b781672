//! Authenticates the caller of a registry endpoint by the credentials of the request.

use std::time::SystemTime;

use super::{
    challenge::{self, ChallengeReason},
    context::RequestContext,
    endpoint::RegistryEndpoint,
    error::ApiError,
    expired_token,
};
use crate::{
    access::{Principal, Restriction, Subject},
    audit::{self, AuditEvent},
    auth::{AuthenticationError, InvalidToken},
};

/// Verifies the credentials of a request; the error is a challenge, or 429 or 503 with `Retry-After`.
///
/// A request without an `Authorization` header gets the user that the connection's client certificate authenticates, or
/// else an anonymous subject. Invalid credentials are an error and never become an anonymous subject.
pub(super) async fn authenticate(
    context: RequestContext<'_>,
    endpoint: &RegistryEndpoint,
) -> Result<Subject, ApiError> {
    let now = context.api.clock().now();
    let verified = match verify_credentials(context, endpoint, now).await {
        Err(expired @ AuthenticationError::BadToken(InvalidToken::Expired)) => {
            expired_token::authenticate_expired_token(context, endpoint, now).await.ok_or(expired)
        }
        verified => verified,
    };
    let subject = verified.map_err(|error| authentication_error(context, endpoint, &error))?;
    Ok(if context.uses_basic_challenge() { with_anonymous_rights(subject) } else { subject })
}

async fn verify_credentials(
    context: RequestContext<'_>,
    endpoint: &RegistryEndpoint,
    now: SystemTime,
) -> Result<Subject, AuthenticationError> {
    // Docker's search sends an empty user name with an empty password when the user has not logged in; such credentials
    // count as none, for endpoints that allow anonymous callers without a token.
    let accepts_blank = matches!(endpoint, RegistryEndpoint::Search(_)) || context.uses_basic_challenge();
    let credentials = context.credentials()?.filter(|credentials| !(accepts_blank && credentials.is_blank()));
    let connection = &context.info.connection;
    context.api.authenticator().authenticate(credentials, connection.certificate.as_ref(), connection.peer, now).await
}

/// The error response for credentials that were not accepted: a challenge for the scope of the endpoint, or 429 or 503
/// with `Retry-After`.
fn authentication_error(
    context: RequestContext<'_>,
    endpoint: &RegistryEndpoint,
    error: &AuthenticationError,
) -> ApiError {
    let challenge = |reason| context.challenge(reason, endpoint.required_scope().as_slice(), error);
    match error {
        AuthenticationError::WrongPassword | AuthenticationError::BadStoredToken(_) => {
            challenge(ChallengeReason::WrongPassword)
        }
        AuthenticationError::BadToken(reason) => {
            audit::record(&AuditEvent::TokenRefused { reason: &reason.to_string() });
            challenge(ChallengeReason::InvalidToken)
        }
        AuthenticationError::BadHeader(_) => challenge(ChallengeReason::Missing),
        AuthenticationError::Locked { .. }
        | AuthenticationError::Busy { .. }
        | AuthenticationError::Unavailable
        | AuthenticationError::IssuerUnreachable { .. } => challenge::retry_later_error(error),
    }
}

/// Gives an anonymous subject without a token all that the rules allow anonymous callers; returns other subjects
/// unchanged.
pub(super) fn with_anonymous_rights(subject: Subject) -> Subject {
    match subject.principal {
        Principal::Anonymous if subject.restriction.is_empty() => {
            Subject { restriction: Restriction::unrestricted(), ..subject }
        }
        Principal::Anonymous | Principal::User(_) => subject,
    }
}
