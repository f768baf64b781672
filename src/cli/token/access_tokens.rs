//! Implements `portcullis token create` and `revoke`: has the running server make the change, or makes it in the token
//! store of the data folder under its lock.
//!
//! Beside a server without a socket the command changes the store as well: the records are files that any process may
//! change, and the server notices within a second. So a token that leaked can be revoked in any case.
//!
//! Invariant: the secret of a new token goes to standard output and nowhere else.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use super::{StoreArgs, error::TokenError};
use crate::{
    access::{Action, Actions, CredentialLimits, Glob, UserName},
    admin_socket::ReceivedToken,
    app,
    audit::AuditEvent,
    auth::{
        TokenStore,
        tokens::{AccessTokenRequest, TokenName, TokenSecret, TokenSelector},
        users::read_leniently,
    },
    cli::{CommandError, audit, data_dir::DataAccess},
    clock::Clock,
    config::{self, Config, InvalidDuration},
    storage::DataDirLock,
};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// The name of the token in lists; it must be unique
    name: TokenName,
    /// The user that the token belongs to
    #[arg(long, value_name = "USER")]
    user: UserName,
    /// A pattern of the repositories that the token may access, as in access rules: `team/**`; may be given several
    /// times [default: all repositories]
    #[arg(long, value_name = "GLOB")]
    repository: Vec<Glob>,
    /// An action that the token permits: pull, push, delete or admin; may be given several times. A push needs pull as
    /// well, so push includes it [default: pull]
    #[arg(long, value_name = "ACTION", value_delimiter = ',')]
    action: Vec<Action>,
    /// How long the token is valid: `90s`, `5m`, `24h`, `30d` [default: without end]
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires: Option<Duration>,
    #[command(flatten)]
    pub(super) place: StoreArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// The name of an access token, or an id from the list
    #[arg(value_name = "NAME|ID")]
    which: String,
    #[command(flatten)]
    pub(super) place: StoreArgs,
}

/// Parses the lifetime of a token, between a second and ten years.
fn lifetime(text: &str) -> Result<Duration, InvalidDuration> {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(3650 * 86_400);
    config::duration(text)
        .and_then(|lifetime| if bounds.contains(&lifetime) { Ok(lifetime) } else { Err(InvalidDuration) })
}

pub(super) fn create(args: &CreateArgs, config: &Config, clock: &Clock) -> Result<(), CommandError> {
    let limits = requested_limits(args);
    let request = AccessTokenRequest {
        name: args.name.clone(),
        user: args.user.clone(),
        limits: limits.clone(),
        lifetime: args.expires,
    };
    let store = open_store(config, clock)?;
    let ReceivedToken { secret, legacy_hash } = match DataAccess::wait_or_unreachable(&config.storage)? {
        Some(DataAccess::Server(server)) => server.create_token(request)?,
        Some(DataAccess::Locked(lock)) => under_lock(lock, || create_in_store(&store, request, config, clock))?,
        None => create_in_store(&store, request, config, clock)?,
    };
    let shown = writeln!(io::stdout(), "{}", secret.expose()).and_then(|()| io::stdout().flush());
    if let Err(error) = shown {
        // The token could not be printed, so it is of no use.
        if let Some(token) = TokenSecret::parse(secret.expose()) {
            revoke_selected(TokenSelector::Id(token.id()), &store, config, clock)?;
        }
        return Err(TokenError::Output(error).into());
    }
    let places: Vec<_> = limits.repositories.iter().map(ToString::to_string).collect();
    print_message(&format!(
        "access token {} of user {} created: {} on {}",
        args.name,
        args.user,
        limits.actions,
        places.join(", ")
    ))?;
    if let Some(kind) = legacy_hash {
        print_message(&format!(
            "warning: the password hash of user {} is weak ({kind}); the next login with the password replaces it, and that \
             revokes this token\nhint: run `portcullis user passwd '{}'` first, and create the token after it",
            args.user, args.user
        ))?;
    }
    Ok(())
}

