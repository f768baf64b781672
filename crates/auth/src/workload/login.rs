//! Authenticates OIDC tokens by the current workload rules, and exchanges the rules at a reload.
//!
//! Invariant: rules are exchanged all at once or not at all, and issuers that remain keep their cached keys. The cache
//! of verified signatures outlives an exchange, because it says nothing about rules.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;

use super::{
    jwks_cache::{JwksCache, JwksSource, RETRY_DELAY},
    rule::{WorkloadRule, WorkloadRuleId},
    signature_cache::SignatureCache,
    unverified_jwt::{self, UnverifiedJwt},
    verify::{InvalidWorkloadToken, SignatureInfo, VerifiedJwt},
};
use crate::passwords::password::Password;
use portcullis_access::{CredentialLimits, UserName};
use portcullis_http_client::TrustedRootsError;

/// The current workload rules and their issuers.
pub struct WorkloadRules {
    current: ArcSwap<RuleSet>,
    signatures: SignatureCache,
}

#[derive(Default)]
struct RuleSet {
    rules: Vec<IdentifiedRule>,
    issuers: Vec<Arc<JwksCache>>,
}

struct IdentifiedRule {
    id: WorkloadRuleId,
    rule: WorkloadRule,
}

/// A successful login with an OIDC token.
#[derive(Debug)]
pub struct WorkloadLogin {
    /// The user of the rule.
    pub user: UserName,
    /// The issuer and the `sub` claim, separated by a space, for the audit log.
    pub job: String,
    /// The fingerprint of the rule that accepted the token.
    pub rule: WorkloadRuleId,
    /// The restriction of the rule.
    pub limits: Option<CredentialLimits>,
}

/// Why a login with an OIDC token was rejected.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadRejection {
    /// The token is not valid, or no rule accepts it.
    #[error(transparent)]
    Invalid(#[from] InvalidWorkloadToken),
    /// The keys that would verify the token cannot be fetched.
    #[error("the keys of {issuer} cannot be fetched")]
    Unreachable {
        /// The issuer whose keys are missing.
        issuer: String,
        /// When the client may try again.
        retry_after: Duration,
    },
}

/// The rule under which a bearer token was issued was changed or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the workload rule of the token was changed or removed")]
pub struct WorkloadRuleEnded;

impl WorkloadRules {
    /// Loads the issuers of `rules`, with the files of authorities that they name.
    pub fn new(rules: &[WorkloadRule]) -> Result<Self, TrustedRootsError> {
        let current = ArcSwap::from_pointee(RuleSet::default().with_rules(rules)?);
        Ok(Self { current, signatures: SignatureCache::new() })
    }

    /// Exchanges the rules. On error the previous rules stay.
    pub fn replace(&self, rules: &[WorkloadRule]) -> Result<(), TrustedRootsError> {
        self.current.store(Arc::new(self.current.load().with_rules(rules)?));
        Ok(())
    }

    /// Authenticates `user` by `password`, if that is a token of a configured issuer; `None` if it is an ordinary
    /// password. `instant` is the present instant, for the age of the issuer's keys.
    pub async fn authenticate(
        &self,
        user: &str,
        password: &Password,
        now: SystemTime,
        instant: Instant,
    ) -> Option<Result<WorkloadLogin, WorkloadRejection>> {
        let state = self.current.load_full();
        if state.rules.is_empty() {
            return None;
        }
        if unverified_jwt::is_oversized(password.expose()) {
            return Some(Err(InvalidWorkloadToken::TooLarge.into()));
        }
        let token = UnverifiedJwt::parse(password.expose())?;
        let issuer = state.issuers.iter().find(|issuer| issuer.name() == token.issuer)?;
        Some(state.authenticate(issuer, user, &token, &self.signatures, now, instant).await)
    }

    /// Checks that the rule under which a bearer token was issued still exists, and returns its restriction.
    pub fn check_rule_exists(
        &self,
        user: &UserName,
        id: &WorkloadRuleId,
    ) -> Result<Option<CredentialLimits>, WorkloadRuleEnded> {
        let state = self.current.load();
        let known = state.rules.iter().find(|known| known.id == *id && known.rule.user == *user);
        known.map(|known| known.rule.limits.clone()).ok_or(WorkloadRuleEnded)
    }
}

impl RuleSet {
    fn with_rules(&self, rules: &[WorkloadRule]) -> Result<Self, TrustedRootsError> {
        let mut next = Self::default();
        for rule in rules {
            let source = JwksSource::from_rule(rule)?;
            if !next.issuers.iter().any(|issuer| issuer.has_source(&source)) {
                let known = self.issuers.iter().find(|issuer| issuer.has_source(&source)).cloned();
                next.issuers.push(known.map_or_else(|| JwksCache::new(source).map(Arc::new), Ok)?);
            }
            next.rules.push(IdentifiedRule { id: rule.id(), rule: rule.clone() });
        }
        Ok(next)
    }

    async fn authenticate(
        &self,
        issuer: &Arc<JwksCache>,
        user: &str,
        token: &UnverifiedJwt<'_>,
        signatures: &SignatureCache,
        now: SystemTime,
        instant: Instant,
    ) -> Result<WorkloadLogin, WorkloadRejection> {
        let signed = SignatureInfo::from_token(token)?;
        let Some(keys) = issuer.keys(signed.key_id, instant).await else {
            return Err(WorkloadRejection::Unreachable { issuer: issuer.name().to_owned(), retry_after: RETRY_DELAY });
        };
        let verified = VerifiedJwt::verify(token, &signed, &keys, signatures, instant)?;
        verified.check_time(now)?;
        let is_asked_for =
            |known: &&IdentifiedRule| known.rule.issuer.as_str() == issuer.name() && known.rule.user.as_str() == user;
        let mut missed = InvalidWorkloadToken::NoRuleForUser;
        for IdentifiedRule { id, rule } in self.rules.iter().filter(is_asked_for) {
            match verified.check_rule(rule) {
                Ok(()) => {
                    verified.store_in(signatures, instant);
                    let job = format!("{} {}", issuer.name(), verified.subject());
                    let (user, rule, limits) = (rule.user.clone(), id.clone(), rule.limits.clone());
                    return Ok(WorkloadLogin { user, job, rule, limits });
                }
                Err(reason) => missed = reason,
            }
        }
        Err(missed.into())
    }
}
