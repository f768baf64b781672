//! Detects idle clients on a connection from its requests in flight and their last progress.
//!
//! Invariant: a connection counts as idle only while the server has no work to do for it; slow work of the server
//! (hashing an upload, waiting for storage) never looks like an idle client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// The requests in flight on one connection.
#[derive(Clone)]
pub(super) struct ConnectionActivity(Arc<Mutex<ActivityState>>);

struct ActivityState {
    in_flight: usize,
    /// Number of requests in flight that wait for the server: a running handler, or a response body that has no data
    /// yet.
    waiting_for_server: usize,
    last_progress: Instant,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdleAction {
    /// The connection is active, or has not been idle for long: keep it.
    Keep,
    /// The connection has no request: close it gracefully.
    Close,
    /// The client does not read its responses, or has not closed the connection when asked to: drop it.
    Abort,
}

impl ConnectionActivity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(ActivityState { in_flight: 0, waiting_for_server: 0, last_progress: Instant::now() })))
    }

    /// Registers a request that has arrived and now waits for the server.
    pub(super) fn begin_exchange(&self) -> ExchangeGuard {
        let mut state = self.state();
        state.in_flight += 1;
        state.waiting_for_server += 1;
        state.last_progress = Instant::now();
        ExchangeGuard { activity: self.clone(), waits_for_server: true }
    }

    /// Decides for a connection that may be idle for `patience`, and for twice as long after a graceful close.
    pub(super) fn idle_action(&self, idle_timeout: Duration) -> IdleAction {
        let state = self.state();
        let quiet = state.last_progress.elapsed();
        if state.waiting_for_server > 0 || quiet < idle_timeout {
            return IdleAction::Keep;
        }
        let idle = state.in_flight == 0;
        if idle && quiet < idle_timeout * 2 { IdleAction::Close } else { IdleAction::Abort }
    }

    fn state(&self) -> MutexGuard<'_, ActivityState> {
        self.0.lock()
    }
}

/// One request and its response, from the arrival of the header to the end of the body.
pub(super) struct ExchangeGuard {
    activity: ConnectionActivity,
    waits_for_server: bool,
}

impl ExchangeGuard {
    /// Records progress, and whether the request now waits for the server (`ours`) or for the client.
    fn record_progress(&mut self, ours: bool) {
        let mut state = self.activity.state();
        state.waiting_for_server = state.waiting_for_server + usize::from(ours) - usize::from(self.waits_for_server);
        state.last_progress = Instant::now();
        self.waits_for_server = ours;
    }
}

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        self.record_progress(false);
        self.activity.state().in_flight -= 1;
    }
}

/// A response body that records its progress.
pub(super) struct ActivityBody<B> {
    // Boxed, because pin projection by hand would need unsafe code.
    body: Pin<Box<B>>,
    exchange: ExchangeGuard,
}

impl<B> ActivityBody<B> {
    pub(super) fn new(body: B, exchange: ExchangeGuard) -> Self {
        Self { body: Box::pin(body), exchange }
    }
}

impl<B: Body> Body for ActivityBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        // HTTP/2 polls only when the client's window has room, HTTP/1 only when the socket has: until the next poll,
        // the connection waits for the client.
        let polled = self.body.as_mut().poll_frame(context);
        self.exchange.record_progress(polled.is_pending());
        Poll::Ready(ready!(polled))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE_TIMEOUT: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_is_asked_to_leave_and_then_dropped() {
        let activity = ConnectionActivity::new();
        assert_eq!(activity.idle_action(IDLE_TIMEOUT), IdleAction::Keep);
        tokio::time::sleep(IDLE_TIMEOUT).await;
        assert_eq!(activity.idle_action(IDLE_TIMEOUT), IdleAction::Close);
        tokio::time::sleep(IDLE_TIMEOUT).await;
        assert_eq!(activity.idle_action(IDLE_TIMEOUT), IdleAction::Abort);
        drop(activity.begin_exchange());
        assert_eq!(activity.idle_action(IDLE_TIMEOUT), IdleAction::Keep);
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_slowness_is_never_held_against_the_client() {
        let activity = ConnectionActivity::new();
        let mut exchange = activity.begin_exchange();
        tokio::time::sleep(IDLE_TIMEOUT * 3).await;
        assert_eq!(activity.idle_action(IDLE_TIMEOUT), IdleAction::Keep);
        exchange.record_progress(false);
        tokio::time::sleep(IDLE_TIMEOUT).await;
        assert_eq!(activity.idle_action(IDLE_TIMEOUT), IdleAction::Abort);
        let other = activity.begin_exchange();
        assert_eq!(activity.idle_action(IDLE_TIMEOUT), IdleAction::Keep);
        drop((exchange, other));
        tokio::time::sleep(IDLE_TIMEOUT).await;
        assert_eq!(activity.idle_action(IDLE_TIMEOUT), IdleAction::Close);
    }
}
