//! Tests of key rotation: overlap, retirement dates and concurrent rotations.

use super::*;

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

        // A token with a longer lifetime than its key: it ends when the key retires.
        let eternal =
            Tokens::new(Arc::clone(&keys), TokenConfig { lifetime: 2 * DAY, ..house.config.clone() }).unwrap();
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
