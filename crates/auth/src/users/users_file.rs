//! Reads the users file from disk and parses it.
//!
//! Invariant: a [`UsersFileContent`] is one state of the file, never parts of two, and at most [`Htpasswd::MAX_BYTES`]
//! long.

use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use aws_lc_rs::digest;

use crate::{
    secret_files::stable_read::{self, ReadError},
    users::htpasswd::{Htpasswd, LineProblem},
};
use portcullis_file_watch::FileFingerprint;

/// The bytes of the users file at one moment.
pub(super) struct UsersFileContent(stable_read::StableContent);

impl UsersFileContent {
    /// Reads the file at `path`. Blocks.
    pub(super) fn read(path: &Path) -> Result<Self, UsersFileError> {
        stable_read::StableContent::read(path, Htpasswd::MAX_BYTES)
            .map(Self)
            .map_err(|error| UsersFileError::from_read_error(path, error))
    }

    /// Parses the bytes strictly, for authentication: problems that make the file unusable are an error.
    pub(super) fn parse(&self, path: &Path) -> Result<Htpasswd, UsersFileError> {
        let file = self.parse_leniently();
        let problems: Vec<_> = file.fatal_problems().cloned().collect();
        if problems.is_empty() {
            Ok(file)
        } else {
            Err(UsersFileError::InvalidLines { path: path.to_owned(), problems })
        }
    }

    /// Parses the bytes leniently, for editing a line and keeping the others: invalid lines are no error.
    pub(super) fn parse_leniently(&self) -> Htpasswd {
        Htpasswd::parse(self.0.bytes())
    }

    pub(super) fn digest(&self) -> digest::Digest {
        self.0.digest()
    }

    /// The file fingerprint, unless the file was written so recently that the next write may leave it unchanged.
    pub(super) fn reliable_fingerprint(&self, now: SystemTime) -> Option<FileFingerprint> {
        self.0.reliable_fingerprint(now)
    }
}

/// Reads a users file leniently, for inspection: its invalid lines are listed by [`Htpasswd::problems`]. Blocks.
pub fn read_leniently(path: &Path) -> Result<Htpasswd, UsersFileError> {
    UsersFileContent::read(path).map(|content| content.parse_leniently())
}

/// Why the users file was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    /// There is no file at this path.
    #[error("{}: there is no users file", path.display())]
    Missing {
        /// The path of the users file.
        path: PathBuf,
    },
    /// The path is a directory, a device or a pipe.
    #[error("{}: the users file is not a regular file", path.display())]
    NotAFile {
        /// The path of the users file.
        path: PathBuf,
    },
    /// The operating system returned an error.
    #[error("{}: the users file cannot be read: {source}", path.display())]
    Unreadable {
        /// The path of the users file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is larger than [`Htpasswd::MAX_BYTES`].
    #[error("{}: the users file is larger than {} MiB", path.display(), Htpasswd::MAX_BYTES / 1024 / 1024)]
    TooLarge {
        /// The path of the users file.
        path: PathBuf,
    },
    /// The file has invalid lines that make it unusable.
    #[error("{}", problem_list(path, problems))]
    InvalidLines {
        /// The path of the users file.
        path: PathBuf,
        /// Every such line.
        problems: Vec<LineProblem>,
    },
}

impl UsersFileError {
    fn from_read_error(path: &Path, error: ReadError) -> Self {
        let path = path.to_owned();
        match error {
            ReadError::NotAFile => Self::NotAFile { path },
            ReadError::TooLarge => Self::TooLarge { path },
            ReadError::System(source) if source.kind() == io::ErrorKind::NotFound => Self::Missing { path },
            ReadError::System(source) => Self::Unreadable { path, source },
        }
    }

    /// What the administrator can do about the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "make it with `portcullis user add NAME`, or name another with --htpasswd FILE",
            Self::NotAFile { .. } | Self::TooLarge { .. } => "name the file with --htpasswd FILE",
            Self::Unreadable { .. } => "the file must be readable by the user that runs portcullis",
            Self::InvalidLines { problems, .. } => {
                problems.first().map_or("fix the line", |problem| problem.reason.hint())
            }
        }
    }
}

/// The message for unusable lines: `file:line: reason` for each, in the format of compilers.
fn problem_list(path: &Path, problems: &[LineProblem]) -> String {
    let lines = problems.iter().map(|problem| format!("{}:{}: {}", path.display(), problem.line, problem.reason));
    lines.collect::<Vec<_>>().join("\n")
}
