//! Routes each [`Endpoint`] to its handler, after authenticating the caller and asking the gate for the right that it
//! needs.
//!
//! Invariant: the match over [`Endpoint`] has no wildcard, and every arm that needs a repository gets it from
//! [`AuthenticatedContext::open`], which asks the gate.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::request;
use serde_json::json;

use super::{
    authentication::{self, ConnectionInfo},
    blobs, ca_certificate, catalog,
    challenge::{self, ChallengeReason, challenge},
    endpoint::{Endpoint, NewUpload},
    error::{ApiError, ErrorCode},
    expired_token, health, manifests,
    middleware::{LoggedUser, RequestId},
    referrers, repositories, response, search,
    state::Api,
    tags, token_endpoint,
    token_realm::RequestAuthority,
    uploads,
};
use crate::{
    access::{
        AccessChallenge, Admin, Delete, Denied, Principal, Pull, Push, RequestedAccess, Restriction, Right, Scope,
        Subject,
    },
    audit::{self, AuditEvent},
    auth::{AuthenticationError, ChallengeScheme, ClientChain, InvalidToken},
    oci::RepositoryName,
    registry::Repository,
};

/// Handles one request: parses its endpoint and returns the response of the handler, or an error response.
pub(super) async fn dispatch(State(api): State<Api>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let endpoint = match Endpoint::parse(&head.method, head.uri.path(), head.uri.query()) {
        Ok(endpoint) => endpoint,
        Err(error) => return error.into_response(),
    };
    let visit = RequestContext { api: &api, head: &head };
    visit.handle(endpoint, body).await.unwrap_or_else(ApiError::into_response)
}

/// The context of one request before authentication.
#[derive(Clone, Copy)]
pub(super) struct RequestContext<'a> {
    pub(super) api: &'a Api,
    pub(super) head: &'a request::Parts,
}

impl RequestContext<'_> {
    async fn handle(self, endpoint: Endpoint, body: Body) -> Result<Response, ApiError> {
        match endpoint {
            Endpoint::Liveness => Ok(health::liveness()),
            Endpoint::Readiness => health::readiness(self.api).await,
            Endpoint::CaCertificate => ca_certificate::get(self.api),
            Endpoint::Ping => Ok(search::ping()),
            Endpoint::TokenKeys => Ok(response::json(
                "application/jwk-set+json",
                &self.api.authenticator().key_set(self.api.clock().now()),
            )),
            Endpoint::Token => token_endpoint::handle(self, body).await,
            Endpoint::VersionCheck
            | Endpoint::Search(..)
            | Endpoint::Catalog(..)
            | Endpoint::Tags(..)
            | Endpoint::Manifest(..)
            | Endpoint::PutManifest(..)
            | Endpoint::DeleteManifest(..)
            | Endpoint::Blob(..)
            | Endpoint::DeleteBlob(..)
            | Endpoint::StartUpload(..)
            | Endpoint::UploadStatus(..)
            | Endpoint::UploadChunk(..)
            | Endpoint::FinishUpload(..)
            | Endpoint::CancelUpload(..)
            | Endpoint::Referrers(..)
            | Endpoint::DeleteRepository(..) => {
                let subject = self.authenticate(&endpoint).await?;
                LoggedUser::set(&self.head.extensions, &subject.principal);
                let visitor = AuthenticatedContext { request: self, subject: &subject };
                visitor.handle(endpoint, body).await
            }
        }
    }

    pub(super) fn peer(self) -> IpAddr {
        let connection = self.head.extensions.get::<ConnectionInfo>();
        connection.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |connection| connection.peer.ip())
    }

    pub(super) fn certificate(&self) -> Option<&ClientChain> {
        self.head.extensions.get::<ConnectionInfo>()?.certificate.as_ref()
    }

    fn request_authority(&self) -> RequestAuthority<'_> {
        let connection = self.head.extensions.get::<ConnectionInfo>();
        let local_port = connection.map_or(443, |connection| connection.local.port());
        let forwarded_host = connection.and_then(|connection| connection.forwarded_host.as_deref());
        RequestAuthority { uri: &self.head.uri, headers: &self.head.headers, forwarded_host, local_port }
    }

    async fn authenticate(self, endpoint: &Endpoint) -> Result<Subject, ApiError> {
        let (headers, now) = (&self.head.headers, self.api.clock().now());
        let takes_blank = matches!(endpoint, Endpoint::Search(_)) || self.uses_basic_challenge();
        let identified =
            match authentication::authenticate(self.api, headers, takes_blank, self.certificate(), self.peer(), now)
                .await
            {
                Err(expired @ AuthenticationError::BadToken(InvalidToken::Expired)) => {
                    expired_token::authenticate_expired_token(self.api, headers, endpoint, now).await.ok_or(expired)
                }
                identified => identified,
            };
        let subject =
            identified.map_err(|error| self.authentication_error(error, endpoint.required_scope().as_ref()))?;
        Ok(if self.uses_basic_challenge() { with_anonymous_rights(subject) } else { subject })
    }

    /// Whether the challenge scheme is Basic, so that clients never fetch a token, not even an anonymous one.
    fn uses_basic_challenge(self) -> bool {
        match self.api.components().challenge {
            ChallengeScheme::Basic => true,
            ChallengeScheme::Bearer => false,
        }
    }

    /// The error response for credentials that were not accepted: a challenge for `scope`, or 429 or 503 with
    /// `Retry-After`.
    pub(super) fn authentication_error(self, error: AuthenticationError, scope: Option<&Scope>) -> ApiError {
        let scopes: Vec<Scope> = scope.cloned().into_iter().collect();
        let challenge = |reason| challenge(self.api, self.request_authority(), reason, &scopes, error);
        match &error {
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
            | AuthenticationError::IssuerUnreachable { .. } => retry_later_error(&error),
        }
    }

    fn request_id(self) -> String {
        self.head.extensions.get::<RequestId>().map(ToString::to_string).unwrap_or_default()
    }
}

