//! Polls files and detects their changes.
//!
//! Polling works everywhere: inotify events do not arrive over NFS or from the host of a bind mount, and concern the
//! wrong file where Kubernetes swaps a symbolic link two directories up.
//!
//! A [`FileFingerprint`] identifies one state of a file. What a reader does with a new one depends on how it reads:
//!
//! - A reader of several files, or of one that is valid when half of it is missing, waits for a [`SettledChange`]: two
//!   polls find the same fingerprints.
//! - A reader that compares the content with what it read before reads at once, and again while
//!   [`FileFingerprint::is_recent`], because a second write may leave the fingerprint as it is.
//!
//! Both run in one loop, [`poll_with_requests`], or in [`poll_quietly`], which reports an error once.

mod fingerprint;
mod poll;
mod settled;

pub use fingerprint::{FileFingerprint, MAX_TIME_RESOLUTION};
pub use poll::{poll_quietly, poll_with_requests};
pub use settled::SettledChange;
