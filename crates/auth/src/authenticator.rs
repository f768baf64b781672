//! Maps the credentials of a request to a [`Subject`]: the one place that accepts or rejects them.
//!
//! Invariant: a [`Subject`] other than the anonymous one comes from a password, token or certificate that was verified
//! for this very request. A bearer token is valid only as long as the credential it was issued for: the user's present
//! password, the access token or refresh token, the rule that admitted the token of a CI job, or the authority of the
//! client certificate.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use crate::{
    SigningError,
    credentials::{BearerToken, Credentials},
    error::{AuthenticationError, InvalidStoredToken},
    lockout::Lockout,
    passwords::password::Password,
    passwords::password_verifier::{PasswordError, PasswordVerifier, VerifiedUser},
    signing_keys::SigningKey,
    tokens::bearer::{BearerTokenService, InvalidToken, IssuedToken, TokenOrigin, VerifiedToken},
    tokens::{ClientName, StoredTokenId, StoredTokenRejection, StoredTokenService, TokenSecret, VerifiedStoredToken},
    users::{CredentialVersion, Users},
    workload::{self, InvalidWorkloadToken, WorkloadLogin, WorkloadRuleEnded, WorkloadRules},
};
use portcullis_access::audit::{self, AuditEvent, AuthMethod};
use portcullis_access::{CredentialLimits, Principal, Restriction, Scope, Subject, UserName};
use portcullis_clock::Clock;
use portcullis_tls::{CertifiedUser, ClientChain, ClientTrust};

/// The target of the log lines that fail2ban reads; documented, so it does not follow the names of crates and modules.
const LOG_TARGET: &str = "portcullis::auth";

/// Authenticates requests with passwords, tokens and client certificates, and issues bearer tokens.
pub struct Authenticator {
    users: Arc<Users>,
    passwords: PasswordVerifier,
    lockout: Lockout,
    tokens: BearerTokenService,
    stored_tokens: Arc<StoredTokenService>,
    workloads: Arc<WorkloadRules>,
    clients: Arc<ClientTrust>,
    clock: Clock,
}

/// The authenticated (or anonymous) subject that a bearer token can be issued to.
#[derive(Clone)]
pub struct AuthenticatedSubject {
    subject: Subject,
    /// The credential that the subject signed in with; `None` for the anonymous subject.
    origin: Option<TokenOrigin>,
    /// The key that the origin is bound to, and that signs the bearer token.
    signer: Arc<SigningKey>,
}

impl AuthenticatedSubject {
    fn anonymous(signer: Arc<SigningKey>) -> Self {
        Self { subject: Subject::anonymous(), origin: None, signer }
    }

    /// The principal, and the restrictions of the credential that it signed in with.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

impl Authenticator {
    /// Combines the verifiers into one authenticator.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "one caller, and each argument has a type of its own")]
    pub fn new(
        users: Arc<Users>,
        passwords: PasswordVerifier,
        lockout: Lockout,
        tokens: BearerTokenService,
        stored_tokens: Arc<StoredTokenService>,
        workloads: Arc<WorkloadRules>,
        clients: Arc<ClientTrust>,
        clock: Clock,
    ) -> Self {
        Self { users, passwords, lockout, tokens, stored_tokens, workloads, clients, clock }
    }

    /// The name of the service that bearer tokens are issued for (`service` and `aud`).
    #[must_use]
    pub fn service(&self) -> &str {
        self.tokens.service()
    }

    /// The public keys that verify our bearer tokens at `now`, as a JSON Web Key Set.
    #[must_use]
    pub fn key_set(&self, now: SystemTime) -> serde_json::Value {
        self.tokens.key_set(now)
    }

