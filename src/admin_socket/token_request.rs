//! The forms of an access token in the lines of the protocol: the request for one, and its secret in the answer.
//!
//! Invariant: the secret of a token cannot be printed; only the line of [`Event`](super::protocol::Event) contains it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::text;
use crate::{
    access::{Action, CredentialLimits, Glob, UserName},
    auth::{
        Password,
        tokens::{AccessTokenRequest, TokenName},
    },
};

/// An [`AccessTokenRequest`] in a request line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenRequestLine {
    #[serde(with = "text")]
    name: TokenName,
    #[serde(with = "text")]
    user: UserName,
    #[serde(with = "text::list")]
    repositories: Vec<Glob>,
    #[serde(with = "text::list")]
    actions: Vec<Action>,
    /// In seconds.
    lifetime: Option<u64>,
}

impl From<AccessTokenRequest> for TokenRequestLine {
    fn from(request: AccessTokenRequest) -> Self {
        let AccessTokenRequest { name, user, limits: CredentialLimits { repositories, actions }, lifetime } = request;
        Self { name, user, repositories, actions: actions.iter().collect(), lifetime: lifetime.map(|it| it.as_secs()) }
    }
}

impl From<TokenRequestLine> for AccessTokenRequest {
    fn from(line: TokenRequestLine) -> Self {
        let TokenRequestLine { name, user, repositories, actions, lifetime } = line;
        let limits = CredentialLimits { repositories, actions: actions.into_iter().collect() };
        Self { name, user, limits, lifetime: lifetime.map(Duration::from_secs) }
    }
}

/// The secret of a new access token in an event line, on its way to the command that prints it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SecretLine(String);

impl SecretLine {
    pub(super) fn new(secret: &Password) -> Self {
        Self(secret.expose().to_owned())
    }

    pub(super) fn into_password(self) -> Password {
        Password::new(self.0)
    }
}

impl fmt::Debug for SecretLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
