//! Kills the server with SIGKILL at a request that was chosen by its number.
//!
//! The moment depends on progress and not on the clock, so that a kill falls into the same amount of work on a fast and
//! on a slow machine. The chosen request is in flight, and those of the other clients are at any of their steps.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::support::daemon::Daemon;

pub(super) struct KillSwitch<'a> {
    server: &'a Daemon,
    requests_left: AtomicUsize,
    has_killed: AtomicBool,
}

impl<'a> KillSwitch<'a> {
    /// Kills `server` at this request, counted from one.
    pub(super) fn new(server: &'a Daemon, request: usize) -> Self {
        Self { server, requests_left: AtomicUsize::new(request), has_killed: AtomicBool::new(false) }
    }

    /// Counts a request that was sent, and kills the server if it is the chosen one.
    pub(super) fn request_was_sent(&self) {
        let left = self.requests_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left == Ok(1) {
            // Before the kill: a client that sees its connection break looks here for the reason.
            self.has_killed.store(true, Ordering::SeqCst);
            self.server.signal(Signal::KILL);
        }
    }

    /// Whether the server was killed, or is being killed.
    pub(super) fn has_killed(&self) -> bool {
        self.has_killed.load(Ordering::SeqCst)
    }
}
