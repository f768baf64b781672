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
    lines::Lines,
    rules::{self, Block, Entry, Verdict},
    talk::printable,
};
use portcullis_access::{Group, Who};

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
pub(super) enum Value {
    Text(String),
    List(Vec<String>),
    Boolean(bool),
}

impl Value {
    pub(super) fn text(value: impl fmt::Display) -> Self {
        Self::Text(value.to_string())
    }

    pub(super) fn list<T: fmt::Display>(values: impl IntoIterator<Item = T>) -> Self {
        Self::List(values.into_iter().map(|value| value.to_string()).collect())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => quoted(f, text),
            Self::Boolean(value) => value.fmt(f),
            Self::List(texts) => {
                f.write_str("[")?;
                for (index, text) in texts.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    quoted(f, text)?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A basic string (TOML 1.0, "String").
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
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
    format!("# {}\n", printable(text))
}

/// Whether a text is valid as the issuer or the service of tokens: 1 to 255 bytes, no quotes, backslashes or control
/// characters.
pub(super) fn is_claim(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !text.contains(['"', '\\']) && !text.contains(char::is_control)
}

struct Setting {
    table: &'static str,
    key: &'static str,
    value: Value,
    from: String,
}

/// The content of the new file, as collected so far.
pub(super) struct Draft {
    file: String,
    settings: Vec<Setting>,
    entries: Vec<Entry>,
    /// The tables `[[tls.files.more]]`: a certificate, its key, and the comment on their origin.
    certificates: Vec<(Value, Value, String)>,
}

impl Draft {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), settings: Vec::new(), entries: Vec::new(), certificates: Vec::new() }
    }

    /// Adds a setting; the first value of a key wins.
    pub(super) fn set(&mut self, table: &'static str, key: &'static str, value: Value, from: String) {
        debug_assert!(TABLES.contains(&table) || table == LAST_TABLE, "{table} has no place");
        if self.settings.iter().all(|setting| (setting.table, setting.key) != (table, key)) {
            self.settings.push(Setting { table, key, value, from });
        }
    }

    /// Adds a further certificate, unless the file has that certificate already.
    pub(super) fn further_certificate(&mut self, certificate: Value, key: Value, from: String) {
        let is_first = |setting: &Setting| (setting.table, &setting.value) == ("tls.files", &certificate);
        let is_known = self.certificates.iter().any(|(known, ..)| *known == certificate);
        if !is_known && !self.settings.iter().any(is_first) {
            self.certificates.push((certificate, key, from));
        }
    }

    /// Adds entries for access rules, after the earlier ones.
    pub(super) fn rules(&mut self, entries: Vec<Entry>) {
        self.entries.extend(entries);
    }

    /// The text of the file; `lines` gives the names of the files in comments.
    pub(super) fn render(self, lines: &Lines) -> String {
        let Self { file, settings, entries, certificates } = self;
        let mut out = format!("# Written by `portcullis migrate` from {file}. Read it before you use it, and let\n");
        out.push_str("# `portcullis check` read it too.\n");
        let mut blocks = Some(rules::in_order(entries));
        for table in TABLES.into_iter().chain([LAST_TABLE]) {
            if table == "access" {
                let blocks = blocks.take().unwrap_or_default();
                out.push_str(&groups(&blocks));
                out.push_str(&access(lines, &blocks));
            }
            let inside: Vec<&Setting> = settings.iter().filter(|setting| setting.table == table).collect();
            if !inside.is_empty() && !table.is_empty() {
                let _ = write!(out, "\n[{table}]");
            }
            for Setting { key, value, from, .. } in inside {
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
fn groups(blocks: &[Block]) -> String {
    let users = blocks.iter().filter_map(|block| match block {
        Block::Rule { entry, .. } => Some(&entry.users),
        Block::LeftOut { .. } => None,
    });
    let groups: BTreeMap<&str, &Arc<Group>> = users
        .flatten()
        .filter_map(|who| match who {
            Who::Group(group) => Some((group.name.as_str(), group)),
            Who::Anonymous | Who::SignedIn | Who::User(_) => None,
        })
        .collect();
    let mut out = String::new();
    for (index, (name, group)) in groups.into_iter().enumerate() {
        let header = if index == 0 { "\n[groups]\n" } else { "" };
        let _ = writeln!(out, "{header}{} = {}", Value::text(name), Value::list(&group.members));
    }
    out
}

fn access(lines: &Lines, blocks: &[Block]) -> String {
    let mut out: String = blocks.iter().map(|block| one_block(lines, block)).collect();
    if !blocks.iter().any(|block| matches!(block, Block::Rule { verdict, .. } if verdict.is_written())) {
        out.push_str(
            "\n# Denies everything until other rules allow it. (Without any rule, every signed-in user may do everything.)\n",
        );
        out.push_str("[[access]]\nusers        = [\"*\", \"anonymous\"]\nrepositories = [\"**\"]\nactions      = []\n");
    }
    out
}

fn one_block(lines: &Lines, block: &Block) -> String {
    match block {
        Block::LeftOut { line, what, why } => {
            format!(
                "\n{}{}",
                comment(&format!("{}: {what}", lines.place(*line))),
                comment(&format!("Left out: {why}."))
            )
        }
        Block::Rule { entry, verdict } => {
            let Entry { line, what, users, repositories, actions, .. } = entry;
            let actions = Value::list(actions.iter());
            let mut out = format!("\n{}", comment(&format!("{}: {what}", lines.place(*line))));
            let (mark, written) = match verdict {
                Verdict::AsItWas => ("", actions),
                Verdict::Withheld(why) => {
                    out.push_str(&comment(&format!("Closed: {why}.")));
                    out.push_str("# If that no longer applies, use these actions:\n");
                    let _ = writeln!(out, "#actions      = {actions}");
                    ("", Value::list([""; 0]))
                }
                Verdict::Closed(why) => {
                    out.push_str(&comment(&format!("Closed for all users that it may match: {why}.")));
                    ("", actions)
                }
                Verdict::Narrowed { to, because } => {
                    let places: Vec<String> = because.iter().map(|line| lines.place(*line)).collect();
                    let _ = writeln!(
                        out,
                        "# Narrowed to the actions of the entries left out above ({}); it was:",
                        places.join(", ")
                    );
                    let _ = writeln!(out, "#actions      = {actions}");
                    ("", Value::list(to.iter()))
                }
                Verdict::NeverReached(by) => {
                    let _ =
                        writeln!(out, "# Never reached: {} matches all its users and repositories.", lines.place(*by));
                    ("#", actions)
                }
            };
            let _ = writeln!(out, "{mark}[[access]]");
            let _ = writeln!(out, "{mark}users        = {}", Value::list(users));
            let _ = writeln!(out, "{mark}repositories = {}", Value::list(repositories));
            let _ = writeln!(out, "{mark}actions      = {written}");
            out
        }
    }
}
