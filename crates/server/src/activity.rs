//! Detects idle clients on a connection from its requests in flight and their last progress.
//!
//! Invariant: a connection counts as idle only while the server has no work to do for it; slow work of the server
//! (hashing an upload, waiting for storage) never looks like an idle client.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// The requests in flight on one connection.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

struct State {
    in_flight: usize,
    /// Number of requests in flight that wait for the server: a running handler, or a response body that has no data
    /// yet.
    ours: usize,
    moved: Instant,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The connection is active, or has not been idle for long: keep it.
    Keep,
    /// The connection has no request: close it gracefully.
    Close,
    /// The client does not read its responses, or has not closed the connection when asked to: drop it.
    Cut,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { in_flight: 0, ours: 0, moved: Instant::now() })))
    }

    /// Registers a request that has arrived and now waits for the server.
    pub(super) fn begin(&self) -> Exchange {
        let mut state = self.state();
        state.in_flight += 1;
        state.ours += 1;
        state.moved = Instant::now();
        Exchange { activity: self.clone(), ours: true }
    }

    /// Decides for a connection that may be idle for `patience`, and for twice as long after a graceful close.
    pub(super) fn verdict(&self, patience: Duration) -> Verdict {
        let state = self.state();
        let quiet = state.moved.elapsed();
        if state.ours > 0 || quiet < patience {
            return Verdict::Keep;
        }
        let idle = state.in_flight == 0;
        if idle && quiet < patience * 2 { Verdict::Close } else { Verdict::Cut }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete in itself, so a panic elsewhere leaves no inconsistent state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request and its response, from the arrival of the header to the end of the body.
pub(super) struct Exchange {
    activity: Activity,
    ours: bool,
}

impl Exchange {
    /// Records progress, and whether the request now waits for the server (`ours`) or for the client.
    fn moved(&mut self, ours: bool) {
        let mut state = self.activity.state();
        state.ours = state.ours + usize::from(ours) - usize::from(self.ours);
        state.moved = Instant::now();
        self.ours = ours;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.moved(false);
        self.activity.state().in_flight -= 1;
    }
}

/// A response body that records its progress.
pub(super) struct Watched<B> {
    // Boxed, because pin projection by hand would need unsafe code.
    body: Pin<Box<B>>,
    exchange: Exchange,
}

impl<B> Watched<B> {
    pub(super) fn new(body: B, exchange: Exchange) -> Self {
        Self { body: Box::pin(body), exchange }
    }
}

impl<B: Body> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        // HTTP/2 polls only when the client's window has room, HTTP/1 only when the socket has: until the next poll,
        // the connection waits for the client.
        let polled = self.body.as_mut().poll_frame(context);
        self.exchange.moved(polled.is_pending());
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

    const PATIENCE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn a_connection_without_requests_is_asked_to_leave_and_then_dropped() {
        let activity = Activity::new();
        assert_eq!(activity.verdict(PATIENCE), Verdict::Keep);
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Close);
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Cut);
        drop(activity.begin());
        assert_eq!(activity.verdict(PATIENCE), Verdict::Keep);
    }

    #[tokio::test]
    async fn our_own_slowness_is_never_held_against_the_client() {
        let activity = Activity::new();
        let mut exchange = activity.begin();
        tokio::time::sleep(PATIENCE * 3).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Keep);
        exchange.moved(false);
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Cut);
        let other = activity.begin();
        assert_eq!(activity.verdict(PATIENCE), Verdict::Keep);
        drop((exchange, other));
        tokio::time::sleep(PATIENCE).await;
        assert_eq!(activity.verdict(PATIENCE), Verdict::Close);
    }
}
