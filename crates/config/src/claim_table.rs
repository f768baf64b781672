//! The type of a setting that is a table of claims, which a CI job's token must have.

use super::{
    problem::{ConfigProblem, quote},
    value::{Located, RawValue},
    value_type::ValueType,
};
use portcullis_auth::workload::{ClaimPattern, RequiredClaim, RequiredClaims};

/// Limit for the number of claims of a rule.
const MAX_CLAIMS: usize = 32;

/// Limit for the nesting of claims.
const MAX_DEPTH: usize = 8;

/// The type of a setting that is a table of claims.
pub(super) struct ClaimTable;

impl ValueType for ClaimTable {
    type Value = RequiredClaims;

    fn noun(&self) -> String {
        "a table of claims and their values".to_owned()
    }

    fn example(&self) -> String {
        r#"{ repository = "acme/app", ref = "refs/heads/*" }"#.to_owned()
    }

    fn read(&self, raw: &Located<RawValue>) -> Result<RequiredClaims, Vec<ConfigProblem>> {
        let RawValue::Table(entries) = &raw.value else { return Err(self.mismatch(raw)) };
        let (mut claims, mut problems) = (Vec::new(), Vec::new());
        self.collect(entries, &mut Vec::new(), &mut claims, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        if claims.len() > MAX_CLAIMS {
            return Err(vec![raw.problem(format!("more than {MAX_CLAIMS} claims"))]);
        }
        RequiredClaims::new(claims).map_err(|error| {
            let hint = format!("add a claim that only your project has, for example {}", self.example());
            vec![raw.problem(error.to_string()).hint(hint)]
        })
    }
}

impl ClaimTable {
    fn collect(
        &self,
        entries: &[(Located<String>, Located<RawValue>)],
        path: &mut Vec<String>,
        claims: &mut Vec<RequiredClaim>,
        problems: &mut Vec<ConfigProblem>,
    ) {
        for (name, value) in entries {
            path.push(name.value.clone());
            match &value.value {
                RawValue::Text(text) => match text.parse::<ClaimPattern>() {
                    Ok(pattern) => claims.push(RequiredClaim { path: path.clone(), pattern }),
                    Err(error) => {
                        let problem = value.problem(format!("{}: {error}", quote(text)));
                        problems.push(problem.hint(format!("for example {}", self.example())));
                    }
                },
                RawValue::Table(inner) if !inner.is_empty() && path.len() < MAX_DEPTH => {
                    self.collect(inner, path, claims, problems);
                }
                RawValue::Table(_)
                | RawValue::Path(_)
                | RawValue::Integer(_)
                | RawValue::Boolean(_)
                | RawValue::List(_)
                | RawValue::Other(_) => {
                    let found = value.value.description();
                    let problem = value.problem(format!("expected a text for {}, found {found}", quote(&name.value)));
                    problems.push(problem.hint("write numbers and booleans in quotes too: \"true\""));
                }
            }
            path.pop();
        }
    }
}
