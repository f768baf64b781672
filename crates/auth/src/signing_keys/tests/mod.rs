//! Tests the key file on a real file system, and the tokens that its keys sign.

mod rotation;
mod verification_cache;

use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

use super::*;
use crate::{
    config::KeyIdForm,
    credentials::{BearerToken, Credentials},
    tokens::bearer::{BearerTokenService, InvalidToken, TokenOrigin, VerifiedToken},
    tokens::decode,
};
use portcullis_access::{Principal, Scope, UserName};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const LIFETIME: Duration = Duration::from_secs(300);

struct KeyFileFixture {
    folder: tempfile::TempDir,
    config: TokenConfig,
    now: SystemTime,
}

impl KeyFileFixture {
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
            refresh_lifetime: 90 * DAY,
            upload_grace: None,
        };
        Self { folder, config, now: SystemTime::now() }
    }

    fn keys(&self) -> Arc<SigningKeys> {
        Arc::new(SigningKeys::load_or_create(self.config.clone(), self.now).unwrap_or_else(|error| panic!("{error}")))
    }

    fn tokens(&self, keys: &Arc<SigningKeys>) -> BearerTokenService {
        BearerTokenService::new(Arc::clone(keys), self.config.clone(), Clock::system()).unwrap()
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
        SigningKeySet::read(&self.config, self.now).err().expect("an error").to_string()
    }
}

fn alice() -> Principal {
    Principal::User("alice".parse::<UserName>().unwrap())
}

fn issue(tokens: &BearerTokenService, now: SystemTime) -> String {
    tokens.issue(&tokens.signer(), &alice(), None, &[], now).unwrap().token
}

fn verify(tokens: &BearerTokenService, token: &str, now: SystemTime) -> Result<VerifiedToken, InvalidToken> {
    tokens.verify(&bearer(token), now)
}

fn bearer(token: &str) -> BearerToken {
    match Credentials::parse(format!("Bearer {token}").as_bytes()) {
        Ok(Credentials::Bearer(token)) => token,
        Ok(Credentials::Basic { .. }) | Err(_) => panic!("no bearer token: {token}"),
    }
}

#[track_caller]
fn is_forged(tokens: &BearerTokenService, token: &str, now: SystemTime) {
    assert_eq!(verify(tokens, token, now).err(), Some(InvalidToken::Unverifiable));
}

#[test]
fn a_key_is_made_once_for_its_owner_alone_and_found_again() {
    for algorithm in TokenAlgorithm::ALL {
        let fixture = KeyFileFixture::new(algorithm);
        let made = fixture.keys().current();
        assert_eq!(made.signer().algorithm(), algorithm);
        assert_eq!(fixture.mode(), 0o600);
        assert_eq!(fixture.keys().current().signer().id(), made.signer().id());
        assert_eq!(fixture.files(), ["token.key"], "nothing temporary is left");
    }
}

#[test]
fn replicas_that_start_at_once_agree_on_one_key() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    let id = || fixture.keys().current().signer().id().to_owned();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(id)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|made| *made == id()), "{ids:?}");
    assert_eq!(fixture.files(), ["token.key"], "nothing temporary is left");
}

#[test]
fn a_file_that_holds_no_key_is_refused_with_its_line_and_kept() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    fixture.write("not a key");
    assert!(matches!(
        SigningKeys::load_or_create(fixture.config.clone(), fixture.now),
        Err(KeyError::Invalid { problem: KeyFileProblem { line: 1, fault: KeyFileFault::NoKey }, .. })
    ));
    assert!(matches!(rotate(&fixture.config, DAY, fixture.now), Err(RotateError::Key(KeyError::Invalid { .. }))));
    assert_eq!(fixture.text(), "not a key");
    let good = key_file::render(&[generate_block(TokenAlgorithm::Es256).unwrap()]);
    fixture.write(&format!("{}-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n", *good));
    assert!(fixture.error().ends_with("token.key:6: this is not a private key for ECDSA with P-256, RSA or Ed25519"));
    fixture.write(&"x".repeat(300 << 10));
    assert!(fixture.error().ends_with("this is not a small regular file"));
}

#[test]
fn a_new_rsa_key_has_3072_bits() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Rs256);
    let key = fixture.keys().current().signer().to_jwk();
    let modulus = key["n"].as_str().unwrap();
    assert_eq!((modulus.len(), key["e"].as_str()), (512, Some("AQAB")), "384 bytes in base64url");
}

#[test]
fn what_the_file_holds_decides_how_tokens_are_signed_and_verified() {
    for algorithm in TokenAlgorithm::ALL {
        let made = KeyFileFixture::new(algorithm);
        made.keys();
        for other in TokenAlgorithm::ALL {
            let fixture = KeyFileFixture {
                config: TokenConfig { algorithm: other, ..made.config.clone() },
                ..KeyFileFixture::new(other)
            };
            let keys = fixture.keys();
            assert_eq!(keys.current().signer().algorithm(), algorithm);
            let tokens = fixture.tokens(&keys);
            let token = issue(&tokens, fixture.now);
            assert_eq!(decode::decode(&token).unwrap().header["alg"], algorithm.as_str());
            assert!(verify(&tokens, &token, fixture.now).is_ok());
        }
    }
}

