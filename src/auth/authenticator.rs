//! Credentials → subject: the one place where a caller's claim to be somebody is believed or not.
//!
//! Invariant: a [`Subject`] other than the anonymous one comes from a password that was checked, or a token or certificate that
//! was verified, at this moment: a user who was removed, or whose password changed, is not believed a token of before, and a token
//! that was made from an access token or a refresh token ends with it, as one that was made from the token of a CI job ends
//! with the rule that admitted it, and one that was made from a certificate with its authority.

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
use crate::access::{Limits, Principal, Reach, Scope, Subject, UserName};
use crate::audit::{self, Event, Method};
use crate::tls::{Certified, ClientChain, ClientTrust};

/// Decides who is asking.
pub struct Authenticator {
    users: Arc<Users>,
    passwords: PasswordChecker,
    lockout: Lockout,
    tokens: Tokens,
    grants: Grants,
    workloads: Arc<Workloads>,
    clients: Arc<ClientTrust>,
}

/// Whoever a token is made for.
#[derive(Clone)]
pub struct Holder {
    subject: Subject,
    /// `None` for nobody signed in.
    origin: Option<Origin>,
    /// The key that the origin is bound to, and that signs.
    signer: Arc<SigningKey>,
}

impl Holder {
    fn anonymous(signer: Arc<SigningKey>) -> Self {
        Self { subject: Subject::anonymous(), origin: None, signer }
    }

    /// Who it is, and how far what they showed reaches.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

impl Authenticator {
    /// Puts the parts together.
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

    /// The name of the service that tokens are for.
    #[must_use]
    pub fn service(&self) -> &str {
        self.tokens.service()
    }

    /// The public keys that verify our tokens.
    #[must_use]
    pub fn key_set(&self, now: SystemTime) -> serde_json::Value {
        self.tokens.key_set(now)
    }

    /// Who shows these credentials. Without any, it is whom the certificate of the connection signs in, or nobody: what a request
    /// says about itself wins over what its connection says.
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

    /// Who shows a token that has expired, and until when it was good: within the grace for uploads, and only while what it was
    /// made from stands. Whoever calls this makes sure that it is for such an upload and nothing else.
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

    /// Who may be given a token: only somebody who shows a password, an access token, a refresh token or a certificate. A bearer
    /// token that begets bearer tokens would never end.
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

    /// Who shows a refresh token.
    pub async fn refresh(
        &self,
        shown: &Password,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<Holder, AuthenticationError> {
        let token = GrantToken::parse(shown.expose()).ok_or(BadGrant::Unknown)?;
        let GrantId::Device { .. } = token.id() else { return Err(BadGrant::Unknown.into()) };
        // Nobody says whose it is, so guesses are counted by the device.
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

    /// A refresh token for the device that somebody signed in on with a password or an access token; `None` for everybody else,
    /// and where it cannot be stored: then the client keeps the password, as it does with registries that have no refresh tokens.
    pub async fn refresh_token(&self, holder: &Holder, client: &str, now: SystemTime) -> Option<Password> {
        let (Principal::User(user), Some(origin)) = (&holder.subject.principal, &holder.origin) else { return None };
        let (parent, credential) = match origin {
            Origin::Password(credential) => (None, credential),
            Origin::Grant { id: id @ GrantId::Access(_), credential } => (Some(*id), credential),
            // A job gets another token for its next run, and whoever has a certificate can show it again.
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

    /// Makes a token for somebody.
    pub fn issue(&self, holder: &Holder, scopes: &[Scope], now: SystemTime) -> Result<IssuedToken, CannotSign> {
        self.tokens.issue(&holder.signer, &holder.subject.principal, holder.origin.as_ref(), scopes, now)
    }

    /// Whom a certificate signs in. It is nothing that could be guessed, so nobody is kept waiting or counted here; the user need
    /// not be in the users file, as the authority vouches for the name.
    fn certified(&self, certificate: Option<&ClientChain>, now: SystemTime) -> Option<Holder> {
        let Certified { name, proof, fingerprint } = self.clients.certified(certificate?, now)?;
        let user = match name.parse::<UserName>() {
            Ok(user) => user,
            Err(error) => {
                tracing::debug!(?name, %error, "a client's certificate signs nobody in: its name cannot be a user's");
                return None;
            }
        };
        let (method, credential) = (Method::ClientCertificate, fingerprint.to_string());
        audit::record(&Event::SignedIn { user: &user, method, credential: Some(&credential) });
        let subject = Subject { principal: Principal::User(user), reach: Reach::full() };
        Some(Holder { subject, origin: Some(Origin::Certificate(proof)), signer: self.tokens.signer() })
    }

    /// Believes or refuses a name and what was shown as its password.
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

    /// An access token in the place of its user's password. It is looked up by its own id, whatever name stands beside it, so
    /// that the time of the answer says nothing about users.
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
            // This does not clear the user's count: who has an access token may still be guessing the password.
            Ok(believed) if believed.grant.user.as_str() == user => Ok(self.stands_in(&believed)),
            Ok(_) | Err(Refused::Unknown) => Err(self.wrong_password(user, from)),
            Err(refused) => Err(refuse(user, refused)),
        }
    }

    /// The token of a CI job in the place of a password. Nobody guesses a signature: a good token is believed while others from
    /// the same network, which CI systems share, are kept waiting, and it does not clear the user's count.
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
        tracing::info!(peer = %from, user = ?user, %reason, "the token of a CI job is not believed");
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

    /// Whether what a token was made from still stands, and how far it reaches.
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
        // One line of a fixed shape: fail2ban reads it. `{:?}` escapes what would make two lines of it.
        tracing::warn!(peer = %from, user = ?audit::excerpt(user), "sign-in refused");
        audit::record(&Event::SignInRefused { user, reason });
        AuthenticationError::WrongPassword
    }
}

/// A token that was good once, or of which nobody can tell; it is nobody's guess.
fn refuse(user: &str, refused: Refused) -> AuthenticationError {
    audit::record(&Event::SignInRefused { user, reason: &refused.to_string() });
    refused.into()
}

/// What stands in the log for whoever shows a refresh token, and, before a colon that no user's name holds, among those who have
/// to wait.
const REFRESHING: &str = "<token>";
