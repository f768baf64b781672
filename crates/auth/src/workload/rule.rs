//! A workload rule: maps OIDC tokens with certain claims to a user (`[[auth.workload]]`).
//!
//! Invariant: a rule is validated data; two rules have the same [`WorkloadRuleId`] only if they are equal.

use std::{fmt, path::PathBuf, str::FromStr};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::json;

use super::required_claims::{RequiredClaim, RequiredClaims};
use portcullis_access::{Action, CredentialLimits, UserName};
use portcullis_http_client::{HttpsUrl, InvalidUrl};
use portcullis_oci::{Algorithm, Digest};

/// Maps tokens of an issuer with certain claims to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadRule {
    /// The issuer: the exact `iss` of the tokens.
    pub issuer: IssuerUrl,
    /// The URL of the issuer's keys; `None`: from its discovery document, which must name a URL on the same host.
    pub jwks_uri: Option<HttpsUrl>,
    /// The file of authorities that verify the issuer's certificate, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// The audience: must be among the `aud` of the tokens.
    pub audience: String,
    /// The further claims that the tokens must have.
    pub claims: RequiredClaims,
    /// The user that the tokens authenticate.
    pub user: UserName,
    /// The restriction of such a login; `None`: only the access rules apply.
    pub limits: Option<CredentialLimits>,
}

impl WorkloadRule {
    /// Whether this rule accepts every token that `other` accepts, as the same user. The check is conservative: false
    /// where it is not obvious.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let is_demanded = |wide: &RequiredClaim| {
            other.claims.iter().any(|narrow| wide.path == narrow.path && wide.pattern.covers(&narrow.pattern))
        };
        self.issuer == other.issuer
            && self.audience == other.audience
            && self.user == other.user
            && self.claims.iter().all(is_demanded)
    }

    /// The fingerprint of the rule, the same in every process.
    #[must_use]
    pub fn id(&self) -> WorkloadRuleId {
        let claims: Vec<_> = self.claims.iter().map(|claim| json!([claim.path, claim.pattern.to_string()])).collect();
        let limits = self.limits.as_ref().map(|limits| {
            let repositories: Vec<String> = limits.repositories.iter().map(ToString::to_string).collect();
            json!([repositories, limits.actions.iter().map(Action::as_str).collect::<Vec<_>>()])
        });
        let ca = self.ca.as_ref().map(|path| path.as_os_str().as_encoded_bytes());
        let jwks_uri = self.jwks_uri.as_ref().map(HttpsUrl::as_str);
        let text = json!([self.issuer.as_str(), jwks_uri, ca, self.audience, claims, self.user.as_str(), limits]);
        let digest = Digest::compute(Algorithm::Sha256, text.to_string().as_bytes());
        WorkloadRuleId(BASE64_URL_SAFE_NO_PAD.encode(&digest.as_bytes()[..16]))
    }
}

/// The rule for the audit log, without `jwks_uri` and `ca`: the issuer identifies them.
impl fmt::Display for WorkloadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer, audience, claims, user, limits, .. } = self;
        write!(f, "issuer = {:?}, audience = {audience:?}, claims = {{ ", issuer.as_str())?;
        for (index, claim) in claims.iter().enumerate() {
            write!(f, "{}{claim}", if index > 0 { ", " } else { "" })?;
        }
        write!(f, " }}, user = {:?}", user.as_str())?;
        if let Some(CredentialLimits { repositories, actions }) = limits {
            let repositories: Vec<String> = repositories.iter().map(ToString::to_string).collect();
            let actions: Vec<&str> = actions.iter().map(Action::as_str).collect();
            write!(f, ", repositories = {repositories:?}, actions = {actions:?}")?;
        }
        Ok(())
    }
}

/// The fingerprint of a rule. A bearer token that was issued under a rule contains it, and ends when the rule is
/// changed or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadRuleId(String);

impl WorkloadRuleId {
    /// The fingerprint from the `via` claim of a bearer token.
    pub(crate) fn from_claim(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for WorkloadRuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identifier of an issuer, which is also the base URL of its discovery document (OIDC Discovery 1.0 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerUrl(HttpsUrl);

impl IssuerUrl {
    /// The text as it was configured: issuers are compared as exact strings.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed URL.
    #[must_use]
    pub fn url(&self) -> &HttpsUrl {
        &self.0
    }

    /// The URL of the discovery document (OIDC Discovery 1.0 section 4).
    pub(super) fn discovery_url(&self) -> Result<HttpsUrl, InvalidUrl> {
        format!("{}/.well-known/openid-configuration", self.as_str().trim_end_matches('/')).parse()
    }
}

impl FromStr for IssuerUrl {
    type Err = InvalidIssuerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidIssuerUrl> {
        let url: HttpsUrl = text.parse()?;
        if url.has_query() {
            return Err(InvalidIssuerUrl::Query);
        }
        let issuer = Self(url);
        issuer.discovery_url()?;
        Ok(issuer)
    }
}

/// Why a text is not an issuer identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuerUrl {
    /// Not an accepted URL.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The URL has a query, which OIDC Discovery forbids.
    #[error("an issuer URL must not contain '?'")]
    Query,
}
