//! Tests the cache of issuer keys against a real HTTPS server, and logins by the rules.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::super::{
    issuer::{Issuer, Source},
    testing::{ISSUER, NOW, Signer, at, claims, claims_with, rule, unsigned},
    *,
};
use crate::{secret::Password, token::BadToken};
use portcullis_http_client::testing::{Reply, Site};

/// A test site that is an OIDC provider with these keys, and a rule for it.
struct Provider {
    site: Site,
    folder: tempfile::TempDir,
}

impl Provider {
    async fn start(keys: &[&Signer]) -> Self {
        let provider = Self { site: Site::start().await, folder: tempfile::tempdir().unwrap() };
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
        self.site.put("/.well-known/openid-configuration", Reply::ok(&description.to_string()));
    }

    fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<Value> = keys.iter().map(|signer| signer.public()).collect();
        self.site.put("/jwks", Reply::ok(&json!({ "keys": keys }).to_string()).header("Cache-Control: max-age=600"));
    }

    fn fail(&self) {
        self.site.put("/jwks", Reply::status(500));
    }

    fn asked(&self) -> usize {
        self.site.hits("/jwks")
    }

    fn rule(&self) -> Rule {
        let ca = Some(self.folder.path().join("ca.crt"));
        Rule { issuer: self.name().parse().unwrap(), ca, ..rule() }
    }

    fn issuer(&self) -> Arc<Issuer> {
        Arc::new(Issuer::new(Source::of(&self.rule()).unwrap()).unwrap())
    }

    fn token(&self, signer: &Signer) -> String {
        signer.sign(&claims_with("iss", json!(self.name())))
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

async fn knows(issuer: &Arc<Issuer>, kid: &str, now: Instant) -> Option<bool> {
    issuer.keys(kid, now).await.map(|keys| keys.has(kid))
}

#[tokio::test]
async fn keys_are_asked_for_once_until_their_time_is_over() {
    let signer = Signer::new("a", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    for _ in 0..3 {
        assert_eq!(knows(&issuer, "a", now).await, Some(true));
    }
    assert_eq!(knows(&issuer, "a", now + 9 * MINUTE).await, Some(true));
    assert_eq!(provider.asked(), 1);
    assert_eq!(knows(&issuer, "a", now + 10 * MINUTE).await, Some(true));
    assert_eq!(provider.asked(), 2, "the response may be cached for ten minutes");
}

#[tokio::test]
async fn many_at_once_ask_the_issuer_once() {
    let signer = Signer::new("a", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let issuer = issuer.clone();
            tokio::spawn(async move { knows(&issuer, "a", now).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), Some(true));
    }
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_keep_the_keys_from_arriving() {
    let signer = Signer::new("a", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    // Polled once: the request is in progress when the caller is cancelled.
    let hung_up = tokio::time::timeout(Duration::ZERO, issuer.keys("a", now)).await;
    assert!(hung_up.is_err());
    assert_eq!(knows(&issuer, "a", now).await, Some(true));
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_key_that_nobody_knows_makes_us_ask_at_most_once_a_minute() {
    let (old, new) = (Signer::new("old", Algorithm::ES256), Signer::new("new", Algorithm::ES256));
    let provider = Provider::start(&[&old]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    assert_eq!(knows(&issuer, "old", now).await, Some(true));
    provider.publish(&[&new, &old]);
    assert_eq!(knows(&issuer, "new", now).await, Some(true), "a rotation takes effect at once");
    assert_eq!(provider.asked(), 2);
    for guess in 0..20 {
        assert_eq!(knows(&issuer, &format!("guess {guess}"), now + MINUTE / 2).await, Some(false));
    }
    assert_eq!(provider.asked(), 2);
    assert_eq!(knows(&issuer, "guess", now + MINUTE).await, Some(false));
    assert_eq!(knows(&issuer, "guess", now + MINUTE).await, Some(false));
    assert_eq!(provider.asked(), 3);
}

#[tokio::test]
async fn keys_outlive_an_issuer_that_fails_by_a_day_and_no_more() {
    let signer = Signer::new("a", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    assert_eq!(knows(&issuer, "a", now).await, Some(true));
    provider.fail();
    assert_eq!(knows(&issuer, "a", now + HOUR).await, Some(true));
    assert_eq!(knows(&issuer, "a", now + HOUR + Duration::from_secs(9)).await, Some(true));
    assert_eq!(provider.asked(), 2, "after a failure there is no request for ten seconds");
    assert_eq!(knows(&issuer, "a", now + 24 * HOUR).await, Some(true));
    assert_eq!(knows(&issuer, "a", now + 24 * HOUR + 10 * MINUTE).await, None);
    provider.publish(&[&signer]);
    assert_eq!(knows(&issuer, "a", now + 25 * HOUR).await, Some(true), "and accepted again when the issuer is back");
}

#[tokio::test]
async fn a_key_that_the_issuer_withdrew_is_believed_no_more() {
    let (old, new) = (Signer::new("old", Algorithm::ES256), Signer::new("new", Algorithm::ES256));
    let provider = Provider::start(&[&old]).await;
    let (issuer, now) = (provider.issuer(), Instant::now());
    assert_eq!(knows(&issuer, "old", now).await, Some(true));
    provider.publish(&[&new]);
    assert_eq!(knows(&issuer, "old", now + 10 * MINUTE).await, Some(false));
}

#[tokio::test]
async fn a_description_that_leads_elsewhere_is_not_followed() {
    let signer = Signer::new("a", Algorithm::ES256);
    let (provider, elsewhere) = (Provider::start(&[&signer]).await, Provider::start(&[&signer]).await);
    let stranger = elsewhere.site.url("/jwks").as_str().to_owned();
    let plain = provider.site.url("/jwks").as_str().replace("https:", "http:");
    let here = provider.site.url("/jwks").as_str().to_owned();
    for description in [
        json!({"issuer": provider.name(), "jwks_uri": stranger}),
        json!({"issuer": provider.name(), "jwks_uri": plain}),
        json!({"issuer": provider.name(), "jwks_uri": "https://169.254.169.254/latest/meta-data"}),
        json!({"issuer": provider.name(), "jwks_uri": here.replace("127.0.0.1", "localhost")}),
        json!({"issuer": provider.name(), "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": provider.name()}),
        json!({"issuer": format!("{}/", provider.name()), "jwks_uri": here}),
        json!([]),
    ] {
        provider.describe(&description);
        assert_eq!(knows(&provider.issuer(), "a", Instant::now()).await, None, "{description}");
    }
    assert_eq!((provider.asked(), elsewhere.asked()), (0, 0));
}

#[tokio::test]
async fn keys_on_another_host_are_fetched_where_the_administrator_says_so() {
    let signer = Signer::new("a", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    let rule = Rule { issuer: ISSUER.parse().unwrap(), jwks_uri: Some(provider.site.url("/jwks")), ..provider.rule() };
    let workloads = Workloads::new(std::slice::from_ref(&rule)).unwrap();
    let admitted = workloads.admit("ci", &Password::new(signer.sign(&claims())), at(NOW)).await;
    assert_eq!(admitted.unwrap().unwrap().rule, rule.id());
    assert_eq!(provider.site.hits("/.well-known/openid-configuration"), 0);
}

#[tokio::test]
async fn keys_that_are_too_large_are_not_read() {
    let signer = Signer::new("a", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    let padded = json!({"keys": [signer.public()], "padding": "x".repeat(256 << 10)}).to_string();
    provider.site.put("/jwks", Reply::ok(&padded));
    assert_eq!(knows(&provider.issuer(), "a", Instant::now()).await, None);
}

#[tokio::test]
async fn a_workload_signs_in_as_its_user_and_as_nobody_else() {
    let signer = Signer::new("a", Algorithm::RS256);
    let provider = Provider::start(&[&signer]).await;
    let rule = provider.rule();
    let workloads = Workloads::new(std::slice::from_ref(&rule)).unwrap();
    let token = Password::new(provider.token(&signer));
    let admitted = workloads.admit("ci", &token, at(NOW)).await.unwrap().unwrap();
    assert_eq!((admitted.user.as_str(), &admitted.rule, &admitted.limits), ("ci", &rule.id(), &None));
    for user in ["root", "CI", "", "ci "] {
        let refused = workloads.admit(user, &token, at(NOW)).await.unwrap();
        assert!(matches!(refused, Err(Refused::Bad(BadWorkload::User))), "{user:?}");
    }
}

#[tokio::test]
async fn what_is_no_token_of_a_known_issuer_is_a_password() {
    let signer = Signer::new("a", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    let workloads = Workloads::new(&[provider.rule()]).unwrap();
    for text in ["wonderland and back", &signer.sign(&claims())] {
        assert!(workloads.admit("ci", &Password::new(text.to_owned()), at(NOW)).await.is_none(), "{text}");
    }
    let none = Workloads::new(&[]).unwrap();
    assert!(none.admit("ci", &Password::new(provider.token(&signer)), at(NOW)).await.is_none());
    assert_eq!(provider.asked(), 0);
}

#[tokio::test]
async fn a_token_over_the_limit_is_refused_without_a_look_and_without_hashing() {
    let signer = Signer::new("a", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    let workloads = Workloads::new(&[provider.rule()]).unwrap();
    let mut claims = claims_with("iss", json!(provider.name()));
    claims["padding"] = json!("x".repeat(MAX_TOKEN));
    let refused = workloads.admit("ci", &Password::new(signer.sign(&claims)), at(NOW)).await.unwrap();
    assert!(matches!(refused, Err(Refused::Bad(BadWorkload::TooLarge))));
    assert_eq!(provider.asked(), 0);
}

#[tokio::test]
async fn what_no_key_could_make_good_does_not_make_us_ask_for_one() {
    let provider = Provider::start(&[&Signer::new("a", Algorithm::ES256)]).await;
    let workloads = Workloads::new(&[provider.rule()]).unwrap();
    let bare = format!("{}.", unsigned(&json!({"alg": "none"}), &claims_with("iss", json!(provider.name()))));
    let refused = workloads.admit("ci", &Password::new(bare), at(NOW)).await.unwrap();
    assert!(matches!(refused, Err(Refused::Bad(BadWorkload::Algorithm))));
    assert_eq!(provider.asked(), 0);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_no_wrong_password() {
    let signer = Signer::new("a", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    provider.fail();
    let workloads = Workloads::new(&[provider.rule()]).unwrap();
    let refused = workloads.admit("ci", &Password::new(provider.token(&signer)), at(NOW)).await.unwrap();
    assert!(matches!(refused, Err(Refused::Unreachable { .. })), "{refused:?}");
}

#[tokio::test]
async fn rules_are_exchanged_as_a_whole_and_issuers_that_stay_keep_their_keys() {
    let signer = Signer::new("a", Algorithm::ES256);
    let provider = Provider::start(&[&signer]).await;
    let rule = provider.rule();
    let workloads = Workloads::new(std::slice::from_ref(&rule)).unwrap();
    let token = Password::new(provider.token(&signer));
    assert!(workloads.admit("ci", &token, at(NOW)).await.unwrap().is_ok());
    assert_eq!(workloads.standing(&rule.user, &rule.id()), Ok(None));
    assert_eq!(workloads.standing(&"other".parse().unwrap(), &rule.id()), Err(BadToken::Superseded));

    let renamed = Rule { user: "builder".parse().unwrap(), ..rule.clone() };
    workloads.replace(std::slice::from_ref(&renamed)).unwrap();
    assert_eq!(workloads.standing(&rule.user, &rule.id()), Err(BadToken::Superseded));
    assert!(workloads.admit("builder", &token, at(NOW)).await.unwrap().is_ok());
    assert_eq!(provider.asked(), 1, "the issuer is the same");

    let broken = Rule { ca: Some(provider.folder.path().join("missing.crt")), ..rule };
    assert!(workloads.replace(&[broken]).is_err());
    assert_eq!(workloads.standing(&renamed.user, &renamed.id()), Ok(None));
}
