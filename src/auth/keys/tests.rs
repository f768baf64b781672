//! The key file on a real file system, and the tokens of its keys.

use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

use super::*;
use crate::{
    access::{Principal, UserName},
    auth::{
        config::KeyIdForm,
        credentials::Credentials,
        inspect,
        token::{BadToken, Tokens, VerifiedToken},
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const LIFETIME: Duration = Duration::from_secs(300);

struct House {
    folder: tempfile::TempDir,
    config: TokenConfig,
    now: SystemTime,
}

impl House {
    fn new(algorithm: TokenAlgorithm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = TokenConfig {
            lifetime: LIFETIME,
            issuer: "issuer".to_owned(),
            service: "service".to_owned(),
            key: folder.path().join("certs/token.key"),
            algorithm,
            key_id: KeyIdForm::Thumbprint,
            certificate_chain: false,
        };
        Self { folder, config, now: SystemTime::now() }
    }

    fn keys(&self) -> Arc<SigningKeys> {
        Arc::new(SigningKeys::load_or_create(self.config.clone(), self.now).unwrap_or_else(|error| panic!("{error}")))
    }

    fn tokens(&self, keys: &Arc<SigningKeys>) -> Tokens {
        Tokens::new(Arc::clone(keys), self.config.clone())
    }

    fn rotate(&self, now: SystemTime) -> Rotation {
        rotate(&self.config, DAY, now).unwrap_or_else(|error| panic!("{error}"))
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.config.key).unwrap()
    }

    fn write(&self, text: &str) {
        fs::create_dir_all(self.config.key.parent().unwrap()).unwrap();
        fs::write(&self.config.key, text).unwrap();
    }

    fn mode(&self) -> u32 {
        fs::metadata(&self.config.key).unwrap().permissions().mode() & 0o7777
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("certs")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn error(&self) -> String {
        KeySet::read(&self.config, self.now).err().expect("an error").to_string()
    }
}

fn alice() -> Principal {
    Principal::User("alice".parse::<UserName>().unwrap())
}

fn issue(tokens: &Tokens, now: SystemTime) -> String {
    tokens.issue(&tokens.signer(), &alice(), None, &[], now).unwrap().token
}

fn verify(tokens: &Tokens, token: &str, now: SystemTime) -> Result<VerifiedToken, BadToken> {
    let Ok(Credentials::Bearer(token)) = Credentials::parse(format!("Bearer {token}").as_bytes()) else {
        panic!("no bearer token: {token}")
    };
    tokens.verify(&token, now)
}

#[track_caller]
fn is_forged(tokens: &Tokens, token: &str, now: SystemTime) {
    assert_eq!(verify(tokens, token, now).err(), Some(BadToken::Forged));
}

#[test]
fn a_key_is_made_once_for_its_owner_alone_and_found_again() {
    for algorithm in TokenAlgorithm::ALL {
        let house = House::new(algorithm);
        let made = house.keys().current();
        assert_eq!(made.signer().algorithm(), algorithm);
        assert_eq!(house.mode(), 0o600);
        assert_eq!(house.keys().current().signer().id(), made.signer().id());
        assert_eq!(house.files(), ["token.key"], "nothing temporary is left");
    }
}

#[test]
fn replicas_that_start_at_once_agree_on_one_key() {
    let house = House::new(TokenAlgorithm::Es256);
    let id = || house.keys().current().signer().id().to_owned();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(id)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|made| *made == id()), "{ids:?}");
    assert_eq!(house.files(), ["token.key"], "nothing temporary is left");
}

