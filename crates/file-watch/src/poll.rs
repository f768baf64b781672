//! Runs a poll at an interval, and at once on request, on a blocking thread: access to files may be slow.

use std::{fmt::Display, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

/// Calls `poll` with `state` without end: at once and then every `period` with `None`, and for each of the `requests`
/// when it arrives. A panic of `poll` is logged, and the next poll finds the state as the panic left it.
pub async fn poll_with_requests<S, R>(
    period: Duration,
    mut requests: mpsc::Receiver<R>,
    state: S,
    poll: impl Fn(&mut S, Option<R>) + Clone + Send + 'static,
) where
    S: Send + 'static,
    R: Send + 'static,
{
    let state = Arc::new(Mutex::new(state));
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let request = tokio::select! {
            Some(request) = requests.recv() => Some(request),
            _ = ticks.tick() => None,
        };
        let (state, poll) = (state.clone(), poll.clone());
        let polled = tokio::task::spawn_blocking(move || poll(&mut state.lock(), request));
        // A poll is cancelled only while the runtime shuts down.
        if let Err(error) = polled.await
            && error.is_panic()
        {
            tracing::error!(panic = %error, "a change of files was not read completely; restart to apply changes");
        }
    }
}

/// Calls `poll` every `period` without end, and passes its results to `report`. An error that is the same as the one
/// before is not reported again.
pub async fn poll_quietly<T, E: Display>(
    period: Duration,
    poll: impl Fn() -> Result<T, E> + Clone + Send + 'static,
    report: impl Fn(Result<T, E>) + Clone + Send + 'static,
) {
    // No requests arrive: the sender is dropped here.
    let (_, requests) = mpsc::channel::<()>(1);
    let last_error: Option<String> = None;
    poll_with_requests(period, requests, last_error, move |last_error, _| {
        let polled = poll();
        let error = polled.as_ref().err().map(ToString::to_string);
        if error.is_none() || error != *last_error {
            report(polled);
        }
        *last_error = error;
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::sync::{Notify, oneshot};

    use super::*;

    #[tokio::test]
    async fn an_error_is_reported_once_until_the_file_can_be_read_again() {
        let results: VecDeque<Result<u8, &str>> = [Err("a"), Err("a"), Err("b"), Ok(1), Err("b"), Ok(2), Ok(2)].into();
        let (results, reported) = (Arc::new(Mutex::new(results)), Arc::new(Mutex::new(Vec::new())));
        let done = Arc::new(Notify::new());
        let next = move || results.lock().pop_front().unwrap_or(Ok(3));
        let (reports, end) = (reported.clone(), done.clone());
        let report = move |polled: Result<u8, &'static str>| {
            if polled == Ok(3) {
                end.notify_one();
            } else {
                reports.lock().push(polled);
            }
        };
        tokio::select! {
            () = poll_quietly(Duration::from_millis(1), next, report) => {}
            () = done.notified() => {}
        }
        assert_eq!(*reported.lock(), [Err("a"), Err("b"), Ok(1), Err("b"), Ok(2), Ok(2)]);
    }

    #[tokio::test]
    async fn a_request_is_done_before_the_next_tick_and_after_a_panic() {
        let (sender, requests) = mpsc::channel::<oneshot::Sender<usize>>(1);
        // The first poll is at once, the next one not before the end of this test.
        let polling = poll_with_requests(Duration::from_secs(3600), requests, 0, |polls, request| {
            *polls += 1;
            match request {
                None => panic!("the first poll fails"),
                Some(request) => request.send(*polls).unwrap(),
            }
        });
        let asking = async {
            let (request, answer) = oneshot::channel();
            sender.send(request).await.unwrap();
            answer.await.unwrap()
        };
        tokio::select! {
            () = polling => {}
            polls = asking => assert!(polls <= 2, "{polls}"),
        }
    }
}
