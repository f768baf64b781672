//! Implements `portcullis token create`, `list` and `revoke` on the token store in the data folder.
//!
//! Invariant: the commands only use the store, so that they work the same whether or not a server runs.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand::SystemRandom;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{StoreArgs, error::TokenError};
use crate::{
    access::{Action, Actions, CredentialLimits, Glob, UserName},
    app,
    audit::AuditEvent,
    auth::{
        LegacyHashes, StoredTokenId, TokenStore,
        passwords::hash::StoredHash,
        tokens::{
            ListedToken, NewAccessToken, ParentRecord, StoredToken, StoredTokenKind, TokenName, TokenSecret,
            TokenStateContext,
        },
        users::htpasswd::Htpasswd,
        users::read_leniently,
    },
    cli::{CommandError, audit, ignore_broken_pipe},
    clock::Clock,
    config::{self, Config, InvalidDuration},
    storage::StoreError,
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
    let file = read_leniently(&config.auth.htpasswd)?;
    let hash = password_hash(&args.user, &file, config.auth.legacy_hashes)?;
    let limits = requested_limits(args);
    let now = clock.now();
    let new = NewAccessToken {
        name: args.name.clone(),
        user: args.user.clone(),
        limits: limits.clone(),
        expires: args.expires.map(|expires| now + expires),
    };
    let random = SystemRandom::new();
    let token = TokenSecret::generate(StoredTokenId::new_access(&random)?, &random)?;
    let store = open_store(config, clock)?;
    block_on(store.create(&token, new, hash, now))??;
    let shown = writeln!(io::stdout(), "{}", token.expose().expose()).and_then(|()| io::stdout().flush());
    if let Err(error) = shown {
        // The token could not be printed, so it is of no use.
        block_on(store.revoke(token.id()))??;
        return Err(TokenError::Output(error).into());
    }
    audit::record(&config.telemetry.audit, &audit::operator_account(), clock, |by| AuditEvent::AccessTokenCreated {
        name: args.name.as_str(),
        user: &args.user,
        by,
    });
    let places: Vec<_> = limits.repositories.iter().map(ToString::to_string).collect();
    print_message(&format!(
        "access token {} of user {} created: {} on {}",
        args.name,
        args.user,
        limits.actions,
        places.join(", ")
    ))?;
    if hash.kind().is_legacy() {
        print_message(&format!(
            "warning: the password hash of user {} is weak ({}); the next login with the password replaces it, and that revokes \
             this token\nhint: run `portcullis user passwd '{}'` first, and create the token after it",
            args.user,
            hash.kind(),
            args.user
        ))?;
    }
    Ok(())
}

/// The password hash of the user, to which the token is bound: the token ends when the hash changes.
fn password_hash<'a>(user: &UserName, file: &'a Htpasswd, legacy: LegacyHashes) -> Result<&'a StoredHash, TokenError> {
    let hash = file.hash(user).ok_or_else(|| TokenError::UnknownUser(user.clone()))?;
    if legacy == LegacyHashes::Refuse && hash.kind().is_legacy() {
        return Err(TokenError::WeakHash(user.clone()));
    }
    Ok(hash)
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

pub(super) fn list(config: &Config, clock: &Clock) -> Result<(), CommandError> {
    let store = open_store(config, clock)?;
    let (mut tokens, mut devices) =
        block_on(async { Ok::<_, StoreError>((store.access_tokens().await?, store.refresh_tokens().await?)) })??;
    // An unreadable users file is no error here: the tokens are listed, and their state is that of their records.
    let users = read_leniently(&config.auth.htpasswd).ok();
    tokens.sort_by_cached_key(|listed| {
        listed.token.as_ref().map_or_else(|| listed.id.to_string(), StoredToken::display_name)
    });
    devices.sort_by_cached_key(|listed| {
        let user = listed.token.as_ref().map(|stored| stored.user.clone());
        (user, listed.token.as_ref().map(|stored| stored.created), listed.id.to_string())
    });
    let context = ListContext {
        states: TokenStateContext {
            users: users.as_ref(),
            legacy_hashes: config.auth.legacy_hashes,
            refresh_lifetime: config.auth.token.refresh_lifetime,
            now: clock.now(),
        },
        parents: tokens.iter().map(|listed| (listed.id, listed.token.as_ref())).collect(),
    };
    let lines: Vec<_> = tokens.iter().chain(&devices).map(|listed| context.format_line(listed)).collect();
    let written = io::stdout().write_all(table(&lines).as_bytes());
    ignore_broken_pipe(written).map_err(|error| TokenError::Output(error).into())
}

