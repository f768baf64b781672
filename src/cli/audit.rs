//! Appends the changes that commands make to the audit trail.
//!
//! Invariant: an event is recorded after its change was made. If recording fails, the change stays, and a warning goes
//! to standard error.

use std::io::{self, Write as _};

use crate::{
    audit::AuditEvent,
    clock::Clock,
    telemetry::{self, AuditDestination},
};

/// Appends the event of a change to the audit trail. `by` is the account that made the change.
pub(super) fn record<'a>(
    target: &AuditDestination,
    by: &'a str,
    clock: &Clock,
    event: impl FnOnce(&'a str) -> AuditEvent<'a>,
) {
    if let Err(error) = telemetry::record_command_event(target, &event(by), clock.clone()) {
        let _ = writeln!(io::stderr(), "warning: done, but the audit trail cannot be written: {error}");
    }
}

/// The account that runs this command, as `uid N`. Under sudo that is root; the log of sudo has the original user.
pub(super) fn operator_account() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}