#[test]
fn a_file_that_holds_no_key_is_refused_with_its_line_and_kept() {
    let house = House::new(TokenAlgorithm::Es256);
    house.write("not a key");
    assert!(matches!(
        SigningKeys::load_or_create(house.config.clone(), house.now),
        Err(KeyError::Broken { problem: Problem { line: 1, fault: Fault::NoKey }, .. })
    ));
    assert!(matches!(rotate(&house.config, DAY, house.now), Err(RotateError::Key(KeyError::Broken { .. }))));
    assert_eq!(house.text(), "not a key");
    let good = file::text(&[draw(TokenAlgorithm::Es256).unwrap()]);
    house.write(&format!("{}-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n", *good));
    assert!(house.error().ends_with("token.key:6: this is not a private key for ECDSA with P-256, RSA or Ed25519"));
    house.write(&"x".repeat(300 << 10));
    assert!(house.error().ends_with("this is not a small regular file"));
}

#[test]
fn a_new_rsa_key_has_3072_bits() {
    let house = House::new(TokenAlgorithm::Rs256);
    let key = house.keys().current().signer().to_jwk();
    let modulus = key["n"].as_str().unwrap();
    assert_eq!((modulus.len(), key["e"].as_str()), (512, Some("AQAB")), "384 bytes in base64url");
}

#[test]
fn what_the_file_holds_decides_how_tokens_are_signed_and_verified() {
    for algorithm in TokenAlgorithm::ALL {
        let made = House::new(algorithm);
        made.keys();
        for other in TokenAlgorithm::ALL {
            let house = House { config: TokenConfig { algorithm: other, ..made.config.clone() }, ..House::new(other) };
            let keys = house.keys();
            assert_eq!(keys.current().signer().algorithm(), algorithm);
            let tokens = house.tokens(&keys);
            let token = issue(&tokens, house.now);
            assert_eq!(inspect::dissect(&token).unwrap().header["alg"], algorithm.as_str());
            assert!(verify(&tokens, &token, house.now).is_ok());
        }
    }
}

#[test]
fn a_token_must_name_one_of_our_keys_in_either_form_and_be_signed_by_it() {
    for algorithm in TokenAlgorithm::ALL {
        let mut house = House::new(algorithm);
        let thumbprint = house.tokens(&house.keys());
        house.config.key_id = KeyIdForm::Libtrust;
        let libtrust = house.tokens(&house.keys());
        for tokens in [&thumbprint, &libtrust] {
            let token = issue(tokens, house.now);
            assert!(verify(&thumbprint, &token, house.now).is_ok() && verify(&libtrust, &token, house.now).is_ok());
            let id = inspect::dissect(&token).unwrap().header["kid"].clone();
            assert_eq!(id, tokens.key_set(house.now)["keys"][0]["kid"]);
        }
        let groups: Vec<String> = libtrust.signer().id().split(':').map(str::to_owned).collect();
        assert_eq!((groups.len(), groups.iter().all(|group| group.len() == 4)), (12, true));

        let other = House::new(algorithm);
        let others = other.tokens(&other.keys());
        is_forged(&thumbprint, &issue(&others, house.now), house.now);
        let (ours, theirs) = (issue(&thumbprint, house.now), issue(&others, house.now));
        let (header, rest) = (ours.split_once('.').unwrap().0, theirs.split_once('.').unwrap().1);
        is_forged(&thumbprint, &format!("{header}.{rest}"), house.now);
    }
}

