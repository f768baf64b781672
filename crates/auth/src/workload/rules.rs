//! Authenticates OIDC tokens by the current workload rules, and exchanges the rules at a reload.
//!
//! Invariant: rules are exchanged all at once or not at all, and issuers that remain keep their cached keys.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;

use super::{
    issuer::{Issuer, RETRY, Source},
    presented::{self, Presented},
    rule::{Rule, RuleId},
    verify::{BadWorkload, Signed, Verified},
};
use crate::{secret::Password, token::BadToken};
use portcullis_access::{Limits, UserName};
use portcullis_http_client::TrustError;

/// The current workload rules and their issuers.
pub struct Workloads(ArcSwap<State>);

#[derive(Default)]
struct State {
    rules: Vec<Known>,
    issuers: Vec<Arc<Issuer>>,
}

struct Known {
    id: RuleId,
    rule: Rule,
}

/// A successful login with an OIDC token.
#[derive(Debug)]
pub struct Admitted {
    /// The user of the rule.
    pub user: UserName,
    /// The issuer and the `sub` claim, separated by a space, for the audit log.
    pub job: String,
    /// The fingerprint of the rule that accepted the token.
    pub rule: RuleId,
    /// The restriction of the rule.
    pub limits: Option<Limits>,
}

/// Why a login with an OIDC token was rejected.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The token is not valid, or no rule accepts it.
    #[error(transparent)]
    Bad(#[from] BadWorkload),
    /// The keys that would verify the token cannot be fetched.
    #[error("the keys of {issuer} cannot be fetched")]
    Unreachable {
        /// The issuer whose keys are missing.
        issuer: String,
        /// When the client may try again.
        retry_after: Duration,
    },
}

impl Workloads {
    /// Loads the issuers of `rules`, with the files of authorities that they name.
    pub fn new(rules: &[Rule]) -> Result<Self, TrustError> {
        Ok(Self(ArcSwap::from_pointee(State::default().next(rules)?)))
    }

    /// Exchanges the rules. On error the previous rules stay.
    pub fn replace(&self, rules: &[Rule]) -> Result<(), TrustError> {
        self.0.store(Arc::new(self.0.load().next(rules)?));
        Ok(())
    }

    /// Authenticates `user` by `password`, if that is a token of a configured issuer; `None` if it is an ordinary
    /// password.
    pub async fn admit(&self, user: &str, password: &Password, now: SystemTime) -> Option<Result<Admitted, Refused>> {
        let state = self.0.load_full();
        if state.rules.is_empty() {
            return None;
        }
        if presented::is_oversized(password.expose()) {
            return Some(Err(BadWorkload::TooLarge.into()));
        }
        let token = Presented::read(password.expose())?;
        let issuer = state.issuers.iter().find(|issuer| issuer.name() == token.issuer)?;
        Some(state.admit(issuer, user, &token, now).await)
    }

    /// Checks that the rule under which a bearer token was issued still exists, and returns its restriction.
    pub fn standing(&self, user: &UserName, id: &RuleId) -> Result<Option<Limits>, BadToken> {
        let state = self.0.load();
        let known = state.rules.iter().find(|known| known.id == *id && known.rule.user == *user);
        known.map(|known| known.rule.limits.clone()).ok_or(BadToken::Superseded)
    }
}

impl State {
    fn next(&self, rules: &[Rule]) -> Result<Self, TrustError> {
        let mut next = Self::default();
        for rule in rules {
            let source = Source::of(rule)?;
            if !next.issuers.iter().any(|issuer| issuer.is(&source)) {
                let known = self.issuers.iter().find(|issuer| issuer.is(&source)).cloned();
                next.issuers.push(known.map_or_else(|| Issuer::new(source).map(Arc::new), Ok)?);
            }
            next.rules.push(Known { id: rule.id(), rule: rule.clone() });
        }
        Ok(next)
    }

    async fn admit(
        &self,
        issuer: &Arc<Issuer>,
        user: &str,
        token: &Presented<'_>,
        now: SystemTime,
    ) -> Result<Admitted, Refused> {
        let signed = Signed::read(token)?;
        let Some(keys) = issuer.keys(signed.key, Instant::now()).await else {
            return Err(Refused::Unreachable { issuer: issuer.name().to_owned(), retry_after: RETRY });
        };
        let verified = Verified::new(token, &signed, &keys)?;
        verified.is_current(now)?;
        let is_asked_for =
            |known: &&Known| known.rule.issuer.as_str() == issuer.name() && known.rule.user.as_str() == user;
        let mut missed = BadWorkload::User;
        for Known { id, rule } in self.rules.iter().filter(is_asked_for) {
            match verified.satisfies(rule) {
                Ok(()) => {
                    let job = format!("{} {}", issuer.name(), verified.subject());
                    let (user, rule, limits) = (rule.user.clone(), id.clone(), rule.limits.clone());
                    return Ok(Admitted { user, job, rule, limits });
                }
                Err(reason) => missed = reason,
            }
        }
        Err(missed.into())
    }
}
