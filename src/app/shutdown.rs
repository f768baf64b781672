//! Stops the server on a signal: the first lets running transfers finish, the second cuts them off.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::server::Shutdown;

/// The time limit for commits that are still running after the last connection is closed.
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The signals that the server handles.
pub(super) struct Signals {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Begins the shutdown at the first SIGTERM or SIGINT, and forces it at the second.
pub(super) async fn stop_on_signals(mut terminate: Signal, mut interrupt: Signal, shutdown: Shutdown) {
    let mut asked = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    asked().await;
    tracing::info!("stopping: no new requests, running transfers may finish");
    shutdown.begin();
    asked().await;
    tracing::info!("second signal: cutting off running transfers");
    shutdown.force();
}