#[test]
fn a_new_key_signs_and_the_old_one_verifies_until_it_has_retired() {
    for (before, after) in [
        (TokenAlgorithm::Es256, TokenAlgorithm::Es256),
        (TokenAlgorithm::Es256, TokenAlgorithm::EdDsa),
        (TokenAlgorithm::EdDsa, TokenAlgorithm::Es256),
    ] {
        let mut house = House::new(before);
        let keys = house.keys();
        let (tokens, first) = (house.tokens(&keys), keys.current().signer().id().to_owned());
        house.config.algorithm = after;
        let rotation = house.rotate(house.now);
        assert_eq!((rotation.kept[0].0.as_str(), rotation.kept.len(), rotation.dropped), (first.as_str(), 1, 0));
        assert_eq!(house.mode(), 0o600);
        assert_eq!(house.files(), ["token.key", "token.key.lock"]);

        let old = issue(&tokens, house.now);
        assert!(keys.poll(house.now).unwrap());
        assert!(!keys.poll(house.now).unwrap(), "the same file is no change");
        assert_eq!(keys.current().signer().id(), rotation.signer);
        assert_ne!(rotation.signer, first);
        let new = issue(&tokens, house.now);
        assert_eq!(verify(&tokens, &new, house.now).unwrap().signer.id(), rotation.signer);
        assert_eq!(verify(&tokens, &old, house.now).unwrap().signer.id(), first);
        let listed = |now| tokens.key_set(now)["keys"].as_array().unwrap().len();
        assert_eq!((listed(house.now), listed(house.now + DAY)), (2, 1));

        // A token that never ends, for the key's sake: the key ends, and the token with it.
        let eternal = Tokens::new(Arc::clone(&keys), TokenConfig { lifetime: 2 * DAY, ..house.config.clone() });
        let old_key = keys.current().find(&first, house.now).unwrap().clone();
        let long = eternal.issue(&old_key, &alice(), None, &[], house.now).unwrap().token;
        assert!(verify(&eternal, &long, house.now + DAY - HOUR).is_ok());
        is_forged(&eternal, &long, house.now + DAY);
    }
}

#[test]
fn a_second_rotation_moves_no_date_and_drops_who_has_retired() {
    let house = House::new(TokenAlgorithm::Es256);
    let first = house.keys().current().signer().id().to_owned();
    let second = house.rotate(house.now).signer;
    let third = house.rotate(house.now + HOUR);
    let spelled: Vec<_> = third.kept.iter().map(|(id, retires)| (id.clone(), spell(*retires))).collect();
    assert_eq!(spelled, [(second.clone(), spell(house.now + HOUR + DAY)), (first.clone(), spell(house.now + DAY))]);
    let fourth = house.rotate(house.now + DAY + HOUR / 2);
    let kept: Vec<&str> = fourth.kept.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!((kept, fourth.dropped), (vec![third.signer.as_str(), second.as_str()], 1));
    assert_eq!(house.text().matches("BEGIN PRIVATE KEY").count(), 3);
    assert_eq!(house.text().matches("Retires: ").count(), 2);
}

#[test]
fn rotations_at_once_are_all_kept() {
    let house = House::new(TokenAlgorithm::Es256);
    house.keys();
    let made: Vec<String> = std::thread::scope(|scope| {
        let rotations: Vec<_> = (0..8).map(|_| scope.spawn(|| house.rotate(house.now).signer)).collect();
        rotations.into_iter().map(|rotation| rotation.join().unwrap()).collect()
    });
    let keys = KeySet::read(&house.config, house.now).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(keys.all().count(), 9);
    for id in made {
        assert!(keys.find(&id, house.now).is_some(), "{id}");
    }
}

#[test]
fn rotating_without_a_file_makes_the_first_key_and_an_open_file_becomes_private() {
    let house = House::new(TokenAlgorithm::EdDsa);
    let rotation = house.rotate(house.now);
    assert_eq!((house.keys().current().signer().id(), rotation.kept.len()), (rotation.signer.as_str(), 0));
    fs::set_permissions(&house.config.key, fs::Permissions::from_mode(0o644)).unwrap();
    house.rotate(house.now);
    assert_eq!(house.mode(), 0o600);
}

#[test]
fn an_overlap_that_would_end_tokens_early_is_refused() {
    let house = House::new(TokenAlgorithm::Es256);
    house.keys();
    let before = house.text();
    for keep in [Duration::ZERO, HOUR, Duration::from_secs(61 * 60 - 1)] {
        assert!(matches!(rotate(&house.config, keep, house.now), Err(RotateError::ShortOverlap(_))), "{keep:?}");
    }
    for keep in [366 * DAY, Duration::MAX] {
        assert!(matches!(rotate(&house.config, keep, house.now), Err(RotateError::LongOverlap(_))), "{keep:?}");
    }
    assert_eq!(house.text(), before);
    assert!(rotate(&house.config, Duration::from_secs(61 * 60), house.now).is_ok());
}

