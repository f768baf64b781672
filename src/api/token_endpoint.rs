//! Serves `/token`: issues bearer tokens for passwords, access tokens, refresh tokens and client certificates (Docker
//! token specification; `POST` is its OAuth 2 variant).
//!
//! Invariant: a token contains the requested scopes that the policy allows, and no more. A request with no allowed
//! scope still gets a token, which is how clients find out that a password is right. The response contains a refresh
//! token only if the request asks for one: go-containerregistry adopts any that it receives.

use std::time::SystemTime;

use axum::response::Response;
use http::{Method, header};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    challenge,
    context::RequestContext,
    error::{ApiError, ErrorCode},
    request_body::RequestBody,
    response::{self, ResponseExt as _},
};
use crate::{
    access::{Principal, Scope},
    audit::{self, AuditEvent},
    auth::{AuthenticationError, Credentials, Password},
};

/// The maximum size of a form body in bytes.
const MAX_FORM_BYTES: usize = 64 << 10;

pub(super) async fn handle(context: RequestContext<'_>, body: RequestBody) -> Result<Response, ApiError> {
    if context.head.method == Method::POST {
        let form = body.collect(MAX_FORM_BYTES).await?;
        let parameters = TokenRequest::parse(&form);
        let shown = parameters.presented_credential()?;
        issue(context, &parameters, shown, true).await
    } else {
        let query = context.head.uri.query().unwrap_or_default();
        let parameters = TokenRequest::parse(query.as_bytes());
        let credentials = context.credentials().map_err(|error| challenge::basic_challenge_error(&error.into()))?;
        parameters.check_account(credentials.as_ref())?;
        issue(context, &parameters, PresentedCredential::from_credentials(credentials), false).await
    }
}

/// The credential that a client presents to get a token.
enum PresentedCredential {
    Credentials(Option<Credentials>),
    RefreshToken(Password),
}

impl PresentedCredential {
    /// Takes the user name `<token>` for a refresh token: Docker's credential helpers store refresh tokens under this
    /// name, and some clients send it.
    fn from_credentials(credentials: Option<Credentials>) -> Self {
        match credentials {
            Some(Credentials::Basic { user, password }) if user == "<token>" => Self::RefreshToken(password),
            credentials => Self::Credentials(credentials),
        }
    }
}

/// The parameters of a token request.
#[derive(Default)]
struct TokenRequest {
    scopes: Vec<Scope>,
    account: Option<String>,
    grant_type: Option<String>,
    username: Option<String>,
    password: Option<Password>,
    refresh_token: Option<Password>,
    client: Option<String>,
    /// Whether the request asks for a refresh token.
    is_offline: bool,
}

impl TokenRequest {
    fn parse(form: &[u8]) -> Self {
        let mut texts = Vec::new();
        let mut read = Self::default();
        for (key, value) in form_urlencoded::parse(form) {
            match key.as_ref() {
                "scope" => texts.push(value),
                "account" => read.account = Some(value.into_owned()),
                "grant_type" => read.grant_type = Some(value.into_owned()),
                "username" => read.username = Some(value.into_owned()),
                "password" => read.password = Some(Password::new(value.into_owned())),
                "refresh_token" => read.refresh_token = Some(Password::new(value.into_owned())),
                "client_id" => read.client = Some(value.into_owned()),
                "offline_token" => read.is_offline |= value == "true",
                "access_type" => read.is_offline |= value == "offline",
                // `service` is ignored: this server has one service.
                _ => {}
            }
        }
        read.scopes = Scope::parse_all(texts.iter().map(AsRef::as_ref));
        read
    }

