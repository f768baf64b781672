//! Workload identity: authenticates a CI job by an OIDC token that it sends as its password.
//!
//! Invariant: a token is accepted only if a key of a configured issuer signed it, if it is within its time, and if it
//! has the audience and all required claims of a rule. Before its signature is verified, the token decides nothing but
//! which issuer's keys are used.
//!
//! ```text
//! password ──parse──▶ UnverifiedJwt ──issuer──▶ keys ──verify──▶ VerifiedJwt ──rule──▶ user, restriction
//! ```

mod claim_pattern;
mod jwks;
mod jwks_cache;
mod login;
mod required_claims;
mod rule;
mod signature_cache;
mod unverified_jwt;
mod verify;

#[cfg(test)]
mod test_issuer;
#[cfg(test)]
mod tests;

pub use claim_pattern::{ClaimPattern, InvalidClaimPattern};
pub use login::{WorkloadLogin, WorkloadRejection, WorkloadRuleEnded, WorkloadRules};
pub use required_claims::{ClaimsTooBroad, RequiredClaim, RequiredClaims};
pub use rule::{InvalidIssuerUrl, IssuerUrl, WorkloadRule, WorkloadRuleId};
pub use unverified_jwt::MAX_TOKEN_LEN;
pub use verify::InvalidWorkloadToken;
