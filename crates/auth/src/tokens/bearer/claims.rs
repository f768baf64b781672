//! Converts between bearer token claims in JSON and this crate's types.
//!
//! Invariant: a [`VerifiedClaims`] depends only on the bytes of the token, so it can be cached; its time is checked
//! separately at each use.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{invalid_token::InvalidToken, origin::TokenOrigin};
use crate::config::CLOCK_LEEWAY;
use portcullis_access::{Action, Actions, Principal, Scope, UserName};

/// The claims of a token in JSON (Docker token specification, "Token Authentication Implementation").
#[derive(Serialize, Deserialize)]
pub(super) struct BearerClaims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) aud: String,
    pub(super) exp: u64,
    pub(super) nbf: u64,
    pub(super) iat: u64,
    pub(super) jti: String,
    pub(super) access: Vec<AccessClaim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) via: Option<String>,
}

/// One entry of the `access` claim in JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct AccessClaim {
    r#type: String,
    name: String,
    actions: Vec<String>,
}

impl BearerClaims {
    /// Removes scopes from the end, at least one of them, until the encoded token is shorter by `excess` bytes.
    pub(super) fn drop_last_scopes(&mut self, excess: usize) {
        let mut dropped = 0;
        while dropped <= excess
            && let Some(claim) = self.access.pop()
        {
            // Three bytes of JSON are four of base64url.
            dropped += serde_json::to_vec(&claim).map_or(0, |json| json.len()) * 4 / 3;
        }
    }
}

/// The parsed claims of a token whose signature, issuer and audience were verified.
pub(super) struct VerifiedClaims {
    pub(super) principal: Principal,
    pub(super) scopes: Vec<Scope>,
    pub(super) origin: Option<TokenOrigin>,
    /// The `nbf` claim in seconds since 1970, without leeway.
    not_before: u64,
    /// The `exp` claim plus [`CLOCK_LEEWAY`].
    pub(super) expires: SystemTime,
}

impl VerifiedClaims {
    pub(super) fn from_claims(claims: BearerClaims) -> Result<Self, InvalidToken> {
        let principal = if claims.sub.is_empty() {
            Principal::Anonymous
        } else {
            Principal::User(claims.sub.parse::<UserName>().map_err(|_| InvalidToken::Unverifiable)?)
        };
        let end = Duration::from_secs(claims.exp.saturating_add(CLOCK_LEEWAY.as_secs()));
        Ok(Self {
            principal,
            scopes: claims.access.iter().filter_map(AccessClaim::to_scope).collect(),
            origin: claims.via.map(|via| via.parse()).transpose()?,
            not_before: claims.nbf,
            expires: UNIX_EPOCH.checked_add(end).ok_or(InvalidToken::Unverifiable)?,
        })
    }

    /// Checks that `now` is within the time of the token, or at most `grace` after it.
    pub(super) fn check_time(&self, now: SystemTime, grace: Duration) -> Result<(), InvalidToken> {
        let now = unix_seconds(now);
        if unix_seconds(self.expires).saturating_add(grace.as_secs()) < now {
            return Err(InvalidToken::Expired);
        }
        if self.not_before > now.saturating_add(CLOCK_LEEWAY.as_secs()) {
            return Err(InvalidToken::NotYetValid);
        }
        Ok(())
    }
}

impl From<&Scope> for AccessClaim {
    fn from(scope: &Scope) -> Self {
        match scope {
            Scope::Repository { name, actions } => Self {
                r#type: "repository".to_owned(),
                name: name.to_string(),
                actions: actions.iter().map(|action| action.to_string()).collect(),
            },
            Scope::Catalog => {
                Self { r#type: "registry".to_owned(), name: "catalog".to_owned(), actions: vec!["*".to_owned()] }
            }
        }
    }
}

impl AccessClaim {
    fn to_scope(&self) -> Option<Scope> {
        match self.r#type.as_str() {
            "repository" => {
                let actions = self.actions.iter().filter_map(|action| action.parse::<Action>().ok());
                Some(Scope::Repository { name: self.name.parse().ok()?, actions: actions.collect::<Actions>() })
            }
            "registry" if self.name == "catalog" => Some(Scope::Catalog),
            _ => None,
        }
    }
}

/// Seconds since 1970, the time format of JSON Web Tokens (RFC 7519 section 2).
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
