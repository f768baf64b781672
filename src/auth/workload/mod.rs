//! Workload identity: the OIDC token of a CI job in the place of a password.
//!
//! Invariant: nobody is signed in by a token that the keys of a configured issuer did not sign, for the audience and with all the
//! claims of a rule, within its time; what the token says before its signature was verified decides nothing but which
//! issuer's keys are asked.
//!
//! ```text
//! password ──presented──▶ Presented ──issuer──▶ keys ──verify──▶ claims ──rule──▶ user, limits
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
