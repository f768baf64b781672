//! How much the clients of HTTP/2 may send before we have taken it, all of them together.
//!
//! Invariant: the windows of all connections together are never larger than [`BUDGET`] and one [`LEAST`] for each
//! connection, whoever opens how many.
//!
//! A window is a promise of memory. Four mebibytes each for four thousand connections would be a promise of sixteen
//! gibibytes, which anybody could call in without signing in. So each new connection is promised a share of what is left:
//! the full window as long as few are open, and less and less the more there are.

use std::sync::{Arc, Mutex, PoisonError};

/// The most for one connection, and for one upload on it: enough to fill 1 Gbit/s at 8 ms with one upload, and four of
/// them.
const MOST: u32 = 4 * 1024 * 1024;
const MOST_PER_STREAM: u32 = 1024 * 1024;
/// The least, which is also what every HTTP/2 connection begins with (RFC 9113, 6.9.2).
const LEAST: u32 = 64 * 1024;
/// What is promised beyond [`LEAST`] to all connections together.
const BUDGET: u64 = 256 * 1024 * 1024;
/// The part of what is left that a connection is promised: the first 32 connections have the full window.
const PART: u64 = 32;

/// What is left to promise; all clones are the same.
#[derive(Clone)]
pub(super) struct Windows(Arc<Mutex<u64>>);

impl Windows {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(BUDGET)))
    }

    /// The window of a new connection; given back when it is dropped.
    pub(super) fn open(&self) -> Window {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = u32::try_from(*left / PART).unwrap_or(MOST).clamp(LEAST, MOST);
        let promised = u64::from(connection - LEAST);
        *left -= promised;
        Window { connection, promised, windows: self.clone() }
    }
}

/// The window of one connection.
pub(super) struct Window {
    connection: u32,
    promised: u64,
    windows: Windows,
}

impl Window {
    /// For all requests of the connection together, in bytes.
    pub(super) fn connection(&self) -> u32 {
        self.connection
    }

    /// For one request, in bytes.
    pub(super) fn stream(&self) -> u32 {
        self.connection.min(MOST_PER_STREAM)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        *self.windows.0.lock().unwrap_or_else(PoisonError::into_inner) += self.promised;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_connections_get_the_full_window() {
        let windows = Windows::new();
        let few: Vec<Window> = (0..32).map(|_| windows.open()).collect();
        assert!(few.iter().all(|window| window.connection() == MOST && window.stream() == MOST_PER_STREAM));
    }

    #[test]
    fn ten_thousand_connections_are_promised_no_more_than_the_budget() {
        let windows = Windows::new();
        let many: Vec<Window> = (0..10_000).map(|_| windows.open()).collect();
        let sum: u64 = many.iter().map(|window| u64::from(window.connection())).sum();
        assert!(sum <= BUDGET + 10_000 * u64::from(LEAST), "{sum}");
        assert!(many.iter().all(|window| window.connection() >= LEAST && window.stream() <= window.connection()));
        drop(many);
        assert_eq!(windows.open().connection(), MOST, "what was given back can be promised again");
    }
}
