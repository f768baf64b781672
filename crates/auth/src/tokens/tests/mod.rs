//! Tests access and refresh tokens of a running server over an in-memory store.

mod device_sweep;
mod state;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;

use super::{
    service::{CACHE_TTL, MAX_DEVICES},
    *,
};
use crate::passwords::hash::StoredHash;
use portcullis_access::{Action, CredentialLimits, UserName};
use portcullis_clock::ManualClock;
use portcullis_storage::{FaultyStore, MemoryStore, Objects, StoreErrorKind};

const DAY: Duration = Duration::from_secs(86_400);

/// A server that signs devices out after 90 days, over an in-memory store.
struct TokenFixture {
    memory: Arc<MemoryStore>,
    store: TokenStore,
    service: StoredTokenService,
    time: ManualClock,
}

impl TokenFixture {
    fn new() -> Self {
        let time = ManualClock::new(start());
        let memory = Arc::new(MemoryStore::new(time.clock()));
        let store = TokenStore::new(memory.clone());
        Self { memory, service: StoredTokenService::new(store.clone(), 90 * DAY, time.clock()), store, time }
    }

    /// A second server with an empty cache, which sees a change at once.
    fn fresh(&self) -> StoredTokenService {
        StoredTokenService::new(self.store.clone(), 90 * DAY, self.time.clock())
    }

    async fn create(&self, name: &str, expires: Option<SystemTime>) -> Result<TokenSecret, CreateTokenError> {
        let random = SystemRandom::new();
        let token = TokenSecret::generate(StoredTokenId::new_access(&random).unwrap(), &random).unwrap();
        let new = NewAccessToken { name: name.parse().unwrap(), user: alice(), limits: limits(), expires };
        self.store.create(&token, new, &hash(), start()).await?;
        Ok(token)
    }

    async fn sign_in(&self, now: SystemTime) -> TokenSecret {
        self.service.create_refresh_token(&alice(), &hash(), ClientName::new("docker"), now).await.unwrap()
    }

    /// Stores a device that an earlier version signed in with an access token.
    async fn device_of(&self, parent: StoredTokenId, now: SystemTime) -> TokenSecret {
        let id = StoredTokenId::Refresh { owner_hash: 7, number: 1 };
        let token = TokenSecret::generate(id, &SystemRandom::new()).unwrap();
        let kind = StoredTokenKind::Refresh { client: ClientName::new("docker"), parent: Some(parent) };
        self.store.write(&StoredToken::new(&token, alice(), &hash(), kind, now)).await.unwrap();
        token
    }
}

fn alice() -> UserName {
    "alice".parse().unwrap()
}

fn hash() -> StoredHash {
    "$2y$04$abcdefghijklmnopqrstuuO2CIyfQuTzuFsVnuMXCSUcjuRlSZNVO".parse().unwrap()
}

fn another_hash() -> StoredHash {
    "$2y$04$abcdefghijklmnopqrstuuO2CIyfQuTzuFsVnuMXCSUcjuRlSZNV2".parse().unwrap()
}

