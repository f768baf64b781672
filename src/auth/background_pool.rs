//! Runs password hashing at idle scheduling priority, and again at normal priority where that gets no processor.
//!
//! A hash takes a processor for a tenth of a second, a thousand times as long as a request with a token. Hashing
//! threads therefore have the policy `SCHED_IDLE` (`sched(7)`): a thread that wakes up for a request preempts them at
//! once. With the lowest `nice` value they kept the processor to the end of their slice, and requests with tokens took
//! five times as long as in calm (`cargo bench --bench storm`).
//!
//! An idle thread waits for as long as other programs keep the processors busy, and clients give up after fifteen
//! seconds. A computation that waited for [`MAX_WAIT`] is therefore overtaken: it starts again on a thread of normal
//! priority, and the first of the two results counts. Rejected: raising the priority of the waiting thread, because
//! leaving `SCHED_IDLE` needs `CAP_SYS_NICE` or an `RLIMIT_NICE` that neither services nor containers have (the kernel
//! treats `SCHED_IDLE` as a `nice` value of 20); and going on with what the waiting thread has, because it cannot hand
//! over anything while it does not run.
//!
//! Invariant: a computation waits for a processor for [`MAX_WAIT`] at most before it competes for one at normal
//! priority. There are at most as many threads that were overtaken as there are computations at once: while there is
//! one, computations start at normal priority.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    thread,
    time::Duration,
};

use rustix::process::nice;
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

/// How long a computation may wait for a processor before it starts again at normal priority.
const MAX_WAIT: Duration = Duration::from_millis(300);

/// How often a running computation is looked at.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// For how long the processors count as busy after an idle thread was overtaken; twice as long each time that it
/// happens again soon after that.
const BUSY_PERIOD: Duration = Duration::from_secs(60);
const MAX_BUSY_PERIOD: Duration = Duration::from_secs(60 * 60);

/// The `nice` value of computations while the processors are busy: one step is a tenth of a processor.
const LOW_PRIORITY_NICE: i32 = 10;

/// Starts computations, each on a thread of its own, and overtakes those that get no processor.
#[derive(Debug, Default)]
pub(super) struct BackgroundPool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    busy: Option<Busy>,
    /// Threads that were overtaken; those that have ended are gone.
    overtaken: Vec<Weak<Worker>>,
}

/// When idle threads last got no processor.
#[derive(Clone, Copy, Debug)]
struct Busy {
    until: Instant,
    period: Duration,
}

/// How a thread shares the processors with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    Idle,
    Low,
    Normal,
}

/// The panic or the result of a computation.
type Outcome<T> = thread::Result<T>;

/// A computation. It has no effect but its result, because it may run twice.
type Work<T> = dyn Fn() -> T + Send + Sync;

impl BackgroundPool {
    /// Runs `work` on a thread of its own: the runtime's blocking threads serve files, and would keep the priority. A
    /// thread costs microseconds. `permit` is held until there is a result, also if the caller leaves, and handed back
    /// with it. A panic of `work` is passed on.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread.
    pub(super) async fn run<T, P>(
        self: &Arc<Self>,
        permit: P,
        work: impl Fn() -> T + Send + Sync + 'static,
    ) -> io::Result<(T, P)>
    where
        T: Send + 'static,
        P: Send + 'static,
    {
        let (done, result) = oneshot::channel();
        tokio::spawn(Arc::clone(self).race(permit, Arc::new(work), done));
        match result.await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?? {
            (Ok(result), permit) => Ok((result, permit)),
            (Err(bug), _) => panic::resume_unwind(bug),
        }
    }

