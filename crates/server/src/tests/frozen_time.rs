//! Pauses tokio's time in tests with sockets, so that it moves only when the test moves it.

use std::{pin::pin, sync::mpsc, thread};

use tokio::{
    task::spawn_blocking,
    time::{self, Duration, Instant},
};

/// The paused time of a test's runtime.
///
/// Tokio advances a paused clock by itself as soon as no task can run. With sockets that is too early: bytes may be on
/// their way through the kernel. It does not do so while a blocking task runs, so one waits for the end of the test.
pub(super) struct FrozenTime {
    _end: mpsc::Sender<()>,
}

impl FrozenTime {
    pub(super) fn start() -> Self {
        time::pause();
        let (end, ended) = mpsc::channel::<()>();
        spawn_blocking(move || ended.recv());
        Self { _end: end }
    }

    /// Moves the time forward at once; all timers within `by` expire.
    pub(super) async fn advance(&self, by: Duration) {
        time::advance(by).await;
    }

    /// Moves the time forward in steps until `event` happens; returns its result, and by how much the time was moved.
    pub(super) async fn advance_until<T>(&self, step: Duration, event: impl Future<Output = T>) -> (T, Duration) {
        let (mut event, started) = (pin!(event), Instant::now());
        loop {
            tokio::select! {
                biased;
                result = event.as_mut() => return (result, started.elapsed()),
                () = std::future::ready(()) => self.advance(step).await,
            }
            // Without a pause in real time, the steps would be over before the kernel has delivered anything.
            spawn_blocking(|| thread::sleep(Duration::from_millis(1))).await.unwrap();
        }
    }
}
