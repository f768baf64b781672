//! The protocol of the admin socket: one line of JSON with a request from the command, then one line for each event
//! from the server, of which the last one is a result.
//!
//! ```text
//! command   {"version":1,"request":"collect-garbage"}
//! server    {"event":"gc-progress","done":1,"total":2}
//!           {"event":"garbage","repository":"a","name":"sha256:…","size":0,"why":"unused"}
//!           {"event":"collected","kept":3,"restored":0}
//! ```
//!
//! The command keeps its side of the connection open until the result: the server takes its end for a cancellation.
//!
//! Invariant: lines have a maximum length, and a line that this version does not know is an error with both versions in
//! it, never a guess.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use super::{
    text,
    token_request::{SecretLine, TokenRequestLine},
};
use crate::{
    auth::tokens::TokenSelector,
    oci::RepositoryName,
    registry::{FsckFinding, Garbage, LeftOut, RepositoryStats},
    reload::ReloadTarget,
};

/// The version of this protocol. It changes when an older command or server would misunderstand a line.
const VERSION: u32 = 1;

/// The maximum length of a request line in bytes: an access token for hundreds of repositories, as long as its record
/// may be.
pub(super) const MAX_REQUEST_LEN: u64 = 64 << 10;

/// The maximum length of an event line in bytes: a finding with paths and the message of an error.
pub(super) const MAX_EVENT_LEN: u64 = 1 << 20;

/// A request of a command to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub(super) enum Request {
    /// Collect garbage. The result is [`Event::Collected`].
    CollectGarbage,
    /// Remove a repository. The result is [`Event::Removed`] or [`Event::NoSuchRepository`].
    RemoveRepository { repository: RepositoryName },
    /// Check all data and repair it. The result is [`Event::Repaired`].
    Repair,
    /// Read changed files at once. The result is [`Event::Reloaded`].
    Reload { target: ReloadTarget },
    /// Create an access token. The result is [`Event::TokenCreated`].
    CreateToken(TokenRequestLine),
    /// Revoke a token. The result is [`Event::TokenRevoked`] or [`Event::NoSuchToken`].
    RevokeToken {
        #[serde(with = "text")]
        token: TokenSelector,
    },
}

/// A message of the server about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    /// A collection has dealt with `done` of `total` repositories.
    GcProgress { done: usize, total: usize },
    /// A collection removed this.
    Garbage(Garbage),
    /// A collection removed nothing of this repository.
    LeftOut(LeftOut),
    /// A repair has read `blobs` of `total` blobs, with this number of bytes.
    FsckProgress { blobs: usize, total: usize, bytes: u64 },
    /// A repair found this, and dealt with it.
    Finding(FsckFinding),
    /// Result: the collection has ended.
    Collected { kept: usize, restored: usize },
    /// Result: the repository was removed, with these contents.
    Removed(RepositoryStats),
    /// Result: there is no such repository.
    NoSuchRepository,
    /// Result: the repair has ended; so many blobs and bytes were read.
    Repaired { blobs: usize, bytes: u64 },
    /// Result: the files were read.
    Reloaded,
    /// Result: the token was created. If the user's password hash is of a legacy kind, its name is given.
    TokenCreated { secret: SecretLine, legacy_hash: Option<String> },
    /// Result: the token was revoked, and is in use no more.
    TokenRevoked,
    /// Result: there is no such token.
    NoSuchToken,
    /// Result: the request cannot be done as it is; the words are for the operator who made it.
    Refused { error: String, hint: Option<String> },
    /// Result: the request failed or was refused.
    Failed { error: String },
}

/// Why a request line was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidRequest {
    /// The line is too long.
    #[error("the request exceeds {MAX_REQUEST_LEN} bytes")]
    TooLong,
    /// The line is not of this protocol.
    #[error("not a request of a portcullis command: {0}")]
    Malformed(String),
    /// The line is of another version of this protocol.
    #[error(
        "the command uses version {0} of the admin protocol and the server version {VERSION}; use the portcullis of the \
         running server, or restart the server"
    )]
    Version(u32),
    /// The server does not know the request.
    #[error("the server does not understand the request: {0}")]
    Unknown(String),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    content: T,
}

/// Reads the version and nothing else.
#[derive(Deserialize)]
struct NoContent {}

impl Request {
    /// The request as a line.
    pub(super) fn to_line(&self) -> Vec<u8> {
        to_line(&Versioned { version: VERSION, content: self })
    }

    /// Parses a line, with or without its newline.
    pub(super) fn parse(line: &[u8]) -> Result<Self, InvalidRequest> {
        if line.len() as u64 > MAX_REQUEST_LEN {
            return Err(InvalidRequest::TooLong);
        }
        let malformed = |error: serde_json::Error| InvalidRequest::Malformed(error.to_string());
        let Versioned::<NoContent> { version, .. } = serde_json::from_slice(line).map_err(malformed)?;
        if version != VERSION {
            return Err(InvalidRequest::Version(version));
        }
        let request: Versioned<Self> =
            serde_json::from_slice(line).map_err(|error| InvalidRequest::Unknown(error.to_string()))?;
        Ok(request.content)
    }
}

impl Event {
    /// The event as a line.
    pub(super) fn to_line(&self) -> Vec<u8> {
        to_line(self)
    }

    /// A result with this error.
    pub(super) fn failed(error: impl Display) -> Self {
        Self::Failed { error: error.to_string() }
    }

    /// A result with an error that the command shows as its own.
    pub(super) fn refused(error: &impl Display, hint: Option<String>) -> Self {
        Self::Refused { error: error.to_string(), hint }
    }
}

fn to_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("requests and events contain only names, texts and numbers");
    line.push(b'\n');
    line
}
