//! Tests the cache of issuer keys against a real HTTPS server, and logins by the rules.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::super::{
    jwks_cache::{JwksCache, JwksSource},
    test_issuer::{ISSUER, NOW, TestSigner, at, claims, claims_with, rule, unsigned},
    *,
};
use crate::passwords::password::Password;
use portcullis_http_client::test_site::{TestResponse, TestSite};

/// A test site that is an OIDC provider with these keys, and a rule for it.
struct TestProvider {
    site: TestSite,
    folder: tempfile::TempDir,
}

impl TestProvider {
    async fn start(keys: &[&TestSigner]) -> Self {
        let provider = Self { site: TestSite::start().await, folder: tempfile::tempdir().unwrap() };
        std::fs::write(provider.folder.path().join("ca.crt"), provider.site.authority()).unwrap();
        let jwks = provider.site.url("/jwks");
        provider.describe(&json!({"issuer": provider.name(), "jwks_uri": jwks.as_str()}));
        provider.publish(keys);
        provider
    }

    fn name(&self) -> String {
        self.site.url("").as_str().to_owned()
    }

    fn describe(&self, description: &Value) {
        self.site.set_response("/.well-known/openid-configuration", TestResponse::ok(&description.to_string()));
    }

    fn publish(&self, keys: &[&TestSigner]) {
        let keys: Vec<Value> = keys.iter().map(|signer| signer.to_jwk()).collect();
        self.site.set_response(
            "/jwks",
            TestResponse::ok(&json!({ "keys": keys }).to_string()).header("Cache-Control: max-age=600"),
        );
    }

    fn fail(&self) {
        self.site.set_response("/jwks", TestResponse::status(500));
    }

    fn request_count(&self) -> usize {
        self.site.request_count("/jwks")
    }

    fn rule(&self) -> WorkloadRule {
        let ca = Some(self.folder.path().join("ca.crt"));
        WorkloadRule { issuer: self.name().parse().unwrap(), ca, ..rule() }
    }

    fn issuer(&self) -> Arc<JwksCache> {
        Arc::new(JwksCache::new(JwksSource::from_rule(&self.rule()).unwrap()).unwrap())
    }

