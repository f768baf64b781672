//! Maps the credentials of a request to a [`Subject`]: the one place that accepts or rejects them.
//!
//! Invariant: a [`Subject`] other than the anonymous one comes from a password, token or certificate that was verified
//! for this very request. A bearer token is valid only as long as the credential it was issued for: the user's present
//! password, the access token or refresh token, the rule that admitted the token of a CI job, or the authority of the
//! client certificate.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{
    credentials::{BearerToken, Credentials},
    grants::{Believed, ClientName, GrantId, GrantToken, Grants, Refused},
    keys::SigningKey,
    lockout::Lockout,
    password::{PasswordChecker, Rejected, Verified},
    refusal::{AuthenticationError, BadGrant},
    secret::Password,
    token::{BadToken, CannotSign, IssuedToken, Origin, Tokens, VerifiedToken},
    users::{CredentialVersion, Users},
    workload::{self, Admitted, BadWorkload, Workloads},
};
use portcullis_access::audit::{self, Event, Method};
use portcullis_access::{Limits, Principal, Reach, Scope, Subject, UserName};
use portcullis_tls::{Certified, ClientChain, ClientTrust};

/// Authenticates requests with passwords, tokens and client certificates, and issues bearer tokens.
pub struct Authenticator {
    users: Arc<Users>,
    passwords: PasswordChecker,
    lockout: Lockout,
    tokens: Tokens,
    grants: Grants,
    workloads: Arc<Workloads>,
    clients: Arc<ClientTrust>,
}

/// The authenticated (or anonymous) subject that a bearer token can be issued to.
#[derive(Clone)]
pub struct Holder {
    subject: Subject,
    /// The credential that the subject signed in with; `None` for the anonymous subject.
    origin: Option<Origin>,
    /// The key that the origin is bound to, and that signs the bearer token.
    signer: Arc<SigningKey>,
}

