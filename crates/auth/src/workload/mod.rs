//! Workload identity: authenticates a CI job by an OIDC token that it sends as its password.
//!
//! Invariant: a token is accepted only if a key of a configured issuer signed it, if it is within its time, and if it
//! has the audience and all required claims of a rule. Before its signature is verified, the token decides nothing but
//! which issuer's keys are used.
//!
//! ```text
//! password ──presented──▶ Presented ──issuer──▶ keys ──verify──▶ claims ──rule──▶ user, restriction
//! ```

mod claims;
mod issuer;
mod keys;
mod pattern;
mod presented;
mod rule;
mod rules;
mod verify;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use claims::{Claim, Claims, VagueClaims};
pub use pattern::{InvalidPattern, Pattern};
pub use presented::MAX_TOKEN;
pub use rule::{InvalidIssuer, IssuerUrl, Rule, RuleId};
pub use rules::{Admitted, Refused, Workloads};
pub use verify::BadWorkload;