    /// Authenticates a request. Its credentials take precedence over the client certificate of its connection; without
    /// either, the subject is anonymous.
    ///
    /// # Errors
    ///
    /// Fails if credentials were sent and are not accepted. A certificate that signs no user in is ignored.
    pub async fn authenticate(
        &self,
        credentials: Option<Credentials>,
        certificate: Option<&ClientChain>,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<Subject, AuthenticationError> {
        match credentials {
            None => Ok(self
                .sign_in_with_certificate(certificate, now)
                .map_or_else(Subject::anonymous, |holder| holder.subject)),
            Some(Credentials::Basic { user, password }) => Ok(self.sign_in(&user, &password, from, now).await?.subject),
            Some(Credentials::Bearer(token)) => self.bearer_subject(self.tokens.verify(&token, now)?, now).await,
        }
    }

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

    async fn bearer_subject(&self, token: VerifiedToken, now: SystemTime) -> Result<Subject, AuthenticationError> {
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

    /// Authenticates a request for a bearer token, by a password, an access token, the token of a CI job or a client
    /// certificate; without any, the subject is anonymous. Bearer tokens are rejected: a client that could exchange one
    /// for the next would stay signed in without end.
    pub async fn authenticate_for_token(
        &self,
        credentials: Option<Credentials>,
        certificate: Option<&ClientChain>,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<AuthenticatedSubject, AuthenticationError> {
        match credentials {
            None => {
                let holder = self.sign_in_with_certificate(certificate, now);
                Ok(holder.unwrap_or_else(|| AuthenticatedSubject::anonymous(self.tokens.signer())))
            }
            Some(Credentials::Basic { user, password }) => self.sign_in(&user, &password, from, now).await,
            Some(Credentials::Bearer(_)) => Err(AuthenticationError::WrongPassword),
        }
    }

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

    /// Issues a bearer token for `scopes` to the subject.
    pub fn issue_bearer_token(
        &self,
        holder: &AuthenticatedSubject,
        scopes: &[Scope],
        now: SystemTime,
    ) -> Result<IssuedToken, SigningError> {
        self.tokens.issue(&holder.signer, &holder.subject.principal, holder.origin.as_ref(), scopes, now)
    }

    /// Signs a user in by the client certificate of the connection; `None` if there is none or it is not valid.
    ///
    /// A certificate cannot be guessed, so lockouts do not apply and failures are not counted. The user need not be in
    /// the users file: the certificate authority vouches for the name.
    fn sign_in_with_certificate(
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
    async fn sign_in(
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

    fn reject_workload(&self, user: &str, from: IpAddr, rejection: workload::WorkloadRejection) -> AuthenticationError {
        match rejection {
            workload::WorkloadRejection::Invalid(reason) => self.reject_workload_token(user, from, &reason),
            workload::WorkloadRejection::Unreachable { retry_after, .. } => {
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

    async fn verify_stored_token(
        &self,
        token: &TokenSecret,
        now: SystemTime,
    ) -> Result<VerifiedStoredToken, StoredTokenRejection> {
        self.stored_tokens.verify(token, now, |user| self.passwords.usable_hash(user)).await
    }

    fn sign_in_with_stored_token(&self, verified: &VerifiedStoredToken) -> AuthenticatedSubject {
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

    fn check_lockout(&self, user: &str, from: IpAddr) -> Result<(), AuthenticationError> {
        self.lockout.check(user, from, self.clock.instant()).map_err(|locked| {
            audit::record(&AuditEvent::SignInRefused { user, reason: "too many wrong passwords" });
            locked.into()
        })
    }

    fn reject_password(&self, user: &str, from: IpAddr) -> AuthenticationError {
        self.count_failure(user, from, "wrong user name or password")
    }

    fn count_failure(&self, user: &str, from: IpAddr, reason: &str) -> AuthenticationError {
        self.lockout.record_failure(user, from, self.clock.instant());
        // fail2ban parses this line, so its format is fixed. `{:?}` escapes line breaks in the user name.
        tracing::warn!(target: LOG_TARGET, peer = %from, user = ?audit::excerpt(user), "sign-in refused");
        audit::record(&AuditEvent::SignInRefused { user, reason });
        AuthenticationError::WrongPassword
    }
}

/// Rejects a token that was valid once, or that the store could not look up. This is no guess and is not counted by the
/// lockout.
fn reject_stored_token(user: &str, rejection: StoredTokenRejection) -> AuthenticationError {
    audit::record(&AuditEvent::SignInRefused { user, reason: &rejection.to_string() });
    rejection.into()
}

/// The user name that the log shows for a sign-in with a refresh token. Followed by a colon, which no user name
/// contains, and the device id, it is also the user by which the lockout counts.
const REFRESH_TOKEN_USER: &str = "<token>";
