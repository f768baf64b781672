//! What commands tell the auditors.
//!
//! Process floor. Invariant: a change is told after it was made, and one that was made is not taken back because it cannot be
//! told: whoever ran the command hears of that.

use std::io::{self, Write as _};

use crate::{
    audit::Event,
    telemetry::{self, Target},
};

/// Tells of a change, with the account of this machine that made it.
pub(super) fn tell<'a>(target: &Target, by: &'a str, event: impl FnOnce(&'a str) -> Event<'a>) {
    if let Err(error) = telemetry::tell(target, &event(by)) {
        let _ = writeln!(io::stderr(), "warning: done, but the audit trail cannot be written: {error}");
    }
}

/// The account that runs this command; under sudo that is root, and the system's log says who that was.
pub(super) fn operator() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}
