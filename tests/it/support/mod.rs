//! Supports the tests with running servers, client programs, and images made without a network.
//!
//! Invariant: everything that is started or changed outside of a temporary directory is ended or restored by `Drop`,
//! so that a failing test leaves the machine as it was.

pub(crate) mod client_response;
pub(crate) mod daemon;
pub(crate) mod free_port;
pub(crate) mod nginx;
pub(crate) mod oci_layout;
pub(crate) mod oidc_provider;
pub(crate) mod pebble;
pub(crate) mod portcullis_server;
pub(crate) mod registry_client;
pub(crate) mod registry_test_name;
pub(crate) mod seeded_random;
pub(crate) mod server_dir;
pub(crate) mod tar;
pub(crate) mod test_ca;
pub(crate) mod tool_command;
pub(crate) mod wire_connection;

pub(crate) use portcullis_server::{PortcullisServer, PortcullisSetup};
pub(crate) use server_dir::{RunningServer, ServerDir};
pub(crate) use tool_command::ToolCommand;

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
