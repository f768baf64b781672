//! Reading the users file.
//!
//! Engines' floor. Invariant: a [`Content`] is one state of the file, not two halves, and not larger than
//! [`Htpasswd::MAX_BYTES`].

use std::{
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use aws_lc_rs::digest;

use crate::auth::{
    content::{self, ReadError},
    htpasswd::{Htpasswd, Problem},
    stamp::Stamp,
};

/// One state of the users file.
pub(super) struct Content(content::Content);

impl Content {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, LoadError> {
        content::Content::read(path, Htpasswd::MAX_BYTES).map(Self).map_err(|error| LoadError::reading(path, error))
    }

    /// Parses the bytes as a file to sign in with.
    pub(super) fn parse(&self, path: &Path) -> Result<Htpasswd, LoadError> {
        let file = self.parse_leniently();
        let problems: Vec<_> = file.spoiling_problems().cloned().collect();
        if problems.is_empty() { Ok(file) } else { Err(LoadError::Broken { path: path.to_owned(), problems }) }
    }

    /// Parses what can be parsed, for changing a line and keeping the others.
    pub(super) fn parse_leniently(&self) -> Htpasswd {
        Htpasswd::parse(self.0.bytes())
    }

    pub(super) fn digest(&self) -> digest::Digest {
        self.0.digest()
    }

    /// The stamp, if it can be trusted to change with the next write.
    pub(super) fn stamp_at(&self, now: SystemTime) -> Option<Stamp> {
        self.0.stamp_at(now)
    }
}

/// Reads a file for looking at it or changing it: what is wrong with it is in [`Htpasswd::problems`]. Blocks.
pub fn inspect(path: &Path) -> Result<Htpasswd, LoadError> {
    Content::read(path).map(|content| content.parse_leniently())
}

/// Why the users file was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nothing at that path.
    #[error("{}: there is no users file", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A folder, a device, a pipe.
    #[error("{}: the users file is not a regular file", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: the users file cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Over [`Htpasswd::MAX_BYTES`].
    #[error("{}: the users file is larger than {} MiB", path.display(), Htpasswd::MAX_BYTES / 1024 / 1024)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Lines that are not understood, or damaged.
    #[error("{}", broken(path, problems))]
    Broken {
        /// The file.
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

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "make it with `portcullis user add NAME`, or name another with --htpasswd FILE",
            Self::NotAFile { .. } | Self::TooLarge { .. } => "name the file with --htpasswd FILE",
            Self::Unreadable { .. } => "the file must be readable by the user that runs portcullis",
            Self::Broken { problems, .. } => problems.first().map_or("mend the line", |problem| problem.reason.hint()),
        }
    }
}

/// `file:line: reason`, a line each, as compilers do it.
fn broken(path: &Path, problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| format!("{}:{}: {}", path.display(), problem.line, problem.reason));
    lines.collect::<Vec<_>>().join("\n")
}