impl Holder {
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
    pub fn new(
        users: Arc<Users>,
        passwords: PasswordChecker,
        lockout: Lockout,
        tokens: Tokens,
        grants: Grants,
        workloads: Arc<Workloads>,
        clients: Arc<ClientTrust>,
    ) -> Self {
        Self { users, passwords, lockout, tokens, grants, workloads, clients }
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
    pub async fn subject(
        &self,
        credentials: Option<Credentials>,
        certificate: Option<&ClientChain>,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<Subject, AuthenticationError> {
        match credentials {
            None => Ok(self.certified(certificate, now).map_or_else(Subject::anonymous, |holder| holder.subject)),
            Some(Credentials::Basic { user, password }) => Ok(self.sign_in(&user, &password, from, now).await?.subject),
            Some(Credentials::Bearer(token)) => self.bearer(self.tokens.verify(&token, now)?, now).await,
        }
    }

    /// Authenticates a request by a bearer token that expired within the grace period for uploads, and returns when the
    /// token expired. The credential that the token was issued for must still be valid.
    ///
    /// The caller must accept the subject only for an upload that was begun before the token expired.
    pub async fn late_subject(
        &self,
        token: &BearerToken,
        now: SystemTime,
    ) -> Result<(Subject, SystemTime), AuthenticationError> {
        let grace = self.tokens.upload_grace().ok_or(BadToken::Expired)?;
        let token = self.tokens.verify_late(token, now, grace)?;
        let expired = token.expires;
        Ok((self.bearer(token, now).await?, expired))
    }

    async fn bearer(&self, token: VerifiedToken, now: SystemTime) -> Result<Subject, AuthenticationError> {
        let limits = match (&token.principal, &token.origin) {
            (Principal::Anonymous, None) => None,
            (Principal::User(name), Some(origin)) => self.standing(name, origin, &token.signer, now).await?,
            (Principal::Anonymous, Some(_)) | (Principal::User(_), None) => return Err(BadToken::Forged.into()),
        };
        Ok(Subject { principal: token.principal, reach: Reach::scopes(token.scopes).within(limits) })
    }

    /// Authenticates a request for a bearer token, by a password, an access token, the token of a CI job or a client
    /// certificate; without any, the subject is anonymous. Bearer tokens are rejected: a client that could exchange one
    /// for the next would stay signed in without end.
    pub async fn holder(
        &self,
        credentials: Option<Credentials>,
        certificate: Option<&ClientChain>,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<Holder, AuthenticationError> {
        match credentials {
            None => {
                let holder = self.certified(certificate, now);
                Ok(holder.unwrap_or_else(|| Holder::anonymous(self.tokens.signer())))
            }
            Some(Credentials::Basic { user, password }) => self.sign_in(&user, &password, from, now).await,
            Some(Credentials::Bearer(_)) => Err(AuthenticationError::WrongPassword),
        }
    }

    /// Authenticates a request for a bearer token by its refresh token.
    pub async fn refresh(
        &self,
        shown: &Password,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<Holder, AuthenticationError> {
        let token = GrantToken::parse(shown.expose()).ok_or(BadGrant::Unknown)?;
        let GrantId::Device { .. } = token.id() else { return Err(BadGrant::Unknown.into()) };
        // The request names no user, so failures are counted by the device id.
        let place = format!("{REFRESHING}:{}", token.id());
        self.check_lockout(&place, from)?;
        match self.believe(&token, now).await {
            Ok(believed) => Ok(self.stands_in(&believed)),
            Err(Refused::Unknown) => {
                self.lockout.failed(&place, from, Instant::now());
                tracing::warn!(peer = %from, user = ?REFRESHING, device = %token.id(), "sign-in refused");
                audit::record(&Event::SignInRefused { user: &place, reason: "no such refresh token" });
                Err(BadGrant::Unknown.into())
            }
            Err(refused) => Err(refuse(&place, refused)),
        }
    }

    /// Issues a refresh token to a client that signed in with a password or an access token. `None` for every other
    /// credential, and where the token cannot be stored: the client then keeps the password, as it does with registries
    /// that have no refresh tokens.
    pub async fn refresh_token(&self, holder: &Holder, client: &str, now: SystemTime) -> Option<Password> {
        let (Principal::User(user), Some(origin)) = (&holder.subject.principal, &holder.origin) else { return None };
        let (parent, credential) = match origin {
            Origin::Password(credential) => (None, credential),
            Origin::Grant { id: id @ GrantId::Access(_), credential } => (Some(*id), credential),
            // A CI job gets a new token for its next run, and a client can present its certificate again.
            Origin::Grant { id: GrantId::Device { .. }, .. } | Origin::Workload(_) | Origin::Certificate(_) => {
                return None;
            }
        };
        let hash = self.passwords.hash_of(user)?;
        if CredentialVersion::new(&hash, holder.signer.binding()) != *credential {
            return None;
        }
        match self.grants.add_device(user, &hash, ClientName::new(client), parent, now).await {
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
    pub fn issue(&self, holder: &Holder, scopes: &[Scope], now: SystemTime) -> Result<IssuedToken, CannotSign> {
        self.tokens.issue(&holder.signer, &holder.subject.principal, holder.origin.as_ref(), scopes, now)
    }

    /// Signs a user in by the client certificate of the connection; `None` if there is none or it is not valid.
    ///
    /// A certificate cannot be guessed, so lockouts do not apply and failures are not counted. The user need not be in
    /// the users file: the certificate authority vouches for the name.
    fn certified(&self, certificate: Option<&ClientChain>, now: SystemTime) -> Option<Holder> {
        let Certified { name, proof, fingerprint } = self.clients.certified(certificate?, now)?;
        let user = match name.parse::<UserName>() {
            Ok(user) => user,
            Err(error) => {
                tracing::debug!(?name, %error, "client certificate ignored: its name is not a valid user name");
                return None;
            }
        };
        let (method, credential) = (Method::ClientCertificate, fingerprint.to_string());
        audit::record(&Event::SignedIn { user: &user, method, credential: Some(&credential) });
        let subject = Subject { principal: Principal::User(user), reach: Reach::full() };
        Some(Holder { subject, origin: Some(Origin::Certificate(proof)), signer: self.tokens.signer() })
    }

    /// Signs a user in with HTTP Basic credentials: the password is an access token, the token of a CI job, or the
    /// user's own password.
    async fn sign_in(
        &self,
        user: &str,
        password: &Password,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<Holder, AuthenticationError> {
        if let Some(token) = GrantToken::parse(password.expose()) {
            return self.sign_in_with_token(user, &token, from, now).await;
        }
        if let Some(shown) = self.workloads.admit(user, password, now).await {
            return match shown {
                Ok(admitted) => Ok(self.job(admitted)),
                Err(refused) => Err(self.refuse_job(user, from, refused)),
            };
        }
        let verified = self.check_password(user, password, from).await?;
        let signer = self.tokens.signer();
        let origin = Origin::Password(verified.credential(signer.binding()));
        let subject = Subject { principal: Principal::User(verified.user().clone()), reach: Reach::full() };
        Ok(Holder { subject, origin: Some(origin), signer })
    }

    /// Signs a user in with an access token in place of the password. The token is looked up by its own id and not by
    /// the user name, so that the response time does not reveal which users exist.
    async fn sign_in_with_token(
        &self,
        user: &str,
        token: &GrantToken,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<Holder, AuthenticationError> {
        self.check_lockout(user, from)?;
        let GrantId::Access(_) = token.id() else { return Err(self.wrong_password(user, from)) };
        match self.believe(token, now).await {
            // This does not clear the user's failures: an owner of an access token may still guess the password.
            Ok(believed) if believed.grant.user.as_str() == user => Ok(self.stands_in(&believed)),
            Ok(_) | Err(Refused::Unknown) => Err(self.wrong_password(user, from)),
            Err(refused) => Err(refuse(user, refused)),
        }
    }

    /// Signs a CI job in with its verified token. A signature cannot be guessed, so a valid token is accepted even
    /// while the subnet, which many CI jobs share, is locked out; it does not clear the user's failures.
    fn job(&self, admitted: Admitted) -> Holder {
        let Admitted { user, job, rule, limits } = admitted;
        audit::record(&Event::SignedIn { user: &user, method: Method::Workload, credential: Some(&job) });
        let subject = Subject { principal: Principal::User(user), reach: Reach::full().within(limits) };
        Holder { subject, origin: Some(Origin::Workload(rule)), signer: self.tokens.signer() }
    }

    fn refuse_job(&self, user: &str, from: IpAddr, refused: workload::Refused) -> AuthenticationError {
        match refused {
            workload::Refused::Bad(reason) => self.bad_job(user, from, &reason),
            workload::Refused::Unreachable { retry_after, .. } => {
                audit::record(&Event::SignInRefused { user, reason: "the keys of the token's issuer are not known" });
                AuthenticationError::IssuerUnreachable { retry_after }
            }
        }
    }

    fn bad_job(&self, user: &str, from: IpAddr, reason: &BadWorkload) -> AuthenticationError {
        if let Err(locked) = self.check_lockout(user, from) {
            return locked;
        }
        tracing::info!(peer = %from, user = ?user, %reason, "the token of a CI job was rejected");
        self.count_failure(user, from, &format!("the token of a CI job: {reason}"))
    }

    async fn believe(&self, token: &GrantToken, now: SystemTime) -> Result<Believed, Refused> {
        self.grants.believe(token, now, |user| self.passwords.hash_of(user)).await
    }

    fn stands_in(&self, believed: &Believed) -> Holder {
        let Believed { grant, hash, limits } = believed;
        let method = match grant.id {
            GrantId::Access(_) => Method::AccessToken,
            GrantId::Device { .. } => Method::RefreshToken,
        };
        audit::record(&Event::SignedIn { user: &grant.user, method, credential: Some(&grant.listed_as()) });
        let signer = self.tokens.signer();
        let credential = CredentialVersion::new(hash, signer.binding());
        let reach = Reach::full().within(limits.clone());
        let subject = Subject { principal: Principal::User(grant.user.clone()), reach };
        Holder { subject, origin: Some(Origin::Grant { id: grant.id, credential }), signer }
    }

    /// Checks that the credential a bearer token was issued for is still valid, and returns its restrictions.
    ///
    /// # Errors
    ///
    /// Fails if the credential was revoked, changed or has expired, or if the token store cannot be read.
    async fn standing(
        &self,
        user: &UserName,
        origin: &Origin,
        signer: &SigningKey,
        now: SystemTime,
    ) -> Result<Option<Limits>, AuthenticationError> {
        match origin {
            Origin::Password(version) => self.is_current(user, version, signer).map(|()| None),
            Origin::Workload(rule) => Ok(self.workloads.standing(user, rule)?),
            Origin::Certificate(proof) if self.clients.stands(proof, now) => Ok(None),
            Origin::Certificate(_) => Err(BadToken::Revoked.into()),
            Origin::Grant { id, credential } => {
                self.is_current(user, credential, signer)?;
                self.grants.standing(*id, user, now).await.map_err(|refused| match refused {
                    Refused::Unknown | Refused::Expired | Refused::Superseded => BadToken::Revoked.into(),
                    Refused::Store(_) => refused.into(),
                })
            }
        }
    }

    fn is_current(
        &self,
        user: &UserName,
        version: &CredentialVersion,
        signer: &SigningKey,
    ) -> Result<(), AuthenticationError> {
        let current = self.users.credential(user, signer.binding());
        if current.as_ref() == Some(version) { Ok(()) } else { Err(BadToken::Superseded.into()) }
    }

    async fn check_password(
        &self,
        user: &str,
        password: &Password,
        from: IpAddr,
    ) -> Result<Verified, AuthenticationError> {
        self.check_lockout(user, from)?;
        match self.passwords.verify(user, password, from.into(), Instant::now()).await {
            Ok(verified) => {
                self.lockout.succeeded(user, from);
                let (user, method) = (verified.user(), Method::Password);
                audit::record(&Event::SignedIn { user, method, credential: None });
                Ok(verified)
            }
            Err(Rejected::Credentials) => Err(self.wrong_password(user, from)),
            Err(Rejected::Busy { retry_after }) => {
                audit::record(&Event::SignInRefused { user, reason: "too many sign-ins at once" });
                Err(AuthenticationError::Busy { retry_after })
            }
        }
    }

    fn check_lockout(&self, user: &str, from: IpAddr) -> Result<(), AuthenticationError> {
        self.lockout.check(user, from, Instant::now()).map_err(|locked| {
            audit::record(&Event::SignInRefused { user, reason: "too many wrong passwords" });
            locked.into()
        })
    }

    fn wrong_password(&self, user: &str, from: IpAddr) -> AuthenticationError {
        self.count_failure(user, from, "wrong user name or password")
    }

    fn count_failure(&self, user: &str, from: IpAddr, reason: &str) -> AuthenticationError {
        self.lockout.failed(user, from, Instant::now());
        // fail2ban parses this line, so its format is fixed. `{:?}` escapes line breaks in the user name.
        tracing::warn!(peer = %from, user = ?audit::excerpt(user), "sign-in refused");
        audit::record(&Event::SignInRefused { user, reason });
        AuthenticationError::WrongPassword
    }
}

/// Rejects a token that was valid once, or that the store could not look up. This is no guess and is not counted by the
/// lockout.
fn refuse(user: &str, refused: Refused) -> AuthenticationError {
    audit::record(&Event::SignInRefused { user, reason: &refused.to_string() });
    refused.into()
}

/// The user name that the log shows for a sign-in with a refresh token. Followed by a colon, which no user name
/// contains, and the device id, it is also the user by which the lockout counts.
const REFRESHING: &str = "<token>";
