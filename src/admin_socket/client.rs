//! The side of a command: connects to the admin socket, makes one request, and returns its result.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    path::{AddressPath, socket_path},
    protocol::{Event, MAX_EVENT_LEN, Request},
};
use crate::{
    auth::{
        Password,
        tokens::{AccessTokenRequest, TokenSelector},
    },
    oci::RepositoryName,
    registry::{FsckProgress, FsckReport, GcProgress, GcReport, RepairProgress, RepositoryStats},
    reload::ReloadTarget,
};

/// A connection to the server that uses a data folder.
pub(crate) struct AdminClient {
    stream: UnixStream,
}

/// Why there is no connection to a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// No server listens on the socket: there is none, it is starting or stopping, or it runs on another machine.
    #[error("{}: {}", .0.display(), .1)]
    NotListening(PathBuf, #[source] io::Error),
    /// The running server could not create its socket.
    #[error("the server that uses this folder could not create its socket {}: {}", .0.display(), .1)]
    NoSocket(PathBuf, String),
    /// The socket cannot be used, for example because it belongs to another account.
    #[error("cannot connect to the server at {}: {}", .0.display(), .1)]
    Denied(PathBuf, #[source] io::Error),
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// The connection failed.
    #[error("the connection to the server failed: {0}")]
    Io(#[from] io::Error),
    /// The server ended before the request did.
    #[error("the server ended before the request was done")]
    ServerEnded,
    /// The server sent something that this command does not understand.
    #[error("the server sent an event that this command does not understand: {0}")]
    UnknownEvent(String),
    /// The server refused the request, or failed to do it.
    #[error("the server reports: {0}")]
    Failed(String),
    /// There is no such repository.
    #[error("repository {0} is not known")]
    NameUnknown(RepositoryName),
    /// The request cannot be done as it is.
    #[error("{error}")]
    Refused {
        /// The reason, in words for the operator.
        error: String,
        /// What the operator can do about it.
        hint: Option<String>,
    },
}

/// An access token that the server created.
pub(crate) struct ReceivedToken {
    /// The token with its secret.
    pub(crate) secret: Password,
    /// The kind of the user's password hash if the next login with the password replaces it, which ends the token.
    pub(crate) legacy_hash: Option<String>,
}

impl RequestError {
    /// What the operator can do about it.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Io(_) | Self::ServerEnded => {
                Some("what is done is consistent; see the log of the server, and run the command again")
            }
            Self::UnknownEvent(_) => Some("use the portcullis of the running server, or restart the server"),
            Self::Failed(_) => None,
            Self::NameUnknown(_) => Some("see `portcullis repository list`"),
            Self::Refused { hint, .. } => hint.as_deref(),
        }
    }
}

/// The time limit for the answer to a request to reload.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

