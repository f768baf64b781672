//! Signals a graceful shutdown to all tasks of the server.
//!
//! Invariant: a shutdown that has begun cannot be cancelled, and a task that starts waiting later still receives it.

use tokio_util::sync::CancellationToken;

/// A handle on the server's shutdown; all clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    begun: CancellationToken,
    forced: CancellationToken,
}

impl Shutdown {
    /// Creates a shutdown that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the shutdown: the server accepts no new connections and no new requests on existing ones; running
    /// requests may finish.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Ends the drain: the server no longer waits for running requests.
    pub fn force(&self) {
        self.begun.cancel();
        self.forced.cancel();
    }

    /// Waits until the shutdown begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits until the drain is ended by [`force`](Self::force).
    pub(super) async fn forced(&self) {
        self.forced.cancelled().await;
    }
}

/// The result of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct DrainResult {
    /// Number of connections that were still active when the drain ended, and were dropped.
    pub dropped: usize,
}
