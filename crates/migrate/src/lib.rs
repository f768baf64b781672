//! Reads the configuration of nginx, CNCF Distribution or `docker_auth` and writes an equivalent `portcullis.toml`.
//!
//! The module does no I/O; only its tests depend on `config`. Invariant: no user may do more after the migration than
//! before. What cannot be expressed is reported; where it denied rights, later rules are narrowed too, with a comment
//! in the file.
//!
//! ```text
//! nginx site ──── nginx/syntax ─▶ nginx/* ────────┐
//! config.yml ─┬── yaml ─────────▶ registry/* ─────┼─▶ Migration (settings, entries) ─ toml_writer ─▶ portcullis.toml
//! auth.yml ───┘               └─▶ docker_auth/* ──┘        └─▶ Diagnostic…
//! ```
//!
//! Regular expressions (`expression`) and patterns (`pattern`) over paths and names become globs.

mod access_entries;
mod acme_order;
mod docker_auth;
mod duration;
mod expression;
mod line_index;
mod nginx;
mod pattern;
mod registry;
mod report;
#[cfg(test)]
mod tests;
mod toml_writer;
mod unsupported_keys;
mod yaml;

use std::path::Path;

pub use nginx::{IncludeFiles, NoIncludeFiles};
pub use report::{Diagnostic, Migrated, ParseError, Severity};

use report::Migration;

/// The maximum size of a configuration that is read, in bytes; hand-written files are smaller.
pub const MAX_FILE_LEN: u64 = 1 << 20;
/// The maximum size of the output of `nginx -T`, which holds all files together, in bytes.
pub const MAX_DUMP_LEN: u64 = 16 << 20;

/// The kind of configuration to migrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationSource<'a> {
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

/// Migrates `text`, the content of a file of this name, without reading included files.
pub fn migrate(origin: MigrationSource<'_>, name: &str, text: &str) -> Result<Migrated, ParseError> {
    migrate_with(origin, name, text, &NoIncludeFiles)
}

/// Migrates `text`, the content of a file of this name, and the `files` that it includes.
pub fn migrate_with(
    origin: MigrationSource<'_>,
    name: &str,
    text: &str,
    files: &dyn IncludeFiles,
) -> Result<Migrated, ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut migration = Migration::new(name);
    match origin {
        MigrationSource::Nginx => nginx::read(text, files, &mut migration)?,
        MigrationSource::Registry => registry::read(&yaml::parse(text)?, &mut migration)?,
        MigrationSource::DockerAuth { htpasswd } => docker_auth::read(&yaml::parse(text)?, htpasswd, &mut migration)?,
    }
    Ok(migration.finish())
}
