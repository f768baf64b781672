//! Resolves `[[auth.workload]]`: the rules that map tokens of CI jobs to users.
//!
//! Invariant: all rules for one issuer have the same `jwks_uri` and `ca`, so that the issuer has one set of keys.

use super::{
    keys,
    layers::RawTable,
    problem::{ConfigProblem, SettingPlace},
    resolve::Resolver,
    value_type::ValueType,
};
use portcullis_access::{Action, CredentialLimits, Glob};
use portcullis_auth::workload::WorkloadRule;

impl Resolver<'_> {
    pub(super) fn workloads(&mut self) -> Option<Vec<WorkloadRule>> {
        let layers = self.layers;
        // All rules are read before any is given up: an invalid rule must not hide the problems of the next one.
        let rules: Vec<Option<WorkloadRule>> = layers.workloads.iter().map(|rule| self.workload(rule)).collect();
        let places = layers.workloads.iter().map(|rule| &rule.place);
        let known: Vec<(&SettingPlace, &WorkloadRule)> =
            places.zip(&rules).filter_map(|(place, rule)| Some((place, rule.as_ref()?))).collect();
        for (index, (place, rule)) in known.iter().enumerate() {
            self.refuse_contradiction(&known[..index], place, rule);
        }
        rules.into_iter().collect()
    }

    fn workload(&mut self, rule: &RawTable) -> Option<WorkloadRule> {
        let issuer = self.rule_value(rule, &keys::WORKLOAD_ISSUER);
        let audience = self.rule_value(rule, &keys::WORKLOAD_AUDIENCE);
        let claims = self.rule_value(rule, &keys::WORKLOAD_CLAIMS);
        let user = self.rule_value(rule, &keys::WORKLOAD_USER);
        let repositories = self.optional_rule_value(rule, &keys::WORKLOAD_REPOSITORIES);
        let actions = self.optional_rule_value(rule, &keys::WORKLOAD_ACTIONS);
        let ca = self.optional_rule_value(rule, &keys::WORKLOAD_CA);
        let jwks_uri = self.optional_rule_value(rule, &keys::WORKLOAD_JWKS_URI);
        Some(WorkloadRule {
            issuer: issuer?,
            jwks_uri: jwks_uri.ok()?,
            ca: ca.ok()?,
            audience: audience?,
            claims: claims?,
            user: user?,
            limits: restriction(repositories.ok()?, actions.ok()?),
        })
    }

    /// The value of an optional key; `Err` if it is invalid, with the problem already reported.
    fn optional_rule_value<K: ValueType>(
        &mut self,
        rule: &RawTable,
        key: &keys::Key<K>,
    ) -> Result<Option<K::Value>, AlreadyReported> {
        let is_written = rule.values.contains_key(key.path);
        if is_written { self.rule_value(rule, key).map(Some).ok_or(AlreadyReported) } else { Ok(None) }
    }

    fn refuse_contradiction(
        &mut self,
        before: &[(&SettingPlace, &WorkloadRule)],
        place: &SettingPlace,
        rule: &WorkloadRule,
    ) {
        let contradicts = |other: &WorkloadRule| {
            other.issuer == rule.issuer && (&other.ca, &other.jwks_uri) != (&rule.ca, &rule.jwks_uri)
        };
        if let Some((earlier, _)) = before.iter().find(|(_, other)| contradicts(other)) {
            let message =
                format!("ca and jwks_uri differ from those of the rule at {earlier}, which has the same issuer");
            let problem = ConfigProblem::new(place.clone(), message).about("auth.workload");
            self.problems.push(problem.hint("write the same ca and jwks_uri in every rule of an issuer"));
        }
    }
}

/// The problem was already added to the list.
struct AlreadyReported;

/// The restriction of a rule; `None` if the rule restricts neither repositories nor actions.
fn restriction(repositories: Option<Vec<Glob>>, actions: Option<Vec<Action>>) -> Option<CredentialLimits> {
    if repositories.is_none() && actions.is_none() {
        return None;
    }
    let repositories = repositories.unwrap_or_else(|| vec![Glob::everything()]);
    let actions = actions.unwrap_or_else(|| Action::ALL.to_vec());
    Some(CredentialLimits { repositories, actions: actions.into_iter().collect() })
}
