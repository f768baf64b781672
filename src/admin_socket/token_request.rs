//! The forms of an access token in the lines of the protocol: the request for one, and its secret in the answer.
//!
//! Invariant: the secret of a token cannot be printed or copied, and is overwritten when it is dropped; only the line
//! of [`Event`](super::protocol::Event) contains it.

use std::{fmt, mem};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::text;
use crate::{
    access::{Action, CredentialLimits, Glob, UserName},
    auth::{
        Password,
        tokens::{AccessTokenRequest, TokenLifetime, TokenName},
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
    #[serde(with = "text::option")]
    lifetime: Option<TokenLifetime>,
}

impl From<AccessTokenRequest> for TokenRequestLine {
    fn from(request: AccessTokenRequest) -> Self {
        let AccessTokenRequest { name, user, limits: CredentialLimits { repositories, actions }, lifetime } = request;
        Self { name, user, repositories, actions: actions.iter().collect(), lifetime }
    }
}

impl From<TokenRequestLine> for AccessTokenRequest {
    fn from(line: TokenRequestLine) -> Self {
        let TokenRequestLine { name, user, repositories, actions, lifetime } = line;
        let limits = CredentialLimits { repositories, actions: actions.into_iter().collect() };
        Self { name, user, limits, lifetime }
    }
}

/// The secret of a new access token in an event line, on its way to the command that prints it.
#[derive(PartialEq, Eq)]
pub(super) struct SecretLine(Zeroizing<String>);

impl SecretLine {
    pub(super) fn new(secret: &Password) -> Self {
        Self(Zeroizing::new(secret.expose().to_owned()))
    }

    pub(super) fn into_password(mut self) -> Password {
        Password::new(mem::take(&mut *self.0))
    }
}

impl Serialize for SecretLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|secret| Self(Zeroizing::new(secret)))
    }
}

impl fmt::Debug for SecretLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
