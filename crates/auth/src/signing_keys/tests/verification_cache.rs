//! Tests of the cache of verified signatures: a cached token ends when it expires or its key is removed.

use super::*;

/// Issues a token and verifies it once, so that it is cached.
fn issue_cached(tokens: &BearerTokenService, now: SystemTime) -> String {
    let token = issue(tokens, now);
    assert!(verify(tokens, &token, now).is_ok());
    assert!(tokens.is_cached(&bearer(&token), now));
    token
}

#[test]
fn a_remembered_token_says_what_it_said() {
    for algorithm in TokenAlgorithm::ALL {
        let mut fixture = KeyFileFixture::new(algorithm);
        fixture.config.certificate_chain = true;
        let tokens = fixture.tokens(&fixture.keys());
        let scopes = Scope::parse_all(["repository:a/b:pull,push registry:catalog:*"]);
        let origin = "w:somerule".parse::<TokenOrigin>().unwrap();
        let token = tokens.issue(&tokens.signer(), &alice(), Some(&origin), &scopes, fixture.now).unwrap().token;
        assert!(!tokens.is_cached(&bearer(&token), fixture.now), "it was not verified yet");
        let [first, again] = [(); 2].map(|()| verify(&tokens, &token, fixture.now).unwrap());
        assert!(tokens.is_cached(&bearer(&token), fixture.now), "{algorithm:?}");
        for verified in [first, again] {
            assert_eq!((verified.principal, verified.scopes.as_slice()), (alice(), scopes.as_slice()));
            assert_eq!((verified.origin, verified.signer.id()), (Some(origin.clone()), tokens.signer().id()));
            let end = fixture.now + LIFETIME + HOUR / 60;
            assert!(end.duration_since(verified.expires).unwrap() < Duration::from_secs(1));
        }
    }
}

#[test]
fn a_remembered_token_ends_when_it_expires() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    let tokens = fixture.tokens(&fixture.keys());
    let token = issue_cached(&tokens, fixture.now);
    let end = fixture.now + LIFETIME + HOUR / 60;
    assert!(verify(&tokens, &token, end - Duration::from_secs(1)).is_ok());
    assert_eq!(verify(&tokens, &token, end + Duration::from_secs(1)).err(), Some(InvalidToken::Expired));
    assert_eq!(verify(&tokens, &token, fixture.now - HOUR).err(), Some(InvalidToken::NotYetValid));
    // A clock that was corrected makes no difference.
    assert!(verify(&tokens, &token, fixture.now).is_ok());
}

#[test]
fn a_remembered_token_ends_when_its_key_is_taken_out_of_the_file() {
    for algorithm in TokenAlgorithm::ALL {
        let fixture = KeyFileFixture::new(algorithm);
        let keys = fixture.keys();
        let (tokens, before) = (fixture.tokens(&keys), fixture.text());
        let token = issue_cached(&tokens, fixture.now);
        let signer = Arc::downgrade(&tokens.signer());
        let other = KeyFileFixture::new(TokenAlgorithm::Es256);
        other.keys();
        fixture.write(&other.text());
        assert!(keys.poll(fixture.now).unwrap());
        is_forged(&tokens, &token, fixture.now);
        assert!(signer.upgrade().is_none(), "the cache does not keep a removed key in memory");
        // When the key is put back, the token is valid again, after its signature was verified anew.
        fixture.write(&before);
        assert!(keys.poll(fixture.now).unwrap());
        assert!(!tokens.is_cached(&bearer(&token), fixture.now));
        assert!(verify(&tokens, &token, fixture.now).is_ok());
    }
}

#[test]
fn a_remembered_token_ends_when_its_key_retires() {
    let mut fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    fixture.config.lifetime = 2 * DAY;
    let keys = fixture.keys();
    let tokens = fixture.tokens(&keys);
    let token = issue(&tokens, fixture.now);
    fixture.rotate(fixture.now);
    assert!(keys.poll(fixture.now).unwrap());
    let last = fixture.now + DAY - Duration::from_secs(1);
    assert!(verify(&tokens, &token, last).is_ok());
    assert!(tokens.is_cached(&bearer(&token), last));
    is_forged(&tokens, &token, fixture.now + DAY);
}

#[test]
fn keys_that_were_read_anew_verify_anew() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::EdDsa);
    let keys = fixture.keys();
    let tokens = fixture.tokens(&keys);
    let token = issue_cached(&tokens, fixture.now);
    fixture.rotate(fixture.now);
    assert!(keys.poll(fixture.now).unwrap());
    assert!(!tokens.is_cached(&bearer(&token), fixture.now));
    assert!(verify(&tokens, &token, fixture.now).is_ok());
}

#[test]
fn bytes_that_differ_from_a_remembered_token_are_forged() {
    for algorithm in TokenAlgorithm::ALL {
        let fixture = KeyFileFixture::new(algorithm);
        let tokens = fixture.tokens(&fixture.keys());
        let token = issue_cached(&tokens, fixture.now);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        let named = |algorithm: &str| {
            let header = json!({"typ": "JWT", "alg": algorithm, "kid": tokens.signer().id()});
            base64::prelude::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, header.to_string())
        };
        let mut forged = ["none", "HS256", "ES256", "RS256", "EdDSA"]
            .map(|other| format!("{}.{claims}.{signature}", named(other)))
            .to_vec();
        forged.extend([format!("{message}."), message.to_owned(), format!("{token}="), format!("{token}.{signature}")]);
        forged.push(format!("{header}.{}.{signature}", claims.replacen('e', "E", 1)));
        for token in forged {
            is_forged(&tokens, &token, fixture.now);
            assert!(!tokens.is_cached(&bearer(&token), fixture.now), "{token}");
        }
        assert!(verify(&tokens, &token, fixture.now).is_ok());
    }
}

#[test]
fn only_tokens_that_are_believed_are_remembered_and_no_long_ones() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    let tokens = fixture.tokens(&fixture.keys());
    let late = issue(&tokens, fixture.now - HOUR);
    let mut elsewhere = KeyFileFixture::new(TokenAlgorithm::Es256);
    elsewhere.config.service = "other".to_owned();
    elsewhere.write(&fixture.text());
    let for_others = issue(&elsewhere.tokens(&elsewhere.keys()), fixture.now);
    for (token, reason) in [(&late, InvalidToken::Expired), (&for_others, InvalidToken::Unverifiable)] {
        assert_eq!(verify(&tokens, token, fixture.now).err(), Some(reason));
        assert!(!tokens.is_cached(&bearer(token), fixture.now));
    }
    let many: Vec<String> = (0..100).map(|number| format!("repository:a/{number}:pull")).collect();
    let scopes = Scope::parse_all(many.iter().map(String::as_str));
    let long = tokens.issue(&tokens.signer(), &alice(), None, &scopes, fixture.now).unwrap().token;
    assert_eq!(verify(&tokens, &long, fixture.now).unwrap().scopes.len(), 100);
    assert!(!tokens.is_cached(&bearer(&long), fixture.now));
}