    fn token(&self, signer: &TestSigner) -> String {
        signer.sign(&claims_with("iss", json!(self.name())))
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn has_key(issuer: &Arc<JwksCache>, kid: &str, now: Instant) -> Option<bool> {
    issuer.keys(kid, now).await.map(|keys| keys.contains(kid))
}

#[tokio::test]
async fn keys_are_asked_for_once_until_their_time_is_over() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let provider = TestProvider::start(&[&signer]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    for _ in 0..3 {
        assert_eq!(has_key(&issuer, "a", now).await, Some(true));
    }
    assert_eq!(has_key(&issuer, "a", now + 9 * MINUTE).await, Some(true));
    assert_eq!(provider.request_count(), 1);
    assert_eq!(has_key(&issuer, "a", now + 10 * MINUTE).await, Some(true));
    assert_eq!(provider.request_count(), 2, "the response may be cached for ten minutes");
}

#[tokio::test]
async fn many_at_once_ask_the_issuer_once() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let provider = TestProvider::start(&[&signer]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let issuer = issuer.clone();
            tokio::spawn(async move { has_key(&issuer, "a", now).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Some(true));
    }
    assert_eq!(provider.request_count(), 1);
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_keep_the_keys_from_arriving() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let provider = TestProvider::start(&[&signer]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    // Polled once: the request is in progress when the caller is cancelled.
    let hung_up = tokio::time::timeout(Duration::ZERO, issuer.keys("a", now)).await;
    assert!(hung_up.is_err());
    assert_eq!(has_key(&issuer, "a", now).await, Some(true));
    assert_eq!(provider.request_count(), 1);
}

#[tokio::test]
async fn a_key_that_nobody_knows_makes_us_ask_at_most_once_a_minute() {
    let (old, new) = (TestSigner::new("old", Algorithm::ES256), TestSigner::new("new", Algorithm::ES256));
    let provider = TestProvider::start(&[&old]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    assert_eq!(has_key(&issuer, "old", now).await, Some(true));
    provider.publish(&[&new, &old]);
    assert_eq!(has_key(&issuer, "new", now).await, Some(true), "a rotation takes effect at once");
    assert_eq!(provider.request_count(), 2);
    for guess in 0..20 {
        assert_eq!(has_key(&issuer, &format!("guess {guess}"), now + MINUTE / 2).await, Some(false));
    }
    assert_eq!(provider.request_count(), 2);
    assert_eq!(has_key(&issuer, "guess", now + MINUTE).await, Some(false));
    assert_eq!(has_key(&issuer, "guess", now + MINUTE).await, Some(false));
    assert_eq!(provider.request_count(), 3);
}

#[tokio::test]
async fn keys_outlive_an_issuer_that_fails_by_a_day_and_no_more() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let provider = TestProvider::start(&[&signer]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    assert_eq!(has_key(&issuer, "a", now).await, Some(true));
    provider.fail();
    assert_eq!(has_key(&issuer, "a", now + HOUR).await, Some(true));
    assert_eq!(has_key(&issuer, "a", now + HOUR + Duration::from_secs(9)).await, Some(true));
    assert_eq!(provider.request_count(), 2, "after a failure there is no request for ten seconds");
    assert_eq!(has_key(&issuer, "a", now + 24 * HOUR).await, Some(true));
    assert_eq!(has_key(&issuer, "a", now + 24 * HOUR + 10 * MINUTE).await, None);
    provider.publish(&[&signer]);
    assert_eq!(has_key(&issuer, "a", now + 25 * HOUR).await, Some(true), "and accepted again when the issuer is back");
}

#[tokio::test]
async fn a_key_that_the_issuer_withdrew_is_believed_no_more() {
    let (old, new) = (TestSigner::new("old", Algorithm::ES256), TestSigner::new("new", Algorithm::ES256));
    let provider = TestProvider::start(&[&old]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    assert_eq!(has_key(&issuer, "old", now).await, Some(true));
    provider.publish(&[&new]);
    assert_eq!(has_key(&issuer, "old", now + 10 * MINUTE).await, Some(false));
}

#[tokio::test]
async fn a_description_that_leads_elsewhere_is_not_followed() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let (provider, elsewhere) = (TestProvider::start(&[&signer]).await, TestProvider::start(&[&signer]).await);
    let other_host = elsewhere.site.url("/jwks").as_str().to_owned();
    let plain = provider.site.url("/jwks").as_str().replace("https:", "http:");
    let here = provider.site.url("/jwks").as_str().to_owned();
    for description in [
        json!({"issuer": provider.name(), "jwks_uri": other_host}),
        json!({"issuer": provider.name(), "jwks_uri": plain}),
        json!({"issuer": provider.name(), "jwks_uri": "https://169.254.169.254/latest/meta-data"}),
        json!({"issuer": provider.name(), "jwks_uri": here.replace("127.0.0.1", "localhost")}),
        json!({"issuer": provider.name(), "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": provider.name()}),
        json!({"issuer": format!("{}/", provider.name()), "jwks_uri": here}),
        json!([]),
    ] {
        provider.describe(&description);
        assert_eq!(has_key(&provider.issuer(), "a", Instant::now()).await, None, "{description}");
    }
    assert_eq!((provider.request_count(), elsewhere.request_count()), (0, 0));
}

#[tokio::test]
async fn keys_on_another_host_are_fetched_where_the_administrator_says_so() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let provider = TestProvider::start(&[&signer]).await;
    let rule =
        WorkloadRule { issuer: ISSUER.parse().unwrap(), jwks_uri: Some(provider.site.url("/jwks")), ..provider.rule() };
    let workloads = WorkloadRules::new(std::slice::from_ref(&rule)).unwrap();
    let admitted = workloads.authenticate("ci", &Password::new(signer.sign(&claims())), at(NOW), Instant::now()).await;
    assert_eq!(admitted.unwrap().unwrap().rule, rule.id());
    assert_eq!(provider.site.request_count("/.well-known/openid-configuration"), 0);
}

#[tokio::test]
async fn keys_that_are_too_large_are_not_read() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let provider = TestProvider::start(&[&signer]).await;
    let padded = json!({"keys": [signer.to_jwk()], "padding": "x".repeat(256 << 10)}).to_string();
    provider.site.set_response("/jwks", TestResponse::ok(&padded));
    assert_eq!(has_key(&provider.issuer(), "a", Instant::now()).await, None);
}

#[tokio::test]
async fn a_workload_signs_in_as_its_user_and_as_nobody_else() {
    let signer = TestSigner::new("a", Algorithm::RS256);
    let provider = TestProvider::start(&[&signer]).await;
    let rule = provider.rule();
    let workloads = WorkloadRules::new(std::slice::from_ref(&rule)).unwrap();
    let token = Password::new(provider.token(&signer));
    let admitted = workloads.authenticate("ci", &token, at(NOW), Instant::now()).await.unwrap().unwrap();
    assert_eq!((admitted.user.as_str(), &admitted.rule, &admitted.limits), ("ci", &rule.id(), &None));
    for user in ["root", "CI", "", "ci "] {
        let refused = workloads.authenticate(user, &token, at(NOW), Instant::now()).await.unwrap();
        assert!(matches!(refused, Err(WorkloadRejection::Invalid(InvalidWorkloadToken::NoRuleForUser))), "{user:?}");
    }
}

#[tokio::test]
async fn what_is_no_token_of_a_known_issuer_is_a_password() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let provider = TestProvider::start(&[&signer]).await;
    let workloads = WorkloadRules::new(&[provider.rule()]).unwrap();
    for text in ["wonderland and back", &signer.sign(&claims())] {
        assert!(
            workloads.authenticate("ci", &Password::new(text.to_owned()), at(NOW), Instant::now()).await.is_none(),
            "{text}"
        );
    }
    let none = WorkloadRules::new(&[]).unwrap();
    assert!(none.authenticate("ci", &Password::new(provider.token(&signer)), at(NOW), Instant::now()).await.is_none());
    assert_eq!(provider.request_count(), 0);
}

#[tokio::test]
async fn a_token_over_the_limit_is_refused_without_a_look_and_without_hashing() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let provider = TestProvider::start(&[&signer]).await;
    let workloads = WorkloadRules::new(&[provider.rule()]).unwrap();
    let mut claims = claims_with("iss", json!(provider.name()));
    claims["padding"] = json!("x".repeat(MAX_TOKEN_LEN));
    let refused =
        workloads.authenticate("ci", &Password::new(signer.sign(&claims)), at(NOW), Instant::now()).await.unwrap();
    assert!(matches!(refused, Err(WorkloadRejection::Invalid(InvalidWorkloadToken::TooLarge))));
    assert_eq!(provider.request_count(), 0);
}

