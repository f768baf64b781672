//! Collects the result of a migration: settings, rules, users, and remarks on everything that is not carried over.
//!
//! Invariant: remarks quote nothing of the origin but names of settings, users, repositories and paths; they never
//! contain passwords, hashes, secrets or control characters.

use std::fmt;

use super::{
    access_entries::AccessEntry,
    line_index::LineIndex,
    toml_writer::{TomlValue, TomlWriter},
};
use portcullis_auth::users::htpasswd::Htpasswd;
use portcullis_text::without_control_characters;

/// The severity of a remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something differs from the origin.
    Warning,
    /// Something need not be carried over.
    Note,
}

/// Something that was not carried over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The severity.
    pub severity: Severity,
    /// The file, the line if there is one, and the remark.
    text: String,
}

/// The severity and the text, in one line.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.severity {
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, "{weight}: {}", self.text)
    }
}

/// The origin cannot be parsed, or the program that it belongs to refuses it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", line.map(|line| format!("{line}: ")).unwrap_or_default())]
pub struct ParseError {
    /// The line of the error, counted from 1, if it has one.
    pub line: Option<usize>,
    /// The reason, in one line.
    pub reason: String,
    /// What the user can do.
    pub hint: &'static str,
}

impl ParseError {
    pub(super) fn at(line: usize, reason: impl Into<String>, hint: &'static str) -> Self {
        Self { line: Some(line), reason: without_control_characters(&reason.into()), hint }
    }
}

/// The result of a migration.
#[derive(Debug)]
pub struct Migrated {
    /// The text of the new `portcullis.toml`.
    pub toml: String,
    /// What was not carried over, and why, in the order of the origin's lines.
    pub diagnostics: Vec<Diagnostic>,
    /// The users and hashes that the origin itself holds; empty unless a users file was named.
    pub users: Htpasswd,
}

/// The result of a migration while the origin is read.
pub(super) struct Migration {
    /// The line numbers of the files that are read.
    pub(super) lines: LineIndex,
    file: String,
    writer: TomlWriter,
    diagnostics: Vec<(Option<usize>, Diagnostic)>,
    pub(super) users: Htpasswd,
}

impl Migration {
    pub(super) fn new(file: &str) -> Self {
        let file = without_control_characters(file);
        let draft = TomlWriter::new(&file);
        Self { lines: LineIndex::new(&file), file, writer: draft, diagnostics: Vec::new(), users: Htpasswd::parse(b"") }
    }

    /// Adds a setting, with the line and the name of the setting that it comes from.
    pub(super) fn set(&mut self, table: &'static str, key: &'static str, value: TomlValue, line: usize, from: &str) {
        self.writer.set(table, key, value, format!("{}: {from}", self.lines.format_place(line)));
    }

    /// Adds a setting for a default of the origin, which has no line.
    pub(super) fn set_default(&mut self, table: &'static str, key: &'static str, value: TomlValue, from: &str) {
        self.writer.set(table, key, value, from.to_owned());
    }

    /// Adds a further certificate and its key, and the line that it comes from.
    pub(super) fn add_certificate(&mut self, certificate: TomlValue, key: TomlValue, line: usize) {
        self.writer.add_certificate(certificate, key, format!("{}: ssl_certificate", self.lines.format_place(line)));
    }

    /// Adds entries for access rules, after the earlier ones.
    pub(super) fn add_rules(&mut self, entries: Vec<AccessEntry>) {
        self.writer.add_rules(entries);
    }

    /// Adds a warning: something differs from the origin.
    pub(super) fn warn(&mut self, line: impl Into<Option<usize>>, text: &str) {
        self.add_diagnostic(Severity::Warning, line.into(), text);
    }

    /// Adds a note: something need not be carried over.
    pub(super) fn note(&mut self, line: impl Into<Option<usize>>, text: &str) {
        self.add_diagnostic(Severity::Note, line.into(), text);
    }

    fn add_diagnostic(&mut self, weight: Severity, line: Option<usize>, text: &str) {
        let place = line.map_or_else(|| self.file.clone(), |line| self.lines.format_place(line));
        let remark = Diagnostic { severity: weight, text: without_control_characters(&format!("{place}: {text}")) };
        if self.diagnostics.iter().all(|(_, earlier)| *earlier != remark) {
            self.diagnostics.push((line, remark));
        }
    }

    /// Renders the file and sorts the remarks by line, those without a line last.
    pub(super) fn finish(mut self) -> Migrated {
        self.diagnostics.sort_by_key(|(line, _)| line.unwrap_or(usize::MAX));
        let remarks = self.diagnostics.into_iter().map(|(_, remark)| remark).collect();
        Migrated { toml: self.writer.render(&self.lines), diagnostics: remarks, users: self.users }
    }
}
