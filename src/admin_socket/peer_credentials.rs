//! Checks the account at the other end of a connection (`SO_PEERCRED`).

use crate::audit::{self, AuditEvent};

/// The user and process at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerCredentials {
    pub(super) uid: u32,
    pub(super) pid: Option<i32>,
}

impl PeerCredentials {
    /// The account as the author of a change in the audit log.
    pub(super) fn account(self) -> String {
        format!("uid {}", self.uid)
    }
}

/// The account at the other end of a connection may not make requests.
#[derive(Debug, thiserror::Error)]
#[error("uid {uid} may not make requests: run the command as uid {own}, the server's, or as root")]
pub(super) struct PeerRefused {
    uid: u32,
    own: u32,
}

/// Accepts the account of the server and root. Every other account is refused, with a record in the audit log.
pub(super) fn check_peer(peer: PeerCredentials, own: u32) -> Result<(), PeerRefused> {
    let PeerCredentials { uid, pid } = peer;
    if uid == own || uid == 0 {
        return Ok(());
    }
    tracing::warn!(uid, pid, "connection to the admin socket refused: the account is neither the server's nor root");
    audit::record(&AuditEvent::AdminConnectionRefused { uid, pid });
    Err(PeerRefused { uid, own })
}
