//! Writes the new TOML file: settings and access rules, each with a comment that names its origin.
//!
//! Invariant: whatever the origin holds, the text is TOML, and it holds at least one access rule: a file without rules
//! would let every signed-in user do everything.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::Arc,
};

use super::{
    access_entries::{self, AccessEntry, RuleBlock, RuleOutcome},
    line_index::LineIndex,
};
use portcullis_access::{Group, SubjectMatcher};
use portcullis_text::without_control_characters;

/// The tables in the order of the file; groups and rules are written in the place of "access".
const TABLES: [&str; 11] = [
    "",
    "limits",
    "tls",
    "tls.files",
    "tls.acme",
    "tls.client",
    "auth",
    "auth.token",
    "access",
    "registry",
    "storage.filesystem",
];
const LAST_TABLE: &str = "log";

/// A value of TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TomlValue {
    Text(String),
    List(Vec<String>),
    Boolean(bool),
}

impl TomlValue {
    pub(super) fn text(value: impl fmt::Display) -> Self {
        Self::Text(value.to_string())
    }

    pub(super) fn list<T: fmt::Display>(values: impl IntoIterator<Item = T>) -> Self {
        Self::List(values.into_iter().map(|value| value.to_string()).collect())
    }
}

impl fmt::Display for TomlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write_quoted(f, text),
            Self::Boolean(value) => value.fmt(f),
            Self::List(texts) => {
                f.write_str("[")?;
                for (index, text) in texts.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    write_quoted(f, text)?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A basic string (TOML 1.0, "String").
fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for letter in text.chars() {
        match letter {
            '"' | '\\' => write!(f, "\\{letter}")?,
            _ if letter.is_control() => write!(f, "\\u{:04X}", u32::from(letter))?,
            _ => f.write_char(letter)?,
        }
    }
    f.write_str("\"")
}

/// A comment line. Control characters, which TOML forbids and names from the origin may contain, are replaced.
fn comment(text: &str) -> String {
    format!("# {}\n", without_control_characters(text))
}

/// Whether a text is valid as the issuer or the service of tokens: 1 to 255 bytes, no quotes, backslashes or control
/// characters.
pub(super) fn is_claim(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !text.contains(['"', '\\']) && !text.contains(char::is_control)
}

struct TomlSetting {
    table: &'static str,
    key: &'static str,
    value: TomlValue,
    from: String,
}

/// The content of the new file, as collected so far.
pub(super) struct TomlWriter {
    file: String,
    settings: Vec<TomlSetting>,
    entries: Vec<AccessEntry>,
    /// The tables `[[tls.files.more]]`: a certificate, its key, and the comment on their origin.
    certificates: Vec<(TomlValue, TomlValue, String)>,
}

impl TomlWriter {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), settings: Vec::new(), entries: Vec::new(), certificates: Vec::new() }
    }

    /// Adds a setting; the first value of a key wins.
    pub(super) fn set(&mut self, table: &'static str, key: &'static str, value: TomlValue, from: String) {
        debug_assert!(TABLES.contains(&table) || table == LAST_TABLE, "{table} has no place");
        if self.settings.iter().all(|setting| (setting.table, setting.key) != (table, key)) {
            self.settings.push(TomlSetting { table, key, value, from });
        }
    }

    /// Adds a further certificate, unless the file has that certificate already.
    pub(super) fn add_certificate(&mut self, certificate: TomlValue, key: TomlValue, from: String) {
        let is_first = |setting: &TomlSetting| (setting.table, &setting.value) == ("tls.files", &certificate);
        let is_known = self.certificates.iter().any(|(known, ..)| *known == certificate);
        if !is_known && !self.settings.iter().any(is_first) {
            self.certificates.push((certificate, key, from));
        }
    }

    /// Adds entries for access rules, after the earlier ones.
    pub(super) fn add_rules(&mut self, entries: Vec<AccessEntry>) {
        self.entries.extend(entries);
    }

    /// The text of the file; `lines` gives the names of the files in comments.
    pub(super) fn render(self, lines: &LineIndex) -> String {
        let Self { file, settings, entries, certificates } = self;
        let mut out = format!("# Written by `portcullis migrate` from {file}. Read it before you use it, and let\n");
        out.push_str("# `portcullis check` read it too.\n");
        let mut blocks = Some(access_entries::to_blocks(entries));
        for table in TABLES.into_iter().chain([LAST_TABLE]) {
            if table == "access" {
                let blocks = blocks.take().unwrap_or_default();
                out.push_str(&render_groups(&blocks));
                out.push_str(&render_rules(lines, &blocks));
            }
            let inside: Vec<&TomlSetting> = settings.iter().filter(|setting| setting.table == table).collect();
            if !inside.is_empty() && !table.is_empty() {
                let _ = write!(out, "\n[{table}]");
            }
            for TomlSetting { key, value, from, .. } in inside {
                let _ = write!(out, "\n{}{key} = {value}\n", comment(from));
            }
            if table == "tls.files" {
                for (certificate, key, from) in &certificates {
                    let _ = write!(
                        out,
                        "\n{}[[tls.files.more]]\ncertificate = {certificate}\nkey = {key}\n",
                        comment(from)
                    );
                }
            }
        }
        out
    }
}

