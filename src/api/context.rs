//! The context of a request in its three stages: as it arrived, with an authenticated caller, and with an opened
//! repository.
//!
//! Invariant: a handler gets a repository only from [`AuthenticatedContext::open`], which asks the gate.

use std::time::SystemTime;

use http::{HeaderMap, Method, header, request};
use serde_json::json;

use super::{
    challenge::{self, ChallengeReason},
    error::{ApiError, ErrorCode},
    middleware::RequestInfo,
    state::Api,
};
use crate::{
    access::{AccessChallenge, Denied, Principal, RequestedAccess, Right, Scope, Subject},
    audit::{self, AuditEvent},
    auth::{ChallengeScheme, Credentials, credentials::InvalidCredentials},
    oci::RepositoryName,
    registry::Repository,
};

/// The context of one request before authentication.
#[derive(Clone, Copy)]
pub(super) struct RequestContext<'a> {
    pub(super) api: &'a Api,
    pub(super) head: &'a request::Parts,
    pub(super) info: &'a RequestInfo,
}

impl RequestContext<'_> {
    /// Parses the `Authorization` header; the credentials are not verified.
    pub(super) fn credentials(self) -> Result<Option<Credentials>, InvalidCredentials> {
        let value = self.head.headers.get(header::AUTHORIZATION);
        value.map(|value| Credentials::parse(value.as_bytes())).transpose()
    }

    pub(super) fn has_credentials(self) -> bool {
        self.head.headers.contains_key(header::AUTHORIZATION)
    }

    /// Whether the challenge scheme is Basic, so that clients never fetch a token, not even an anonymous one.
    pub(super) fn uses_basic_challenge(self) -> bool {
        match self.api.components().challenge {
            ChallengeScheme::Basic => true,
            ChallengeScheme::Bearer => false,
        }
    }

    /// A 401 error with a challenge for credentials that would suffice.
    pub(super) fn challenge(
        self,
        reason: ChallengeReason,
        scopes: &[Scope],
        message: impl std::fmt::Display,
    ) -> ApiError {
        challenge::challenge(self.api, &self.info.connection, reason, scopes, message)
    }
}

/// The context of one request after authentication.
pub(super) struct AuthenticatedContext<'a> {
    pub(super) request: RequestContext<'a>,
    pub(super) subject: &'a Subject,
}

/// The context of a request to one repository, opened with the right `A`.
pub(super) struct RepositoryContext<'a, A: Right> {
    pub(super) caller: &'a AuthenticatedContext<'a>,
    pub(super) repository: Repository<A>,
}

impl<A: Right> RepositoryContext<'_, A> {
    pub(super) fn method(&self) -> &Method {
        &self.caller.request.head.method
    }

    /// The current time, by the clock of the server.
    pub(super) fn now(&self) -> SystemTime {
        self.caller.request.api.clock().now()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.caller.request.head.headers
    }
}

impl AuthenticatedContext<'_> {
    /// Opens the repository with the right `A`, if the gate grants it to the caller; else returns the error response.
    pub(super) fn open<A: Right>(&self, name: RepositoryName) -> Result<RepositoryContext<'_, A>, ApiError> {
        let gate = self.request.api.gate();
        let proof = gate.authorize::<A>(self.subject, name).map_err(|denied| self.denied_error(&denied))?;
        Ok(RepositoryContext { caller: self, repository: self.request.api.registry().open(&proof) })
    }

    pub(super) fn denied_error(&self, denied: &Denied) -> ApiError {
        self.denied_error_with_scopes(denied, &[denied.requested.scope()])
    }

    /// The error response of a denied request: a challenge for a token with these scopes if such a token would help,
    /// else 403.
    pub(super) fn denied_error_with_scopes(&self, denied: &Denied, scopes: &[Scope]) -> ApiError {
        // A request without credentials is not an audit event: every client begins with one, to get the challenge.
        if self.request.has_credentials() || matches!(denied.principal, Principal::User(_)) {
            let (user, action, object) = (&denied.principal, denied.requested.verb(), denied.requested.object());
            audit::record(&AuditEvent::Refused { user, action, object });
        }
        match denied.challenge {
            AccessChallenge::SignIn | AccessChallenge::WiderToken => {
                let nothing_shown = self.subject.restriction.is_empty() && !self.request.has_credentials();
                let reason = if nothing_shown { ChallengeReason::Missing } else { ChallengeReason::InsufficientScope };
                self.request.challenge(reason, scopes, denied)
            }
            AccessChallenge::None => {
                // Without this addition, a user who may push, though not with this token, would look for the mistake in
                // the rules.
                let with = if self.subject.restriction.is_limited() { " with this access token" } else { "" };
                ApiError::new(ErrorCode::Denied, format_args!("{denied}{with}")).with_detail(self.denial_detail(denied))
            }
        }
    }

    fn denial_detail(&self, denied: &Denied) -> serde_json::Value {
        let Denied { principal, requested, .. } = denied;
        let (user, action, request) = (principal.to_string(), requested.verb(), self.request.info.id.to_string());
        match requested {
            RequestedAccess::Action(_, repository) => {
                json!({"user": user, "action": action, "repository": repository, "request": request})
            }
            RequestedAccess::Catalog => json!({"user": user, "action": action, "request": request}),
        }
    }
}
