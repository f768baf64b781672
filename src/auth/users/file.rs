//! Reading the users file.
//!
//! Engines' floor. Invariant: a [`Content`] is one state of the file, not two halves, and not larger than
//! [`Htpasswd::MAX_BYTES`].

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;

use super::stamp::Stamp;
use crate::auth::htpasswd::{Htpasswd, Problem};

/// A file's bytes and what the file system said about them.
pub(super) struct Content {
    bytes: Vec<u8>,
    stamp: Stamp,
}

impl Content {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, LoadError> {
        // Apache's htpasswd truncates the file and writes it again: read until nothing moves, a few times.
        let mut content = Self::read_once(path)?;
        for _ in 0..5 {
            if !content.bytes.is_empty() && Stamp::of_path(path) == Some(content.stamp) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            content = Self::read_once(path)?;
        }
        Ok(content)
    }

    fn read_once(path: &Path) -> Result<Self, LoadError> {
        let unreadable = |source| LoadError::unreadable(path, source);
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(LoadError::NotAFile { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        file.take(Htpasswd::MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > Htpasswd::MAX_BYTES {
            return Err(LoadError::TooLarge { path: path.to_owned() });
        }
        Ok(Self { bytes, stamp: Stamp::of(&metadata) })
    }

    /// Understands the bytes, all of them.
    pub(super) fn parse(&self, path: &Path) -> Result<Htpasswd, LoadError> {
        let file = self.parse_leniently();
        if file.problems().is_empty() {
            return Ok(file);
        }
        Err(LoadError::Broken { path: path.to_owned(), problems: file.problems().to_vec() })
    }

    /// Understands what can be understood, for changing a line and keeping the others.
    pub(super) fn parse_leniently(&self) -> Htpasswd {
        Htpasswd::parse(&self.bytes)
    }

    pub(super) fn digest(&self) -> digest::Digest {
        digest::digest(&digest::SHA256, &self.bytes)
    }

    /// The stamp, if it can be trusted to change with the next write.
    pub(super) fn stamp_at(&self, now: SystemTime) -> Option<Stamp> {
        Some(self.stamp).filter(|stamp| !stamp.is_fresh(now))
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
    /// Lines that are not understood.
    #[error("{}", broken(path, problems))]
    Broken {
        /// The file.
        path: PathBuf,
        /// Every such line.
        problems: Vec<Problem>,
    },
}

impl LoadError {
    fn unreadable(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing { path }
        } else {
            Self::Unreadable { path, source }
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
