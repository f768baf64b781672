//! Divides a memory budget for HTTP/2 receive windows (flow control) among all connections.
//!
//! Invariant: the windows of all connections together never exceed [`BUDGET`] plus one [`LEAST`] for each connection,
//! however many connections clients open.
//!
//! The server must buffer as much as a window allows. Four mebibytes for each of four thousand connections would be
//! sixteen gibibytes, which clients could fill without signing in. Therefore each new connection gets a share of the
//! remaining budget: the full window while few connections are open, and less the more there are.

use std::sync::{Arc, Mutex, PoisonError};

/// Maximum window in bytes of one connection, and of one upload on it: one upload fills 1 Gbit/s at 8 ms, and four
/// uploads fit into the connection's window.
const MOST: u32 = 4 * 1024 * 1024;
const MOST_PER_STREAM: u32 = 1024 * 1024;
/// Minimum window of a connection in bytes, which is also the initial window of HTTP/2 (RFC 9113, 6.9.2).
const LEAST: u32 = 64 * 1024;
/// Number of bytes beyond [`LEAST`] that all connections share.
const BUDGET: u64 = 256 * 1024 * 1024;
/// Divisor of the remaining budget for the next connection: the first 32 connections get the full window.
const PART: u64 = 32;

/// The remaining budget in bytes; all clones share it.
#[derive(Clone)]
pub(super) struct Windows(Arc<Mutex<u64>>);

impl Windows {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(BUDGET)))
    }

    /// Assigns a window to a new connection; dropping the window returns it to the budget.
    pub(super) fn open(&self) -> Window {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = u32::try_from(*left / PART).unwrap_or(MOST).clamp(LEAST, MOST);
        let promised = u64::from(connection - LEAST);
        *left -= promised;
        Window { connection, promised, windows: self.clone() }
    }
}

/// The flow-control window of one connection.
pub(super) struct Window {
    connection: u32,
    promised: u64,
    windows: Windows,
}

impl Window {
    /// Window of all requests of the connection together, in bytes.
    pub(super) fn connection(&self) -> u32 {
        self.connection
    }

    /// Window of one request, in bytes.
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
        assert_eq!(windows.open().connection(), MOST, "a window that was returned can be granted again");
    }
}
