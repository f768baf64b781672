//! Who keeps whom waiting on one connection: its requests in flight, and when one of them last moved.
//!
//! Invariant: a connection counts as quiet only while we ourselves have nothing to do for it; slow work of ours (hashing
//! an upload, asking storage) never looks like a stalled client.

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
    /// Of those in flight, how many wait for us: a handler at work, or a body that has no data yet.
    ours: usize,
    moved: Instant,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works, or has not been quiet for long.
    Keep,
    /// It has no request: ask the client to leave.
    Close,
    /// The client does not take its responses, or does not leave: drop it.
    Cut,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { in_flight: 0, ours: 0, moved: Instant::now() })))
    }

    /// A request has arrived; it waits for us.
    pub(super) fn begin(&self) -> Exchange {
        let mut state = self.state();
        state.in_flight += 1;
        state.ours += 1;
        state.moved = Instant::now();
        Exchange { activity: self.clone(), ours: true }
    }

    /// The verdict for a connection that may be quiet for this long (and twice as long, once it was asked to leave).
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
        // Every change below is complete in itself, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request and its response, from the header's arrival to the body's end.
pub(super) struct Exchange {
    activity: Activity,
    ours: bool,
}

impl Exchange {
    /// Something moved, or the turn to act passed to or from us.
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

/// A response body that tells of its progress.
pub(super) struct Watched<B> {
    // Boxed so that any body will do, without projection by hand (which would need unsafe code).
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
        // HTTP/2 asks only when the client's window has room, HTTP/1 when the socket has: until it asks again after this,
        // the client has the turn.
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
