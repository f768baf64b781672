//! Routes each [`Endpoint`] to its handler, after authenticating the caller and asking the gate for the right that it
//! needs.
//!
//! Invariant: the match over [`Endpoint`] has no wildcard, and every arm that needs a repository gets it from
//! [`Visitor::open`], which asks the gate.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::request;
use serde_json::json;

use super::{
    authority, blobs,
    caller::{self, Connection},
    catalog,
    challenge::{self, Reason, challenge},
    endpoint::{Endpoint, NewUpload},
    error::{ApiError, Code},
    health, late, manifests,
    middleware::{LoggedUser, RequestId},
    realm::Target,
    referrers, reply, repositories, search,
    state::Api,
    tags, token, uploads,
};
use crate::{
    access::{Admin, Delete, Denied, Principal, Pull, Push, Reach, Remedy, Right, Scope, Subject, Wanted},
    audit::{self, Event},
    auth::{AuthenticationError, BadToken, ChallengeScheme, ClientChain},
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
    let visit = Visit { api: &api, head: &head };
    visit.answer(endpoint, body).await.unwrap_or_else(ApiError::into_response)
}

/// The context of one request before authentication.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) api: &'a Api,
    pub(super) head: &'a request::Parts,
}

impl Visit<'_> {
    async fn answer(self, endpoint: Endpoint, body: Body) -> Result<Response, ApiError> {
        match endpoint {
            Endpoint::Alive => Ok(health::alive()),
            Endpoint::Ready => health::ready(self.api).await,
            Endpoint::Authority => authority::certificate(self.api),
            Endpoint::Ping => Ok(search::ping()),
            Endpoint::TokenKeys => {
                Ok(reply::json("application/jwk-set+json", &self.api.authenticator().key_set(SystemTime::now())))
            }
            Endpoint::Token => token::answer(self, body).await,
            Endpoint::Base
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
            | Endpoint::RemoveRepository(..) => {
                let subject = self.identify(&endpoint).await?;
                LoggedUser::note(&self.head.extensions, &subject.principal);
                let visitor = Visitor { visit: self, subject: &subject };
                visitor.answer(endpoint, body).await
            }
        }
    }

    pub(super) fn peer(self) -> IpAddr {
        let connection = self.head.extensions.get::<Connection>();
        connection.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |connection| connection.peer.ip())
    }

    pub(super) fn certificate(&self) -> Option<&ClientChain> {
        self.head.extensions.get::<Connection>()?.certificate.as_ref()
    }

    fn target(&self) -> Target<'_> {
        let connection = self.head.extensions.get::<Connection>();
        let local_port = connection.map_or(443, |connection| connection.local.port());
        let forwarded_host = connection.and_then(|connection| connection.forwarded_host.as_deref());
        Target { uri: &self.head.uri, headers: &self.head.headers, forwarded_host, local_port }
    }

    async fn identify(self, endpoint: &Endpoint) -> Result<Subject, ApiError> {
        let (headers, now) = (&self.head.headers, SystemTime::now());
        let takes_blank = matches!(endpoint, Endpoint::Search(_)) || self.has_no_tokens();
        let identified =
            match caller::identify(self.api, headers, takes_blank, self.certificate(), self.peer(), now).await {
                Err(expired @ AuthenticationError::BadToken(BadToken::Expired)) => {
                    late::identify(self.api, headers, endpoint, now).await.ok_or(expired)
                }
                identified => identified,
            };
        let subject = identified.map_err(|error| self.unidentified(error, endpoint.scope().as_ref()))?;
        Ok(if self.has_no_tokens() { with_anonymous_rights(subject) } else { subject })
    }

    /// Whether the challenge scheme is Basic, so that clients never fetch a token, not even an anonymous one.
    fn has_no_tokens(self) -> bool {
        match self.api.parts().challenge {
            ChallengeScheme::Basic => true,
            ChallengeScheme::Bearer => false,
        }
    }

    /// The error response for credentials that were not accepted: a challenge for `scope`, or 429 or 503 with
    /// `Retry-After`.
    pub(super) fn unidentified(self, error: AuthenticationError, scope: Option<&Scope>) -> ApiError {
        let scopes: Vec<Scope> = scope.cloned().into_iter().collect();
        let challenge = |reason| challenge(self.api, self.target(), reason, &scopes, error);
        match &error {
            AuthenticationError::WrongPassword | AuthenticationError::BadGrant(_) => challenge(Reason::WrongPassword),
            AuthenticationError::BadToken(reason) => {
                audit::record(&Event::TokenRefused { reason: &reason.to_string() });
                challenge(Reason::InvalidToken)
            }
            AuthenticationError::BadHeader(_) => challenge(Reason::Missing),
            AuthenticationError::Locked { .. }
            | AuthenticationError::Busy { .. }
            | AuthenticationError::Unavailable
            | AuthenticationError::IssuerUnreachable { .. } => later(&error),
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
        Principal::Anonymous if subject.reach.is_empty() => Subject { reach: Reach::full(), ..subject },
        Principal::Anonymous | Principal::User(_) => subject,
    }
}

