//! Tests the overtaking of stalled computations, with threads that wait at a gate in place of threads that get no
//! processor time. The clock is the paused clock of the runtime, which does not advance while they wait.

use std::sync::{
    Condvar, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use thread_priority::thread_schedule_policy;

use super::*;

const IDLE: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

/// Blocks threads of idle priority until it is opened.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        drop(self.opened.wait_while(self.is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Runs `work` without a permit.
async fn result_of<T: Send + 'static>(pool: &Arc<BackgroundPool>, work: impl Fn() -> T + Send + Sync + 'static) -> T {
    pool.run((), work).await.unwrap().0
}

/// Work that returns the scheduling policy of its thread, and waits at the gate first if that is idle.
fn stalling_at_idle(gate: &Arc<Gate>) -> impl Fn() -> ThreadSchedulePolicy + Send + Sync + 'static {
    let gate = Arc::clone(gate);
    move || {
        let policy = thread_schedule_policy().unwrap();
        if policy == IDLE {
            gate.pass();
        }
        policy
    }
}

/// Waits until every overtaken thread has ended.
async fn until_none_is_overtaken(pool: &BackgroundPool) {
    while pool.priority(Instant::now()) == Priority::Normal {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn work_runs_at_idle_priority_where_nothing_is_known() {
    let (pool, policies) = (Arc::<BackgroundPool>::default(), Arc::<Mutex<Vec<_>>>::default());
    let seen = Arc::clone(&policies);
    result_of(&pool, move || seen.lock().unwrap().push(thread_schedule_policy().unwrap())).await;
    // On a busy machine the thread may have been overtaken and not run yet.
    until_none_is_overtaken(&pool).await;
    assert!(policies.lock().unwrap().contains(&IDLE));
}

#[tokio::test(start_paused = true)]
async fn work_that_gets_no_processor_at_idle_priority_is_done_at_normal_priority() {
    let (pool, gate) = (Arc::<BackgroundPool>::default(), Arc::<Gate>::default());
    let started = Instant::now();
    assert_ne!(result_of(&pool, stalling_at_idle(&gate)).await, IDLE);
    assert!(started.elapsed() >= MAX_WAIT);
    // While the overtaken thread still waits, further work starts at normal priority.
    assert_eq!(pool.priority(Instant::now()), Priority::Normal);
    assert_ne!(result_of(&pool, stalling_at_idle(&gate)).await, IDLE);
    assert_eq!(pool.state().overtaken.len(), 1);
    gate.open();
    until_none_is_overtaken(&pool).await;
    // The runtime's clock has advanced meanwhile.
    let until = pool.state().busy.unwrap().until;
    assert_eq!(pool.priority(until - BUSY_PERIOD), Priority::Low);
    assert_eq!(pool.priority(until), Priority::Idle);
}

#[tokio::test(start_paused = true)]
async fn however_many_are_overtaken_at_once_their_permits_come_back() {
    let (pool, gate) = (Arc::<BackgroundPool>::default(), Arc::<Gate>::default());
    let permits = Arc::new(tokio::sync::Semaphore::new(4));
    let run = || async {
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        pool.run(permit, stalling_at_idle(&gate)).await.unwrap()
    };
    for _ in 0..3 {
        drop(tokio::join!(run(), run(), run(), run()));
    }
    assert_eq!((permits.available_permits(), pool.state().overtaken.len()), (4, 4));
    gate.open();
    until_none_is_overtaken(&pool).await;
}

#[tokio::test(start_paused = true)]
async fn work_that_stalls_after_its_caller_left_is_not_started_again_and_gives_its_permit_back() {
    let (pool, gate) = (Arc::<BackgroundPool>::default(), Arc::<Gate>::default());
    let (begun, permits) = (Arc::<AtomicUsize>::default(), Arc::new(tokio::sync::Semaphore::new(1)));
    let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
    let (counter, policy) = (Arc::clone(&begun), stalling_at_idle(&gate));
    let work = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        policy()
    };
    assert!(timeout(Duration::from_millis(1), pool.run(permit, work)).await.is_err());
    assert_eq!(permits.available_permits(), 0, "held while it computes");
    drop(permits.acquire().await.unwrap());
    gate.open();
    until_none_is_overtaken(&pool).await;
    assert_eq!(begun.load(Ordering::Relaxed), 1);
}

#[test]
fn a_thread_has_waited_too_long_if_it_waited_for_300_ms_and_longer_than_it_ran() {
    let seconds = Duration::from_secs_f64;
    for (elapsed, own, is_too_long) in [
        (0.299, 0.0, false),
        (0.3, 0.0, true),
        (0.33, 0.05, false),
        (0.35, 0.05, true),
        // A hash of cost 16, alone and with half of a processor.
        (4.0, 3.99, false),
        (4.0, 2.1, false),
        (4.0, 1.9, true),
    ] {
        assert_eq!(is_stalled(seconds(elapsed), seconds(own)), is_too_long, "{own} of {elapsed}");
    }
}

#[tokio::test]
async fn the_time_that_a_thread_has_computed_is_known() {
    let pool = Arc::default();
    let own_time = || {
        let worker = Worker { started: Instant::now(), schedstat: OnceLock::new() };
        worker.schedstat.set(File::open("/proc/thread-self/schedstat").unwrap()).unwrap();
        while worker.cpu_time() < Duration::from_millis(20) {}
        worker.cpu_time()
    };
    assert!(result_of(&pool, own_time).await >= Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn the_processors_count_as_busy_for_longer_each_time_up_to_a_maximum() {
    let pool = BackgroundPool::default();
    let mut periods = Vec::new();
    let mut now = Instant::now();
    let overtake = |now| {
        let worker = Arc::new(Worker { started: now, schedstat: OnceLock::new() });
        pool.record_overtaken(Priority::Idle, &worker, now);
    };
    for _ in 0..8 {
        overtake(now);
        let minutes = (1..=60).find(|minutes| pool.priority(now + *minutes * BUSY_PERIOD) == Priority::Idle).unwrap();
        periods.push(minutes);
        now += minutes * BUSY_PERIOD;
    }
    assert_eq!(periods, [1, 2, 4, 8, 16, 32, 60, 60]);
    now += 2 * MAX_BUSY_PERIOD;
    overtake(now);
    assert_eq!(pool.priority(now + BUSY_PERIOD), Priority::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_thread_of_low_priority_does_not_make_the_processors_count_as_busy() {
    let pool = BackgroundPool::default();
    pool.record_overtaken(
        Priority::Low,
        &Arc::new(Worker { started: Instant::now(), schedstat: OnceLock::new() }),
        Instant::now(),
    );
    assert_eq!(pool.priority(Instant::now()), Priority::Idle);
}

#[tokio::test]
async fn a_panic_in_the_work_is_passed_on() {
    let pool = Arc::<BackgroundPool>::default();
    let work = tokio::spawn(async move { pool.run((), || -> () { panic::resume_unwind(Box::new("bug")) }).await });
    assert!(work.await.unwrap_err().into_panic().is::<&str>());
}
