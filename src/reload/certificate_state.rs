//! Remembers what the last poll of the certificate files found.

use std::time::Instant;

use crate::file_watch::{FileFingerprint, SettledChange};

/// The certificate files at the last poll, and the times of the last renewal check and warning.
pub(super) struct CertificateState {
    pub(super) files: SettledChange<Vec<Option<FileFingerprint>>>,
    pub(super) renewed: Instant,
    pub(super) warned: Option<Instant>,
}

impl CertificateState {
    /// The state after the certificates were read from `files` at the time `now`.
    pub(super) fn new(files: Vec<Option<FileFingerprint>>, now: Instant) -> Self {
        Self { files: SettledChange::new(files), renewed: now, warned: None }
    }
}
