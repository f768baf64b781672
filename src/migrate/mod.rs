//! Reading the configuration of what stood here before, and writing ours that does the same.
//!
//! Process floor, no I/O; `config` is known to the tests alone. Invariant: nobody may do more afterwards than before. What cannot be expressed is told, and where it
//! took rights away, what comes after it is taken away as well, in words that stand in the file.
//!
//! ```text
//! nginx site ──── nginx/syntax ─▶ nginx/* ────────┐
//! config.yml ─┬── yaml ─────────▶ registry/* ─────┼─▶ Migration (settings, Entry…) ─ rules ─▶ draft ─▶ portcullis.toml
//! auth.yml ───┘               └─▶ docker_auth/* ──┘        └─▶ Remark…
//! ```

mod acme;
mod docker_auth;
mod draft;
mod lines;
mod nginx;
mod pattern;
mod regex;
mod registry;
mod rules;
mod span;
mod superset;
mod talk;
#[cfg(test)]
mod tests;
mod unsupported_keys;
mod yaml;

use std::path::Path;

use crate::auth::htpasswd::Htpasswd;

pub use nginx::{Files, NoFiles};
pub use talk::{Broken, Remark, Weight};

use talk::Migration;

/// More than anybody writes by hand, in bytes.
pub const LARGEST: u64 = 1 << 20;
/// More than `nginx -T` prints of all files together, in bytes.
pub const LARGEST_DUMP: u64 = 16 << 20;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A site of nginx, or its whole configuration.
    Nginx,
    /// `config.yml` of CNCF Distribution, 2 or 3.
    Registry,
    /// The configuration of `cesanta/docker_auth`.
    DockerAuth {
        /// Where its users will be written, if anywhere.
        htpasswd: Option<&'a Path>,
    },
}

/// What comes of it.
#[derive(Debug)]
pub struct Migrated {
    /// The configuration.
    pub toml: String,
    /// What was not carried over, and why.
    pub remarks: Vec<Remark>,
    /// The users that the origin holds itself.
    pub users: Htpasswd,
}

/// Reads `text`, which comes from a file of this name and is read alone.
pub fn migrate(origin: Origin<'_>, name: &str, text: &str) -> Result<Migrated, Broken> {
    migrate_with(origin, name, text, &NoFiles)
}

/// Reads `text`, which comes from a file of this name, and the `files` that it includes.
pub fn migrate_with(origin: Origin<'_>, name: &str, text: &str, files: &dyn Files) -> Result<Migrated, Broken> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut migration = Migration::new(name);
    match origin {
        Origin::Nginx => nginx::read(text, files, &mut migration)?,
        Origin::Registry => registry::read(&yaml::parse(text)?, &mut migration)?,
        Origin::DockerAuth { htpasswd } => docker_auth::read(&yaml::parse(text)?, htpasswd, &mut migration)?,
    }
    Ok(migration.finish())
}
