//! The claims that a workload rule requires of a token.
//!
//! Invariant: at least one claim restricts its value. A public issuer signs tokens for every project, so a rule without
//! such a claim would accept all of them.

use std::fmt;

use serde_json::{Map, Value};

use super::claim_pattern::ClaimPattern;

/// One required claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaim {
    /// The path of its name, from the outermost object inwards.
    pub path: Vec<String>,
    /// The pattern that its value must match.
    pub pattern: ClaimPattern,
}

/// The claims that a rule requires; all of them must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaims(Vec<RequiredClaim>);

impl RequiredClaims {
    /// Requires all of `claims`.
    ///
    /// # Errors
    /// No claim has a pattern that restricts its value.
    pub fn new(claims: Vec<RequiredClaim>) -> Result<Self, ClaimsTooBroad> {
        if claims.iter().all(|claim| claim.pattern.is_too_broad()) { Err(ClaimsTooBroad) } else { Ok(Self(claims)) }
    }

    /// The claims, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &RequiredClaim> {
        self.0.iter()
    }

    /// The first claim that is missing in `token` or does not match.
    pub(super) fn first_unmatched(&self, token: &Map<String, Value>) -> Option<&RequiredClaim> {
        self.0.iter().find(|claim| !claim.matches(token))
    }
}

impl RequiredClaim {
    fn matches(&self, token: &Map<String, Value>) -> bool {
        let Some((first, inner)) = self.path.split_first() else { return false };
        let found = inner.iter().try_fold(token.get(first), |value, name| Some(value?.as_object()?.get(name)));
        found.flatten().is_some_and(|value| self.matches_value(value))
    }

    /// A list matches if one of its elements does.
    fn matches_value(&self, value: &Value) -> bool {
        match value {
            Value::Array(elements) => elements.iter().any(|element| self.matches_scalar(element)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                self.matches_scalar(value)
            }
        }
    }

    fn matches_scalar(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.pattern.matches(text),
            Value::Bool(_) | Value::Number(_) => self.pattern.matches(&value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }
}

impl fmt::Display for RequiredClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?}", self.path.join("."), self.pattern.to_string())
    }
}

/// No required claim restricts its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no claim that distinguishes one project from another: every token of this issuer would be accepted")]
pub struct ClaimsTooBroad;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(path: &[&str], pattern: &str) -> RequiredClaim {
        RequiredClaim { path: path.iter().map(|name| (*name).to_owned()).collect(), pattern: pattern.parse().unwrap() }
    }

    #[test]
    fn a_rule_without_a_claim_that_says_something_does_not_exist() {
        assert_eq!(RequiredClaims::new(vec![]), Err(ClaimsTooBroad));
        assert_eq!(RequiredClaims::new(vec![claim(&["repository"], "*"), claim(&["ref"], "**")]), Err(ClaimsTooBroad));
        assert!(RequiredClaims::new(vec![claim(&["repository"], "acme/*"), claim(&["ref"], "**")]).is_ok());
    }

    #[test]
    fn claims_are_texts_flags_numbers_lists_and_nested() {
        let Value::Object(token) = json!({
            "repository": "acme/app", "run": 7, "protected": true, "groups": ["a", "acme", 9], "none": null,
            "kubernetes.io": {"namespace": "build", "pod": {"name": "p"}}, "lists": [["acme"]], "object": {"a": 1},
        }) else {
            panic!("an object")
        };
        let holds = |path: &[&str], pattern: &str| claim(path, pattern).matches(&token);
        assert!(holds(&["repository"], "acme/*") && !holds(&["repository"], "acme"));
        assert!(holds(&["run"], "7") && holds(&["protected"], "true") && !holds(&["protected"], "false"));
        assert!(holds(&["groups"], "acme") && holds(&["groups"], "9") && !holds(&["groups"], "acm"));
        assert!(holds(&["kubernetes.io", "namespace"], "build") && holds(&["kubernetes.io", "pod", "name"], "p"));
        for (path, pattern) in [
            (&["missing"][..], "**"),
            (&["none"], "**"),
            (&["object"], "**"),
            (&["lists"], "acme"),
            (&["repository", "x"], "**"),
            (&["kubernetes", "io"], "**"),
            (&["groups", "0"], "a"),
            (&[], "**"),
        ] {
            assert!(!holds(path, pattern), "{path:?}");
        }
    }
}