/// The `[groups]` table with the groups that the rules name; empty if they name none.
fn render_groups(blocks: &[RuleBlock]) -> String {
    let users = blocks.iter().filter_map(|block| match block {
        RuleBlock::Rule { entry, .. } => Some(&entry.users),
        RuleBlock::Omitted { .. } => None,
    });
    let groups: BTreeMap<&str, &Arc<Group>> = users
        .flatten()
        .filter_map(|who| match who {
            SubjectMatcher::Group(group) => Some((group.name.as_str(), group)),
            SubjectMatcher::Anonymous | SubjectMatcher::SignedIn | SubjectMatcher::User(_) => None,
        })
        .collect();
    let mut out = String::new();
    for (index, (name, group)) in groups.into_iter().enumerate() {
        let header = if index == 0 { "\n[groups]\n" } else { "" };
        let _ = writeln!(out, "{header}{} = {}", TomlValue::text(name), TomlValue::list(&group.members));
    }
    out
}

fn render_rules(lines: &LineIndex, blocks: &[RuleBlock]) -> String {
    let mut out: String = blocks.iter().map(|block| render_block(lines, block)).collect();
    if !blocks.iter().any(|block| matches!(block, RuleBlock::Rule { verdict, .. } if verdict.is_written())) {
        out.push_str(
            "\n# Denies everything until other rules allow it. (Without any rule, every signed-in user may do everything.)\n",
        );
        out.push_str("[[access]]\nusers        = [\"*\", \"anonymous\"]\nrepositories = [\"**\"]\nactions      = []\n");
    }
    out
}

fn render_block(lines: &LineIndex, block: &RuleBlock) -> String {
    match block {
        RuleBlock::Omitted { line, what, why } => {
            format!(
                "\n{}{}",
                comment(&format!("{}: {what}", lines.format_place(*line))),
                comment(&format!("Left out: {why}."))
            )
        }
        RuleBlock::Rule { entry, verdict } => {
            let AccessEntry { line, description: what, users, repositories, actions, .. } = entry;
            let actions = TomlValue::list(actions.iter());
            let mut out = format!("\n{}", comment(&format!("{}: {what}", lines.format_place(*line))));
            let (mark, written) = match verdict {
                RuleOutcome::Unchanged => ("", actions),
                RuleOutcome::Denied(why) => {
                    out.push_str(&comment(&format!("Closed: {why}.")));
                    out.push_str("# If that no longer applies, use these actions:\n");
                    let _ = writeln!(out, "#actions      = {actions}");
                    ("", TomlValue::list([""; 0]))
                }
                RuleOutcome::Closed(why) => {
                    out.push_str(&comment(&format!("Closed for all users that it may match: {why}.")));
                    ("", actions)
                }
                RuleOutcome::Narrowed { to, omitted_lines: because } => {
                    let places: Vec<String> = because.iter().map(|line| lines.format_place(*line)).collect();
                    let _ = writeln!(
                        out,
                        "# Narrowed to the actions of the entries left out above ({}); it was:",
                        places.join(", ")
                    );
                    let _ = writeln!(out, "#actions      = {actions}");
                    ("", TomlValue::list(to.iter()))
                }
                RuleOutcome::Unreachable(by) => {
                    let _ = writeln!(
                        out,
                        "# Never reached: {} matches all its users and repositories.",
                        lines.format_place(*by)
                    );
                    ("#", actions)
                }
            };
            let _ = writeln!(out, "{mark}[[access]]");
            let _ = writeln!(out, "{mark}users        = {}", TomlValue::list(users));
            let _ = writeln!(out, "{mark}repositories = {}", TomlValue::list(repositories));
            let _ = writeln!(out, "{mark}actions      = {written}");
            out
        }
    }
}
