//! Tests access and refresh tokens of a running server over an in-memory store.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;

use super::{
    live::{AGE, DEVICES},
    *,
};
use crate::hash::StoredHash;
use portcullis_access::{Action, Limits, UserName};
use portcullis_storage::{MemoryStore, Store};

const DAY: Duration = Duration::from_secs(86_400);

/// A server that signs devices out after 90 days, over an in-memory store.
struct Place {
    memory: Arc<MemoryStore>,
    store: GrantStore,
    grants: Grants,
}

impl Place {
    fn new() -> Self {
        let memory = Arc::new(MemoryStore::default());
        let store = GrantStore::new(memory.clone());
        Self { memory, grants: Grants::new(store.clone(), 90 * DAY), store }
    }

    /// A second server with an empty cache, which sees a change at once.
    fn fresh(&self) -> Grants {
        Grants::new(self.store.clone(), 90 * DAY)
    }

    async fn create(&self, name: &str, expires: Option<SystemTime>) -> Result<GrantToken, CreateError> {
        let random = SystemRandom::new();
        let token = GrantToken::draw(GrantId::access(&random).unwrap(), &random).unwrap();
        let new = NewAccessToken { name: name.parse().unwrap(), user: alice(), limits: limits(), expires };
        self.store.create(&token, new, &hash(), start()).await?;
        Ok(token)
    }

    async fn sign_in(&self, parent: Option<GrantId>, now: SystemTime) -> GrantToken {
        self.grants.add_device(&alice(), &hash(), ClientName::new("docker"), parent, now).await.unwrap()
    }
}

fn alice() -> UserName {
    "alice".parse().unwrap()
}

fn hash() -> StoredHash {
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=".parse().unwrap()
}

fn another_hash() -> StoredHash {
    "{SHA}4en6G6MezRroT3XKqkdPOmY/BfQ=".parse().unwrap()
}

