//! Measures contention: the latency of a signed-in client while 64 others sign in, with right and with wrong passwords.
//!
//! The others send the next attempt as soon as the last one is answered, but wait for the time in `Retry-After`. Each
//! has its own address. They run at the lowest priority, so that their own processor time does not slow down the
//! server. `benches/contention.rs` measures the protection of Portcullis in more detail.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use reqwest::{StatusCode, header};
use rustix::process::nice;
use tokio::{runtime::Builder, task::JoinSet};

use crate::{
    client::{self, basic_authorization},
    contender::{Contender, ContenderKind},
    context::BenchContext,
    fixtures::{BOB, User},
    image,
    load::Http,
    result_row::{Goal, Row, Unit},
    samples::Samples,
};

const GUESSERS: u8 = 64;
const REPOSITORY: &str = "small/image";
const KINDS: [ContenderKind; 2] = [ContenderKind::Portcullis, ContenderKind::NginxAndRegistry];
const WRONG: User = User { password: "a guess", ..BOB };
const LOADS: [(&str, &User, StatusCode); 2] =
    [("right", &BOB, StatusCode::OK), ("wrong", &WRONG, StatusCode::UNAUTHORIZED)];

/// The state that the concurrent clients share.
#[derive(Default)]
struct SharedTally {
    /// The status of an attempt whose password was checked.
    expected: StatusCode,
    /// The number of responses with this status.
    answered: AtomicUsize,
    is_over: AtomicBool,
}

/// The measurements of one server under one kind of load.
#[derive(Default)]
struct LoadResult {
    /// The 99th percentile of each round, in milliseconds.
    waits: Vec<f64>,
    /// The number of checked passwords per second, for each round.
    answers: Vec<f64>,
}

pub(crate) fn measure(context: &BenchContext) -> Vec<Row> {
    let mut calm = KINDS.map(|_| Vec::new());
    let mut storms = LOADS.map(|_| KINDS.map(|_| LoadResult::default()));
    for _ in 0..context.rounds.min(3) {
        for (index, kind) in KINDS.into_iter().enumerate() {
            // A new server each round: the lockout would count the attempts of the last one.
            let side = Contender::start(context, kind);
            let path = image::put_small(&side, REPOSITORY, "1");
            let holder = side.authorization(&format!("repository:{REPOSITORY}:pull"));
            let wait = || p99_latency(context, &side, &path, holder.as_deref());
            wait();
            calm[index].push(wait());
            for (number, storm) in storms.iter_mut().enumerate() {
                let (wait, answers) = measure_under_load(context, &side, number, wait);
                storm[index].waits.push(wait);
                storm[index].answers.push(answers);
            }
        }
    }
    rows(&calm, &storms)
}

fn rows(calm: &[Vec<f64>; 2], storms: &[[LoadResult; 2]; 2]) -> Vec<Row> {
    let peer = KINDS[1].name();
    let samples = |numbers: &[f64]| Samples::new(numbers.to_vec());
    let row = |what: String, unit, ours: &[f64], theirs: &[f64]| {
        Row::new(what, unit, &samples(ours), (peer, &samples(theirs)))
    };
    let mut rows = vec![row("p99 of a signed-in client, calm".into(), Unit::Milliseconds, &calm[0], &calm[1])];
    for ((name, ..), [ours, theirs]) in LOADS.into_iter().zip(storms) {
        let what = format!("p99 of a signed-in client, 64 {name} sign-ins at once");
        let against_calm =
            |waits: &[f64], calm: &[f64]| waits.iter().zip(calm).map(|(wait, calm)| wait / calm).collect::<Vec<_>>();
        let (of_ours, of_theirs) = (against_calm(&ours.waits, &calm[0]), against_calm(&theirs.waits, &calm[1]));
        rows.push(row(what.clone(), Unit::Milliseconds, &ours.waits, &theirs.waits));
        rows.push(row(format!("{what}: against calm"), Unit::Times, &of_ours, &of_theirs).goal(Goal::Value(3.0)));
        let answers =
            row(format!("{name} passwords answered"), Unit::RequestsPerSecond, &ours.answers, &theirs.answers);
        rows.push(answers.more_is_better());
    }
    rows
}

/// The 99th percentile of the latency of a manifest request, in milliseconds.
fn p99_latency(context: &BenchContext, side: &Contender, path: &str, holder: Option<&str>) -> f64 {
    let began = Instant::now();
    let mut waits = Vec::new();
    while began.elapsed() < context.load_duration() {
        let asked = Instant::now();
        side.fetch(path, holder);
        waits.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    Samples::new(waits).percentile(0.99)
}

/// Measures during the load; also returns the number of checked passwords per second.
fn measure_under_load(
    context: &BenchContext,
    side: &Contender,
    storm: usize,
    measure: impl FnOnce() -> f64,
) -> (f64, f64) {
    let tally = Arc::new(SharedTally { expected: LOADS[storm].2, ..SharedTally::default() });
    thread::scope(|scope| {
        scope.spawn(|| run_guessers(context, side, storm, &tally));
        // Until the guessers have connected: their TLS handshakes use this machine's processors twice, as client and
        // server.
        thread::sleep(Duration::from_secs(1));
        let (before, began) = (tally.answered.load(Relaxed), Instant::now());
        let wait = measure();
        let answered = u32::try_from(tally.answered.load(Relaxed) - before).unwrap();
        let rate = f64::from(answered) / began.elapsed().as_secs_f64();
        tally.is_over.store(true, Relaxed);
        (wait, rate)
    })
}

fn run_guessers(context: &BenchContext, side: &Contender, storm: usize, tally: &Arc<SharedTally>) {
    // On Linux, this changes the priority of this thread only.
    nice(19).unwrap();
    let url = match side.kind {
        ContenderKind::Portcullis => side.url(&client::token_path(&format!("repository:{REPOSITORY}:pull"))),
        ContenderKind::NginxAndRegistry | ContenderKind::Registry | ContenderKind::Static => {
            side.url(&format!("/v2/{REPOSITORY}/tags/list"))
        }
    };
    let authorization = basic_authorization(LOADS[storm].1);
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut guessers = JoinSet::new();
        for number in 1..=GUESSERS {
            let from = Ipv4Addr::new(127, 0, 1 + u8::try_from(storm).unwrap(), number);
            let client = client::http_client(&context.fixtures, Http::One, Some(from));
            guessers.spawn(guess(client, url.clone(), authorization.clone(), Arc::clone(tally)));
        }
        while !tally.is_over.load(Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        while let Some(ended) = guessers.try_join_next() {
            // A guesser ends only by a panic, and without guessers the measurement would be wrong.
            ended.unwrap();
        }
        guessers.shutdown().await;
    });
}

async fn guess(client: reqwest::Client, url: String, authorization: String, tally: Arc<SharedTally>) {
    let later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    loop {
        let answer = client.get(&url).header(header::AUTHORIZATION, &authorization).send().await.unwrap();
        let (status, wait) = (answer.status(), answer.headers().get(header::RETRY_AFTER).cloned());
        // Read the body, so that the connection can be reused.
        answer.bytes().await.unwrap();
        assert!(status == tally.expected || later.contains(&status), "{url} answers {status} in a storm");
        if status == tally.expected {
            tally.answered.fetch_add(1, Relaxed);
        }
        let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
        tokio::time::sleep(Duration::from_secs(wait.unwrap_or(0))).await;
    }
}