/// Creates the token without a server.
fn create_in_store(
    store: &TokenStore,
    request: AccessTokenRequest,
    config: &Config,
    clock: &Clock,
) -> Result<ReceivedToken, CommandError> {
    let users = read_leniently(&config.auth.htpasswd)?;
    let (name, user) = (request.name.clone(), request.user.clone());
    let created = block_on(store.create_for_user(request, &users, config.auth.legacy_hashes, clock.now()))??;
    audit::record(&config.telemetry.audit, &audit::operator_account(), clock, |by| AuditEvent::AccessTokenCreated {
        name: name.as_str(),
        user: &user,
        by,
    });
    let legacy_hash = created.legacy_hash.map(|kind| kind.to_string());
    Ok(ReceivedToken { secret: created.secret.expose(), legacy_hash })
}

fn requested_limits(args: &CreateArgs) -> CredentialLimits {
    let repositories = if args.repository.is_empty() {
        vec!["**".parse().expect("`**` is a pattern")]
    } else {
        args.repository.clone()
    };
    let given: Actions = args.action.iter().copied().collect();
    let includes_pull = given.is_empty() || given.contains(Action::Push);
    let pull: Actions = includes_pull.then_some(Action::Pull).into_iter().collect();
    CredentialLimits { repositories, actions: given.union(pull) }
}

pub(super) fn revoke(args: &RevokeArgs, config: &Config, clock: &Clock) -> Result<(), CommandError> {
    let store = open_store(config, clock)?;
    let unknown = || TokenError::Unknown(args.which.clone());
    // A text that is neither a name nor an id may be the secret itself, so it is not sent to the server, which logs it.
    let selector: TokenSelector = args.which.parse().map_err(|_| unknown())?;
    if !revoke_selected(selector, &store, config, clock)? {
        return Err(unknown().into());
    }
    print_message(&format!("{} revoked", args.which))
}

/// Revokes a token in the server or without one. Returns whether it existed.
fn revoke_selected(
    selector: TokenSelector,
    store: &TokenStore,
    config: &Config,
    clock: &Clock,
) -> Result<bool, CommandError> {
    match DataAccess::wait_or_unreachable(&config.storage)? {
        Some(DataAccess::Server(server)) => Ok(server.revoke_token(selector)?),
        Some(DataAccess::Locked(lock)) => under_lock(lock, || revoke_in_store(&selector, store, config, clock)),
        None => revoke_in_store(&selector, store, config, clock),
    }
}

fn revoke_in_store(
    selector: &TokenSelector,
    store: &TokenStore,
    config: &Config,
    clock: &Clock,
) -> Result<bool, CommandError> {
    let was_there = block_on(store.revoke_selected(selector))??;
    if was_there {
        let name = &selector.to_string();
        let event = |by| AuditEvent::TokenRevoked { name, by };
        audit::record(&config.telemetry.audit, &audit::operator_account(), clock, event);
    }
    Ok(was_there)
}

/// Makes a change under the lock of the data folder, and releases the lock: whatever the result is, nothing is still
/// being written.
fn under_lock<T>(lock: DataDirLock, change: impl FnOnce() -> Result<T, CommandError>) -> Result<T, CommandError> {
    let result = change();
    app::release_store(lock);
    result
}

pub(super) fn open_store(config: &Config, clock: &Clock) -> Result<TokenStore, CommandError> {
    Ok(TokenStore::new(app::existing_store(&config.storage, clock)?))
}

/// Runs a future to its end on a runtime of this thread.
pub(super) fn block_on<F: Future>(work: F) -> Result<F::Output, TokenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TokenError::Runtime)?;
    Ok(runtime.block_on(work))
}

fn print_message(text: &str) -> Result<(), CommandError> {
    writeln!(io::stderr(), "{text}").map_err(|error| TokenError::Output(error).into())
}
