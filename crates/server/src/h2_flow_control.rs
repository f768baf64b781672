//! Divides a memory budget for HTTP/2 receive windows (flow control) among all connections.
//!
//! Invariant: the windows of all connections together never exceed [`TOTAL_WINDOW_BUDGET`] plus one [`MIN_WINDOW`] for
//! each connection, however many connections clients open.
//!
//! The server must buffer as much as a window allows. Four mebibytes for each of four thousand connections would be
//! sixteen gibibytes, which clients could fill without signing in. Therefore each new connection gets a share of the
//! remaining budget: the full window while few connections are open, and less the more there are.

use std::sync::Arc;

use parking_lot::Mutex;

/// Maximum window in bytes of one connection, and of one upload on it: one upload fills 1 Gbit/s at 8 ms, and four
/// uploads fit into the connection's window.
const MAX_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const MAX_STREAM_WINDOW: u32 = 1024 * 1024;
/// Minimum window of a connection in bytes, which is also the initial window of HTTP/2 (RFC 9113, 6.9.2).
const MIN_WINDOW: u32 = 64 * 1024;
/// Number of bytes beyond [`MIN_WINDOW`] that all connections share.
const TOTAL_WINDOW_BUDGET: u64 = 256 * 1024 * 1024;
/// Divisor of the remaining budget for the next connection: the first 32 connections get the full window.
const BUDGET_DIVISOR: u64 = 32;

/// The remaining budget in bytes; all clones share it.
#[derive(Clone)]
pub(super) struct WindowBudget(Arc<Mutex<u64>>);

impl WindowBudget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(TOTAL_WINDOW_BUDGET)))
    }

    /// Assigns a window to a new connection; dropping the window returns it to the budget.
    pub(super) fn grant(&self) -> WindowGrant {
        let mut left = self.0.lock();
        let connection = u32::try_from(*left / BUDGET_DIVISOR)
            .unwrap_or(MAX_CONNECTION_WINDOW)
            .clamp(MIN_WINDOW, MAX_CONNECTION_WINDOW);
        let promised = u64::from(connection - MIN_WINDOW);
        *left -= promised;
        WindowGrant { connection, granted: promised, budget: self.clone() }
    }
}

/// The flow-control window of one connection.
pub(super) struct WindowGrant {
    connection: u32,
    granted: u64,
    budget: WindowBudget,
}

impl WindowGrant {
    /// Window of all requests of the connection together, in bytes.
    pub(super) fn connection(&self) -> u32 {
        self.connection
    }

    /// Window of one request, in bytes.
    pub(super) fn stream(&self) -> u32 {
        self.connection.min(MAX_STREAM_WINDOW)
    }
}

impl Drop for WindowGrant {
    fn drop(&mut self) {
        *self.budget.0.lock() += self.granted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_connections_get_the_full_window() {
        let windows = WindowBudget::new();
        let few: Vec<WindowGrant> = (0..32).map(|_| windows.grant()).collect();
        assert!(
            few.iter()
                .all(|window| window.connection() == MAX_CONNECTION_WINDOW && window.stream() == MAX_STREAM_WINDOW)
        );
    }

    #[test]
    fn ten_thousand_connections_are_promised_no_more_than_the_budget() {
        let windows = WindowBudget::new();
        let many: Vec<WindowGrant> = (0..10_000).map(|_| windows.grant()).collect();
        let sum: u64 = many.iter().map(|window| u64::from(window.connection())).sum();
        assert!(sum <= TOTAL_WINDOW_BUDGET + 10_000 * u64::from(MIN_WINDOW), "{sum}");
        assert!(many.iter().all(|window| window.connection() >= MIN_WINDOW && window.stream() <= window.connection()));
        drop(many);
        assert_eq!(
            windows.grant().connection(),
            MAX_CONNECTION_WINDOW,
            "a window that was returned can be granted again"
        );
    }
}
