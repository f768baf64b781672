//! The result of a request: its last event, and the token whose secret the event contains.
//!
//! Invariant: from the moment at which the record of a new token exists until its secret was sent, an
//! [`UndeliveredToken`] exists, so that a command that ends, a connection that fails and a server that stops all lead
//! to the revocation of the token.

use super::protocol::Event;

/// The last event of a request.
pub(super) struct RequestResult {
    pub(super) event: Event,
    /// The token whose secret the event contains.
    pub(super) token: Option<UndeliveredToken>,
}

impl From<Event> for RequestResult {
    fn from(event: Event) -> Self {
        Self { event, token: None }
    }
}

/// A new access token whose secret no command has yet. Dropping it begins the revocation of the token, unless it was
/// [`delivered`](Self::delivered).
pub(super) struct UndeliveredToken {
    /// `None`: delivered.
    begin_revocation: Option<Box<dyn FnOnce() + Send>>,
}

impl UndeliveredToken {
    /// `begin_revocation` runs wherever the token is dropped, so it must not block.
    pub(super) fn new(begin_revocation: impl FnOnce() + Send + 'static) -> Self {
        Self { begin_revocation: Some(Box::new(begin_revocation)) }
    }

    /// The secret was sent: the token stays.
    pub(super) fn delivered(mut self) {
        self.begin_revocation = None;
    }
}

impl Drop for UndeliveredToken {
    fn drop(&mut self) {
        if let Some(begin_revocation) = self.begin_revocation.take() {
            begin_revocation();
        }
    }
}
