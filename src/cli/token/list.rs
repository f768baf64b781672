//! Implements `portcullis token list`: prints the tokens in the data folder with the state of each.
//!
//! Invariant: the command only reads the store, so it works the same beside a running server and without one.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    time::SystemTime,
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    access_tokens::{block_on, open_store},
    error::TokenError,
};
use crate::{
    auth::{
        StoredTokenId,
        tokens::{ListedToken, ParentRecord, StoredToken, StoredTokenKind, TokenStateContext},
        users::read_leniently,
    },
    cli::{CommandError, ignore_broken_pipe},
    clock::Clock,
    config::Config,
    storage::StoreError,
};

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
