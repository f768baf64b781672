//! Who is let in by which token (`[[auth.workload]]`).
//!
//! Invariant: plain data that is already valid; two rules have the same [`RuleId`] only if they say the same.

use std::{fmt, path::PathBuf, str::FromStr};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::json;

use super::claims::{Claim, Claims};
use crate::{
    access::{Action, Limits, UserName},
    fetch::{HttpsUrl, InvalidUrl},
    oci::{Algorithm, Digest},
};

/// Which tokens sign in as which user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who signs the tokens: their `iss`, letter by letter.
    pub issuer: IssuerUrl,
    /// Where the issuer's keys are; `None`: where its discovery document says, on its own host.
    pub jwks_uri: Option<HttpsUrl>,
    /// The authorities that vouch for the issuer's certificate, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// Whom the tokens are for: one of their `aud`.
    pub audience: String,
    /// What else they must say.
    pub claims: Claims,
    /// Who is signed in.
    pub user: UserName,
    /// How far that reaches; `None`: as far as the access rules.
    pub limits: Option<Limits>,
}

impl Rule {
    /// Whether this rule admits every token that `other` admits, as the same user. Where that is hard to tell, the
    /// answer is no.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let is_demanded = |wide: &Claim| {
            other.claims.iter().any(|narrow| wide.path == narrow.path && wide.pattern.covers(&narrow.pattern))
        };
        self.issuer == other.issuer
            && self.audience == other.audience
            && self.user == other.user
            && self.claims.iter().all(is_demanded)
    }

    /// What tells this rule from any other, in whatever process.
    #[must_use]
    pub fn id(&self) -> RuleId {
        let claims: Vec<_> = self.claims.iter().map(|claim| json!([claim.path, claim.pattern.to_string()])).collect();
        let limits = self.limits.as_ref().map(|limits| {
            let repositories: Vec<String> = limits.repositories.iter().map(ToString::to_string).collect();
            json!([repositories, limits.actions.iter().map(Action::as_str).collect::<Vec<_>>()])
        });
        let ca = self.ca.as_ref().map(|path| path.as_os_str().as_encoded_bytes());
        let jwks_uri = self.jwks_uri.as_ref().map(HttpsUrl::as_str);
        let text = json!([self.issuer.as_str(), jwks_uri, ca, self.audience, claims, self.user.as_str(), limits]);
        let digest = Digest::of(Algorithm::Sha256, text.to_string().as_bytes());
        RuleId(BASE64_URL_SAFE_NO_PAD.encode(&digest.as_bytes()[..16]))
    }
}

/// As an auditor reads it; what it does not say about where keys are, the issuer's name does.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer, audience, claims, user, limits, .. } = self;
        write!(f, "issuer = {:?}, audience = {audience:?}, claims = {{ ", issuer.as_str())?;
        for (index, claim) in claims.iter().enumerate() {
            write!(f, "{}{claim}", if index > 0 { ", " } else { "" })?;
        }
        write!(f, " }}, user = {:?}", user.as_str())?;
        if let Some(Limits { repositories, actions }) = limits {
            let repositories: Vec<String> = repositories.iter().map(ToString::to_string).collect();
            let actions: Vec<&str> = actions.iter().map(Action::as_str).collect();
            write!(f, ", repositories = {repositories:?}, actions = {actions:?}")?;
        }
        Ok(())
    }
}

/// The fingerprint of a rule. A token that came from it carries it, and ends when no rule has it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleId(String);

impl RuleId {
    /// As it stands in a token of ours.
    pub(in crate::auth) fn from_claim(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an issuer, which is also where it is asked for its keys (OIDC Discovery 1.0 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerUrl(HttpsUrl);

impl IssuerUrl {
    /// As it was written: an issuer is compared letter by letter.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL itself.
    #[must_use]
    pub fn url(&self) -> &HttpsUrl {
        &self.0
    }

    /// Where it describes itself (section 4 of the same).
    pub(super) fn discovery(&self) -> Result<HttpsUrl, InvalidUrl> {
        format!("{}/.well-known/openid-configuration", self.as_str().trim_end_matches('/')).parse()
    }
}

impl FromStr for IssuerUrl {
    type Err = InvalidIssuer;

    fn from_str(text: &str) -> Result<Self, InvalidIssuer> {
        let url: HttpsUrl = text.parse()?;
        if url.has_query() {
            return Err(InvalidIssuer::Query);
        }
        let issuer = Self(url);
        issuer.discovery()?;
        Ok(issuer)
    }
}

/// Why a text is not the name of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuer {
    /// Not even a URL that we would ask.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The specification forbids it.
    #[error("an issuer has no '?'")]
    Query,
}
