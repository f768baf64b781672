//! Reads the time: a [`Clock`] reads the system's clocks, or in tests a clock that moves only when a test moves it.
//!
//! `main` makes the one [`Clock::system`] of a process and hands it in; clippy (`disallowed-methods` in clippy.toml)
//! rejects every other reading of the system's clocks outside tests. Timers are not part of it: they belong to tokio's
//! runtime, whose time tests pause, and so do the instants that are compared with timers (`tokio::time::Instant`).
//!
//! Invariant: all clones of a clock show the same time.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests compare with the system's clocks"))]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// A source of the present time; cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The clock that a test moves; `None` reads the system's clocks. Not a trait, because a branch costs less than a
    /// virtual call, and a type parameter would spread to everything that needs the time.
    manual: Option<Arc<ManualTime>>,
}

impl Clock {
    /// The system's clocks. Only `main` and tests call this; everything else takes a clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { manual: None }
    }

    /// The present date and time. It may step in either direction when the system's clock is set.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    pub fn now(&self) -> SystemTime {
        self.manual.as_ref().map_or_else(SystemTime::now, |manual| manual.date + manual.elapsed())
    }

    /// The present instant of the monotonic clock, for durations.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    pub fn instant(&self) -> Instant {
        self.manual.as_ref().map_or_else(Instant::now, |manual| manual.instant + manual.elapsed())
    }

    /// The duration since `earlier`, an instant of this clock.
    #[must_use]
    pub fn since(&self, earlier: Instant) -> Duration {
        self.instant().saturating_duration_since(earlier)
    }
}

/// A clock for tests, which shows the same time until the test advances it.
#[derive(Debug)]
pub struct ManualClock(Arc<ManualTime>);

#[derive(Debug)]
struct ManualTime {
    date: SystemTime,
    instant: Instant,
    /// The nanoseconds by which the clock was advanced; they suffice for 584 years.
    elapsed: AtomicU64,
}

impl ManualTime {
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed.load(Ordering::SeqCst))
    }
}

impl ManualClock {
    /// A clock that shows `date`.
    #[must_use]
    pub fn new(date: SystemTime) -> Self {
        Self(Arc::new(ManualTime { date, instant: Clock { manual: None }.instant(), elapsed: AtomicU64::new(0) }))
    }

    /// The clock itself, to be handed to what is tested.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock { manual: Some(Arc::clone(&self.0)) }
    }

    /// Moves the date and the instant forward.
    pub fn advance(&self, by: Duration) {
        self.0.elapsed.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_advanced_and_moves_with_all_its_clones() {
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let manual = ManualClock::new(date);
        let (first, second) = (manual.clock(), manual.clock());
        let start = first.instant();
        assert_eq!((first.now(), first.since(start)), (date, Duration::ZERO));
        manual.advance(Duration::from_millis(1500));
        for clock in [first.clone(), first, second] {
            assert_eq!(clock.now(), date + Duration::from_millis(1500));
            assert_eq!(clock.since(start), Duration::from_millis(1500));
        }
    }

    #[test]
    fn the_system_clock_shows_the_time_of_the_system() {
        let (clock, before) = (Clock::system(), Instant::now());
        assert!(clock.instant() >= before && clock.instant() <= Instant::now());
        assert!(clock.now() > SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    }
}
