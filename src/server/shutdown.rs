//! The wish to stop, and what became of it.
//!
//! Invariant: a shutdown that has begun is never taken back, and whoever asks later still learns of it.

use tokio_util::sync::CancellationToken;

/// A handle on the end of the server; all clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    begun: CancellationToken,
    insisted: CancellationToken,
}

impl Shutdown {
    /// A shutdown that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins it: no new connections, no new requests on old ones, running ones may finish.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Waits no longer for running ones.
    pub fn insist(&self) {
        self.begun.cancel();
        self.insisted.cancel();
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits until there is no more waiting.
    pub(super) async fn insisted(&self) {
        self.insisted.cancelled().await;
    }
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// Connections that were still at work when the drain timeout was over, and were dropped.
    pub cut: usize,
}
