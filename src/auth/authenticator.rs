//! Credentials → subject: the one place where a caller's claim to be somebody is believed or not.
//!
//! Invariant: a [`Subject`] other than the anonymous one comes from a password that was checked or a token that was
//! verified, at this moment: a user who was removed, or whose password changed, is not believed a token of before.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    credentials::{Credentials, InvalidCredentials},
    keys::SigningKey,
    lockout::{Locked, Lockout},
    password::{PasswordChecker, Rejected, Verified},
    secret::Password,
    token::{BadToken, CannotSign, IssuedToken, Origin, Tokens},
    users::Users,
};
use crate::access::{Limits, Principal, Reach, Scope, Subject, UserName};
use crate::audit::{self, Event, Method};

/// Decides who is asking.
pub struct Authenticator {
    users: Arc<Users>,
    passwords: PasswordChecker,
    lockout: Lockout,
    tokens: Tokens,
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
    pub fn new(users: Arc<Users>, passwords: PasswordChecker, lockout: Lockout, tokens: Tokens) -> Self {
        Self { users, passwords, lockout, tokens }
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

    /// Who shows these credentials. Nothing shown is the anonymous subject.
    pub async fn subject(
        &self,
        credentials: Option<Credentials>,
        from: IpAddr,
        now: SystemTime,
    ) -> Result<Subject, AuthenticationError> {
        match credentials {
            None => Ok(Subject::anonymous()),
            Some(Credentials::Basic { user, password }) => Ok(self.sign_in(&user, &password, from).await?.subject),
            Some(Credentials::Bearer(token)) => {
                let token = self.tokens.verify(&token, now)?;
                let limits = match (&token.principal, &token.origin) {
                    (Principal::Anonymous, None) => None,
                    (Principal::User(name), Some(origin)) => self.standing(name, origin, &token.signer)?,
                    (Principal::Anonymous, Some(_)) | (Principal::User(_), None) => return Err(BadToken::Forged.into()),
                };
                Ok(Subject { principal: token.principal, reach: Reach::scopes(token.scopes).within(limits) })
            }
        }
    }

    /// Who may be given a token: only somebody who shows a password. A token that begets tokens would never end.
    pub async fn holder(&self, credentials: Option<Credentials>, from: IpAddr) -> Result<Holder, AuthenticationError> {
        match credentials {
            None => Ok(Holder::anonymous(self.tokens.signer())),
            Some(Credentials::Basic { user, password }) => self.sign_in(&user, &password, from).await,
            Some(Credentials::Bearer(_)) => Err(AuthenticationError::WrongPassword),
        }
    }

    /// Makes a token for somebody.
    pub fn issue(&self, holder: &Holder, scopes: &[Scope], now: SystemTime) -> Result<IssuedToken, CannotSign> {
        self.tokens.issue(&holder.signer, &holder.subject.principal, holder.origin.as_ref(), scopes, now)
    }

    /// Believes or refuses a name and what was shown as its password.
    async fn sign_in(&self, user: &str, password: &Password, from: IpAddr) -> Result<Holder, AuthenticationError> {
        let verified = self.check_password(user, password, from).await?;
        let signer = self.tokens.signer();
        let origin = Origin::Password(verified.credential(signer.binding()));
        let subject = Subject { principal: Principal::User(verified.user().clone()), reach: Reach::full() };
        Ok(Holder { subject, origin: Some(origin), signer })
    }

    /// Whether what a token was made from still stands, and how far it reaches.
    fn standing(&self, user: &UserName, origin: &Origin, signer: &SigningKey) -> Result<Option<Limits>, BadToken> {
        match origin {
            Origin::Password(version) => {
                let current = self.users.credential(user, signer.binding());
                if current.as_ref() == Some(version) { Ok(None) } else { Err(BadToken::Superseded) }
            }
        }
    }

    async fn check_password(
        &self,
        user: &str,
        password: &Password,
        from: IpAddr,
    ) -> Result<Verified, AuthenticationError> {
        if let Err(locked) = self.lockout.check(user, from, Instant::now()) {
            audit::record(&Event::SignInRefused { user, reason: "too many wrong passwords" });
            return Err(locked.into());
        }
        match self.passwords.verify(user, password, from.into(), Instant::now()).await {
            Ok(verified) => {
                self.lockout.succeeded(user, from);
                audit::record(&Event::SignedIn { user: verified.user(), method: Method::Password });
                Ok(verified)
            }
            Err(Rejected::Credentials) => {
                self.lockout.failed(user, from, Instant::now());
                // One line of a fixed shape: fail2ban reads it. `{:?}` escapes what would make two lines of it.
                tracing::warn!(peer = %from, user = ?user, "sign-in refused");
                audit::record(&Event::SignInRefused { user, reason: "wrong user name or password" });
                Err(AuthenticationError::WrongPassword)
            }
            Err(Rejected::Busy { retry_after }) => {
                audit::record(&Event::SignInRefused { user, reason: "too many sign-ins at once" });
                Err(AuthenticationError::Busy { retry_after })
            }
        }
    }
}

/// Why a caller is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The header cannot be read.
    #[error(transparent)]
    BadHeader(#[from] InvalidCredentials),
    /// No such user or another password.
    #[error("the user name or the password is wrong")]
    WrongPassword,
    /// The token is not believed.
    #[error(transparent)]
    BadToken(#[from] BadToken),
    /// Too many wrong passwords from there.
    #[error("too many wrong passwords; wait before the next try")]
    Locked {
        /// How long.
        retry_after: Duration,
    },
    /// More sign-ins at once than can be checked.
    #[error("too many sign-ins at this moment; try again")]
    Busy {
        /// How long.
        retry_after: Duration,
    },
}

impl From<Locked> for AuthenticationError {
    fn from(Locked { retry_after }: Locked) -> Self {
        Self::Locked { retry_after }
    }
}
