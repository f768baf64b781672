//! Tests of the rules for tokens of CI jobs: the resolved rules, and the problems of rules that match too much.

use super::*;

const RULE: &str = "[[auth.workload]]\nissuer = \"https://issuer.example\"\naudience = \"registry\"\nuser = \"ci\"\n";

fn problems_with(claims: &str) -> String {
    problems(&format!("{RULE}{claims}"))
}

#[test]
fn a_rule_has_an_issuer_an_audience_claims_and_a_user() {
    let config = config(&format!("{RULE}claims = {{ a.b = \"1\", \"a.b\" = \"2*\" }}\nactions = [\"pull\"]"));
    let rule = &config.workloads[0];
    assert_eq!((rule.issuer.as_str(), rule.audience.as_str()), ("https://issuer.example", "registry"));
    let mut claims: Vec<_> =
        rule.claims.iter().map(|claim| (claim.path.join("/"), claim.pattern.to_string())).collect();
    claims.sort();
    assert_eq!(claims, [("a.b".to_owned(), "2*".to_owned()), ("a/b".to_owned(), "1".to_owned())]);
    let limits = rule.limits.as_ref().unwrap();
    assert_eq!((limits.repositories[0].to_string(), limits.actions.to_string()), ("**".to_owned(), "pull".to_owned()));
    assert_eq!((&rule.ca, &rule.jwks_uri), (&None, &None));
}

#[test]
fn a_rule_that_would_let_in_every_project_of_an_issuer_is_refused() {
    let missing = problems_with("");
    assert!(
        missing.starts_with("error: portcullis.toml:1:1: this rule has no claims\nhint: for example claims = {"),
        "{missing}"
    );
    for claims in ["claims = {}", "claims = { repository = \"*\" }", "claims = { a = \"**\", b = \"*/*\" }"] {
        let refused = problems_with(claims);
        assert!(
            refused.starts_with("error: portcullis.toml:5:10: auth.workload.claims: no claim that distinguishes one"),
            "{refused}"
        );
    }
}

#[test]
fn everything_that_is_missing_or_wrong_is_told_with_its_line() {
    assert_eq!(
        problems(
            "[[auth.workload]]\nissuer = \"http://issuer.example\"\nclaims = { a = true, b = \"***\" }\nuser = \"a:b\"\n\
             repositories = []\nactions = [\"fly\"]\njwks_uri = \"issuer.example\"\naudiance = \"x\""
        ),
        "error: portcullis.toml:1:1: this rule has no audience\n\
         hint: for example audience = \"registry.example.com\"\n\
         error: portcullis.toml:2:10: auth.workload.issuer: \"http://issuer.example\": only https is accepted, because plain HTTP can be altered in transit\n\
         hint: for example \"https://token.actions.githubusercontent.com\"\n\
         error: portcullis.toml:3:16: auth.workload.claims: expected a text for \"a\", found true\n\
         hint: write numbers and booleans in quotes too: \"true\"\n\
         error: portcullis.toml:3:26: auth.workload.claims: \"***\": '*' matches any characters except '/', '**' any characters; more than two '*' in a row are not allowed\n\
         hint: for example { repository = \"acme/app\", ref = \"refs/heads/*\" }\n\
         error: portcullis.toml:4:8: auth.workload.user: \"a:b\": a user name cannot contain ':'\n\
         hint: for example \"alice\"\n\
         error: portcullis.toml:5:16: auth.workload.repositories: expected a list of repository patterns, found an empty list\n\
         hint: for example [\"team/**\"]\n\
         error: portcullis.toml:6:12: auth.workload.actions: \"fly\": an action is pull, push, delete or admin\n\
         hint: for example \"pull\"\n\
         error: portcullis.toml:7:12: auth.workload.jwks_uri: \"issuer.example\": only https is accepted, because plain HTTP can be altered in transit\n\
         hint: for example \"https://issuer.example.com/jwks\"\n\
         error: portcullis.toml:8:1: unknown key 'audiance' in [[auth.workload]]\n\
         hint: did you mean 'audience'?"
    );
    assert!(problems("[auth.workload]\nuser = \"ci\"").contains("auth.workload: expected a list of rules"));
}

#[test]
fn rules_that_disagree_about_an_issuer_are_refused() {
    let other = RULE.replace("\"ci\"", "\"other\"");
    let claims = "claims = { repository = \"acme/app\" }\n";
    let agreeing = config(&format!("{RULE}{claims}{other}{claims}"));
    assert_eq!(agreeing.workloads.len(), 2);
    let refused = problems(&format!("{RULE}{claims}{other}{claims}ca = \"ca.crt\""));
    assert!(
        refused.starts_with("error: portcullis.toml:6:1: auth.workload: ca and jwks_uri differ from those of the rule at portcullis.toml:1:1"),
        "{refused}"
    );
}
