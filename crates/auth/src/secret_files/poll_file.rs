//! Polls a file without end, and reports changes and new errors.
//!
//! Polling works everywhere: inotify events do not arrive over NFS or from the host of a bind mount, and concern the
//! wrong file where Kubernetes swaps a symbolic link two directories up.

use std::{fmt::Display, time::Duration};

/// Calls `poll` on a blocking thread at `interval` and passes its results to `report`. An error that is the same as
/// the one before is not reported again.
pub(crate) async fn poll_file<T, E>(
    interval: Duration,
    poll: impl Fn() -> Result<T, E> + Clone + Send + 'static,
    mut report: impl FnMut(Result<T, E>),
) where
    T: Send + 'static,
    E: Display + Send + 'static,
{
    let mut last_error: Option<String> = None;
    loop {
        tokio::time::sleep(interval).await;
        // Joining fails while the runtime shuts down.
        let Ok(polled) = tokio::task::spawn_blocking(poll.clone()).await else { continue };
        let error = polled.as_ref().err().map(ToString::to_string);
        if error.is_none() || error != last_error {
            report(polled);
        }
        last_error = error;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn an_error_is_reported_once_until_the_file_can_be_read_again() {
        let results: VecDeque<Result<u8, &str>> = [Err("a"), Err("a"), Err("b"), Ok(1), Err("b"), Ok(2), Ok(2)].into();
        let (results, reported) = (std::sync::Arc::new(Mutex::new(results)), Mutex::new(Vec::new()));
        let done = tokio::sync::Notify::new();
        let next = move || results.lock().pop_front().unwrap_or(Ok(3));
        let report = |polled: Result<u8, &'static str>| {
            if polled == Ok(3) {
                done.notify_one();
            } else {
                reported.lock().push(polled);
            }
        };
        tokio::select! {
            () = poll_file(Duration::from_millis(1), next, report) => {}
            () = done.notified() => {}
        }
        assert_eq!(*reported.lock(), [Err("a"), Err("b"), Ok(1), Err("b"), Ok(2), Ok(2)]);
    }
}
