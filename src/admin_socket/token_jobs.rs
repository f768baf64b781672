//! Creates and revokes tokens in the running server.
//!
//! The records of tokens are files that any process may change while a server runs. The server makes the changes all
//! the same: the files then belong to its account, also if root runs the command; of two tokens with one name the
//! second is refused; and a revocation is in force before the command ends, because the server drops what it has read.
//!
//! Invariant: what has begun is completed, although the command ends. A secret that no command has received is revoked.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{
    peer_credentials::PeerCredentials,
    protocol::Event,
    token_request::{SecretLine, TokenRequestLine},
};
use crate::{
    audit::{self, AuditEvent},
    auth::{
        LegacyHashes, StoredTokenService, Users,
        tokens::{AccessTokenRequest, CreateTokenError, CreatedAccessToken, TokenSelector},
        users::UsersReload,
    },
    clock::Clock,
    storage::StoreError,
};

/// A new access token, or the event that says why there is none.
type CreationResult = Result<CreatedAccessToken, Event>;

/// The tokens of the running server.
#[derive(Clone)]
pub(crate) struct TokenJobs {
    service: Arc<StoredTokenService>,
    users: Arc<Users>,
    legacy_hashes: LegacyHashes,
    clock: Clock,
}

impl TokenJobs {
    /// Works on the tokens of `service`, which belong to `users`. `legacy_hashes` says whether a user with a weak
    /// password hash may have one.
    pub(crate) fn new(
        service: Arc<StoredTokenService>,
        users: Arc<Users>,
        legacy_hashes: LegacyHashes,
        clock: Clock,
    ) -> Self {
        Self { service, users, legacy_hashes, clock }
    }

    /// Creates an access token.
    pub(super) async fn create(&self, line: TokenRequestLine, peer: PeerCredentials) -> Event {
        let request = AccessTokenRequest::from(line);
        let (jobs, (answer, created)) = (self.clone(), oneshot::channel());
        tokio::spawn(async move {
            let result = jobs.create_now(request, peer).await;
            jobs.deliver(result, answer, peer).await;
        });
        match created.await {
            Ok(Ok(CreatedAccessToken { secret, legacy_hash })) => Event::TokenCreated {
                secret: SecretLine::new(&secret.expose()),
                legacy_hash: legacy_hash.map(|kind| kind.to_string()),
            },
            Ok(Err(refused)) => refused,
            Err(_) => Event::failed("the token was not created; see the log of the server"),
        }
    }

    /// Passes the result on, or revokes the token if its command has ended.
    pub(super) async fn deliver(
        &self,
        result: CreationResult,
        answer: oneshot::Sender<CreationResult>,
        peer: PeerCredentials,
    ) {
        let Err(Ok(unread)) = answer.send(result) else { return };
        if let Err(error) = self.revoke_now(TokenSelector::Id(unread.secret.id()), peer).await {
            tracing::error!(%error, "a token whose secret no command has received was not revoked");
        }
    }

    pub(super) async fn create_now(&self, request: AccessTokenRequest, peer: PeerCredentials) -> CreationResult {
        self.read_users().await?;
        let (name, user) = (request.name.clone(), request.user.clone());
        let users = self.users.snapshot();
        let created = self.service.create_access_token(request, &users, self.legacy_hashes).await;
        let created = created.map_err(|error| match error {
            CreateTokenError::UnknownUser(_) | CreateTokenError::WeakHash(_) | CreateTokenError::NameTaken(_) => {
                Event::refused(&error, error.hint())
            }
            CreateTokenError::Store(_) | CreateTokenError::Randomness(_) => Event::failed(error),
        })?;
        let by = &peer.account();
        audit::record(&AuditEvent::AccessTokenCreated { name: name.as_str(), user: &user, by });
        tracing::info!(%name, %user, "access token created");
        Ok(created)
    }

    /// Reads the users file if it has changed, so that a user who was just added can have a token.
    async fn read_users(&self) -> Result<(), Event> {
        let (users, now) = (self.users.clone(), self.clock.now());
        match tokio::task::spawn_blocking(move || users.poll(now)).await {
            Ok(Ok(UsersReload::Unchanged)) => Ok(()),
            Ok(Ok(UsersReload::Changed)) => {
                tracing::info!(path = %self.users.path().display(), "users reloaded for a new token");
                Ok(())
            }
            Ok(Err(error)) => Err(Event::refused(&error, Some(error.hint().to_owned()))),
            Err(panic) => Err(Event::failed(panic)),
        }
    }

    /// Revokes a token, with every token that was issued from it.
    pub(super) async fn revoke(&self, selector: TokenSelector, peer: PeerCredentials) -> Event {
        let jobs = self.clone();
        match tokio::spawn(async move { jobs.revoke_now(selector, peer).await }).await {
            Ok(Ok(true)) => Event::TokenRevoked,
            Ok(Ok(false)) => Event::NoSuchToken,
            Ok(Err(error)) => Event::failed(error),
            Err(panic) => Event::failed(panic),
        }
    }

    async fn revoke_now(&self, selector: TokenSelector, peer: PeerCredentials) -> Result<bool, StoreError> {
        let was_there = self.service.revoke(&selector).await?;
        if was_there {
            let (name, by) = (&selector.to_string(), &peer.account());
            audit::record(&AuditEvent::TokenRevoked { name, by });
            tracing::info!(token = %selector, "token revoked");
        }
        Ok(was_there)
    }
}
