//! Maps the credentials of a request to a [`Subject`]: the one place that accepts or rejects them.
//!
//! Invariant: a [`Subject`] other than the anonymous one comes from a password, token or certificate that was verified
//! for this very request. A bearer token is valid only as long as the credential it was issued for: the user's present
//! password, the access token or refresh token, the rule that admitted the token of a CI job, or the authority of the
//! client certificate.

mod bearer_token;
mod refresh_token;
mod rejection;
mod sign_in;

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use crate::{
    SigningError,
    credentials::Credentials,
    error::AuthenticationError,
    lockout::Lockout,
    password_verifier::PasswordVerifier,
    signing_keys::SigningKey,
    tokens::StoredTokenService,
    tokens::bearer::{BearerTokenService, IssuedToken, TokenOrigin},
    users::Users,
    workload::WorkloadRules,
};
use portcullis_access::{Scope, Subject};
use portcullis_clock::Clock;
use portcullis_tls::{ClientChain, ClientTrust};

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

    /// Issues a bearer token for `scopes` to the subject.
    pub fn issue_bearer_token(
        &self,
        holder: &AuthenticatedSubject,
        scopes: &[Scope],
        now: SystemTime,
    ) -> Result<IssuedToken, SigningError> {
        self.tokens.issue(&holder.signer, &holder.subject.principal, holder.origin.as_ref(), scopes, now)
    }
}
