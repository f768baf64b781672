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

use super::{PlaceArgs, error::TokenError};
use crate::{
    access::{Action, Actions, Glob, Limits, UserName},
    app,
    audit::Event,
    auth::{
        GrantId, GrantStore, LegacyHashes,
        grants::{Grant, GrantKind, GrantToken, Listed, NewAccessToken, TokenName},
        hash::StoredHash,
        htpasswd::Htpasswd,
        users::inspect,
    },
    cli::{Failure, trail},
    config::{self, Config, NotADuration},
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
    pub(super) place: PlaceArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// The name of an access token, or an id from the list
    #[arg(value_name = "NAME|ID")]
    which: String,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

/// Parses the lifetime of a token, between a second and ten years.
fn lifetime(text: &str) -> Result<Duration, NotADuration> {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(3650 * 86_400);
    config::duration(text)
        .and_then(|lifetime| if bounds.contains(&lifetime) { Ok(lifetime) } else { Err(NotADuration) })
}

pub(super) fn create(args: &CreateArgs, config: &Config) -> Result<(), Failure> {
    let file = inspect(&config.auth.htpasswd)?;
    let hash = hash_of(&args.user, &file, config.auth.legacy_hashes)?;
    let limits = limits(args);
    let now = SystemTime::now();
    let new = NewAccessToken {
        name: args.name.clone(),
        user: args.user.clone(),
        limits: limits.clone(),
        expires: args.expires.map(|expires| now + expires),
    };
    let random = SystemRandom::new();
    let token = GrantToken::draw(GrantId::access(&random)?, &random)?;
    let store = open(config)?;
    wait(store.create(&token, new, hash, now))??;
    let shown = writeln!(io::stdout(), "{}", token.expose().expose()).and_then(|()| io::stdout().flush());
    if let Err(error) = shown {
        // The token could not be printed, so it is of no use.
        wait(store.revoke(token.id()))??;
        return Err(TokenError::Output(error).into());
    }
    trail::tell(&config.telemetry.audit, &trail::operator(), |by| Event::AccessTokenCreated {
        name: args.name.as_str(),
        user: &args.user,
        by,
    });
    let places: Vec<_> = limits.repositories.iter().map(ToString::to_string).collect();
    say(&format!(
        "access token {} of user {} created: {} on {}",
        args.name,
        args.user,
        limits.actions,
        places.join(", ")
    ))?;
    if hash.kind().is_legacy() {
        say(&format!(
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
fn hash_of<'a>(user: &UserName, file: &'a Htpasswd, legacy: LegacyHashes) -> Result<&'a StoredHash, TokenError> {
    let hash = file.hash(user).ok_or_else(|| TokenError::UnknownUser(user.clone()))?;
    if legacy == LegacyHashes::Refuse && hash.kind().is_legacy() {
        return Err(TokenError::WeakHash(user.clone()));
    }
    Ok(hash)
}

fn limits(args: &CreateArgs) -> Limits {
    let repositories = if args.repository.is_empty() {
        vec!["**".parse().expect("`**` is a pattern")]
    } else {
        args.repository.clone()
    };
    let asked: Actions = args.action.iter().copied().collect();
    let looks = asked.is_empty() || asked.contains(Action::Push);
    let pull: Actions = looks.then_some(Action::Pull).into_iter().collect();
    Limits { repositories, actions: asked.union(pull) }
}

pub(super) fn list(config: &Config) -> Result<(), Failure> {
    let store = open(config)?;
    let (mut tokens, mut devices) =
        wait(async { Ok::<_, StoreError>((store.access_tokens().await?, store.devices().await?)) })??;
    // An unreadable users file is no error here: the tokens are listed without marking the removed users.
    let users = inspect(&config.auth.htpasswd).ok();
    tokens.sort_by_cached_key(|listed| listed.grant.as_ref().map_or_else(|| listed.id.to_string(), Grant::listed_as));
    devices.sort_by_cached_key(|listed| {
        let user = listed.grant.as_ref().map(|grant| grant.user.clone());
        (user, listed.grant.as_ref().map(|grant| grant.created), listed.id.to_string())
    });
    let names = tokens.iter().filter_map(|listed| Some((listed.id, listed.grant.as_ref()?.listed_as()))).collect();
    let around = Around { users, names, now: SystemTime::now() };
    let lines: Vec<_> = tokens.iter().chain(&devices).map(|listed| around.line(listed)).collect();
    let text = table(&lines);
    io::stdout().write_all(text.as_bytes()).map_err(|error| TokenError::Output(error).into())
}

/// Formats lines of the list, with the data that they need beside the token's record.
struct Around {
    /// The users file; `None` if it cannot be read.
    users: Option<Htpasswd>,
    /// The names of the access tokens by id.
    names: HashMap<GrantId, String>,
    now: SystemTime,
}

impl Around {
    fn line(&self, listed: &Listed) -> Vec<String> {
        let Some(grant) = &listed.grant else {
            return vec![listed.id.to_string(), "its record is damaged; the token is not accepted".to_owned()];
        };
        let is_gone = self.users.as_ref().is_some_and(|users| users.hash(&grant.user).is_none());
        let user = if is_gone { format!("{} (removed)", grant.user) } else { grant.user.to_string() };
        let last_use =
            listed.used.map_or_else(|| "never used".to_owned(), |used| format!("last used {}", moment(used)));
        let [what, how, until] = self.purpose(&grant.kind);
        vec![grant.listed_as(), user, what, how, format!("created {}", moment(grant.created)), until, last_use]
    }

    fn purpose(&self, kind: &GrantKind) -> [String; 3] {
        match kind {
            GrantKind::Access { limits, expires, .. } => {
                let globs: Vec<_> = limits.repositories.iter().map(ToString::to_string).collect();
                let until = match expires {
                    Some(expires) if *expires <= self.now => format!("expired {}", moment(*expires)),
                    Some(expires) => format!("expires {}", moment(*expires)),
                    None => "never expires".to_owned(),
                };
                [globs.join(","), limits.actions.to_string(), until]
            }
            GrantKind::Device { client, parent } => {
                let by = match parent.map(|parent| self.names.get(&parent)) {
                    None => "signed in with the password".to_owned(),
                    Some(Some(name)) => format!("signed in with {name}"),
                    Some(None) => "signed in with a token that was revoked".to_owned(),
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
    let widths: Vec<_> = (0..7).map(width).collect();
    let padded = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(padded).collect()
}

fn moment(time: SystemTime) -> String {
    let whole = OffsetDateTime::from(time).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    whole.format(&Rfc3339).unwrap_or_default()
}

pub(super) fn revoke(args: &RevokeArgs, config: &Config) -> Result<(), Failure> {
    let store = open(config)?;
    let unknown = || TokenError::Unknown(args.which.clone());
    let id = match args.which.parse::<TokenName>() {
        Ok(name) => wait(store.named(&name))??.ok_or_else(unknown)?,
        Err(_) => args.which.parse::<GrantId>().map_err(|_| unknown())?,
    };
    if !wait(store.revoke(id))?? {
        return Err(unknown().into());
    }
    let event = |by| Event::TokenRevoked { name: &args.which, by };
    trail::tell(&config.telemetry.audit, &trail::operator(), event);
    say(&format!("{} revoked", args.which))
}

fn open(config: &Config) -> Result<GrantStore, Failure> {
    Ok(GrantStore::new(app::existing_store(&config.storage)?))
}

/// Runs a future to its end on a runtime of this thread.
fn wait<F: Future>(work: F) -> Result<F::Output, TokenError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TokenError::Runtime)?;
    Ok(runtime.block_on(work))
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(io::stderr(), "{text}").map_err(|error| TokenError::Output(error).into())
}
