//! Rejects sign-ins: counts guesses for the lockout, and reports each rejection to the log and the audit log.

use std::net::IpAddr;

use super::Authenticator;
use crate::{error::AuthenticationError, tokens::StoredTokenRejection};
use portcullis_access::audit::{self, AuditEvent};

/// The target of the log lines that fail2ban reads; documented, so it does not follow the names of crates and modules.
pub(super) const LOG_TARGET: &str = "portcullis::auth";

impl Authenticator {
    pub(super) fn check_lockout(&self, user: &str, from: IpAddr) -> Result<(), AuthenticationError> {
        self.lockout.check(user, from, self.clock.instant()).map_err(|locked| {
            audit::record(&AuditEvent::SignInRefused { user, reason: "too many wrong passwords" });
            locked.into()
        })
    }

    pub(super) fn reject_password(&self, user: &str, from: IpAddr) -> AuthenticationError {
        self.count_failure(user, from, "wrong user name or password")
    }

    pub(super) fn count_failure(&self, user: &str, from: IpAddr, reason: &str) -> AuthenticationError {
        self.lockout.record_failure(user, from, self.clock.instant());
        // fail2ban parses this line, so its format is fixed. `{:?}` escapes line breaks in the user name.
        tracing::warn!(target: LOG_TARGET, peer = %from, user = ?audit::excerpt(user), "sign-in refused");
        audit::record(&AuditEvent::SignInRefused { user, reason });
        AuthenticationError::WrongPassword
    }
}

/// Rejects a token that was valid once, or that the store could not look up. This is no guess and is not counted by the
/// lockout.
pub(super) fn reject_stored_token(user: &str, rejection: StoredTokenRejection) -> AuthenticationError {
    audit::record(&AuditEvent::SignInRefused { user, reason: &rejection.to_string() });
    rejection.into()
}
