//! What a migration collects: settings, rules, users, and remarks about everything else.
//!
//! Invariant: nothing of the origin is quoted in a remark but names of settings, users, repositories and paths; passwords,
//! hashes and secrets never are, and control characters never get through.

use std::fmt;

use super::{
    Migrated,
    draft::{Draft, Value},
    lines::Lines,
    rules::Entry,
};
use crate::auth::htpasswd::Htpasswd;

/// How much a remark matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something is not as it was.
    Warning,
    /// Something need not be carried over.
    Note,
}

/// Something that was not carried over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// How much it matters.
    pub weight: Weight,
    /// The file, the line if there is one, and the remark.
    text: String,
}

/// In one line.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Warning => "warning",
            Weight::Note => "note",
        };
        write!(f, "{weight}: {}", self.text)
    }
}

/// The origin cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", line.map(|line| format!("{line}: ")).unwrap_or_default())]
pub struct Broken {
    /// Where, if anywhere in particular; counted from 1.
    pub line: Option<usize>,
    /// Why.
    pub reason: String,
    /// What to do.
    pub hint: &'static str,
}

impl Broken {
    pub(super) fn at(line: usize, reason: impl Into<String>, hint: &'static str) -> Self {
        Self { line: Some(line), reason: printable(&reason.into()), hint }
    }
}

/// A migration under way.
pub(super) struct Migration {
    /// The files that are read.
    pub(super) lines: Lines,
    file: String,
    draft: Draft,
    remarks: Vec<(Option<usize>, Remark)>,
    pub(super) users: Htpasswd,
}

impl Migration {
    pub(super) fn new(file: &str) -> Self {
        let file = printable(file);
        let draft = Draft::new(&file);
        Self { lines: Lines::new(&file), file, draft, remarks: Vec::new(), users: Htpasswd::parse(b"") }
    }

    /// A setting, and the name of what it comes from.
    pub(super) fn set(&mut self, table: &'static str, key: &'static str, value: Value, line: usize, from: &str) {
        self.draft.set(table, key, value, format!("{}: {from}", self.lines.place(line)));
    }

    /// A setting that stands in no line: what the origin does by itself.
    pub(super) fn set_default(&mut self, table: &'static str, key: &'static str, value: Value, from: &str) {
        self.draft.set(table, key, value, from.to_owned());
    }

    /// A certificate beside the first one, its key, and the line that it comes from.
    pub(super) fn further_certificate(&mut self, certificate: Value, key: Value, line: usize) {
        self.draft.further_certificate(certificate, key, format!("{}: ssl_certificate", self.lines.place(line)));
    }

    pub(super) fn rules(&mut self, entries: Vec<Entry>) {
        self.draft.rules(entries);
    }

    /// Something is not as it was.
    pub(super) fn warn(&mut self, line: impl Into<Option<usize>>, text: &str) {
        self.remark(Weight::Warning, line.into(), text);
    }

    /// Something need not be carried over.
    pub(super) fn note(&mut self, line: impl Into<Option<usize>>, text: &str) {
        self.remark(Weight::Note, line.into(), text);
    }

    fn remark(&mut self, weight: Weight, line: Option<usize>, text: &str) {
        let place = line.map_or_else(|| self.file.clone(), |line| self.lines.place(line));
        let remark = Remark { weight, text: printable(&format!("{place}: {text}")) };
        if self.remarks.iter().all(|(_, earlier)| *earlier != remark) {
            self.remarks.push((line, remark));
        }
    }

    /// Remarks come in the order of the file, those about the whole of it last.
    pub(super) fn finish(mut self) -> Migrated {
        self.remarks.sort_by_key(|(line, _)| line.unwrap_or(usize::MAX));
        let remarks = self.remarks.into_iter().map(|(_, remark)| remark).collect();
        Migrated { toml: self.draft.render(&self.lines), remarks, users: self.users }
    }
}

/// One line, whatever it was.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
