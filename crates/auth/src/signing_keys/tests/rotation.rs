//! Tests of key rotation: overlap, retirement dates and concurrent rotations.

use super::*;

#[test]
fn a_new_key_signs_and_the_old_one_verifies_until_it_has_retired() {
    for (before, after) in [
        (TokenAlgorithm::Es256, TokenAlgorithm::Es256),
        (TokenAlgorithm::Es256, TokenAlgorithm::EdDsa),
        (TokenAlgorithm::EdDsa, TokenAlgorithm::Es256),
    ] {
        let mut fixture = KeyFileFixture::new(before);
        let keys = fixture.keys();
        let (tokens, first) = (fixture.tokens(&keys), keys.current().signer().id().to_owned());
        fixture.config.algorithm = after;
        let rotation = fixture.rotate(fixture.now);
        assert_eq!((rotation.kept[0].0.as_str(), rotation.kept.len(), rotation.removed), (first.as_str(), 1, 0));
        assert_eq!(fixture.mode(), 0o600);
        assert_eq!(fixture.files(), ["token.key", "token.key.lock"]);

        let old = issue(&tokens, fixture.now);
        assert!(keys.poll(fixture.now).unwrap());
        assert!(!keys.poll(fixture.now).unwrap(), "the same file is no change");
        assert_eq!(keys.current().signer().id(), rotation.signer);
        assert_ne!(rotation.signer, first);
        let new = issue(&tokens, fixture.now);
        assert_eq!(verify(&tokens, &new, fixture.now).unwrap().signer.id(), rotation.signer);
        assert_eq!(verify(&tokens, &old, fixture.now).unwrap().signer.id(), first);
        let listed = |now| tokens.key_set(now)["keys"].as_array().unwrap().len();
        assert_eq!((listed(fixture.now), listed(fixture.now + DAY)), (2, 1));

        // A token with a longer lifetime than its key: it ends when the key retires.
        let eternal = BearerTokenService::new(
            Arc::clone(&keys),
            TokenConfig { lifetime: 2 * DAY, ..fixture.config.clone() },
            Clock::system(),
        )
        .unwrap();
        let old_key = keys.current().find(&first, fixture.now).unwrap().clone();
        let long = eternal.issue(&old_key, &alice(), None, &[], fixture.now).unwrap().token;
        assert!(verify(&eternal, &long, fixture.now + DAY - HOUR).is_ok());
        is_forged(&eternal, &long, fixture.now + DAY);
    }
}

#[test]
fn a_second_rotation_moves_no_date_and_drops_who_has_retired() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    let first = fixture.keys().current().signer().id().to_owned();
    let second = fixture.rotate(fixture.now).signer;
    let third = fixture.rotate(fixture.now + HOUR);
    let spelled: Vec<_> = third.kept.iter().map(|(id, retires)| (id.clone(), format_utc(*retires))).collect();
    assert_eq!(
        spelled,
        [(second.clone(), format_utc(fixture.now + HOUR + DAY)), (first.clone(), format_utc(fixture.now + DAY))]
    );
    let fourth = fixture.rotate(fixture.now + DAY + HOUR / 2);
    let kept: Vec<&str> = fourth.kept.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!((kept, fourth.removed), (vec![third.signer.as_str(), second.as_str()], 1));
    assert_eq!(fixture.text().matches("BEGIN PRIVATE KEY").count(), 3);
    assert_eq!(fixture.text().matches("Retires: ").count(), 2);
}

#[test]
fn rotations_at_once_are_all_kept() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    fixture.keys();
    let made: Vec<String> = std::thread::scope(|scope| {
        let rotations: Vec<_> = (0..8).map(|_| scope.spawn(|| fixture.rotate(fixture.now).signer)).collect();
        rotations.into_iter().map(|rotation| rotation.join().unwrap()).collect()
    });
    let keys = SigningKeySet::read(&fixture.config, fixture.now).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(keys.all().count(), 9);
    for id in made {
        assert!(keys.find(&id, fixture.now).is_some(), "{id}");
    }
}

#[test]
fn rotating_without_a_file_makes_the_first_key_and_an_open_file_becomes_private() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::EdDsa);
    let rotation = fixture.rotate(fixture.now);
    assert_eq!((fixture.keys().current().signer().id(), rotation.kept.len()), (rotation.signer.as_str(), 0));
    fs::set_permissions(&fixture.config.key, fs::Permissions::from_mode(0o644)).unwrap();
    fixture.rotate(fixture.now);
    assert_eq!(fixture.mode(), 0o600);
}

#[test]
fn an_overlap_that_would_end_tokens_early_is_refused() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    fixture.keys();
    let before = fixture.text();
    for keep in [Duration::ZERO, HOUR, Duration::from_secs(61 * 60 - 1)] {
        assert!(matches!(rotate(&fixture.config, keep, fixture.now), Err(RotateError::OverlapTooShort(_))), "{keep:?}");
    }
    for keep in [366 * DAY, Duration::MAX] {
        assert!(matches!(rotate(&fixture.config, keep, fixture.now), Err(RotateError::OverlapTooLong(_))), "{keep:?}");
    }
    assert_eq!(fixture.text(), before);
    assert!(rotate(&fixture.config, Duration::from_secs(61 * 60), fixture.now).is_ok());
}

#[test]
fn each_key_binds_to_passwords_in_its_own_way() {
    let fixture = KeyFileFixture::new(TokenAlgorithm::Es256);
    fixture.keys();
    fixture.rotate(fixture.now);
    let keys = SigningKeySet::read(&fixture.config, fixture.now).unwrap_or_else(|error| panic!("{error}"));
    let tags: Vec<Vec<u8>> =
        keys.all().map(|key| aws_lc_rs::hmac::sign(key.binding_key(), b"a hash").as_ref().to_vec()).collect();
    assert_ne!(tags[0], tags[1]);
    let again = SigningKeySet::read(&fixture.config, fixture.now).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(aws_lc_rs::hmac::sign(again.signer().binding_key(), b"a hash").as_ref(), tags[0], "replicas agree");
}
