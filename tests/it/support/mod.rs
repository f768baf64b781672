//! Supports the tests with running servers, client programs, and images made without a network.
//!
//! Invariant: everything that is started or changed outside of a temporary directory is ended or restored by `Drop`,
//! so that a failing test leaves the machine as it was.

pub(crate) mod answer;
pub(crate) mod authority;
pub(crate) mod chance;
pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod image;
pub(crate) mod name;
pub(crate) mod nginx;
pub(crate) mod openid;
pub(crate) mod pebble;
pub(crate) mod port;
pub(crate) mod portcullis;
pub(crate) mod stage;
pub(crate) mod tar;
pub(crate) mod tool;
pub(crate) mod wire;

pub(crate) use portcullis::{Portcullis, Setup};
pub(crate) use stage::{Running, Stage};
pub(crate) use tool::Tool;

use std::thread::sleep;
use std::time::{Duration, Instant};

/// Calls `ready` every 50 ms until it is true; `false` if it is not within `patience`.
pub(crate) fn eventually(patience: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if ready() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(50));
    }
}
