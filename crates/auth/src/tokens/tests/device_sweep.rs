//! Tests the removal of the records of ended devices.

use std::time::Instant;

use super::{super::device_sweep::SWEEP_DELAY, *};
use crate::users::{Users, htpasswd::Htpasswd};

fn users() -> Htpasswd {
    Htpasswd::parse(format!("alice:{}\n", hash().as_str()).as_bytes())
}

fn users_after_a_change() -> Htpasswd {
    Htpasswd::parse(format!("alice:{}\n", another_hash().as_str()).as_bytes())
}

async fn sweep(sweep: &mut DeviceSweep, users: &Htpasswd, now: SystemTime, clock: Instant) -> usize {
    sweep.run_round(users, now, clock).await.unwrap()
}

impl TokenFixture {
    fn sweep(&self) -> DeviceSweep {
        DeviceSweep::new(self.store.clone(), 90 * DAY, self.time.clock())
    }

    async fn device_count(&self) -> usize {
        self.store.refresh_tokens().await.unwrap().len()
    }
}

#[tokio::test]
async fn the_record_of_a_device_goes_a_day_after_it_was_found_ended_and_not_before() {
    let clock = Instant::now();
    for (file, now) in
        [(users_after_a_change(), start()), (Htpasswd::parse(b""), start()), (users(), start() + 91 * DAY)]
    {
        let fixture = TokenFixture::new();
        let device = fixture.sign_in(start()).await;
        let mut devices = fixture.sweep();
        let an_hour_before = clock + (SWEEP_DELAY / 24) * 23;
        assert_eq!(sweep(&mut devices, &file, now, clock).await, 0);
        assert_eq!(sweep(&mut devices, &file, now, an_hour_before).await, 0);
        assert_eq!(fixture.device_count().await, 1);
        assert_eq!(sweep(&mut devices, &file, now, clock + SWEEP_DELAY).await, 1);
        assert_eq!(fixture.device_count().await, 0);
        assert_eq!(fixture.store.last_used(device.id()).await.unwrap(), None);
        assert_eq!(sweep(&mut devices, &file, now, clock + 2 * SWEEP_DELAY).await, 0);
    }
}

#[tokio::test]
async fn a_device_that_may_sign_in_keeps_its_record() {
    let fixture = TokenFixture::new();
    let device = fixture.sign_in(start()).await;
    fixture.store.record_use(device.id(), start() + 60 * DAY).await.unwrap();
    let (mut devices, clock) = (fixture.sweep(), Instant::now());
    for round in 0..10 {
        assert_eq!(sweep(&mut devices, &users(), start() + 150 * DAY, clock + round * SWEEP_DELAY).await, 0);
    }
    assert!(verify(&fixture.service, &device, start() + 150 * DAY).await.is_ok());
}

#[tokio::test]
async fn a_users_file_that_was_wrong_for_some_hours_costs_no_device_its_record() {
    let fixture = TokenFixture::new();
    let device = fixture.sign_in(start()).await;
    let (mut devices, clock) = (fixture.sweep(), Instant::now());
    let hour = Duration::from_secs(3600);
    sweep(&mut devices, &Htpasswd::parse(b""), start(), clock).await;
    sweep(&mut devices, &users(), start(), clock + 5 * hour).await;
    // Ended once more: the day begins again.
    assert_eq!(sweep(&mut devices, &Htpasswd::parse(b""), start(), clock + SWEEP_DELAY).await, 0);
    assert_eq!(sweep(&mut devices, &users(), start(), clock + 2 * SWEEP_DELAY).await, 0);
    assert!(verify(&fixture.service, &device, start()).await.is_ok());
}

