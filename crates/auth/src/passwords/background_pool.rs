//! Runs password hashing at idle scheduling priority, and again at normal priority if it gets no processor time.
//!
//! A hash takes a processor for a tenth of a second, a thousand times as long as a request with a token. Hashing
//! threads therefore have the policy `SCHED_IDLE` (`sched(7)`): a thread that wakes up for a request preempts them at
//! once. With the lowest `nice` value they kept the processor until the end of their time slice, and requests with
//! tokens took five times as long as on an unloaded machine (`cargo bench --bench contention`).
//!
//! A thread of idle priority waits for as long as other programs keep the processors busy, and clients time out after
//! fifteen seconds. A computation that waited for [`MAX_WAIT`] is therefore overtaken: it starts again on a thread of
//! normal priority, and the first of the two results is used. Rejected alternatives: raising the priority of the
//! waiting thread, because leaving `SCHED_IDLE` needs `CAP_SYS_NICE` or an `RLIMIT_NICE` that neither services nor
//! containers have (the kernel treats `SCHED_IDLE` as a `nice` value of 20); and continuing the work of the waiting
//! thread, because it cannot hand over its state while it does not run.
//!
//! Invariant: a computation waits for a processor for at most [`MAX_WAIT`] before it competes for one at normal
//! priority. While an overtaken thread is running, computations start at normal priority, so that there are at most as
//! many overtaken threads as concurrent computations.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, OnceLock, Weak},
    thread,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
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

/// The interval at which a running computation is checked for stalling.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// How long the processors count as busy after a thread of idle priority was overtaken. The period doubles, up to
/// [`MAX_BUSY_PERIOD`], each time that this happens again soon afterwards.
const BUSY_PERIOD: Duration = Duration::from_secs(60);
const MAX_BUSY_PERIOD: Duration = Duration::from_secs(60 * 60);

/// The `nice` value of computations while the processors are busy: one step is a tenth of a processor.
const LOW_PRIORITY_NICE: i32 = 10;

/// Starts computations, each on a thread of its own, and overtakes those that get no processor time.
#[derive(Debug, Default)]
pub(crate) struct BackgroundPool {
    state: Mutex<PoolState>,
}

#[derive(Debug, Default)]
struct PoolState {
    busy: Option<BusyPeriod>,
    /// The overtaken threads; entries of threads that have ended are removed.
    overtaken: Vec<Weak<Worker>>,
}

/// The period in which the processors count as busy, after a thread of idle priority got no processor time.
#[derive(Clone, Copy, Debug)]
struct BusyPeriod {
    until: Instant,
    period: Duration,
}

/// The scheduling priority of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    Idle,
    Low,
    Normal,
}

/// The result of a computation, or its panic.
type WorkOutcome<T> = thread::Result<T>;

/// A computation. It has no side effects, because it may run twice.
type Work<T> = dyn Fn() -> T + Send + Sync;

impl BackgroundPool {
    /// Runs `work` on a new thread, because the runtime's blocking threads also serve files and would keep the lowered
    /// priority; starting a thread takes microseconds. `permit` is held until there is a result, even if the caller
    /// drops the future, and is returned with it. A panic of `work` is resumed in the caller.
    ///
    /// # Errors
    ///
    /// Fails if the operating system cannot start a thread.
    pub(crate) async fn run<T, P>(
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
        done: oneshot::Sender<io::Result<(WorkOutcome<T>, P)>>,
    ) {
        let raced = self.first_outcome(&work, || done.is_closed()).await;
        let answer = raced.map(|outcome| outcome.map(|outcome| (outcome, permit))).transpose();
        // Sending fails if the caller has dropped the future.
        let _ = answer.map(|answer| done.send(answer));
    }

    /// Runs `work` on one thread, or on two if the first stalls, and returns the first outcome; `None` if the first
    /// thread stalls after the caller has left.
    async fn first_outcome<T: Send + 'static>(
        &self,
        work: &Arc<Work<T>>,
        is_abandoned: impl Fn() -> bool,
    ) -> io::Result<Option<WorkOutcome<T>>> {
        // Capacity for both threads, so that sending the result never blocks.
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
        self.record_overtaken(priority, &worker, Instant::now());
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

    /// Records that a thread of this priority got no processor time and was overtaken.
    fn record_overtaken(&self, priority: Priority, worker: &Arc<Worker>, now: Instant) {
        let mut state = self.state();
        state.overtaken.push(Arc::downgrade(worker));
        if priority == Priority::Idle {
            let last = state.busy.filter(|last| now < last.until + last.period);
            let period = last.map_or(BUSY_PERIOD, |last| (2 * last.period).min(MAX_BUSY_PERIOD));
            state.busy = Some(BusyPeriod { until: now + period, period });
        }
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock()
    }
}

/// A thread that runs a computation; it is dropped when the thread has ended.
#[derive(Debug)]
struct Worker {
    started: Instant,
    /// The kernel's scheduler statistics of the thread (`schedstat`), if there are any. The first field is the time
    /// that it has run, in nanoseconds.
    schedstat: OnceLock<File>,
}

impl Worker {
    fn start<T: Send + 'static>(
        priority: Priority,
        work: Arc<Work<T>>,
        finished: mpsc::Sender<WorkOutcome<T>>,
    ) -> io::Result<Arc<Self>> {
        let worker = Arc::new(Self { started: Instant::now(), schedstat: OnceLock::new() });
        let running = Arc::clone(&worker);
        let compute = move || {
            // Opened by the thread itself, before it lowers its priority: afterwards it may not run for a while.
            if let Ok(file) = File::open("/proc/thread-self/schedstat") {
                let _ = running.schedstat.set(file);
            }
            priority.apply();
            // Sending fails if the other thread was faster.
            let _ = finished.try_send(panic::catch_unwind(AssertUnwindSafe(|| work())));
            drop(running);
        };
        thread::Builder::new().name("hash".to_owned()).spawn(compute)?;
        Ok(worker)
    }

    fn is_stalled(&self, now: Instant) -> bool {
        is_stalled(now.saturating_duration_since(self.started), self.cpu_time())
    }

    /// The processor time of the thread; zero where the kernel provides no statistics.
    fn cpu_time(&self) -> Duration {
        let mut buffer = [0; 64];
        let length = self.schedstat.get().and_then(|file| file.read_at(&mut buffer, 0).ok()).unwrap_or(0);
        let text = str::from_utf8(&buffer[..length]).unwrap_or_default();
        text.split(' ').next().and_then(|field| field.parse().ok()).map_or(Duration::ZERO, Duration::from_nanos)
    }
}

/// Whether a thread that ran for `own` of the `elapsed` time has waited for too long. A thread that ran for longer
/// than it waited continues: at a high bcrypt cost, starting again would take longer than the rest.
fn is_stalled(elapsed: Duration, cpu_time: Duration) -> bool {
    let waited = elapsed.saturating_sub(cpu_time);
    waited >= MAX_WAIT && waited >= cpu_time
}

impl Priority {
    /// Gives the current thread this priority. Where the system does not allow it, the thread continues unchanged.
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
