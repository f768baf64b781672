//! Tests the state of a token, as `portcullis token list` shows it.

use super::{super::state::ParentRecord, *};
use crate::{config::LegacyHashes, users::htpasswd::Htpasswd};

const LEGACY: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

/// A users file with one line, `alice`, of this hash.
fn users(hash: &str) -> Htpasswd {
    Htpasswd::parse(format!("alice:{hash}\n").as_bytes())
}

fn context(users: &Htpasswd, now: SystemTime) -> TokenStateContext<'_> {
    TokenStateContext { users: Some(users), legacy_hashes: LegacyHashes::Rehash, refresh_lifetime: 90 * DAY, now }
}

fn access_token(hash: &StoredHash, expires: Option<SystemTime>) -> StoredToken {
    let token = TokenSecret::generate(StoredTokenId::Access(1), &SystemRandom::new()).unwrap();
    let kind = StoredTokenKind::Access { name: "ci".parse().unwrap(), limits: limits(), expires };
    StoredToken::new(&token, alice(), hash, kind, start())
}

fn device(parent: Option<StoredTokenId>) -> StoredToken {
    let id = StoredTokenId::Refresh { owner_hash: 1, number: 2 };
    let token = TokenSecret::generate(id, &SystemRandom::new()).unwrap();
    let kind = StoredTokenKind::Refresh { client: ClientName::new("docker"), parent };
    StoredToken::new(&token, alice(), &hash(), kind, start())
}

#[test]
fn a_token_is_valid_while_its_user_has_the_hash_that_it_was_created_for() {
    let token = access_token(&hash(), None);
    for (file, expected) in [
        (users(hash().as_str()), StoredTokenState::Valid),
        (users(another_hash().as_str()), StoredTokenState::PasswordChanged),
        (users(LEGACY), StoredTokenState::PasswordChanged),
        (users("$y$unsupported"), StoredTokenState::UserDisabled),
        (Htpasswd::parse(b""), StoredTokenState::UserRemoved),
    ] {
        assert_eq!(context(&file, start()).state(&token, None, ParentRecord::None), expected);
    }
    let unread = TokenStateContext { users: None, ..context(&Htpasswd::parse(b""), start()) };
    let state = unread.state(&token, None, ParentRecord::None);
    assert_eq!(state, StoredTokenState::ValidUnlessPasswordChanged, "without a users file");
}

#[test]
fn a_token_that_was_created_for_a_weak_hash_ended_when_a_bcrypt_hash_replaced_it() {
    let token = access_token(&LEGACY.parse().unwrap(), None);
    let (before, after) = (users(LEGACY), users(hash().as_str()));
    let state = |context: TokenStateContext<'_>| context.state(&token, None, ParentRecord::None);
    assert_eq!(state(context(&before, start())), StoredTokenState::ValidUnlessPasswordChanged);
    assert_eq!(state(context(&after, start())), StoredTokenState::PasswordChanged);
    let refusing = TokenStateContext { legacy_hashes: LegacyHashes::Refuse, ..context(&before, start()) };
    assert_eq!(state(refusing), StoredTokenState::UserDisabled);
}

#[test]
fn an_access_token_expires_and_a_device_ends_without_use() {
    let file = users(hash().as_str());
    let token = access_token(&hash(), Some(start() + DAY));
    let at = |now| context(&file, now);
    assert_eq!(at(start()).state(&token, None, ParentRecord::None), StoredTokenState::Valid);
    assert_eq!(at(start() + DAY).state(&token, None, ParentRecord::None), StoredTokenState::Expired);
    let device = device(None);
    let (used, later) = (Some(start() + 50 * DAY), start() + 91 * DAY);
    assert_eq!(at(start() + 90 * DAY).state(&device, None, ParentRecord::None), StoredTokenState::Valid);
    assert_eq!(at(later).state(&device, None, ParentRecord::None), StoredTokenState::Idle);
    assert_eq!(at(later).state(&device, used, ParentRecord::None), StoredTokenState::Valid);
    assert_eq!(at(start() - DAY).state(&device, None, ParentRecord::None), StoredTokenState::Valid);
}

#[test]
fn a_device_ends_with_the_access_token_that_it_signed_in_with() {
    let file = users(hash().as_str());
    let parent = access_token(&hash(), Some(start() + DAY));
    let device = device(Some(parent.id));
    let state = |now, parent: ParentRecord<'_>| context(&file, now).state(&device, None, parent);
    assert_eq!(state(start(), ParentRecord::Found(&parent)), StoredTokenState::Valid);
    assert_eq!(state(start() + DAY, ParentRecord::Found(&parent)), StoredTokenState::ParentEnded);
    assert_eq!(state(start(), ParentRecord::Missing), StoredTokenState::ParentEnded);
    assert_eq!(state(start(), ParentRecord::Damaged), StoredTokenState::ParentDamaged);
    let older = access_token(&another_hash(), None);
    assert_eq!(state(start(), ParentRecord::Found(&older)), StoredTokenState::ParentEnded);
}
