//! Reads the users file from disk and parses it.
//!
//! Invariant: a [`Content`] is one state of the file, never parts of two, and at most [`Htpasswd::MAX_BYTES`]
//! long.

use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use aws_lc_rs::digest;

use crate::{
    content::{self, ReadError},
    htpasswd::{Htpasswd, Problem},
    stamp::Stamp,
};

/// The bytes of the users file at one moment.
pub(super) struct Content(content::Content);

impl Content {
    /// Reads the file at `path`. Blocks.
    pub(super) fn read(path: &Path) -> Result<Self, LoadError> {
        content::Content::read(path, Htpasswd::MAX_BYTES).map(Self).map_err(|error| LoadError::reading(path, error))
    }

    /// Parses the bytes strictly, for authentication: problems that make the file unusable are an error.
    pub(super) fn parse(&self, path: &Path) -> Result<Htpasswd, LoadError> {
        let file = self.parse_leniently();
        let problems: Vec<_> = file.spoiling_problems().cloned().collect();
        if problems.is_empty() { Ok(file) } else { Err(LoadError::Broken { path: path.to_owned(), problems }) }
    }

    /// Parses the bytes leniently, for editing a line and keeping the others: invalid lines are no error.
    pub(super) fn parse_leniently(&self) -> Htpasswd {
        Htpasswd::parse(self.0.bytes())
    }

    pub(super) fn digest(&self) -> digest::Digest {
        self.0.digest()
    }

    /// The file fingerprint, unless the file was written so recently that the next write may leave it unchanged.
    pub(super) fn stamp_at(&self, now: SystemTime) -> Option<Stamp> {
        self.0.stamp_at(now)
    }
}

/// Reads a users file leniently, for inspection: its invalid lines are listed by [`Htpasswd::problems`]. Blocks.
pub fn inspect(path: &Path) -> Result<Htpasswd, LoadError> {
    Content::read(path).map(|content| content.parse_leniently())
}

/// Why the users file was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
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
    #[error("{}", broken(path, problems))]
    Broken {
        /// The path of the users file.
        path: PathBuf,
        /// Every such line.
        problems: Vec<Problem>,
    },
}

impl LoadError {
    fn reading(path: &Path, error: ReadError) -> Self {
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
            Self::Broken { problems, .. } => problems.first().map_or("fix the line", |problem| problem.reason.hint()),
        }
    }
}

/// The message for unusable lines: `file:line: reason` for each, in the format of compilers.
fn broken(path: &Path, problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| format!("{}:{}: {}", path.display(), problem.line, problem.reason));
    lines.collect::<Vec<_>>().join("\n")
}