/// The `Retry-After` of a failed store. Clients give up after a few attempts, so it is not immediate.
const UNAVAILABLE: Duration = Duration::from_secs(5);

/// A 429 or 503 error with `Retry-After` in whole seconds, at least one.
pub(super) fn later(error: &AuthenticationError) -> ApiError {
    let (code, wait) = match error {
        AuthenticationError::Locked { retry_after } => (Code::TooManyRequests, *retry_after),
        AuthenticationError::Busy { retry_after } | AuthenticationError::IssuerUnreachable { retry_after } => {
            (Code::Unavailable, *retry_after)
        }
        AuthenticationError::Unavailable => (Code::Unavailable, UNAVAILABLE),
        AuthenticationError::WrongPassword
        | AuthenticationError::BadToken(_)
        | AuthenticationError::BadGrant(_)
        | AuthenticationError::BadHeader(_) => {
            return ApiError::internal(error);
        }
    };
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    ApiError::new(code, error).with_header(http::header::RETRY_AFTER, &seconds.max(1).to_string())
}

/// The context of one request after authentication.
pub(super) struct Visitor<'a> {
    pub(super) visit: Visit<'a>,
    pub(super) subject: &'a Subject,
}

impl Visitor<'_> {
    async fn answer(self, endpoint: Endpoint, body: Body) -> Result<Response, ApiError> {
        let Visit { api, head } = self.visit;
        let (method, headers, idle) = (&head.method, &head.headers, api.parts().idle_timeout);
        match endpoint {
            Endpoint::Alive
            | Endpoint::Authority
            | Endpoint::Ready
            | Endpoint::Ping
            | Endpoint::TokenKeys
            | Endpoint::Token => {
                unreachable!("answered before authentication")
            }
            Endpoint::Base => self.base(),
            Endpoint::Catalog(page) => {
                let gate = api.gate();
                let view = gate.authorize_catalog(self.subject).map_err(|denied| self.refuse(&denied))?;
                catalog::list(api, &view, &page).await
            }
            // The search protocol is older than tokens, so clients fetch no anonymous token for it.
            Endpoint::Search(search) => {
                let (gate, subject) = (api.gate(), with_anonymous_rights(self.subject.clone()));
                let view = gate.authorize_catalog(&subject).map_err(|denied| self.refuse(&denied))?;
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
                uploads::start(&self.open::<Push>(name)?, algorithm).await
            }
            Endpoint::StartUpload(name, NewUpload::Whole(digest)) => {
                uploads::whole(&self.open::<Push>(name)?, digest, headers, body, idle).await
            }
            Endpoint::StartUpload(name, NewUpload::Mount(digest, from)) => {
                let target = self.open::<Push>(name)?;
                uploads::mount(&target, self.mount_source(target.name(), &digest, from).await?, digest).await
            }
            Endpoint::UploadStatus(name, id) => uploads::status(&self.open::<Push>(name)?, id).await,
            Endpoint::UploadChunk(name, id) => uploads::chunk(&self.open::<Push>(name)?, id, headers, body, idle).await,
            Endpoint::FinishUpload(name, id, digest) => {
                uploads::finish(&self.open::<Push>(name)?, id, digest, headers, body, idle).await
            }
            Endpoint::CancelUpload(name, id) => uploads::cancel(&self.open::<Push>(name)?, id).await,
            Endpoint::RemoveRepository(name) => repositories::remove(&self.open::<Admin>(name)?).await,
            Endpoint::Referrers(name, digest, wanted) => {
                referrers::list(&self.open::<Pull>(name)?, &digest, &wanted).await
            }
        }
    }

    /// The response to `GET /v2/`. Docker and podman derive from it whether and how to log in. Anonymous callers always
    /// get a challenge, even where the rules allow anonymous pulls, because `docker login` takes a 200 as success with
    /// any password.
    fn base(&self) -> Result<Response, ApiError> {
        match self.subject.principal {
            Principal::User(_) => Ok(reply::json("application/json", &json!({}))),
            Principal::Anonymous => Err(challenge(
                self.visit.api,
                self.visit.target(),
                Reason::Missing,
                &[],
                "sign in to use this registry",
            )),
        }
    }

    /// Opens the repository with the right `A`, if the gate grants it to the caller; else returns the error response.
    fn open<A: Right>(&self, name: RepositoryName) -> Result<Repository<A>, ApiError> {
        let gate = self.visit.api.gate();
        let proof = gate.authorize::<A>(self.subject, name).map_err(|denied| self.refuse(&denied))?;
        Ok(self.visit.api.registry().open(&proof))
    }

    fn refuse(&self, denied: &Denied) -> ApiError {
        self.refuse_scopes(denied, &[denied.wanted.scope()])
    }

    /// The error response of a denied request: a challenge for a token with these scopes if such a token would help,
    /// else 403.
    pub(super) fn refuse_scopes(&self, denied: &Denied, scopes: &[Scope]) -> ApiError {
        let Visit { api, .. } = self.visit;
        // A request without credentials is not an audit event: every client begins with one, to get the challenge.
        if self.has_credentials() || matches!(denied.principal, Principal::User(_)) {
            let (user, action, object) = (&denied.principal, denied.wanted.verb(), denied.wanted.object());
            audit::record(&Event::Refused { user, action, object });
        }
        match denied.remedy {
            Remedy::SignIn | Remedy::WiderToken => {
                let nothing_shown = self.subject.reach.is_empty() && !self.has_credentials();
                let reason = if nothing_shown { Reason::Missing } else { Reason::InsufficientScope };
                challenge(api, self.visit.target(), reason, scopes, denied)
            }
            Remedy::None => {
                // Without this addition, a user who may push, though not with this token, would look for the mistake in
                // the rules.
                let with = if self.subject.reach.is_limited() { " with this access token" } else { "" };
                ApiError::new(Code::Denied, format_args!("{denied}{with}")).with_detail(self.detail(denied))
            }
        }
    }

    fn detail(&self, denied: &Denied) -> serde_json::Value {
        let Denied { principal, wanted, .. } = denied;
        let (user, action, request) = (principal.to_string(), wanted.verb(), self.visit.request_id());
        match wanted {
            Wanted::Action(_, repository) => {
                json!({"user": user, "action": action, "repository": repository, "request": request})
            }
            Wanted::Catalog => json!({"user": user, "action": action, "request": request}),
        }
    }

    fn has_credentials(&self) -> bool {
        self.visit.head.headers.contains_key(http::header::AUTHORIZATION)
    }
}

impl Endpoint {
    /// The scope that a token needs for this endpoint, for the challenge to a caller that is not authenticated yet.
    fn scope(&self) -> Option<Scope> {
        use crate::access::Action;
        let scope = |name: &RepositoryName, action| Some(Scope::for_action(name.clone(), action));
        match self {
            Self::Base | Self::Authority | Self::Ping | Self::Token | Self::TokenKeys | Self::Alive | Self::Ready => {
                None
            }
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
            Self::RemoveRepository(name) => scope(name, Action::Admin),
        }
    }
}

/// A 401 error with the Basic challenge of the token endpoint.
pub(super) fn wrong_password(error: &AuthenticationError) -> ApiError {
    ApiError::new(Code::Unauthorized, error).with_header(http::header::WWW_AUTHENTICATE, &challenge::basic())
}