    fn presented_credential(&self) -> Result<PresentedCredential, ApiError> {
        let incomplete = |message| Err(ApiError::new(ErrorCode::BadRequest, message));
        match (self.grant_type.as_deref(), &self.username, &self.password, &self.refresh_token) {
            (Some("password"), Some(user), Some(password), _) => {
                Ok(PresentedCredential::from_credentials(Some(Credentials::Basic {
                    user: user.clone(),
                    password: password.clone(),
                })))
            }
            (Some("password"), ..) => incomplete("grant_type=password needs username and password"),
            (Some("refresh_token"), _, _, Some(token)) => Ok(PresentedCredential::RefreshToken(token.clone())),
            (Some("refresh_token"), ..) => incomplete("grant_type=refresh_token needs refresh_token"),
            (..) => incomplete("grant_type must be password or refresh_token"),
        }
    }

    /// Docker sends the account beside the credentials; a mismatch is an error of the client.
    fn check_account(&self, credentials: Option<&Credentials>) -> Result<(), ApiError> {
        match (&self.account, credentials) {
            (Some(account), Some(Credentials::Basic { user, .. })) if account != user => {
                Err(ApiError::new(ErrorCode::BadRequest, "account does not match the user of the credentials"))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}

/// The JSON body of a successful token response.
#[derive(Serialize)]
struct TokenResponse<'a> {
    token: &'a str,
    /// The same, under the name that OAuth 2 has for it.
    access_token: &'a str,
    expires_in: u64,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

async fn issue(
    context: RequestContext<'_>,
    token_request: &TokenRequest,
    presented: PresentedCredential,
    includes_scope: bool,
) -> Result<Response, ApiError> {
    let (authenticator, connection) = (context.api.authenticator(), &context.info.connection);
    let now = context.api.clock().now();
    let (holder, known) = match presented {
        PresentedCredential::Credentials(credentials) => (
            authenticator
                .authenticate_for_token(credentials, connection.certificate.as_ref(), connection.peer, now)
                .await,
            None,
        ),
        PresentedCredential::RefreshToken(token) => {
            (authenticator.authenticate_refresh_token(&token, connection.peer, now).await, Some(token))
        }
    };
    let holder = holder.map_err(|error| authentication_error(&error))?;
    let principal = &holder.subject().principal;
    context.info.user.set(principal);
    let granted = context.api.gate().grant_scopes(holder.subject(), &token_request.scopes);
    let issued =
        authenticator.issue_bearer_token(&holder, &granted, now).map_err(|error| ApiError::internal(&error))?;
    if matches!(principal, Principal::User(_)) {
        audit::record(&AuditEvent::TokenIssued { user: principal, scopes: &issued.scopes });
    }
    let refresh_token = match known {
        // The same refresh token again: Docker compares it with the one that it stores, and keeps that.
        Some(known) => Some(known),
        None if token_request.is_offline => {
            authenticator.issue_refresh_token(&holder, token_request.client.as_deref().unwrap_or_default(), now).await
        }
        None => None,
    };
    let answer = TokenResponse {
        token: &issued.token,
        access_token: &issued.token,
        expires_in: issued.lifetime.as_secs(),
        issued_at: rfc3339(issued.issued_at),
        refresh_token: refresh_token.as_ref().map(Password::expose),
        scope: includes_scope.then(|| issued.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
    };
    Ok(response::json("application/json", &answer).with_header(header::CACHE_CONTROL, "no-store"))
}

fn authentication_error(error: &AuthenticationError) -> ApiError {
    match error {
        AuthenticationError::WrongPassword
        | AuthenticationError::BadToken(_)
        | AuthenticationError::BadStoredToken(_)
        | AuthenticationError::BadHeader(_) => challenge::basic_challenge_error(error),
        AuthenticationError::Locked { .. }
        | AuthenticationError::Busy { .. }
        | AuthenticationError::Unavailable
        | AuthenticationError::IssuerUnreachable { .. } => challenge::retry_later_error(error),
    }
}

fn rfc3339(time: SystemTime) -> String {
    let whole = OffsetDateTime::from(time).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    whole.format(&Rfc3339).unwrap_or_default()
}
