//! Authenticates requests with bearer tokens.
//!
//! Invariant: a bearer token is accepted only while the credential is valid that it was issued for.

use std::time::SystemTime;

use super::Authenticator;
use crate::{
    credentials::BearerToken,
    error::AuthenticationError,
    signing_keys::SigningKey,
    tokens::StoredTokenRejection,
    tokens::bearer::{InvalidToken, TokenOrigin, VerifiedToken},
    users::CredentialVersion,
    workload::WorkloadRuleEnded,
};
use portcullis_access::{CredentialLimits, Principal, Restriction, Subject, UserName};

impl Authenticator {
    /// Authenticates a request by a bearer token that expired within the grace period for uploads, and returns when the
    /// token expired. The credential that the token was issued for must still be valid.
    ///
    /// The caller must accept the subject only for an upload that was begun before the token expired.
    pub async fn authenticate_expired(
        &self,
        token: &BearerToken,
        now: SystemTime,
    ) -> Result<(Subject, SystemTime), AuthenticationError> {
        let grace = self.tokens.upload_grace().ok_or(InvalidToken::Expired)?;
        let token = self.tokens.verify_with_grace(token, now, grace)?;
        let expired = token.expires;
        Ok((self.bearer_subject(token, now).await?, expired))
    }

    pub(super) async fn bearer_subject(
        &self,
        token: VerifiedToken,
        now: SystemTime,
    ) -> Result<Subject, AuthenticationError> {
        let limits = match (&token.principal, &token.origin) {
            (Principal::Anonymous, None) => None,
            (Principal::User(name), Some(origin)) => self.check_origin(name, origin, &token.signer, now).await?,
            (Principal::Anonymous, Some(_)) | (Principal::User(_), None) => {
                return Err(InvalidToken::Unverifiable.into());
            }
        };
        Ok(Subject {
            principal: token.principal,
            restriction: Restriction::from_scopes(token.scopes).with_limits(limits),
        })
    }

    /// Checks that the credential a bearer token was issued for is still valid, and returns its restrictions.
    ///
    /// # Errors
    ///
    /// Fails if the credential was revoked, changed or has expired, or if the token store cannot be read.
    async fn check_origin(
        &self,
        user: &UserName,
        origin: &TokenOrigin,
        signer: &SigningKey,
        now: SystemTime,
    ) -> Result<Option<CredentialLimits>, AuthenticationError> {
        match origin {
            TokenOrigin::Password(version) => self.check_credential_version(user, version, signer).map(|()| None),
            TokenOrigin::Workload(rule) => self
                .workloads
                .check_rule_exists(user, rule)
                .map_err(|WorkloadRuleEnded| InvalidToken::CredentialChanged.into()),
            TokenOrigin::Certificate(proof) if self.clients.is_proof_valid(proof, now) => Ok(None),
            TokenOrigin::Certificate(_) => Err(InvalidToken::Revoked.into()),
            TokenOrigin::StoredToken { id, credential } => {
                self.check_credential_version(user, credential, signer)?;
                self.stored_tokens.check_valid(*id, user, now).await.map_err(|rejection| match rejection {
                    StoredTokenRejection::Unknown
                    | StoredTokenRejection::Expired
                    | StoredTokenRejection::CredentialChanged => InvalidToken::Revoked.into(),
                    StoredTokenRejection::Store(_) => rejection.into(),
                })
            }
        }
    }

    fn check_credential_version(
        &self,
        user: &UserName,
        version: &CredentialVersion,
        signer: &SigningKey,
    ) -> Result<(), AuthenticationError> {
        let current = self.users.credential_version(user, signer.binding_key());
        if current.as_ref() == Some(version) { Ok(()) } else { Err(InvalidToken::CredentialChanged.into()) }
    }
}
