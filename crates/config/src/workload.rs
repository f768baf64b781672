//! Resolves `[[auth.workload]]`: the rules that map tokens of CI jobs to users.
//!
//! Invariant: all rules for one issuer have the same `jwks_uri` and `ca`, so that the issuer has one set of keys.

use super::{
    keys,
    kind::Kind,
    layers::RawRule,
    problem::{Place, Problem, quote},
    raw::{Located, Raw},
    resolve::Resolver,
};
use portcullis_access::{Action, Glob, Limits};
use portcullis_auth::workload::{Claim, Claims, Pattern, Rule};

/// Limit for the number of claims of a rule.
const MAX_CLAIMS: usize = 32;

/// Limit for the nesting of claims.
const MAX_DEPTH: usize = 8;

/// The type of a setting that is a table of claims.
pub(super) struct ClaimTable;

impl Kind for ClaimTable {
    type Value = Claims;

    fn noun(&self) -> String {
        "a table of claims and their values".to_owned()
    }

    fn example(&self) -> String {
        r#"{ repository = "acme/app", ref = "refs/heads/*" }"#.to_owned()
    }

    fn read(&self, raw: &Located<Raw>) -> Result<Claims, Vec<Problem>> {
        let Raw::Table(entries) = &raw.value else { return Err(self.mismatch(raw)) };
        let (mut claims, mut problems) = (Vec::new(), Vec::new());
        self.collect(entries, &mut Vec::new(), &mut claims, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        if claims.len() > MAX_CLAIMS {
            return Err(vec![raw.problem(format!("more than {MAX_CLAIMS} claims"))]);
        }
        Claims::new(claims).map_err(|error| {
            let hint = format!("add a claim that only your project has, for example {}", self.example());
            vec![raw.problem(error.to_string()).hint(hint)]
        })
    }
}

impl ClaimTable {
    fn collect(
        &self,
        entries: &[(Located<String>, Located<Raw>)],
        path: &mut Vec<String>,
        claims: &mut Vec<Claim>,
        problems: &mut Vec<Problem>,
    ) {
        for (name, value) in entries {
            path.push(name.value.clone());
            match &value.value {
                Raw::Text(text) => match text.parse::<Pattern>() {
                    Ok(pattern) => claims.push(Claim { path: path.clone(), pattern }),
                    Err(error) => {
                        let problem = value.problem(format!("{}: {error}", quote(text)));
                        problems.push(problem.hint(format!("for example {}", self.example())));
                    }
                },
                Raw::Table(inner) if !inner.is_empty() && path.len() < MAX_DEPTH => {
                    self.collect(inner, path, claims, problems);
                }
                Raw::Table(_) | Raw::Path(_) | Raw::Integer(_) | Raw::Boolean(_) | Raw::List(_) | Raw::Other(_) => {
                    let found = value.value.description();
                    let problem = value.problem(format!("expected a text for {}, found {found}", quote(&name.value)));
                    problems.push(problem.hint("write numbers and booleans in quotes too: \"true\""));
                }
            }
            path.pop();
        }
    }
}

impl Resolver<'_> {
    pub(super) fn workloads(&mut self) -> Option<Vec<Rule>> {
        let layers = self.layers;
        // All rules are read before any is given up: an invalid rule must not hide the problems of the next one.
        let rules: Vec<Option<Rule>> = layers.workloads.iter().map(|rule| self.workload(rule)).collect();
        let places = layers.workloads.iter().map(|rule| &rule.place);
        let known: Vec<(&Place, &Rule)> =
            places.zip(&rules).filter_map(|(place, rule)| Some((place, rule.as_ref()?))).collect();
        for (index, (place, rule)) in known.iter().enumerate() {
            self.refuse_contradiction(&known[..index], place, rule);
        }
        rules.into_iter().collect()
    }

    fn workload(&mut self, rule: &RawRule) -> Option<Rule> {
        let issuer = self.of_rule(rule, &keys::WORKLOAD_ISSUER);
        let audience = self.of_rule(rule, &keys::WORKLOAD_AUDIENCE);
        let claims = self.of_rule(rule, &keys::WORKLOAD_CLAIMS);
        let user = self.of_rule(rule, &keys::WORKLOAD_USER);
        let repositories = self.if_written(rule, &keys::WORKLOAD_REPOSITORIES);
        let actions = self.if_written(rule, &keys::WORKLOAD_ACTIONS);
        let ca = self.if_written(rule, &keys::WORKLOAD_CA);
        let jwks_uri = self.if_written(rule, &keys::WORKLOAD_JWKS_URI);
        Some(Rule {
            issuer: issuer?,
            jwks_uri: jwks_uri.ok()?,
            ca: ca.ok()?,
            audience: audience?,
            claims: claims?,
            user: user?,
            limits: limits(repositories.ok()?, actions.ok()?),
        })
    }

    /// The value of an optional key; `Err` if it is invalid, with the problem already reported.
    fn if_written<K: Kind>(&mut self, rule: &RawRule, key: &keys::Key<K>) -> Result<Option<K::Value>, Told> {
        let is_written = rule.values.contains_key(key.path);
        if is_written { self.of_rule(rule, key).map(Some).ok_or(Told) } else { Ok(None) }
    }

    fn refuse_contradiction(&mut self, before: &[(&Place, &Rule)], place: &Place, rule: &Rule) {
        let contradicts =
            |other: &Rule| other.issuer == rule.issuer && (&other.ca, &other.jwks_uri) != (&rule.ca, &rule.jwks_uri);
        if let Some((earlier, _)) = before.iter().find(|(_, other)| contradicts(other)) {
            let message =
                format!("ca and jwks_uri differ from those of the rule at {earlier}, which has the same issuer");
            let problem = Problem::new(place.clone(), message).about("auth.workload");
            self.problems.push(problem.hint("write the same ca and jwks_uri in every rule of an issuer"));
        }
    }
}

/// The problem was already added to the list.
struct Told;

/// The restriction of a rule; `None` if the rule restricts neither repositories nor actions.
fn limits(repositories: Option<Vec<Glob>>, actions: Option<Vec<Action>>) -> Option<Limits> {
    if repositories.is_none() && actions.is_none() {
        return None;
    }
    let repositories = repositories.unwrap_or_else(|| vec![Glob::everything()]);
    let actions = actions.unwrap_or_else(|| Action::ALL.to_vec());
    Some(Limits { repositories, actions: actions.into_iter().collect() })
}