#[tokio::test]
async fn what_no_key_could_make_good_does_not_make_us_ask_for_one() {
    let provider = TestProvider::start(&[&TestSigner::new("a", Algorithm::ES256)]).await;
    let workloads = WorkloadRules::new(&[provider.rule()]).unwrap();
    let bare = format!("{}.", unsigned(&json!({"alg": "none"}), &claims_with("iss", json!(provider.name()))));
    let refused = workloads.authenticate("ci", &Password::new(bare), at(NOW), Instant::now()).await.unwrap();
    assert!(matches!(refused, Err(WorkloadRejection::Invalid(InvalidWorkloadToken::Algorithm))));
    assert_eq!(provider.request_count(), 0);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_no_wrong_password() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let provider = TestProvider::start(&[&signer]).await;
    provider.fail();
    let workloads = WorkloadRules::new(&[provider.rule()]).unwrap();
    let refused =
        workloads.authenticate("ci", &Password::new(provider.token(&signer)), at(NOW), Instant::now()).await.unwrap();
    assert!(matches!(refused, Err(WorkloadRejection::Unreachable { .. })), "{refused:?}");
}

#[tokio::test]
async fn rules_are_exchanged_as_a_whole_and_issuers_that_stay_keep_their_keys() {
    let signer = TestSigner::new("a", Algorithm::ES256);
    let provider = TestProvider::start(&[&signer]).await;
    let rule = provider.rule();
    let workloads = WorkloadRules::new(std::slice::from_ref(&rule)).unwrap();
    let token = Password::new(provider.token(&signer));
    assert!(workloads.authenticate("ci", &token, at(NOW), Instant::now()).await.unwrap().is_ok());
    assert_eq!(workloads.check_rule_exists(&rule.user, &rule.id()), Ok(None));
    assert_eq!(workloads.check_rule_exists(&"other".parse().unwrap(), &rule.id()), Err(WorkloadRuleEnded));

    let renamed = WorkloadRule { user: "builder".parse().unwrap(), ..rule.clone() };
    workloads.replace(std::slice::from_ref(&renamed)).unwrap();
    assert_eq!(workloads.check_rule_exists(&rule.user, &rule.id()), Err(WorkloadRuleEnded));
    assert!(workloads.authenticate("builder", &token, at(NOW), Instant::now()).await.unwrap().is_ok());
    assert_eq!(provider.request_count(), 1, "the issuer is the same");

    let broken = WorkloadRule { ca: Some(provider.folder.path().join("missing.crt")), ..rule };
    assert!(workloads.replace(&[broken]).is_err());
    assert_eq!(workloads.check_rule_exists(&renamed.user, &renamed.id()), Ok(None));
}