impl AdminClient {
    /// Connects to the server that uses the data folder `root`.
    pub(crate) fn connect(root: &Path) -> Result<Self, ConnectError> {
        let path = socket_path(root);
        let error = match AddressPath::new(root).and_then(|address| UnixStream::connect(address.as_path())) {
            Ok(stream) => return Ok(Self { stream }),
            Err(error) => error,
        };
        let reason = read_reason(&path);
        if let Some(reason) = reason {
            Err(ConnectError::NoSocket(path, reason))
        } else if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
            Err(ConnectError::NotListening(path, error))
        } else {
            Err(ConnectError::Denied(path, error))
        }
    }

    /// Has the server collect garbage, and passes every step to `observer`.
    pub(crate) fn collect_garbage(self, observer: &mut dyn FnMut(GcProgress<'_>)) -> Result<GcReport, RequestError> {
        let mut report = GcReport::default();
        let result = self.request(&Request::CollectGarbage, &mut |event| {
            if let Event::GcProgress { done, total } = event {
                observer(GcProgress::Repositories { done, total });
            } else if let Event::Garbage(garbage) = event {
                observer(GcProgress::Garbage(&garbage));
                report.garbage.push(garbage);
            } else if let Event::LeftOut(left_out) = event {
                observer(GcProgress::LeftOut(&left_out));
                report.left_out.push(left_out);
            } else {
                return Some(event);
            }
            None
        })?;
        let Event::Collected { kept, restored } = result else { return Err(unexpected(&result)) };
        Ok(GcReport { kept, restored, ..report })
    }

    /// Has the server check and repair all data, and passes every step to `observer`.
    pub(crate) fn repair(self, observer: &mut dyn FnMut(RepairProgress<'_>)) -> Result<FsckReport, RequestError> {
        let mut findings = Vec::new();
        let result = self.request(&Request::Repair, &mut |event| {
            if let Event::FsckProgress { blobs, total, bytes } = event {
                observer(RepairProgress::Check(FsckProgress { blobs, total, bytes }));
            } else if let Event::Finding(finding) = event {
                observer(RepairProgress::Finding(&finding));
                findings.push(finding);
            } else {
                return Some(event);
            }
            None
        })?;
        let Event::Repaired { blobs, bytes } = result else { return Err(unexpected(&result)) };
        Ok(FsckReport { findings, blobs, bytes })
    }

    /// Has the server remove a repository, and returns what was in it.
    pub(crate) fn remove_repository(self, name: &RepositoryName) -> Result<RepositoryStats, RequestError> {
        let request = Request::RemoveRepository { repository: name.clone() };
        let result = self.request(&request, &mut Some)?;
        if result == Event::NoSuchRepository {
            return Err(RequestError::NameUnknown(name.clone()));
        }
        let Event::Removed(contents) = result else { return Err(unexpected(&result)) };
        Ok(contents)
    }

    /// Has the server read changed files at once.
    pub(crate) fn reload(self, target: ReloadTarget) -> Result<(), RequestError> {
        // The files are written already, so a server that hangs must not keep the command.
        self.stream.set_read_timeout(Some(RELOAD_TIMEOUT))?;
        self.stream.set_write_timeout(Some(RELOAD_TIMEOUT))?;
        let result = self.request(&Request::Reload { target }, &mut Some)?;
        if result == Event::Reloaded { Ok(()) } else { Err(unexpected(&result)) }
    }

    /// Has the server create an access token.
    pub(crate) fn create_token(self, request: AccessTokenRequest) -> Result<ReceivedToken, RequestError> {
        let result = self.request(&Request::CreateToken(request.into()), &mut Some)?;
        let Event::TokenCreated { secret, legacy_hash } = result else { return Err(unexpected(&result)) };
        Ok(ReceivedToken { secret: secret.into_password(), legacy_hash })
    }

    /// Has the server revoke a token. Returns whether it existed.
    pub(crate) fn revoke_token(self, token: TokenSelector) -> Result<bool, RequestError> {
        let result = self.request(&Request::RevokeToken { token }, &mut Some)?;
        let was_there = result == Event::TokenRevoked;
        if was_there || result == Event::NoSuchToken { Ok(was_there) } else { Err(unexpected(&result)) }
    }

    /// Sends a request, and passes its events to `take` until that returns one, the result.
    fn request(
        mut self,
        request: &Request,
        take: &mut dyn FnMut(Event) -> Option<Event>,
    ) -> Result<Event, RequestError> {
        // A server that refuses the peer answers and closes without reading the request.
        let sent = self.stream.write_all(&request.to_line());
        let mut reader = BufReader::new(self.stream);
        loop {
            let mut line = Vec::new();
            let read = reader.by_ref().take(MAX_EVENT_LEN).read_until(b'\n', &mut line);
            match read {
                Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error.into()),
                Ok(_) if line.last() == Some(&b'\n') => {}
                Ok(length) if length as u64 == MAX_EVENT_LEN => {
                    return Err(RequestError::UnknownEvent(format!("it exceeds {MAX_EVENT_LEN} bytes")));
                }
                Ok(_) | Err(_) => return sent.map_err(RequestError::Io).and(Err(RequestError::ServerEnded)),
            }
            let event = serde_json::from_slice(&line).map_err(|error| RequestError::UnknownEvent(error.to_string()))?;
            match take(event) {
                None => {}
                Some(Event::Failed { error }) => return Err(RequestError::Failed(error)),
                Some(Event::Refused { error, hint }) => return Err(RequestError::Refused { error, hint }),
                Some(event) => return Ok(event),
            }
        }
    }
}

fn unexpected(event: &Event) -> RequestError {
    // Not its line, which may contain a secret.
    RequestError::UnknownEvent(format!("{event:?}"))
}

/// The reason that a server wrote into a file in the place of its socket.
fn read_reason(path: &Path) -> Option<String> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut reason = String::new();
    fs::File::open(path).ok()?.take(4096).read_to_string(&mut reason).ok()?;
    Some(reason.trim().to_owned())
}