fn limits() -> CredentialLimits {
    CredentialLimits { repositories: vec!["team/**".parse().unwrap()], actions: [Action::Pull].into_iter().collect() }
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

async fn verify(
    service: &StoredTokenService,
    token: &TokenSecret,
    now: SystemTime,
) -> Result<VerifiedStoredToken, StoredTokenRejection> {
    service.verify(token, now, |user| (*user == alice()).then(|| Arc::new(hash()))).await
}

/// Waits for the time of last use, which is recorded in the background.
async fn used(place: &TokenFixture, id: StoredTokenId) -> Option<SystemTime> {
    for _ in 0..1000 {
        if let Some(used) = place.store.last_used(id).await.unwrap() {
            return Some(used);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn an_access_token_stands_in_for_its_user_within_its_limits() {
    let fixture = TokenFixture::new();
    let token = fixture.create("ci", None).await.unwrap();
    let verified = verify(&fixture.service, &token, start()).await.unwrap();
    assert_eq!((&verified.token.user, verified.limits), (&alice(), Some(limits())));
    assert_eq!(used(&fixture, token.id()).await, Some(start()));
}

#[tokio::test]
async fn another_secret_under_the_same_id_is_not_believed() {
    let fixture = TokenFixture::new();
    let token = fixture.create("ci", None).await.unwrap();
    let forged = TokenSecret::generate(token.id(), &SystemRandom::new()).unwrap();
    assert!(matches!(verify(&fixture.service, &forged, start()).await, Err(StoredTokenRejection::Unknown)));
    let elsewhere = TokenSecret::generate(StoredTokenId::Access(0), &SystemRandom::new()).unwrap();
    assert!(matches!(verify(&fixture.service, &elsewhere, start()).await, Err(StoredTokenRejection::Unknown)));
    assert_eq!(fixture.store.last_used(token.id()).await.unwrap(), None, "a guess is not a use");
}

#[tokio::test]
async fn a_changed_password_or_a_removed_user_ends_a_token() {
    let fixture = TokenFixture::new();
    let token = fixture.create("ci", None).await.unwrap();
    for current in [Some(Arc::new(another_hash())), None] {
        let result = fixture.service.verify(&token, start(), |_| current.clone()).await;
        assert!(matches!(result, Err(StoredTokenRejection::CredentialChanged)));
    }
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    let fixture = TokenFixture::new();
    let token = fixture.create("ci", Some(start() + DAY)).await.unwrap();
    let (before, end) = (start() + DAY - Duration::from_secs(1), start() + DAY);
    assert!(verify(&fixture.service, &token, before).await.is_ok());
    assert!(matches!(verify(&fixture.service, &token, end).await, Err(StoredTokenRejection::Expired)));
    assert!(fixture.service.check_valid(token.id(), &alice(), before).await.is_ok());
    assert!(matches!(fixture.service.check_valid(token.id(), &alice(), end).await, Err(StoredTokenRejection::Expired)));
    assert!(matches!(
        fixture.service.check_valid(token.id(), &"bob".parse().unwrap(), before).await,
        Err(StoredTokenRejection::Unknown)
    ));
}

#[tokio::test]
async fn a_name_is_given_once_until_it_is_revoked() {
    let fixture = TokenFixture::new();
    let token = fixture.create("ci", None).await.unwrap();
    assert!(matches!(fixture.create("ci", None).await, Err(CreateTokenError::NameTaken(_))));
    assert_eq!(fixture.store.find_by_name(&"ci".parse().unwrap()).await.unwrap(), Some(token.id()));
    assert!(fixture.store.revoke(token.id()).await.unwrap());
    assert!(!fixture.store.revoke(token.id()).await.unwrap());
    fixture.create("ci", None).await.unwrap();
    assert_eq!(fixture.store.access_tokens().await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_commands_at_once_never_make_two_tokens_of_one_name() {
    let fixture = TokenFixture::new();
    let both = futures_util::future::join(fixture.create("ci", None), fixture.create("ci", None)).await;
    let made = [both.0.is_ok(), both.1.is_ok()].into_iter().filter(|made| *made).count();
    assert!(made <= 1);
    assert_eq!(fixture.store.access_tokens().await.unwrap().len(), made);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_by_who_has_not_seen_it_and_within_a_second_by_who_has() {
    let fixture = TokenFixture::new();
    let token = fixture.create("ci", None).await.unwrap();
    assert!(verify(&fixture.service, &token, start()).await.is_ok());
    used(&fixture, token.id()).await.unwrap();
    fixture.store.revoke(token.id()).await.unwrap();
    assert!(matches!(verify(&fixture.fresh(), &token, start()).await, Err(StoredTokenRejection::Unknown)));
    fixture.time.advance(CACHE_TTL);
    assert!(matches!(verify(&fixture.service, &token, start()).await, Err(StoredTokenRejection::Unknown)));
    assert!(matches!(
        fixture.service.check_valid(token.id(), &alice(), start()).await,
        Err(StoredTokenRejection::Unknown)
    ));
}

#[tokio::test]
async fn a_token_that_the_server_itself_revokes_is_refused_at_once() {
    let fixture = TokenFixture::new();
    let by_name = fixture.create("ci", None).await.unwrap();
    let by_id = fixture.create("other", None).await.unwrap();
    let device = fixture.device_of(by_name.id(), start()).await;
    for token in [&by_name, &by_id, &device] {
        assert!(verify(&fixture.service, token, start()).await.is_ok());
    }
    let revoke = async |which: &str| fixture.service.revoke(&which.parse().unwrap()).await.unwrap();
    assert!(revoke("ci").await && revoke(&by_id.id().to_string()).await);
    for token in [&by_name, &by_id, &device] {
        assert!(matches!(verify(&fixture.service, token, start()).await, Err(StoredTokenRejection::Unknown)));
    }
    assert!(!revoke("ci").await && !revoke("0123456789abcdef").await);
}

#[tokio::test]
async fn a_token_whose_record_is_removed_and_nothing_else_counts_as_revoked() {
    let memory = MemoryStore::new(ManualClock::new(start()).clock());
    // The record is written and removed; then the folder cannot be.
    let store = TokenStore::new(Arc::new(FaultyStore::failing(memory, 2, StoreErrorKind::Unavailable)));
    let random = SystemRandom::new();
    let token = TokenSecret::generate(StoredTokenId::new_access(&random).unwrap(), &random).unwrap();
    let new = NewAccessToken { name: "ci".parse().unwrap(), user: alice(), limits: limits(), expires: None };
    store.create(&token, new, &hash(), start()).await.unwrap();
    assert!(store.revoke(token.id()).await.unwrap());
    assert!(store.access_tokens().await.unwrap().is_empty());
    assert!(store.remove(token.id()).await.is_err(), "no further change succeeds");
}

#[tokio::test]
async fn noting_a_use_does_not_bring_back_what_was_revoked() {
    let fixture = TokenFixture::new();
    let token = fixture.create("ci", None).await.unwrap();
    fixture.store.revoke(token.id()).await.unwrap();
    fixture.store.record_use(token.id(), start()).await.unwrap();
    assert_eq!(fixture.store.last_used(token.id()).await.unwrap(), None);
    assert!(fixture.store.access_tokens().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_use_is_noted_once_a_minute() {
    let fixture = TokenFixture::new();
    let token = fixture.create("ci", None).await.unwrap();
    verify(&fixture.service, &token, start()).await.unwrap();
    assert_eq!(used(&fixture, token.id()).await, Some(start()));
    let later = |seconds| start() + Duration::from_secs(seconds);
    for (now, expected) in [(later(59), start()), (later(60), later(60)), (later(61), later(60))] {
        verify(&fixture.fresh(), &token, now).await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(fixture.store.last_used(token.id()).await.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn a_device_is_signed_out_when_it_was_not_used_for_long() {
    let fixture = TokenFixture::new();
    let token = fixture.sign_in(start()).await;
    assert_eq!(verify(&fixture.fresh(), &token, start() + 90 * DAY).await.unwrap().limits, None);
    assert_eq!(used(&fixture, token.id()).await, Some(start() + 90 * DAY));
    assert!(verify(&fixture.fresh(), &token, start() + 180 * DAY).await.is_ok());
    let idle = start() + 271 * DAY;
    assert!(matches!(verify(&fixture.fresh(), &token, idle).await, Err(StoredTokenRejection::Expired)));
    assert!(matches!(
        fixture.fresh().check_valid(token.id(), &alice(), idle).await,
        Err(StoredTokenRejection::Expired)
    ));
}

#[tokio::test]
async fn a_device_reaches_no_further_than_the_access_token_it_was_signed_in_with_and_ends_with_it() {
    let fixture = TokenFixture::new();
    let parent = fixture.create("ci", Some(start() + DAY)).await.unwrap();
    let device = fixture.device_of(parent.id(), start()).await;
    let other = fixture.sign_in(start()).await;
    assert_eq!(verify(&fixture.service, &device, start()).await.unwrap().limits, Some(limits()));
    assert_eq!(used(&fixture, parent.id()).await, Some(start()), "its use is a use of the access token");
    assert!(matches!(verify(&fixture.fresh(), &device, start() + DAY).await, Err(StoredTokenRejection::Expired)));
    fixture
        .memory
        .remove(&format!("portcullis/credentials/tokens/{}/record", parent.id()).parse().unwrap())
        .await
        .unwrap();
    assert!(matches!(verify(&fixture.fresh(), &device, start()).await, Err(StoredTokenRejection::Unknown)));
    fixture.store.revoke(parent.id()).await.unwrap();
    let left: Vec<_> = fixture.store.refresh_tokens().await.unwrap().iter().map(|listed| listed.id).collect();
    assert_eq!(left, [other.id()]);
}

#[tokio::test]
async fn logins_do_not_fill_the_disk_and_sign_out_what_was_not_used_for_longest() {
    let fixture = TokenFixture::new();
    let mut tokens = Vec::new();
    for second in 0..MAX_DEVICES {
        tokens.push(fixture.sign_in(start() + Duration::from_secs(second as u64)).await);
    }
    let now = start() + DAY;
    verify(&fixture.service, &tokens[0], now).await.unwrap();
    used(&fixture, tokens[0].id()).await.unwrap();
    tokens.push(fixture.sign_in(now).await);
    assert_eq!(fixture.store.refresh_tokens().await.unwrap().len(), MAX_DEVICES);
    assert!(verify(&fixture.fresh(), &tokens[0], now).await.is_ok());
    assert!(matches!(verify(&fixture.fresh(), &tokens[1], now).await, Err(StoredTokenRejection::Unknown)));
    assert!(verify(&fixture.fresh(), &tokens[MAX_DEVICES], now).await.is_ok());
}

#[tokio::test]
async fn a_damaged_record_is_refused_listed_and_revoked() {
    let fixture = TokenFixture::new();
    let token = fixture.create("ci", None).await.unwrap();
    let record = format!("portcullis/credentials/tokens/{}/record", token.id()).parse().unwrap();
    fixture.memory.write(&record, "{}".into()).await.unwrap();
    assert!(matches!(verify(&fixture.service, &token, start()).await, Err(StoredTokenRejection::Unknown)));
    let listed = fixture.store.access_tokens().await.unwrap();
    assert!(listed.len() == 1 && listed[0].token.is_none());
    assert!(fixture.store.revoke(token.id()).await.unwrap());
}