/// Gives an anonymous subject without a token all that the rules allow anonymous callers; returns other subjects
/// unchanged.
fn with_anonymous_rights(subject: Subject) -> Subject {
    match subject.principal {
        Principal::Anonymous if subject.restriction.is_empty() => {
            Subject { restriction: Restriction::unrestricted(), ..subject }
        }
        Principal::Anonymous | Principal::User(_) => subject,
    }
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
    ApiError::new(code, error).with_header(http::header::RETRY_AFTER, &seconds.max(1).to_string())
}

/// The context of one request after authentication.
pub(super) struct AuthenticatedContext<'a> {
    pub(super) request: RequestContext<'a>,
    pub(super) subject: &'a Subject,
}

impl AuthenticatedContext<'_> {
    async fn handle(self, endpoint: Endpoint, body: Body) -> Result<Response, ApiError> {
        let RequestContext { api, head } = self.request;
        let (method, headers, idle) = (&head.method, &head.headers, api.components().idle_timeout);
        match endpoint {
            Endpoint::Liveness
            | Endpoint::CaCertificate
            | Endpoint::Readiness
            | Endpoint::Ping
            | Endpoint::TokenKeys
            | Endpoint::Token => {
                unreachable!("answered before authentication")
            }
            Endpoint::VersionCheck => self.version_check(),
            Endpoint::Catalog(page) => {
                let gate = api.gate();
                let view = gate.authorize_catalog(self.subject).map_err(|denied| self.denied_error(&denied))?;
                catalog::list(api, &view, &page).await
            }
            // The search protocol is older than tokens, so clients fetch no anonymous token for it.
            Endpoint::Search(search) => {
                let (gate, subject) = (api.gate(), with_anonymous_rights(self.subject.clone()));
                let view = gate.authorize_catalog(&subject).map_err(|denied| self.denied_error(&denied))?;
                search::results(api, &view, &search).await
            }
            Endpoint::Tags(name, page) => tags::list(&self.open::<Pull>(name)?, &page).await,
            Endpoint::Manifest(name, reference) => {
                manifests::read(&self.open::<Pull>(name)?, &reference, method, headers).await
            }
            Endpoint::PutManifest(name, reference, tags) => {
                manifests::put(&self.open::<Push>(name)?, &reference, tags, headers, body, idle).await
            }
            Endpoint::DeleteManifest(name, reference) => {
                manifests::delete(&self.open::<Delete>(name)?, &reference).await
            }
            Endpoint::Blob(name, digest) => blobs::read(&self.open::<Pull>(name)?, &digest, method, headers).await,
            Endpoint::DeleteBlob(name, digest) => blobs::delete(&self.open::<Delete>(name)?, &digest).await,
            Endpoint::StartUpload(name, NewUpload::Session(algorithm)) => {
                uploads::start(&self.open::<Push>(name)?, algorithm, api.clock().now()).await
            }
            Endpoint::StartUpload(name, NewUpload::Monolithic(digest)) => {
                let now = api.clock().now();
                uploads::monolithic(&self.open::<Push>(name)?, digest, headers, body, idle, now).await
            }
            Endpoint::StartUpload(name, NewUpload::Mount(digest, from)) => {
                let target = self.open::<Push>(name)?;
                let source = self.mount_source(target.name(), &digest, from).await?;
                uploads::mount(&target, source, digest, api.clock().now()).await
            }
            Endpoint::UploadStatus(name, id) => uploads::status(&self.open::<Push>(name)?, id).await,
            Endpoint::UploadChunk(name, id) => uploads::chunk(&self.open::<Push>(name)?, id, headers, body, idle).await,
            Endpoint::FinishUpload(name, id, digest) => {
                uploads::finish(&self.open::<Push>(name)?, id, digest, headers, body, idle).await
            }
            Endpoint::CancelUpload(name, id) => uploads::cancel(&self.open::<Push>(name)?, id).await,
            Endpoint::DeleteRepository(name) => repositories::delete(&self.open::<Admin>(name)?).await,
            Endpoint::Referrers(name, digest, wanted) => {
                referrers::list(&self.open::<Pull>(name)?, &digest, &wanted).await
            }
        }
    }

    /// The response to `GET /v2/`. Docker and podman derive from it whether and how to log in. Anonymous callers always
    /// get a challenge, even where the rules allow anonymous pulls, because `docker login` takes a 200 as success with
    /// any password.
    fn version_check(&self) -> Result<Response, ApiError> {
        match self.subject.principal {
            Principal::User(_) => Ok(response::json("application/json", &json!({}))),
            Principal::Anonymous => Err(challenge(
                self.request.api,
                self.request.request_authority(),
                ChallengeReason::Missing,
                &[],
                "sign in to use this registry",
            )),
        }
    }

    /// Opens the repository with the right `A`, if the gate grants it to the caller; else returns the error response.
    fn open<A: Right>(&self, name: RepositoryName) -> Result<Repository<A>, ApiError> {
        let gate = self.request.api.gate();
        let proof = gate.authorize::<A>(self.subject, name).map_err(|denied| self.denied_error(&denied))?;
        Ok(self.request.api.registry().open(&proof))
    }

    fn denied_error(&self, denied: &Denied) -> ApiError {
        self.denied_error_with_scopes(denied, &[denied.requested.scope()])
    }

    /// The error response of a denied request: a challenge for a token with these scopes if such a token would help,
    /// else 403.
    pub(super) fn denied_error_with_scopes(&self, denied: &Denied, scopes: &[Scope]) -> ApiError {
        let RequestContext { api, .. } = self.request;
        // A request without credentials is not an audit event: every client begins with one, to get the challenge.
        if self.has_credentials() || matches!(denied.principal, Principal::User(_)) {
            let (user, action, object) = (&denied.principal, denied.requested.verb(), denied.requested.object());
            audit::record(&AuditEvent::Refused { user, action, object });
        }
        match denied.challenge {
            AccessChallenge::SignIn | AccessChallenge::WiderToken => {
                let nothing_shown = self.subject.restriction.is_empty() && !self.has_credentials();
                let reason = if nothing_shown { ChallengeReason::Missing } else { ChallengeReason::InsufficientScope };
                challenge(api, self.request.request_authority(), reason, scopes, denied)
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
        let (user, action, request) = (principal.to_string(), requested.verb(), self.request.request_id());
        match requested {
            RequestedAccess::Action(_, repository) => {
                json!({"user": user, "action": action, "repository": repository, "request": request})
            }
            RequestedAccess::Catalog => json!({"user": user, "action": action, "request": request}),
        }
    }

    fn has_credentials(&self) -> bool {
        self.request.head.headers.contains_key(http::header::AUTHORIZATION)
    }
}

impl Endpoint {
    /// The scope that a token needs for this endpoint, for the challenge to a caller that is not authenticated yet.
    fn required_scope(&self) -> Option<Scope> {
        use crate::access::Action;
        let scope = |name: &RepositoryName, action| Some(Scope::for_action(name.clone(), action));
        match self {
            Self::VersionCheck
            | Self::CaCertificate
            | Self::Ping
            | Self::Token
            | Self::TokenKeys
            | Self::Liveness
            | Self::Readiness => None,
            Self::Catalog(_) | Self::Search(_) => Some(Scope::Catalog),
            Self::Tags(name, _) | Self::Manifest(name, _) | Self::Blob(name, _) | Self::Referrers(name, _, _) => {
                scope(name, Action::Pull)
            }
            Self::PutManifest(name, ..)
            | Self::StartUpload(name, _)
            | Self::UploadStatus(name, _)
            | Self::UploadChunk(name, _)
            | Self::FinishUpload(name, ..)
            | Self::CancelUpload(name, _) => scope(name, Action::Push),
            Self::DeleteManifest(name, _) | Self::DeleteBlob(name, _) => scope(name, Action::Delete),
            Self::DeleteRepository(name) => scope(name, Action::Admin),
        }
    }
}

/// A 401 error with the Basic challenge of the token endpoint.
pub(super) fn basic_challenge_error(error: &AuthenticationError) -> ApiError {
    ApiError::new(ErrorCode::Unauthorized, error).with_header(http::header::WWW_AUTHENTICATE, &challenge::basic())
}