    async fn race<T: Send + 'static, P>(
        self: Arc<Self>,
        permit: P,
        work: Arc<Work<T>>,
        done: oneshot::Sender<io::Result<(Outcome<T>, P)>>,
    ) {
        let raced = self.first_outcome(&work, || done.is_closed()).await;
        let answer = raced.map(|outcome| outcome.map(|outcome| (outcome, permit))).transpose();
        // The caller may have left.
        let _ = answer.map(|answer| done.send(answer));
    }

    /// The first outcome of the threads that compute `work`; `None` if nobody waits for it any more and it is not there
    /// yet.
    async fn first_outcome<T: Send + 'static>(
        &self,
        work: &Arc<Work<T>>,
        is_abandoned: impl Fn() -> bool,
    ) -> io::Result<Option<Outcome<T>>> {
        // Room for both threads, so that neither waits to hand over its result.
        let (finished, mut outcomes) = mpsc::channel(2);
        let priority = self.priority(Instant::now());
        let worker = Worker::start(priority, Arc::clone(work), finished.clone())?;
        loop {
            match timeout(CHECK_INTERVAL, outcomes.recv()).await {
                Ok(outcome) => return Ok(outcome),
                Err(_) if priority != Priority::Normal && worker.is_stalled(Instant::now()) => break,
                Err(_) => {}
            }
        }
        self.overtake(priority, &worker, Instant::now());
        drop(worker);
        if is_abandoned() {
            return Ok(None);
        }
        Worker::start(Priority::Normal, Arc::clone(work), finished)?;
        Ok(outcomes.recv().await)
    }

    fn priority(&self, now: Instant) -> Priority {
        let mut state = self.state();
        state.overtaken.retain(|worker| worker.strong_count() > 0);
        if !state.overtaken.is_empty() {
            Priority::Normal
        } else if state.busy.is_some_and(|busy| now < busy.until) {
            Priority::Low
        } else {
            Priority::Idle
        }
    }

    /// Learns that a thread of this priority got no processor.
    fn overtake(&self, priority: Priority, worker: &Arc<Worker>, now: Instant) {
        let mut state = self.state();
        state.overtaken.push(Arc::downgrade(worker));
        if priority == Priority::Idle {
            let last = state.busy.filter(|last| now < last.until + last.period);
            let period = last.map_or(BUSY_PERIOD, |last| (2 * last.period).min(MAX_BUSY_PERIOD));
            state.busy = Some(Busy { until: now + period, period });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that computes, as long as it does.
#[derive(Debug)]
struct Worker {
    started: Instant,
    /// The kernel's account of the thread, if there is one: how many nanoseconds it has run comes first.
    statistics: OnceLock<File>,
}

impl Worker {
    fn start<T: Send + 'static>(
        priority: Priority,
        work: Arc<Work<T>>,
        finished: mpsc::Sender<Outcome<T>>,
    ) -> io::Result<Arc<Self>> {
        let worker = Arc::new(Self { started: Instant::now(), statistics: OnceLock::new() });
        let running = Arc::clone(&worker);
        let compute = move || {
            // Opened by the thread itself and before it steps back: afterwards it may not run for a while.
            if let Ok(file) = File::open("/proc/thread-self/schedstat") {
                let _ = running.statistics.set(file);
            }
            priority.apply();
            // The other thread may have been faster.
            let _ = finished.try_send(panic::catch_unwind(AssertUnwindSafe(|| work())));
            drop(running);
        };
        thread::Builder::new().name("hash".to_owned()).spawn(compute)?;
        Ok(worker)
    }

    fn is_stalled(&self, now: Instant) -> bool {
        is_stalled(now.saturating_duration_since(self.started), self.own_time())
    }

    /// How long the thread has computed; nothing, where the kernel does not say.
    fn own_time(&self) -> Duration {
        let mut buffer = [0; 64];
        let length = self.statistics.get().and_then(|file| file.read_at(&mut buffer, 0).ok()).unwrap_or(0);
        let text = str::from_utf8(&buffer[..length]).unwrap_or_default();
        text.split(' ').next().and_then(|field| field.parse().ok()).map_or(Duration::ZERO, Duration::from_nanos)
    }
}

/// Whether a thread that computed for `own` of the `elapsed` time has waited for too long. One that has done more than
/// it waited goes on: at a high cost, doing all of it again would take longer than the rest.
fn is_stalled(elapsed: Duration, own: Duration) -> bool {
    let waited = elapsed.saturating_sub(own);
    waited >= MAX_WAIT && waited >= own
}

impl Priority {
    /// Gives the current thread this priority. Where that is not allowed, the work is done all the same.
    fn apply(self) {
        match self {
            Self::Idle => {
                let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
                if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).is_err() {
                    let _ = nice(LOW_PRIORITY_NICE);
                }
            }
            Self::Low => {
                let _ = nice(LOW_PRIORITY_NICE);
            }
            Self::Normal => {}
        }
    }
}

#[cfg(test)]
mod tests;
