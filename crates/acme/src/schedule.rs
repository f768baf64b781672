//! Computes when a certificate is renewed, and the back-off between failed orders.
//!
//! Invariant: every pause is at least [`MIN_ORDER_PAUSE`] long, and the pause grows with each consecutive failure up to
//! [`MAX_RETRY_PAUSE`] and its jitter.

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

/// How often the stored certificate is checked, in case another process replaced the file or the clock was set.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The shortest pause after a successful order, however short the lifetime of the certificate is.
pub(super) const MIN_ORDER_PAUSE: Duration = Duration::from_secs(5);

/// The first and the longest pause after a failure, without jitter.
const FIRST_RETRY_PAUSE: Duration = Duration::from_secs(60);
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(4 * 60 * 60);

/// The shortest pause after the directory reported an exceeded rate limit.
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(60 * 60);

/// When to renew: a third of the lifetime before the end, delayed by up to a thirtieth of the lifetime. `spread`,
/// between 0 and 1, scales the delay, so that servers that were set up together do not renew together.
pub(super) fn renewal_time(not_before: SystemTime, not_after: SystemTime, spread: f64) -> SystemTime {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    not_before + life * 2 / 3 + (life / 30).mul_f64(spread.clamp(0.0, 1.0))
}

/// The bounds of the interval at which renewal information is fetched, and the interval without a usable `Retry-After`
/// (RFC 9773, 4.3).
const RENEWAL_INFO_INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(24 * 60 * 60);
const DEFAULT_RENEWAL_INFO_INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

/// The interval until renewal information is fetched again, from the directory's `Retry-After`; `None` if the directory
/// sent no usable one, or no renewal information.
pub(super) fn renewal_info_interval(retry_after: Option<Duration>) -> Duration {
    let (least, most) = (*RENEWAL_INFO_INTERVALS.start(), *RENEWAL_INFO_INTERVALS.end());
    retry_after.unwrap_or(DEFAULT_RENEWAL_INFO_INTERVAL).clamp(least, most)
}

/// The window in which the directory suggests to renew a certificate (RFC 9773, 4.2). It is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RenewalWindow {
    start: SystemTime,
    end: SystemTime,
}

impl RenewalWindow {
    /// `None` if the window is empty or ends before it starts, which the RFC calls invalid.
    pub(super) fn new(start: SystemTime, end: SystemTime) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The moment of the window to renew at; `spread`, between 0 and 1, selects it.
    pub(super) fn moment(&self, spread: f64) -> SystemTime {
        let length = self.end.duration_since(self.start).unwrap_or_default();
        self.start + length.mul_f64(spread.clamp(0.0, 1.0))
    }
}

/// When to renew a certificate with this validity: in the directory's window if there is one, and otherwise at
/// [`renewal_time`]. A moment at which the certificate has expired already is not followed.
pub(super) fn due_time(
    not_before: SystemTime,
    not_after: SystemTime,
    window: Option<RenewalWindow>,
    spread: f64,
) -> SystemTime {
    let suggested = window.map(|window| window.moment(spread)).filter(|moment| *moment < not_after);
    suggested.unwrap_or_else(|| renewal_time(not_before, not_after, spread))
}

/// The longest pause after a failure, with its jitter.
pub(super) fn max_pause() -> Duration {
    MAX_RETRY_PAUSE + MAX_RETRY_PAUSE / 4
}

/// Exponential back-off: counts consecutive failures and computes the pause after each order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BackOff {
    failures: u32,
}

impl BackOff {
    pub(super) fn new() -> Self {
        Self { failures: 0 }
    }

    /// Continues after this number of failures.
    pub(super) fn resume(failures: u32) -> Self {
        Self { failures }
    }

    /// The number of failures since the last success.
    pub(super) fn failures(self) -> u32 {
        self.failures
    }

    /// Records a successful order and returns the shortest pause before the next one. A certificate that is already due
    /// for renewal when it is issued counts as a failure, or orders would follow each other without end.
    pub(super) fn record_success(&mut self, is_due: bool) -> Duration {
        if is_due {
            return self.record_failure(false, 0.0);
        }
        self.failures = 0;
        MIN_ORDER_PAUSE
    }

