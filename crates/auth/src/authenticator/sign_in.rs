//! Signs users in: by a password, an access token, the token of a CI job or a client certificate.

use std::{net::IpAddr, time::SystemTime};

use super::{AuthenticatedSubject, Authenticator, rejection::reject_stored_token};
use crate::{
    error::AuthenticationError,
    password_verifier::{PasswordError, VerifiedUser},
    passwords::password::Password,
    tokens::bearer::TokenOrigin,
    tokens::{StoredTokenId, StoredTokenRejection, TokenSecret, VerifiedStoredToken},
    users::CredentialVersion,
    workload::{InvalidWorkloadToken, WorkloadLogin, WorkloadRejection},
};
use portcullis_access::audit::{self, AuditEvent, AuthMethod};
use portcullis_access::{Principal, Restriction, Subject, UserName};
use portcullis_tls::{CertifiedUser, ClientChain};

impl Authenticator {
    /// Signs a user in by the client certificate of the connection; `None` if there is none or it is not valid.
    ///
    /// A certificate cannot be guessed, so lockouts do not apply and failures are not counted. The user need not be in
    /// the users file: the certificate authority vouches for the name.
    pub(super) fn sign_in_with_certificate(
        &self,
        certificate: Option<&ClientChain>,
        now: SystemTime,
    ) -> Option<AuthenticatedSubject> {
        let CertifiedUser { name, proof, fingerprint } = self.clients.verify(certificate?, now)?;
        let user = match name.parse::<UserName>() {
            Ok(user) => user,
            Err(error) => {
                tracing::debug!(?name, %error, "client certificate ignored: its name is not a valid user name");
                return None;
            }
        };
        let (method, credential) = (AuthMethod::ClientCertificate, fingerprint.to_string());
        audit::record(&AuditEvent::SignedIn { user: &user, method, credential: Some(&credential) });
        let subject = Subject { principal: Principal::User(user), restriction: Restriction::unrestricted() };
        Some(AuthenticatedSubject {
            subject,
            origin: Some(TokenOrigin::Certificate(proof)),
            signer: self.tokens.signer(),
        })
    }

    /// Signs a user in with HTTP Basic credentials: the password is an access token, the token of a CI job, or the
    /// user's own password.
    pub(super) async fn sign_in(
        &self,
        user: &str,
        password: &Password,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<AuthenticatedSubject, AuthenticationError> {
        if let Some(token) = TokenSecret::parse(password.expose()) {
            return self.sign_in_with_access_token(user, &token, from, now).await;
        }
        if let Some(shown) = self.workloads.authenticate(user, password, now, self.clock.instant()).await {
            return match shown {
                Ok(admitted) => Ok(self.sign_in_workload(admitted)),
                Err(rejection) => Err(self.reject_workload(user, from, rejection)),
            };
        }
        let verified = self.check_password(user, password, from).await?;
        let signer = self.tokens.signer();
        let origin = TokenOrigin::Password(verified.credential(signer.binding_key()));
        let subject =
            Subject { principal: Principal::User(verified.user().clone()), restriction: Restriction::unrestricted() };
        Ok(AuthenticatedSubject { subject, origin: Some(origin), signer })
    }

    /// Signs a user in with an access token in place of the password. The token is looked up by its own id and not by
    /// the user name, so that the response time does not reveal which users exist.
    async fn sign_in_with_access_token(
        &self,
        user: &str,
        token: &TokenSecret,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<AuthenticatedSubject, AuthenticationError> {
        self.check_lockout(user, from)?;
        let StoredTokenId::Access(_) = token.id() else { return Err(self.reject_password(user, from)) };
        match self.verify_stored_token(token, now).await {
            // This does not clear the user's failures: an owner of an access token may still guess the password.
            Ok(verified) if verified.token.user.as_str() == user => Ok(self.sign_in_with_stored_token(&verified)),
            Ok(_) | Err(StoredTokenRejection::Unknown) => Err(self.reject_password(user, from)),
            Err(rejection) => Err(reject_stored_token(user, rejection)),
        }
    }

    /// Signs a CI job in with its verified token. A signature cannot be guessed, so a valid token is accepted even
    /// while the subnet, which many CI jobs share, is locked out; it does not clear the user's failures.
    fn sign_in_workload(&self, admitted: WorkloadLogin) -> AuthenticatedSubject {
        let WorkloadLogin { user, job, rule, limits } = admitted;
        audit::record(&AuditEvent::SignedIn { user: &user, method: AuthMethod::Workload, credential: Some(&job) });
        let subject =
            Subject { principal: Principal::User(user), restriction: Restriction::unrestricted().with_limits(limits) };
        AuthenticatedSubject { subject, origin: Some(TokenOrigin::Workload(rule)), signer: self.tokens.signer() }
    }

    fn reject_workload(&self, user: &str, from: IpAddr, rejection: WorkloadRejection) -> AuthenticationError {
        match rejection {
            WorkloadRejection::Invalid(reason) => self.reject_workload_token(user, from, &reason),
            WorkloadRejection::Unreachable { retry_after, .. } => {
                audit::record(&AuditEvent::SignInRefused {
                    user,
                    reason: "the keys of the token's issuer are not known",
                });
                AuthenticationError::IssuerUnreachable { retry_after }
            }
        }
    }

    fn reject_workload_token(&self, user: &str, from: IpAddr, reason: &InvalidWorkloadToken) -> AuthenticationError {
        if let Err(locked) = self.check_lockout(user, from) {
            return locked;
        }
        tracing::info!(peer = %from, user = ?user, %reason, "the token of a CI job was rejected");
        self.count_failure(user, from, &format!("the token of a CI job: {reason}"))
    }

    pub(super) async fn verify_stored_token(
        &self,
        token: &TokenSecret,
        now: SystemTime,
    ) -> Result<VerifiedStoredToken, StoredTokenRejection> {
        self.stored_tokens.verify(token, now, |user| self.passwords.usable_hash(user)).await
    }

    pub(super) fn sign_in_with_stored_token(&self, verified: &VerifiedStoredToken) -> AuthenticatedSubject {
        let VerifiedStoredToken { token, hash, limits } = verified;
        let method = match token.id {
            StoredTokenId::Access(_) => AuthMethod::AccessToken,
            StoredTokenId::Refresh { .. } => AuthMethod::RefreshToken,
        };
        audit::record(&AuditEvent::SignedIn { user: &token.user, method, credential: Some(&token.display_name()) });
        let signer = self.tokens.signer();
        let credential = CredentialVersion::new(hash, signer.binding_key());
        let reach = Restriction::unrestricted().with_limits(limits.clone());
        let subject = Subject { principal: Principal::User(token.user.clone()), restriction: reach };
        AuthenticatedSubject { subject, origin: Some(TokenOrigin::StoredToken { id: token.id, credential }), signer }
    }

    async fn check_password(
        &self,
        user: &str,
        password: &Password,
        from: IpAddr,
    ) -> Result<VerifiedUser, AuthenticationError> {
        self.check_lockout(user, from)?;
        match self.passwords.verify(user, password, from).await {
            Ok(verified) => {
                self.lockout.record_success(user, from);
                let (user, method) = (verified.user(), AuthMethod::Password);
                audit::record(&AuditEvent::SignedIn { user, method, credential: None });
                Ok(verified)
            }
            Err(PasswordError::WrongCredentials) => Err(self.reject_password(user, from)),
            Err(PasswordError::Busy { retry_after }) => {
                audit::record(&AuditEvent::SignInRefused { user, reason: "too many sign-ins at once" });
                Err(AuthenticationError::Busy { retry_after })
            }
        }
    }
}