/// Formats lines of the list, with the data that they need beside the token's record.
struct ListContext<'a> {
    states: TokenStateContext<'a>,
    /// The access tokens by id; `None` for damaged records.
    parents: HashMap<StoredTokenId, Option<&'a StoredToken>>,
}

impl ListContext<'_> {
    /// The columns of a token: name or id, user, repositories, actions, creation, expiry, last use, state. A device has
    /// its client and its sign-in in the third, fourth and sixth column.
    fn format_line(&self, listed: &ListedToken) -> Vec<String> {
        let Some(stored) = &listed.token else {
            return vec![listed.id.to_string(), "its record is damaged; the token is not accepted".to_owned()];
        };
        let is_removed = self.states.users.is_some_and(|users| users.hash(&stored.user).is_none());
        let user = if is_removed { format!("{} (removed)", stored.user) } else { stored.user.to_string() };
        let created = format!("created {}", format_time(stored.created));
        let last_use =
            listed.last_used.map_or_else(|| "never used".to_owned(), |used| format!("last used {}", format_time(used)));
        let [what, how, until] = self.describe_kind(&stored.kind);
        let state = self.states.state(stored, listed.last_used, self.parent(stored)).to_string();
        vec![stored.display_name(), user, what, how, created, until, last_use, state]
    }

    fn parent(&self, token: &StoredToken) -> ParentRecord<'_> {
        let Some(id) = token.parent() else { return ParentRecord::None };
        match self.parents.get(&id) {
            None => ParentRecord::Missing,
            Some(None) => ParentRecord::Damaged,
            Some(Some(parent)) => ParentRecord::Found(parent),
        }
    }

    fn describe_kind(&self, kind: &StoredTokenKind) -> [String; 3] {
        match kind {
            StoredTokenKind::Access { limits, expires, .. } => {
                let globs: Vec<_> = limits.repositories.iter().map(ToString::to_string).collect();
                let until = match expires {
                    Some(expires) if *expires <= self.states.now => format!("expired {}", format_time(*expires)),
                    Some(expires) => format!("expires {}", format_time(*expires)),
                    None => "never expires".to_owned(),
                };
                [globs.join(","), limits.actions.to_string(), until]
            }
            StoredTokenKind::Refresh { client, parent } => {
                let by = match parent.map(|parent| self.parents.get(&parent)) {
                    None => "signed in with the password".to_owned(),
                    Some(Some(Some(parent))) => format!("signed in with {}", parent.display_name()),
                    Some(None | Some(None)) => "signed in with a token that was revoked".to_owned(),
                };
                ["device".to_owned(), client.to_string(), by]
            }
        }
    }
}

/// The lines as a text with aligned columns.
fn table(lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let whole = lines.iter().filter(|line| line.len() > column + 1);
        whole.map(|line| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..8).map(width).collect();
    let padded = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(padded).collect()
}

fn format_time(time: SystemTime) -> String {
    let whole = OffsetDateTime::from(time).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    whole.format(&Rfc3339).unwrap_or_default()
}

pub(super) fn revoke(args: &RevokeArgs, config: &Config, clock: &Clock) -> Result<(), CommandError> {
    let store = open_store(config, clock)?;
    let unknown = || TokenError::Unknown(args.which.clone());
    let id = match args.which.parse::<TokenName>() {
        Ok(name) => block_on(store.find_by_name(&name))??.ok_or_else(unknown)?,
        Err(_) => args.which.parse::<StoredTokenId>().map_err(|_| unknown())?,
    };
    if !block_on(store.revoke(id))?? {
        return Err(unknown().into());
    }
    let event = |by| AuditEvent::TokenRevoked { name: &args.which, by };
    audit::record(&config.telemetry.audit, &audit::operator_account(), clock, event);
    print_message(&format!("{} revoked", args.which))
}

fn open_store(config: &Config, clock: &Clock) -> Result<TokenStore, CommandError> {
    Ok(TokenStore::new(app::existing_store(&config.storage, clock)?))
}

/// Runs a future to its end on a runtime of this thread.
fn block_on<F: Future>(work: F) -> Result<F::Output, TokenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TokenError::Runtime)?;
    Ok(runtime.block_on(work))
}

fn print_message(text: &str) -> Result<(), CommandError> {
    writeln!(io::stderr(), "{text}").map_err(|error| TokenError::Output(error).into())
}
