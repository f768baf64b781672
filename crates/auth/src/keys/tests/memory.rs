//! Tests of the cache of verified signatures: a cached token ends when it expires or its key is removed.

use super::*;

/// Issues a token and verifies it once, so that it is cached.
fn remembered(tokens: &Tokens, now: SystemTime) -> String {
    let token = issue(tokens, now);
    assert!(verify(tokens, &token, now).is_ok());
    assert!(tokens.remembers(&bearer(&token), now));
    token
}

#[test]
fn a_remembered_token_says_what_it_said() {
    for algorithm in TokenAlgorithm::ALL {
        let mut house = House::new(algorithm);
        house.config.certificate_chain = true;
        let tokens = house.tokens(&house.keys());
        let scopes = Scope::parse_all(["repository:a/b:pull,push registry:catalog:*"]);
        let origin = "w:somerule".parse::<Origin>().unwrap();
        let token = tokens.issue(&tokens.signer(), &alice(), Some(&origin), &scopes, house.now).unwrap().token;
        assert!(!tokens.remembers(&bearer(&token), house.now), "it was not verified yet");
        let [first, again] = [(); 2].map(|()| verify(&tokens, &token, house.now).unwrap());
        assert!(tokens.remembers(&bearer(&token), house.now), "{algorithm:?}");
        for verified in [first, again] {
            assert_eq!((verified.principal, verified.scopes.as_slice()), (alice(), scopes.as_slice()));
            assert_eq!((verified.origin, verified.signer.id()), (Some(origin.clone()), tokens.signer().id()));
            let end = house.now + LIFETIME + HOUR / 60;
            assert!(end.duration_since(verified.expires).unwrap() < Duration::from_secs(1));
        }
    }
}

#[test]
fn a_remembered_token_ends_when_it_expires() {
    let house = House::new(TokenAlgorithm::Es256);
    let tokens = house.tokens(&house.keys());
    let token = remembered(&tokens, house.now);
    let end = house.now + LIFETIME + HOUR / 60;
    assert!(verify(&tokens, &token, end - Duration::from_secs(1)).is_ok());
    assert_eq!(verify(&tokens, &token, end + Duration::from_secs(1)).err(), Some(BadToken::Expired));
    assert_eq!(verify(&tokens, &token, house.now - HOUR).err(), Some(BadToken::NotYetValid));
    // A clock that was corrected makes no difference.
    assert!(verify(&tokens, &token, house.now).is_ok());
}

#[test]
fn a_remembered_token_ends_when_its_key_is_taken_out_of_the_file() {
    for algorithm in TokenAlgorithm::ALL {
        let house = House::new(algorithm);
        let keys = house.keys();
        let (tokens, before) = (house.tokens(&keys), house.text());
        let token = remembered(&tokens, house.now);
        let signer = Arc::downgrade(&tokens.signer());
        let other = House::new(TokenAlgorithm::Es256);
        other.keys();
        house.write(&other.text());
        assert!(keys.poll(house.now).unwrap());
        is_forged(&tokens, &token, house.now);
        assert!(signer.upgrade().is_none(), "the cache does not keep a removed key in memory");
        // When the key is put back, the token is valid again, after its signature was verified anew.
        house.write(&before);
        assert!(keys.poll(house.now).unwrap());
        assert!(!tokens.remembers(&bearer(&token), house.now));
        assert!(verify(&tokens, &token, house.now).is_ok());
    }
}

#[test]
fn a_remembered_token_ends_when_its_key_retires() {
    let mut house = House::new(TokenAlgorithm::Es256);
    house.config.lifetime = 2 * DAY;
    let keys = house.keys();
    let tokens = house.tokens(&keys);
    let token = issue(&tokens, house.now);
    house.rotate(house.now);
    assert!(keys.poll(house.now).unwrap());
    let last = house.now + DAY - Duration::from_secs(1);
    assert!(verify(&tokens, &token, last).is_ok());
    assert!(tokens.remembers(&bearer(&token), last));
    is_forged(&tokens, &token, house.now + DAY);
}

#[test]
fn keys_that_were_read_anew_verify_anew() {
    let house = House::new(TokenAlgorithm::EdDsa);
    let keys = house.keys();
    let tokens = house.tokens(&keys);
    let token = remembered(&tokens, house.now);
    house.rotate(house.now);
    assert!(keys.poll(house.now).unwrap());
    assert!(!tokens.remembers(&bearer(&token), house.now));
    assert!(verify(&tokens, &token, house.now).is_ok());
}

#[test]
fn bytes_that_differ_from_a_remembered_token_are_forged() {
    for algorithm in TokenAlgorithm::ALL {
        let house = House::new(algorithm);
        let tokens = house.tokens(&house.keys());
        let token = remembered(&tokens, house.now);
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
            is_forged(&tokens, &token, house.now);
            assert!(!tokens.remembers(&bearer(&token), house.now), "{token}");
        }
        assert!(verify(&tokens, &token, house.now).is_ok());
    }
}

#[test]
fn only_tokens_that_are_believed_are_remembered_and_no_long_ones() {
    let house = House::new(TokenAlgorithm::Es256);
    let tokens = house.tokens(&house.keys());
    let late = issue(&tokens, house.now - HOUR);
    let mut elsewhere = House::new(TokenAlgorithm::Es256);
    elsewhere.config.service = "other".to_owned();
    elsewhere.write(&house.text());
    let for_others = issue(&elsewhere.tokens(&elsewhere.keys()), house.now);
    for (token, reason) in [(&late, BadToken::Expired), (&for_others, BadToken::Forged)] {
        assert_eq!(verify(&tokens, token, house.now).err(), Some(reason));
        assert!(!tokens.remembers(&bearer(token), house.now));
    }
    let many: Vec<String> = (0..100).map(|number| format!("repository:a/{number}:pull")).collect();
    let scopes = Scope::parse_all(many.iter().map(String::as_str));
    let long = tokens.issue(&tokens.signer(), &alice(), None, &scopes, house.now).unwrap().token;
    assert_eq!(verify(&tokens, &long, house.now).unwrap().scopes.len(), 100);
    assert!(!tokens.remembers(&bearer(&long), house.now));
}
