//! Creates and revokes tokens in the running server.
//!
//! The records of tokens are files that any process may change while a server runs. The server makes the changes all
//! the same: the files then belong to its account, also if root runs the command; of two tokens with one name the
//! second is refused; and a revocation is in force before the command ends, because the server drops what it has read.
//!
//! Invariant: what has begun is completed, although the command ends or the server stops: the server waits for it
//! ([`TokenJobs::wait_for_tasks`]). A secret that was not sent to its command is revoked ([`UndeliveredToken`]).

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::{
    peer_credentials::PeerCredentials,
    protocol::Event,
    request_result::{RequestResult, UndeliveredToken},
    token_request::{SecretLine, TokenRequestLine},
};
use crate::{
    access::UserName,
    audit::{self, AuditEvent},
    auth::{
        LegacyHashes, StoredTokenId, StoredTokenService, Users,
        tokens::{AccessTokenRequest, CreateTokenError, CreatedAccessToken, TokenSelector},
        users::{UsersFileError, UsersReload},
    },
    clock::Clock,
    storage::StoreError,
};

/// A new access token, or the event that says why there is none.
type CreationResult = Result<(CreatedAccessToken, UndeliveredToken), Event>;

/// The tokens of the running server.
#[derive(Clone)]
pub(crate) struct TokenJobs {
    service: Arc<StoredTokenService>,
    users: Arc<Users>,
    legacy_hashes: LegacyHashes,
    clock: Clock,
    /// Creations and revocations that have begun, and tokens whose secrets are not delivered yet.
    tasks: TaskTracker,
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
        Self { service, users, legacy_hashes, clock, tasks: TaskTracker::new() }
    }

    /// Waits for the creations and revocations that have begun, after the last request of a command has ended.
    pub(crate) async fn wait_for_tasks(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Creates an access token. It is revoked if the result is dropped before its event was sent.
    pub(super) async fn create(&self, line: TokenRequestLine, peer: PeerCredentials) -> RequestResult {
        let request = AccessTokenRequest::from(line);
        let jobs = self.clone();
        // A task of its own, so that its result is dropped, and the token revoked, after this future was dropped.
        match self.tasks.spawn(async move { jobs.create_now(request, peer).await }).await {
            Ok(Ok((CreatedAccessToken { secret, legacy_hash }, token))) => RequestResult {
                event: Event::TokenCreated {
                    secret: SecretLine::new(&secret.expose()),
                    legacy_hash: legacy_hash.map(|kind| kind.to_string()),
                },
                token: Some(token),
            },
            Ok(Err(refused)) => refused.into(),
            Err(error) => {
                tracing::error!(%error, "access token not created");
                Event::failed("the token was not created; see the log of the server").into()
            }
        }
    }

    pub(super) async fn create_now(&self, request: AccessTokenRequest, peer: PeerCredentials) -> CreationResult {
        let (name, user) = (request.name.clone(), request.user.clone());
        self.read_users(&user).await?;
        let users = self.users.snapshot();
        let created = self.service.create_access_token(request, &users, self.legacy_hashes).await;
        let created = created.map_err(|error| self.creation_failure(&error))?;
        let token = self.undelivered(created.secret.id(), peer);
        let by = &peer.account();
        audit::record(&AuditEvent::AccessTokenCreated { name: name.as_str(), user: &user, by });
        tracing::info!(%name, %user, "access token created");
        Ok((created, token))
    }

    /// The token revokes itself in a task. [`wait_for_tasks`](Self::wait_for_tasks) waits until it is delivered or
    /// revoked.
    fn undelivered(&self, id: StoredTokenId, peer: PeerCredentials) -> UndeliveredToken {
        let (jobs, runtime, tracked) = (self.clone(), Handle::current(), self.tasks.token());
        UndeliveredToken::new(move || {
            tracing::warn!(token = %id, "the secret of a new token did not reach its command; the token is revoked");
            let tasks = jobs.tasks.clone();
            // An error was logged by the revocation.
            tasks.spawn_on(async move { drop(jobs.revoke_now(&TokenSelector::Id(id), peer).await) }, &runtime);
            drop(tracked);
        })
    }

    fn creation_failure(&self, error: &CreateTokenError) -> Event {
        match error {
            CreateTokenError::UnknownUser(_) => {
                // The command may have named another file.
                let file = self.users.path().display();
                Event::refused(error, error.hint().map(|hint| format!("{hint}; the server's users file is {file}")))
            }
            CreateTokenError::WeakHash(_) | CreateTokenError::NameTaken(_) => Event::refused(error, error.hint()),
            CreateTokenError::Store(_) | CreateTokenError::Randomness(_) => {
                tracing::error!(%error, "access token not created");
                Event::failed(error)
            }
        }
    }

    /// Reads the users file if it has changed, so that a user who was just added can have a token. A file that is
    /// broken, perhaps in the line of another user, is no obstacle for a `user` who may sign in.
    async fn read_users(&self, user: &UserName) -> Result<(), Event> {
        let (users, now) = (self.users.clone(), self.clock.now());
        match tokio::task::spawn_blocking(move || users.poll(now)).await {
            Ok(Ok(UsersReload::Unchanged)) => Ok(()),
            Ok(Ok(UsersReload::Changed)) => {
                tracing::info!(path = %self.users.path().display(), "users reloaded for a new token");
                Ok(())
            }
            Ok(Err(_)) if self.users.snapshot().hash(user).is_some() => Ok(()),
            Ok(Err(error)) => Err(self.broken_users_file(user, &error)),
            Err(error) => {
                tracing::error!(%error, "users file not read for a new token");
                Err(Event::failed("the users file was not read; see the log of the server"))
            }
        }
    }

    fn broken_users_file(&self, user: &UserName, error: &UsersFileError) -> Event {
        let file = self.users.path().display();
        let hint =
            format!("user '{user}' is not among the users that the server has loaded; correct {file}, its users file");
        Event::refused(error, Some(hint))
    }

    /// Revokes a token, with every token that was issued from it.
    pub(super) async fn revoke(&self, selector: TokenSelector, peer: PeerCredentials) -> Event {
        let jobs = self.clone();
        match self.tasks.spawn(async move { jobs.revoke_now(&selector, peer).await }).await {
            Ok(Ok(true)) => Event::TokenRevoked,
            Ok(Ok(false)) => Event::NoSuchToken,
            Ok(Err(error)) => Event::failed(error),
            Err(error) => {
                tracing::error!(%error, "token not revoked");
                Event::failed("the token was not revoked; see the log of the server")
            }
        }
    }

    async fn revoke_now(&self, selector: &TokenSelector, peer: PeerCredentials) -> Result<bool, StoreError> {
        let was_there = self.service.revoke(selector).await.inspect_err(|error| {
            tracing::error!(%error, token = %selector, "token not revoked");
        })?;
        if was_there {
            let (name, by) = (&selector.to_string(), &peer.account());
            audit::record(&AuditEvent::TokenRevoked { name, by });
            tracing::info!(token = %selector, "token revoked");
        }
        Ok(was_there)
    }
}