#[tokio::test]
async fn a_disabled_user_keeps_devices_and_so_does_one_with_a_damaged_record() {
    let fixture = TokenFixture::new();
    fixture.sign_in(start()).await;
    let damaged = fixture.sign_in(start()).await;
    let StoredTokenId::Refresh { owner_hash, number } = damaged.id() else { panic!("a device") };
    let record = format!("portcullis/credentials/devices/{owner_hash:08x}/{number:016x}/record").parse().unwrap();
    fixture.memory.write(&record, "{}".into()).await.unwrap();
    let file = Htpasswd::parse(b"alice:$y$unsupported\n");
    let (mut devices, clock) = (fixture.sweep(), Instant::now());
    for round in 0..4 {
        assert_eq!(sweep(&mut devices, &file, start(), clock + round * SWEEP_DELAY).await, 0);
    }
    assert_eq!(fixture.device_count().await, 2);
}

#[tokio::test]
async fn a_device_whose_access_token_was_revoked_by_hand_goes_as_well() {
    let fixture = TokenFixture::new();
    let parent = fixture.create("ci", None).await.unwrap();
    fixture.device_of(parent.id(), start()).await;
    let (mut devices, clock) = (fixture.sweep(), Instant::now());
    sweep(&mut devices, &users(), start(), clock).await;
    assert_eq!(sweep(&mut devices, &users(), start(), clock + SWEEP_DELAY).await, 0, "the access token is valid");
    let record = format!("portcullis/credentials/tokens/{}/record", parent.id()).parse().unwrap();
    fixture.memory.remove(&record).await.unwrap();
    sweep(&mut devices, &users(), start(), clock + SWEEP_DELAY).await;
    assert_eq!(sweep(&mut devices, &users(), start(), clock + 2 * SWEEP_DELAY).await, 1);
}

#[tokio::test]
async fn a_device_that_a_command_revoked_meanwhile_is_no_error() {
    let fixture = TokenFixture::new();
    let device = fixture.sign_in(start()).await;
    let (mut devices, clock) = (fixture.sweep(), Instant::now());
    sweep(&mut devices, &Htpasswd::parse(b""), start(), clock).await;
    fixture.store.revoke(device.id()).await.unwrap();
    assert_eq!(sweep(&mut devices, &Htpasswd::parse(b""), start(), clock + SWEEP_DELAY).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_removes_ended_devices_while_it_runs() {
    let (fixture, folder) = (TokenFixture::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("htpasswd");
    std::fs::write(&path, format!("bob:{}\n", hash().as_str())).unwrap();
    let users = Users::load(path, start()).unwrap_or_else(|error| panic!("{error}"));
    fixture.sign_in(start()).await;
    let sweeping = tokio::spawn(fixture.sweep().run(Arc::new(users)));
    tokio::time::sleep(SWEEP_DELAY).await;
    assert_eq!(fixture.device_count().await, 1, "the first look was after the start");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(fixture.device_count().await, 0);
    sweeping.abort();
}

#[tokio::test]
async fn a_round_looks_at_a_thousand_records_and_the_next_one_goes_on_behind_them() {
    let fixture = TokenFixture::new();
    for number in 0..2500 {
        let id = StoredTokenId::Refresh { owner_hash: number / 500, number: u64::from(number) };
        let token = TokenSecret::generate(id, &SystemRandom::new()).unwrap();
        let kind = StoredTokenKind::Refresh { client: ClientName::new("docker"), parent: None };
        fixture.store.write(&StoredToken::new(&token, alice(), &hash(), kind, start())).await.unwrap();
    }
    let (mut devices, clock, gone) = (fixture.sweep(), Instant::now(), Htpasswd::parse(b""));
    for _ in 0..3 {
        assert_eq!(sweep(&mut devices, &gone, start(), clock).await, 0);
    }
    let mut removed = Vec::new();
    for _ in 0..3 {
        removed.push(sweep(&mut devices, &gone, start(), clock + SWEEP_DELAY).await);
    }
    assert!(removed.iter().all(|count| *count > 0 && *count <= 1000), "{removed:?}");
    assert_eq!((removed.iter().sum::<usize>(), fixture.device_count().await), (2500, 0));
}
