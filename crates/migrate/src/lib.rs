//! Reads the configuration of nginx, CNCF Distribution or `docker_auth` and writes an equivalent `portcullis.toml`.
//!
//! The module does no I/O; only its tests depend on `config`. Invariant: no user may do more after the migration than
//! before. What cannot be expressed is reported; where it denied rights, later rules are narrowed too, with a comment
//! in the file.
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

use portcullis_auth::htpasswd::Htpasswd;

pub use nginx::{Files, NoFiles};
pub use talk::{Broken, Remark, Weight};

use talk::Migration;

/// The maximum size of a configuration that is read, in bytes; hand-written files are smaller.
pub const LARGEST: u64 = 1 << 20;
/// The maximum size of the output of `nginx -T`, which holds all files together, in bytes.
pub const LARGEST_DUMP: u64 = 16 << 20;

/// The kind of configuration to migrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A site of nginx, or its whole configuration.
    Nginx,
    /// `config.yml` of CNCF Distribution, 2 or 3.
    Registry,
    /// The configuration of `cesanta/docker_auth`.
    DockerAuth {
        /// The new users file that its users will be written to, if one is named.
        htpasswd: Option<&'a Path>,
    },
}

/// The result of a migration.
#[derive(Debug)]
pub struct Migrated {
    /// The text of the new `portcullis.toml`.
    pub toml: String,
    /// What was not carried over, and why, in the order of the origin's lines.
    pub remarks: Vec<Remark>,
    /// The users and hashes that the origin itself holds; empty unless a users file was named.
    pub users: Htpasswd,
}

/// Migrates `text`, the content of a file of this name, without reading included files.
pub fn migrate(origin: Origin<'_>, name: &str, text: &str) -> Result<Migrated, Broken> {
    migrate_with(origin, name, text, &NoFiles)
}

/// Migrates `text`, the content of a file of this name, and the `files` that it includes.
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
