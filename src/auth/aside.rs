//! Computing beside those who are waited for.
//!
//! Engines' floor. A hash takes a processor for a tenth of a second, which is a thousand times as long as a request of somebody
//! who is signed in already. Threads that hash therefore have what nobody else wants of the processors (`SCHED_IDLE`,
//! `sched(7)`): whoever wakes up takes it from them at once. With the lowest `nice` value they kept it to the end of their
//! slice, and token holders waited five times as long as in calm (`cargo bench --bench storm`).
//!
//! Invariant: a machine on which nothing is left over for long does not keep people from signing in: then the threads compete,
//! at a low priority, until there may be something left again.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::nice,
    time::{ClockId, clock_gettime},
};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use tokio::sync::oneshot;

/// What a thread had less of than a processor divided by this was left too little.
const LITTLE: u32 = 8;

/// A computation that ended within this was not kept waiting, however little of it was its own.
const SOON: Duration = Duration::from_secs(1);

/// For how long threads compete after one was left too little; twice as long each time that it happens again soon after that.
const CROWDED: Duration = Duration::from_secs(60);
const CROWDED_AT_MOST: Duration = Duration::from_secs(60 * 60);

/// By how much they stand back even then, in steps of `nice`: one step is a tenth of a processor.
const STEPS_BACK: i32 = 10;

/// Where long computations run.
#[derive(Debug, Default)]
pub(super) struct Aside {
    crowd: Mutex<Option<Crowd>>,
}

/// When there was last nothing left over.
#[derive(Clone, Copy, Debug)]
struct Crowd {
    until: Instant,
    lasted: Duration,
}

/// How a thread shares the processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    LeftOver,
    Low,
}

impl Aside {
    /// Runs `work` on a thread of its own: the runtime's blocking threads serve files, and would keep the priority. A thread
    /// costs microseconds. What it panicked with is passed on.
    pub(super) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<oneshot::Receiver<thread::Result<T>>> {
        let (done, result) = oneshot::channel();
        let aside = Arc::clone(self);
        let work = move || {
            let began = Instant::now();
            let share = aside.share(began);
            share.take();
            let worked = panic::catch_unwind(AssertUnwindSafe(work));
            aside.learn(share, began.elapsed(), own_time(), Instant::now());
            // Whoever asked may have left.
            let _ = done.send(worked);
        };
        thread::Builder::new().name("aside".to_owned()).spawn(work)?;
        Ok(result)
    }

    fn share(&self, now: Instant) -> Share {
        let crowd = *self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
        if crowd.is_some_and(|crowd| now < crowd.until) { Share::Low } else { Share::LeftOver }
    }

    /// A thread that took what was left over needed `own` of the processors, and that took `elapsed`.
    fn learn(&self, share: Share, elapsed: Duration, own: Duration, now: Instant) {
        if share == Share::LeftOver && elapsed > SOON && own * LITTLE < elapsed {
            let mut crowd = self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
            let goes_on = crowd.filter(|last| now < last.until + last.lasted);
            let lasted = goes_on.map_or(CROWDED, |last| (2 * last.lasted).min(CROWDED_AT_MOST));
            *crowd = Some(Crowd { until: now + lasted, lasted });
        }
    }
}

impl Share {
    /// For the thread that says so. Where it is not allowed, the work is done all the same.
    fn take(self) {
        match self {
            Self::LeftOver => {
                let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
                if set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy).is_err() {
                    let _ = nice(STEPS_BACK);
                }
            }
            Self::Low => {
                let _ = nice(STEPS_BACK);
            }
        }
    }
}

/// How long the current thread has computed.
fn own_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    const IDLE: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

    fn result_of<T: Send + 'static>(
        aside: &Arc<Aside>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::Result<T> {
        aside.run(work).unwrap().blocking_recv().unwrap()
    }

    #[test]
    fn work_has_what_nobody_else_wants() {
        let aside = Arc::default();
        assert_eq!(result_of(&aside, || thread_schedule_policy().unwrap()).unwrap(), IDLE);
    }

    #[test]
    fn work_that_was_left_too_little_lets_the_next_compete_for_a_while() {
        let aside = Arc::<Aside>::default();
        let now = Instant::now();
        let (long, little) = (2 * SOON, 2 * SOON / LITTLE / 2);
        for (elapsed, own, share) in
            [(SOON / 2, SOON / 100, Share::LeftOver), (long, long / 2, Share::LeftOver), (long, little, Share::Low)]
        {
            aside.learn(Share::LeftOver, elapsed, own, now);
            assert_eq!(aside.share(now), share, "{own:?} of {elapsed:?}");
        }
        let policy = result_of(&aside, || thread_schedule_policy().unwrap()).unwrap();
        assert_ne!(policy, IDLE);
        assert_eq!(aside.share(now + CROWDED), Share::LeftOver);
    }

    #[test]
    fn while_it_goes_on_work_competes_longer_and_longer_but_not_for_ever() {
        let aside = Aside::default();
        let mut now = Instant::now();
        let mut lasted = Vec::new();
        for _ in 0..8 {
            now += SOON;
            aside.learn(Share::LeftOver, 2 * SOON, Duration::ZERO, now);
            let minutes = (1..=60).find(|minutes| aside.share(now + *minutes * CROWDED) == Share::LeftOver).unwrap();
            lasted.push(minutes);
            now += minutes * CROWDED;
        }
        assert_eq!(lasted, [1, 2, 4, 8, 16, 32, 60, 60]);
        now += 2 * CROWDED_AT_MOST;
        aside.learn(Share::LeftOver, 2 * SOON, Duration::ZERO, now);
        assert_eq!(aside.share(now + CROWDED), Share::LeftOver);
    }

    #[test]
    fn what_a_thread_that_competed_needed_says_nothing_about_what_is_left_over() {
        let aside = Aside::default();
        let now = Instant::now();
        aside.learn(Share::Low, 100 * SOON, Duration::ZERO, now);
        assert_eq!(aside.share(now), Share::LeftOver);
    }

    #[test]
    fn a_bug_in_the_work_is_passed_on() {
        let aside = Arc::default();
        assert!(result_of(&aside, || panic::resume_unwind(Box::new("bug"))).is_err_and(|bug| bug.is::<&str>()));
    }
}