fn limits() -> Limits {
    Limits { repositories: vec!["team/**".parse().unwrap()], actions: [Action::Pull].into_iter().collect() }
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

async fn ask(grants: &Grants, token: &GrantToken, now: SystemTime) -> Result<Believed, Refused> {
    grants.believe(token, now, |user| (*user == alice()).then(|| Arc::new(hash()))).await
}

/// Waits for the time of last use, which is recorded in the background.
async fn used(place: &Place, id: GrantId) -> Option<SystemTime> {
    for _ in 0..1000 {
        if let Some(used) = place.store.used(id).await.unwrap() {
            return Some(used);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test]
async fn an_access_token_stands_in_for_its_user_within_its_limits() {
    let place = Place::new();
    let token = place.create("ci", None).await.unwrap();
    let believed = ask(&place.grants, &token, start()).await.unwrap();
    assert_eq!((&believed.grant.user, believed.limits), (&alice(), Some(limits())));
    assert_eq!(used(&place, token.id()).await, Some(start()));
}

#[tokio::test]
async fn another_secret_under_the_same_id_is_not_believed() {
    let place = Place::new();
    let token = place.create("ci", None).await.unwrap();
    let forged = GrantToken::draw(token.id(), &SystemRandom::new()).unwrap();
    assert!(matches!(ask(&place.grants, &forged, start()).await, Err(Refused::Unknown)));
    let elsewhere = GrantToken::draw(GrantId::Access(0), &SystemRandom::new()).unwrap();
    assert!(matches!(ask(&place.grants, &elsewhere, start()).await, Err(Refused::Unknown)));
    assert_eq!(place.store.used(token.id()).await.unwrap(), None, "a guess is not a use");
}

#[tokio::test]
async fn a_changed_password_or_a_removed_user_ends_a_token() {
    let place = Place::new();
    let token = place.create("ci", None).await.unwrap();
    for current in [Some(Arc::new(another_hash())), None] {
        let asked = place.grants.believe(&token, start(), |_| current.clone()).await;
        assert!(matches!(asked, Err(Refused::Superseded)));
    }
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    let place = Place::new();
    let token = place.create("ci", Some(start() + DAY)).await.unwrap();
    let (before, end) = (start() + DAY - Duration::from_secs(1), start() + DAY);
    assert!(ask(&place.grants, &token, before).await.is_ok());
    assert!(matches!(ask(&place.grants, &token, end).await, Err(Refused::Expired)));
    assert!(place.grants.standing(token.id(), &alice(), before).await.is_ok());
    assert!(matches!(place.grants.standing(token.id(), &alice(), end).await, Err(Refused::Expired)));
    assert!(matches!(place.grants.standing(token.id(), &"bob".parse().unwrap(), before).await, Err(Refused::Unknown)));
}

#[tokio::test]
async fn a_name_is_given_once_until_it_is_revoked() {
    let place = Place::new();
    let token = place.create("ci", None).await.unwrap();
    assert!(matches!(place.create("ci", None).await, Err(CreateError::Exists(_))));
    assert_eq!(place.store.named(&"ci".parse().unwrap()).await.unwrap(), Some(token.id()));
    assert!(place.store.revoke(token.id()).await.unwrap());
    assert!(!place.store.revoke(token.id()).await.unwrap());
    place.create("ci", None).await.unwrap();
    assert_eq!(place.store.access_tokens().await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_commands_at_once_never_make_two_tokens_of_one_name() {
    let place = Place::new();
    let both = futures_util::future::join(place.create("ci", None), place.create("ci", None)).await;
    let made = [both.0.is_ok(), both.1.is_ok()].into_iter().filter(|made| *made).count();
    assert!(made <= 1);
    assert_eq!(place.store.access_tokens().await.unwrap().len(), made);
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_by_who_has_not_seen_it_and_within_a_second_by_who_has() {
    let place = Place::new();
    let token = place.create("ci", None).await.unwrap();
    assert!(ask(&place.grants, &token, start()).await.is_ok());
    used(&place, token.id()).await.unwrap();
    place.store.revoke(token.id()).await.unwrap();
    assert!(matches!(ask(&place.fresh(), &token, start()).await, Err(Refused::Unknown)));
    tokio::time::sleep(AGE).await;
    assert!(matches!(ask(&place.grants, &token, start()).await, Err(Refused::Unknown)));
    assert!(matches!(place.grants.standing(token.id(), &alice(), start()).await, Err(Refused::Unknown)));
}

#[tokio::test]
async fn noting_a_use_does_not_bring_back_what_was_revoked() {
    let place = Place::new();
    let token = place.create("ci", None).await.unwrap();
    place.store.revoke(token.id()).await.unwrap();
    place.store.note_use(token.id(), start()).await.unwrap();
    assert_eq!(place.store.used(token.id()).await.unwrap(), None);
    assert!(place.store.access_tokens().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_use_is_noted_once_a_minute() {
    let place = Place::new();
    let token = place.create("ci", None).await.unwrap();
    ask(&place.grants, &token, start()).await.unwrap();
    assert_eq!(used(&place, token.id()).await, Some(start()));
    let later = |seconds| start() + Duration::from_secs(seconds);
    for (now, expected) in [(later(59), start()), (later(60), later(60)), (later(61), later(60))] {
        ask(&place.fresh(), &token, now).await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(place.store.used(token.id()).await.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn a_device_is_signed_out_when_it_was_not_used_for_long() {
    let place = Place::new();
    let token = place.sign_in(None, start()).await;
    assert_eq!(ask(&place.fresh(), &token, start() + 90 * DAY).await.unwrap().limits, None);
    assert_eq!(used(&place, token.id()).await, Some(start() + 90 * DAY));
    assert!(ask(&place.fresh(), &token, start() + 180 * DAY).await.is_ok());
    let idle = start() + 271 * DAY;
    assert!(matches!(ask(&place.fresh(), &token, idle).await, Err(Refused::Expired)));
    assert!(matches!(place.fresh().standing(token.id(), &alice(), idle).await, Err(Refused::Expired)));
}

#[tokio::test]
async fn a_device_reaches_no_further_than_the_access_token_it_was_signed_in_with_and_ends_with_it() {
    let place = Place::new();
    let parent = place.create("ci", Some(start() + DAY)).await.unwrap();
    let device = place.sign_in(Some(parent.id()), start()).await;
    let other = place.sign_in(None, start()).await;
    assert_eq!(ask(&place.grants, &device, start()).await.unwrap().limits, Some(limits()));
    assert_eq!(used(&place, parent.id()).await, Some(start()), "its use is a use of the access token");
    assert!(matches!(ask(&place.fresh(), &device, start() + DAY).await, Err(Refused::Expired)));
    place
        .memory
        .remove(&format!("portcullis/credentials/tokens/{}/record", parent.id()).parse().unwrap())
        .await
        .unwrap();
    assert!(matches!(ask(&place.fresh(), &device, start()).await, Err(Refused::Unknown)));
    place.store.revoke(parent.id()).await.unwrap();
    let left: Vec<_> = place.store.devices().await.unwrap().iter().map(|listed| listed.id).collect();
    assert_eq!(left, [other.id()]);
}

#[tokio::test]
async fn logins_do_not_fill_the_disk_and_sign_out_what_was_not_used_for_longest() {
    let place = Place::new();
    let mut tokens = Vec::new();
    for second in 0..DEVICES {
        tokens.push(place.sign_in(None, start() + Duration::from_secs(second as u64)).await);
    }
    let now = start() + DAY;
    ask(&place.grants, &tokens[0], now).await.unwrap();
    used(&place, tokens[0].id()).await.unwrap();
    tokens.push(place.sign_in(None, now).await);
    assert_eq!(place.store.devices().await.unwrap().len(), DEVICES);
    assert!(ask(&place.fresh(), &tokens[0], now).await.is_ok());
    assert!(matches!(ask(&place.fresh(), &tokens[1], now).await, Err(Refused::Unknown)));
    assert!(ask(&place.fresh(), &tokens[DEVICES], now).await.is_ok());
}

#[tokio::test]
async fn a_machine_that_signs_in_all_day_signs_no_person_out() {
    let place = Place::new();
    let machine = place.create("ci", None).await.unwrap();
    let person = place.sign_in(None, start()).await;
    for second in 1..=DEVICES + 10 {
        place.sign_in(Some(machine.id()), start() + Duration::from_secs(second as u64)).await;
    }
    assert_eq!(place.store.devices().await.unwrap().len(), DEVICES + 1);
    assert!(ask(&place.grants, &person, start() + DAY).await.is_ok());
}

#[tokio::test]
async fn a_damaged_record_is_refused_listed_and_revoked() {
    let place = Place::new();
    let token = place.create("ci", None).await.unwrap();
    let record = format!("portcullis/credentials/tokens/{}/record", token.id()).parse().unwrap();
    place.memory.write(&record, "{}".into()).await.unwrap();
    assert!(matches!(ask(&place.grants, &token, start()).await, Err(Refused::Unknown)));
    let listed = place.store.access_tokens().await.unwrap();
    assert!(listed.len() == 1 && listed[0].grant.is_none());
    assert!(place.store.revoke(token.id()).await.unwrap());
}
