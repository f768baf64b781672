//! Supports the tests with running servers, client programs, and images made without a network.
//!
//! Invariant: everything that is started or changed outside of a temporary directory is ended or restored by `Drop`,
//! so that a failing test leaves the machine as it was.

pub(crate) mod client_response;
pub(crate) mod daemon;
pub(crate) mod free_port;
pub(crate) mod nginx;
pub(crate) mod object_store_server;
pub(crate) mod oci_layout;
pub(crate) mod oidc_provider;
pub(crate) mod pebble;
pub(crate) mod portcullis_server;
pub(crate) mod registry_client;
pub(crate) mod registry_test_name;
pub(crate) mod running_command;
pub(crate) mod seeded_random;
pub(crate) mod server_dir;
pub(crate) mod tar;
pub(crate) mod test_ca;
pub(crate) mod tool_command;
pub(crate) mod wire_connection;

pub(crate) use portcullis_server::PortcullisServer;
pub(crate) use server_dir::ServerDir;
pub(crate) use tool_command::ToolCommand;

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// How long a test waits for an event: so long that only a broken program misses it, on any machine. The slowest
/// events are a start, which generates keys and syncs the file system after a kill, and the health of a container,
/// which its engine checks now and then.
const EVENT_DEADLINE: Duration = Duration::from_secs(90);

/// Calls `ready` every 50 ms until it is true; `false` if it is not within [`EVENT_DEADLINE`].
pub(crate) fn eventually(ready: impl FnMut() -> bool) -> bool {
    is_true_within(EVENT_DEADLINE, ready)
}

/// The same with another deadline, for programs that work for minutes: a compiler, a scanner.
fn is_true_within(deadline: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + deadline;
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

/// Makes everything below a folder look as if nothing had touched it for two days: it is older than any grace period.
pub(crate) fn make_old(folder: &Path) {
    let old = SystemTime::now() - Duration::from_secs(2 * 86_400);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            make_old(&path);
        } else if path.is_file() {
            // Not the socket of a running server, which cannot be opened.
            fs::File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        }
    }
}
