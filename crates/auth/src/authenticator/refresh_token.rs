//! Issues refresh tokens to devices, and authenticates requests with them.

use std::{net::IpAddr, time::SystemTime};

use super::{
    AuthenticatedSubject, Authenticator,
    rejection::{LOG_TARGET, reject_stored_token},
};
use crate::{
    error::{AuthenticationError, InvalidStoredToken},
    passwords::password::Password,
    tokens::bearer::TokenOrigin,
    tokens::{ClientName, StoredTokenId, StoredTokenRejection, TokenSecret},
    users::CredentialVersion,
};
use portcullis_access::Principal;
use portcullis_access::audit::{self, AuditEvent};

/// The user name that the log shows for a sign-in with a refresh token. Followed by a colon, which no user name
/// contains, and the device id, it is also the user by which the lockout counts.
const REFRESH_TOKEN_USER: &str = "<token>";

impl Authenticator {
    /// Authenticates a request for a bearer token by its refresh token.
    pub async fn authenticate_refresh_token(
        &self,
        presented: &Password,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<AuthenticatedSubject, AuthenticationError> {
        let token = TokenSecret::parse(presented.expose()).ok_or(InvalidStoredToken::Unknown)?;
        let StoredTokenId::Refresh { .. } = token.id() else { return Err(InvalidStoredToken::Unknown.into()) };
        // The request names no user, so failures are counted by the device id.
        let place = format!("{REFRESH_TOKEN_USER}:{}", token.id());
        self.check_lockout(&place, from)?;
        match self.verify_stored_token(&token, now).await {
            Ok(verified) => Ok(self.sign_in_with_stored_token(&verified)),
            Err(StoredTokenRejection::Unknown) => {
                self.lockout.record_failure(&place, from, self.clock.instant());
                tracing::warn!(target: LOG_TARGET, peer = %from, user = ?REFRESH_TOKEN_USER, device = %token.id(), "sign-in refused");
                audit::record(&AuditEvent::SignInRefused { user: &place, reason: "no such refresh token" });
                Err(InvalidStoredToken::Unknown.into())
            }
            Err(rejection) => Err(reject_stored_token(&place, rejection)),
        }
    }

    /// Issues a refresh token to a client that signed in with a password. `None` for every other credential, and where
    /// the token cannot be stored: the client then keeps the credential, as it does with registries that have no
    /// refresh tokens.
    ///
    /// An access token replaces a password already: it is limited, revocable and of use nowhere else. Refresh tokens
    /// for it would make a record for each job that signs in, and a bound on their number would sign jobs out that are
    /// still running.
    pub async fn issue_refresh_token(
        &self,
        holder: &AuthenticatedSubject,
        client: &str,
        now: SystemTime,
    ) -> Option<Password> {
        let (Principal::User(user), Some(origin)) = (&holder.subject.principal, &holder.origin) else { return None };
        let credential = match origin {
            TokenOrigin::Password(credential) => credential,
            // A CI job gets a new token for its next run, and a client can present its certificate again.
            TokenOrigin::StoredToken { .. } | TokenOrigin::Workload(_) | TokenOrigin::Certificate(_) => return None,
        };
        let hash = self.passwords.usable_hash(user)?;
        if CredentialVersion::new(&hash, holder.signer.binding_key()) != *credential {
            return None;
        }
        match self.stored_tokens.create_refresh_token(user, &hash, ClientName::new(client), now).await {
            Ok(token) => {
                tracing::info!(%user, device = %token.id(), client, "a device signed in");
                Some(token.expose())
            }
            Err(error) => {
                tracing::warn!(%error, %user, "no refresh token: it cannot be stored");
                None
            }
        }
    }
}