#[test]
fn a_token_must_name_one_of_our_keys_in_either_form_and_be_signed_by_it() {
    for algorithm in TokenAlgorithm::ALL {
        let mut fixture = KeyFileFixture::new(algorithm);
        let thumbprint = fixture.tokens(&fixture.keys());
        fixture.config.key_id = KeyIdForm::Libtrust;
        let libtrust = fixture.tokens(&fixture.keys());
        for tokens in [&thumbprint, &libtrust] {
            let token = issue(tokens, fixture.now);
            assert!(verify(&thumbprint, &token, fixture.now).is_ok() && verify(&libtrust, &token, fixture.now).is_ok());
            let id = decode::decode(&token).unwrap().header["kid"].clone();
            assert_eq!(id, tokens.key_set(fixture.now)["keys"][0]["kid"]);
        }
        let groups: Vec<String> = libtrust.signer().id().split(':').map(str::to_owned).collect();
        assert_eq!((groups.len(), groups.iter().all(|group| group.len() == 4)), (12, true));

        let other = KeyFileFixture::new(algorithm);
        let others = other.tokens(&other.keys());
        is_forged(&thumbprint, &issue(&others, fixture.now), fixture.now);
        let (ours, theirs) = (issue(&thumbprint, fixture.now), issue(&others, fixture.now));
        let (header, rest) = (ours.split_once('.').unwrap().0, theirs.split_once('.').unwrap().1);
        is_forged(&thumbprint, &format!("{header}.{rest}"), fixture.now);
    }
}

#[test]
fn a_broken_or_missing_file_keeps_the_keys_until_it_is_mended() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    let keys = fixture.keys();
    let (tokens, text) = (fixture.tokens(&keys), fixture.text());
    let token = issue(&tokens, fixture.now);
    for broken in ["", "broken", "-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n"] {
        fixture.write(broken);
        assert!(matches!(keys.poll(fixture.now), Err(KeyError::Invalid { .. })), "{broken}");
        assert!(keys.poll(fixture.now).is_err(), "it is broken still");
        assert!(verify(&tokens, &token, fixture.now).is_ok());
    }
    fs::remove_file(&fixture.config.key).unwrap();
    assert!(keys.poll(fixture.now).err().unwrap().is_missing());
    assert!(verify(&tokens, &token, fixture.now).is_ok());
    fixture.write(&text);
    assert!(!keys.poll(fixture.now).unwrap(), "these keys are current already");
    let other = KeyFileFixture::new(TokenAlgorithm::Es256);
    other.keys();
    fixture.write(&other.text());
    assert!(keys.poll(fixture.now).unwrap());
    is_forged(&tokens, &token, fixture.now);
}

#[tokio::test(start_paused = true)]
async fn a_watched_file_takes_effect_by_itself() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    let keys = fixture.keys();
    let watching = tokio::spawn(Arc::clone(&keys).watch(Duration::from_millis(10), Clock::system()));
    let signer = fixture.rotate(fixture.now).signer;
    let noticed = async {
        while keys.current().signer().id() != signer {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), noticed).await.unwrap();
    watching.abort();
}

#[test]
fn whoever_takes_a_token_apart_learns_which_key_signed_it() {
    for algorithm in TokenAlgorithm::ALL {
        let fixture = KeyFileFixture::new(algorithm);
        let token = issue(&fixture.tokens(&fixture.keys()), fixture.now);
        fixture.rotate(fixture.now);
        let keys = SigningKeySet::read(&fixture.config, fixture.now).unwrap_or_else(|error| panic!("{error}"));
        let signer = decode::find_signer(&token, &keys).expect("the older of the two");
        assert!(signer.retires_at().is_some());
        let dissection = decode::decode(&token).unwrap();
        assert_eq!(
            (dissection.claims["sub"].as_str(), dissection.header["kid"].as_str()),
            (Some("alice"), Some(signer.id()))
        );
        let changed = format!("{}A", &token[..token.len() - 1]);
        let changed = if changed == token { format!("{}Q", &token[..token.len() - 1]) } else { changed };
        assert!(decode::find_signer(&changed, &keys).is_none());
        assert!(decode::find_signer("a.b.c", &keys).is_none());
    }
    for no_token in ["", "a", "a.b", "a.b.c", "a.b.c.d", "..", "eyJ9.e30.", "W10.e30.", "é.é.é"] {
        assert!(decode::decode(no_token).is_err(), "{no_token}");
    }
    assert!(decode::decode("e30.e30.").is_ok(), "a token without a signature can be decoded");
}