#[test]
fn a_broken_or_missing_file_keeps_the_keys_until_it_is_mended() {
    let house = House::new(TokenAlgorithm::Es256);
    let keys = house.keys();
    let (tokens, text) = (house.tokens(&keys), house.text());
    let token = issue(&tokens, house.now);
    for broken in ["", "broken", "-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n"] {
        house.write(broken);
        assert!(matches!(keys.poll(house.now), Err(KeyError::Broken { .. })), "{broken}");
        assert!(keys.poll(house.now).is_err(), "it is broken still");
        assert!(verify(&tokens, &token, house.now).is_ok());
    }
    fs::remove_file(&house.config.key).unwrap();
    assert!(keys.poll(house.now).err().unwrap().is_missing());
    assert!(verify(&tokens, &token, house.now).is_ok());
    house.write(&text);
    assert!(!keys.poll(house.now).unwrap(), "these keys are in force");
    let other = House::new(TokenAlgorithm::Es256);
    other.keys();
    house.write(&other.text());
    assert!(keys.poll(house.now).unwrap());
    is_forged(&tokens, &token, house.now);
}

#[tokio::test]
async fn a_watched_file_takes_effect_by_itself() {
    let house = House::new(TokenAlgorithm::Es256);
    let keys = house.keys();
    let watching = tokio::spawn(Arc::clone(&keys).watch(Duration::from_millis(10)));
    let signer = house.rotate(house.now).signer;
    let noticed = async {
        while keys.current().signer().id() != signer {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), noticed).await.unwrap();
    watching.abort();
}

#[test]
fn each_key_binds_to_passwords_in_its_own_way() {
    let house = House::new(TokenAlgorithm::Es256);
    house.keys();
    house.rotate(house.now);
    let keys = KeySet::read(&house.config, house.now).unwrap_or_else(|error| panic!("{error}"));
    let tags: Vec<Vec<u8>> =
        keys.all().map(|key| aws_lc_rs::hmac::sign(key.binding(), b"a hash").as_ref().to_vec()).collect();
    assert_ne!(tags[0], tags[1]);
    let again = KeySet::read(&house.config, house.now).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(aws_lc_rs::hmac::sign(again.signer().binding(), b"a hash").as_ref(), tags[0], "replicas agree");
}

#[test]
fn whoever_takes_a_token_apart_learns_which_key_signed_it() {
    for algorithm in TokenAlgorithm::ALL {
        let house = House::new(algorithm);
        let token = issue(&house.tokens(&house.keys()), house.now);
        house.rotate(house.now);
        let keys = KeySet::read(&house.config, house.now).unwrap_or_else(|error| panic!("{error}"));
        let signer = inspect::signer(&token, &keys).expect("the older of the two");
        assert!(signer.retires().is_some());
        let dissection = inspect::dissect(&token).unwrap();
        assert_eq!(
            (dissection.claims["sub"].as_str(), dissection.header["kid"].as_str()),
            (Some("alice"), Some(signer.id()))
        );
        let changed = format!("{}A", &token[..token.len() - 1]);
        let changed = if changed == token { format!("{}Q", &token[..token.len() - 1]) } else { changed };
        assert!(inspect::signer(&changed, &keys).is_none());
        assert!(inspect::signer("a.b.c", &keys).is_none());
    }
    for no_token in ["", "a", "a.b", "a.b.c", "a.b.c.d", "..", "eyJ9.e30.", "W10.e30.", "é.é.é"] {
        assert!(inspect::dissect(no_token).is_err(), "{no_token}");
    }
    assert!(inspect::dissect("e30.e30.").is_ok(), "not signed, but one can look at it");
}
