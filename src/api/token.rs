//! Serves `/token`: issues bearer tokens for passwords, access tokens, refresh tokens and client certificates (Docker
//! token specification; `POST` is its OAuth 2 variant).
//!
//! Invariant: a token contains the requested scopes that the policy allows, and no more. A request with no allowed
//! scope still gets a token, which is how clients find out that a password is right. The response contains a refresh
//! token only if the request asks for one: go-containerregistry adopts any that it receives.

use std::time::SystemTime;

use axum::{body::Body, response::Response};
use http::{Method, header};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    body,
    dispatch::{self, Visit},
    error::{ApiError, Code},
    middleware::LoggedUser,
    reply::{self, With as _},
};
use crate::{
    access::{Principal, Scope},
    audit::{self, Event},
    auth::{AuthenticationError, Credentials, Password},
};

/// The maximum size of a form body in bytes.
const MAX_FORM: usize = 64 << 10;

pub(super) async fn answer(visit: Visit<'_>, request: Body) -> Result<Response, ApiError> {
    if visit.head.method == Method::POST {
        let form = body::collect(request, visit.api.parts().idle_timeout, MAX_FORM).await?;
        let parameters = Parameters::read(&form);
        let shown = parameters.grant()?;
        issue(visit, &parameters, shown, true).await
    } else {
        let query = visit.head.uri.query().unwrap_or_default();
        let parameters = Parameters::read(query.as_bytes());
        let header = visit.head.headers.get(header::AUTHORIZATION);
        let credentials = header.map(|value| Credentials::parse(value.as_bytes())).transpose();
        let credentials = credentials.map_err(|error| dispatch::wrong_password(&error.into()))?;
        parameters.check_account(credentials.as_ref())?;
        issue(visit, &parameters, Shown::of(credentials), false).await
    }
}

/// The credential that a client presents to get a token.
enum Shown {
    Credentials(Option<Credentials>),
    RefreshToken(Password),
}

impl Shown {
    /// Takes the user name `<token>` for a refresh token: Docker's credential helpers store refresh tokens under this
    /// name, and some clients send it.
    fn of(credentials: Option<Credentials>) -> Self {
        match credentials {
            Some(Credentials::Basic { user, password }) if user == "<token>" => Self::RefreshToken(password),
            credentials => Self::Credentials(credentials),
        }
    }
}

/// The parameters of a token request.
#[derive(Default)]
struct Parameters {
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

impl Parameters {
    fn read(form: &[u8]) -> Self {
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

    fn grant(&self) -> Result<Shown, ApiError> {
        let incomplete = |message| Err(ApiError::new(Code::BadRequest, message));
        match (self.grant_type.as_deref(), &self.username, &self.password, &self.refresh_token) {
            (Some("password"), Some(user), Some(password), _) => {
                Ok(Shown::of(Some(Credentials::Basic { user: user.clone(), password: password.clone() })))
            }
            (Some("password"), ..) => incomplete("grant_type=password needs username and password"),
            (Some("refresh_token"), _, _, Some(token)) => Ok(Shown::RefreshToken(token.clone())),
            (Some("refresh_token"), ..) => incomplete("grant_type=refresh_token needs refresh_token"),
            (..) => incomplete("grant_type must be password or refresh_token"),
        }
    }

    /// Docker sends the account beside the credentials; a mismatch is an error of the client.
    fn check_account(&self, credentials: Option<&Credentials>) -> Result<(), ApiError> {
        match (&self.account, credentials) {
            (Some(account), Some(Credentials::Basic { user, .. })) if account != user => {
                Err(ApiError::new(Code::BadRequest, "account does not match the user of the credentials"))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}

/// The JSON body of a successful token response.
#[derive(Serialize)]
struct Answer<'a> {
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

async fn issue(visit: Visit<'_>, asked: &Parameters, shown: Shown, says_scope: bool) -> Result<Response, ApiError> {
    let (authenticator, now) = (visit.api.authenticator(), SystemTime::now());
    let (holder, known) = match shown {
        Shown::Credentials(credentials) => {
            (authenticator.holder(credentials, visit.certificate(), visit.peer(), now).await, None)
        }
        Shown::RefreshToken(token) => (authenticator.refresh(&token, visit.peer(), now).await, Some(token)),
    };
    let holder = holder.map_err(|error| refuse(&error))?;
    let principal = &holder.subject().principal;
    LoggedUser::note(&visit.head.extensions, principal);
    let granted = visit.api.gate().grant(holder.subject(), &asked.scopes);
    let issued = authenticator.issue(&holder, &granted, now).map_err(|error| ApiError::internal(&error))?;
    if matches!(principal, Principal::User(_)) {
        audit::record(&Event::TokenIssued { user: principal, scopes: &granted });
    }
    let refresh_token = match known {
        // The same refresh token again: Docker compares it with the one that it stores, and keeps that.
        Some(known) => Some(known),
        None if asked.is_offline => {
            authenticator.refresh_token(&holder, asked.client.as_deref().unwrap_or_default(), now).await
        }
        None => None,
    };
    let answer = Answer {
        token: &issued.token,
        access_token: &issued.token,
        expires_in: issued.lifetime.as_secs(),
        issued_at: rfc3339(issued.issued_at),
        refresh_token: refresh_token.as_ref().map(Password::expose),
        scope: says_scope.then(|| granted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
    };
    Ok(reply::json("application/json", &answer).with(header::CACHE_CONTROL, "no-store"))
}

fn refuse(error: &AuthenticationError) -> ApiError {
    match error {
        AuthenticationError::WrongPassword
        | AuthenticationError::BadToken(_)
        | AuthenticationError::BadGrant(_)
        | AuthenticationError::BadHeader(_) => dispatch::wrong_password(error),
        AuthenticationError::Locked { .. }
        | AuthenticationError::Busy { .. }
        | AuthenticationError::Unavailable
        | AuthenticationError::IssuerUnreachable { .. } => dispatch::later(error),
    }
}

fn rfc3339(time: SystemTime) -> String {
    let whole = OffsetDateTime::from(time).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    whole.format(&Rfc3339).unwrap_or_default()
}