    /// Records a failure after which another challenge type is tried, and returns the pause, which is short.
    pub(super) fn retry_with_other_challenge(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        MIN_ORDER_PAUSE
    }

    /// Records a failure and returns the pause. `jitter`, between 0 and 1, lengthens it by up to a quarter.
    pub(super) fn record_failure(&mut self, is_rate_limit: bool, jitter: f64) -> Duration {
        let doubled = FIRST_RETRY_PAUSE * 2_u32.saturating_pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let least = if is_rate_limit { RATE_LIMIT_PAUSE } else { FIRST_RETRY_PAUSE };
        let pause = doubled.clamp(least, MAX_RETRY_PAUSE);
        pause + (pause / 4).mul_f64(jitter.clamp(0.0, 1.0))
    }
}

/// A random number between 0 and 1, or 0.5 where the system gives no randomness.
pub(super) fn jitter() -> f64 {
    let mut bytes = [0; 4];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_life_is_left_or_a_little_later() {
        let (begin, day) = (SystemTime::UNIX_EPOCH, Duration::from_secs(24 * 60 * 60));
        assert_eq!(renewal_time(begin, begin + 90 * day, 0.0), begin + 60 * day);
        assert_eq!(renewal_time(begin, begin + 90 * day, 1.0), begin + 63 * day);
        assert_eq!(renewal_time(begin, begin + 90 * day, f64::MAX), begin + 63 * day);
        // A hostile certificate, which ends before it begins.
        assert_eq!(renewal_time(begin + day, begin, 1.0), begin + day);
    }

    #[test]
    fn the_window_of_the_directory_is_followed_and_no_window_after_the_end() {
        let (begin, day) = (SystemTime::UNIX_EPOCH, Duration::from_secs(24 * 60 * 60));
        let (end, at) = (begin + 90 * day, |days: u32| begin + days * day);
        let window = |start, end| RenewalWindow::new(at(start), at(end));
        assert_eq!(due_time(begin, end, window(30, 40), 0.0), at(30));
        assert_eq!(due_time(begin, end, window(30, 40), 0.5), at(35));
        assert_eq!(due_time(begin, end, window(30, 40), f64::INFINITY), at(40));
        // After a revocation, the window is in the past.
        assert_eq!(due_time(at(10), at(100), window(1, 3), 0.5), at(2));
        assert_eq!(due_time(begin, end, window(80, 100), 0.0), at(80));
        assert_eq!(due_time(begin, end, window(80, 100), 1.0), renewal_time(begin, end, 1.0));
        assert_eq!(due_time(begin, end, None, 0.0), renewal_time(begin, end, 0.0));
        assert_eq!((window(3, 3), window(4, 3)), (None, None));
    }

    #[test]
    fn failures_are_followed_by_ever_longer_pauses_from_a_minute_to_some_hours() {
        let mut back_off = BackOff::new();
        let minutes: Vec<u64> = (0..10).map(|_| back_off.record_failure(false, 0.0).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 64, 128, 240, 240]);
        assert_eq!(back_off.failures(), 10);
        for _ in 0..100 {
            assert_eq!(back_off.record_failure(false, 1.0), MAX_RETRY_PAUSE + MAX_RETRY_PAUSE / 4);
        }
    }

    #[test]
    fn certificates_that_are_old_when_they_are_issued_are_not_ordered_without_end() {
        let mut back_off = BackOff::new();
        assert_eq!(
            [back_off.record_success(true), back_off.record_success(true)],
            [FIRST_RETRY_PAUSE, 2 * FIRST_RETRY_PAUSE]
        );
        assert_eq!((back_off.record_success(false), back_off.failures()), (MIN_ORDER_PAUSE, 0));
    }

    #[test]
    fn a_rate_limit_is_respected_from_the_first_time_on() {
        assert_eq!(BackOff::new().record_failure(true, 0.0), RATE_LIMIT_PAUSE);
    }
}
