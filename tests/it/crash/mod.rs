//! Kills the server with SIGKILL under load: afterwards nothing that was acknowledged is missing and nothing is half
//! there.
//!
//! Several clients push, mount, tag, move, delete and pull while garbage is collected, until the server is killed.
//! Then the disk is examined, the server started again, and everything compared with a ledger of what was
//! acknowledged.
//!
//! Invariant: a request is acknowledged and its effect stays, or refused for a reason that is checked, or in flight
//! at the kill and then done or not done.
//!
//! A kill does not lose what the kernel has not written yet. It tests the order in which things become visible; the
//! store is responsible for their being durable by then.

mod connection;
mod kill_switch;
mod ledger;
mod ledger_check;
mod upload;
mod worker;

use std::thread;
use std::time::Duration;

use crate::support::seeded_random::SeededRandom;
use crate::support::{PortcullisServer, ServerDir};
use kill_switch::KillSwitch;
use ledger::Ledger;
use ledger_check::LedgerCheck;
use worker::RandomWorker;

/// The default number of kills of each test; `CRASH_ROUNDS` sets another one for a long soak.
const ROUNDS: u64 = 10;

/// The number of concurrent clients.
const WORKERS: usize = 4;

/// The server is killed at one of its first so many requests, which it answers in a second or two.
const MAX_REQUESTS: usize = 400;

/// The garbage collection while the clients work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GcPolicy {
    /// Nothing is collected during the test: everything acknowledged must be there.
    KeepsAll,
    /// Everything that no tag reaches and that was not accessed for a second is collected.
    CollectsUnreferenced,
}

impl GcPolicy {
    fn collects(self) -> bool {
        self == Self::CollectsUnreferenced
    }

    fn grace(self) -> Duration {
        Duration::from_secs(if self.collects() { 1 } else { 3600 })
    }

    fn configuration(self) -> String {
        let (grace, untagged) = (self.grace().as_secs(), if self.collects() { "1s" } else { "keep" });
        format!("[registry.gc]\ninterval = \"1s\"\ngrace = \"{grace}s\"\ntrash = \"0s\"\nuntagged = \"{untagged}\"")
    }
}

/// Prints how to repeat the run if the test fails.
struct SeedReport(u64);

impl SeedReport {
    fn new() -> Self {
        Self(variable("CRASH_SEED").unwrap_or_else(|| {
            let mut bytes = [0; 8];
            aws_lc_rs::rand::fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        }))
    }
}

impl Drop for SeedReport {
    #[expect(clippy::print_stderr, reason = "the message on how to repeat a failed run")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the same chances again: CRASH_SEED={}", self.0);
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} should be a number")))
}

/// Lets the clients work until one of their requests kills the server.
fn work_and_kill(mut server: PortcullisServer, policy: GcPolicy, ledger: &Ledger, seed: u64, round: u64) {
    let chance = |stream: u64| SeededRandom::new(seed, 1000 * (round + 1) + stream);
    let kill_switch = KillSwitch::new(&server.daemon, 1 + chance(999).below(MAX_REQUESTS));
    thread::scope(|threads| {
        for number in 0..WORKERS {
            let worker = RandomWorker::new(number, policy, chance(number as u64), ledger, &server, &kill_switch);
            threads.spawn(|| worker.work());
        }
        if policy.collects() {
            threads.spawn(|| collect(&server, &kill_switch));
        }
    });
    assert!(server.daemon.wait_for_exit(Duration::from_secs(5)).is_some());
}

/// Makes the server collect again and again until it is killed, however few seconds that takes.
fn collect(server: &PortcullisServer, kill_switch: &KillSwitch<'_>) {
    while !kill_switch.has_killed() {
        let collected = server.stage.portcullis_command().arg("gc").run();
        assert!(collected.is_success() || kill_switch.has_killed(), "{collected}");
    }
}

fn kill_at_any_moment(policy: GcPolicy) {
    let seed = SeedReport::new();
    let (ledger, mut chance) = (Ledger::default(), SeededRandom::new(seed.0, 0));
    let stage = ServerDir::new();
    stage.configure(&policy.configuration());
    let mut server = stage.start();
    for round in 0..variable("CRASH_ROUNDS").unwrap_or(ROUNDS) {
        let moment = ledger.now();
        work_and_kill(server, policy, &ledger, seed.0, round);
        // `fsck` must find no damage; leftovers that the next collection removes are not damage.
        stage.portcullis_command().arg("fsck").run_ok();
        server = stage.start();
        LedgerCheck::new(&server, policy, &ledger, &mut chance).everything_since(moment);
    }
    LedgerCheck::new(&server, policy, &ledger, &mut chance).everything_since(0);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn at_whatever_moment_the_server_is_killed_what_was_acknowledged_is_there_and_nothing_is_half_there() {
    kill_at_any_moment(GcPolicy::KeepsAll);
}

#[test]
fn at_whatever_moment_the_server_is_killed_while_garbage_is_collected_what_a_tag_reaches_is_there() {
    kill_at_any_moment(GcPolicy::CollectsUnreferenced);
}
