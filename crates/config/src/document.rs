//! Parses the TOML configuration file into settings, each with its line and column.
//!
//! Invariant: every key of the document becomes a setting or a problem; none is ignored silently.

use std::{borrow::Cow, ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    keys::{self, KEYS},
    layers::{Layers, RawRule},
    problem::{Place, Problem},
    raw::{Located, Raw},
    suggest,
};

/// Reads the document into the file's layer. Returns `false` if the text is not TOML: then no key of it can be trusted.
pub(super) fn read(name: &Arc<str>, text: &str, layers: &mut Layers, problems: &mut Vec<Problem>) -> bool {
    let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
    let mut reader = Reader { name, text, line_starts, layers, problems };
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        reader.syntax(&errors);
        return false;
    }
    reader.table("", document.get_ref());
    true
}

struct Reader<'a> {
    name: &'a Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
    layers: &'a mut Layers,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn place(&self, span: &Range<usize>) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= span.start);
        let before = self.text.get(self.line_starts[line - 1]..span.start).unwrap_or_default();
        let column = before.chars().count() + 1;
        Place::File { name: self.name.clone(), line, column }
    }

    fn problem(&mut self, span: &Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        let problem = Problem::new(self.place(span), message).hint(hint);
        self.problems.push(problem);
    }

    /// Reports the first syntax error of each line: one mistake can cause several errors in its line.
    fn syntax(&mut self, errors: &[toml::de::Error]) {
        let mut lines = Vec::new();
        for error in errors {
            let place = self.place(&error.span().unwrap_or(self.text.len()..self.text.len()));
            let Place::File { line, .. } = place else { continue };
            if !lines.contains(&line) {
                lines.push(line);
                let hint = if error.message() == "duplicate key" {
                    "a key or a table may be defined only once; remove one of the two"
                } else {
                    "write text in quotes and lists in brackets: listen = [\"0.0.0.0:443\"]"
                };
                self.problems.push(Problem::new(place, error.message()).hint(hint));
            }
        }
    }

    fn table(&mut self, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            if name.contains('.') {
                self.unknown(path, name, &key.span(), value);
            } else if full == "access" {
                let rules = self.rules("access", "rule", "[[access]], with users, repositories and actions", value);
                self.layers.rules.extend(rules);
            } else if full == "auth.workload" {
                let what = "[[auth.workload]], with issuer, audience, claims and user";
                let rules = self.rules("auth.workload", "rule", what, value);
                self.layers.workloads.extend(rules);
            } else if full == keys::MORE_CERTIFICATES {
                let what = "[[tls.files.more]], with certificate and key";
                let pairs = self.rules(keys::MORE_CERTIFICATES, "certificate", what, value);
                self.layers.certificates.extend(pairs);
            } else if full == "groups" {
                self.groups(value);
            } else if let Some(known) = keys::find(&full) {
                let (raw, place) = (self.raw(value), self.place(&value.span()));
                self.layers.file.set(known.path(), raw, place);
            } else if keys::is_table(&full) {
                self.subtable(&full, &key.span(), value);
            } else {
                self.unknown(path, name, &key.span(), value);
            }
        }
    }

    fn subtable(&mut self, path: &str, key: &Range<usize>, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = value.get_ref() else {
            let message = format!("{path}: expected a table, found {}", self.raw(value).description());
            return self.problem(&value.span(), message, format!("write [{path}] and its keys below"));
        };
        let place = self.place(&self.beginning(key, value));
        self.layers.file.tables.insert(path.to_owned(), place);
        self.table(path, table);
    }

    /// Reads the array of tables at `path`. `noun` and `what` name one of them in messages.
    fn rules(&mut self, path: &str, noun: &str, what: &str, value: &Spanned<DeValue<'_>>) -> Vec<RawRule> {
        let hint = format!("write each {noun} below a line {what}");
        let DeValue::Array(rules) = value.get_ref() else {
            self.problem(&value.span(), format!("{path}: expected a list of {noun}s"), hint);
            return Vec::new();
        };
        if rules.is_empty() {
            // An empty list would mean the same as no rules: every signed-in user may do everything. It is rejected,
            // because it is more likely meant to deny everything.
            self.problem(&value.span(), format!("{path}: an empty list of {noun}s"), hint.as_str());
        }
        let mut read = Vec::new();
        for rule in rules {
            match rule.get_ref() {
                DeValue::Table(table) => read.push(self.rule(path, &rule.span(), table)),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => self.problem(&rule.span(), format!("{path}: expected a {noun}"), hint.as_str()),
            }
        }
        read
    }

    fn rule(&mut self, path: &str, span: &Range<usize>, table: &DeTable<'_>) -> RawRule {
        let mut rule = RawRule { place: self.place(span), values: [].into() };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match keys::find(&format!("{path}.{name}")) {
                Some(known) => {
                    let located = Located::new(self.raw(value), self.place(&value.span()));
                    rule.values.insert(known.path(), located);
                }
                None => self.unknown(path, name, &key.span(), value),
            }
        }
        rule
    }

    fn groups(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(groups) = value.get_ref() else {
            return self.problem(
                &value.span(),
                "groups: expected a table",
                "write [groups], and below it team = [\"alice\"]",
            );
        };
        for (name, members) in groups {
            let located = Located::new(name.get_ref().clone().into_owned(), self.place(&name.span()));
            let members = Located::new(self.raw(members), self.place(&members.span()));
            self.layers.groups.push((located, members));
        }
    }

    fn raw(&self, value: &Spanned<DeValue<'_>>) -> Raw {
        match value.get_ref() {
            DeValue::String(text) => Raw::Text(text.clone().into_owned()),
            DeValue::Integer(number) => {
                Raw::Integer(i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX))
            }
            DeValue::Boolean(value) => Raw::Boolean(*value),
            DeValue::Array(elements) => Raw::List(self.elements(elements)),
            DeValue::Float(number) => Raw::Other(format!("the number {}", number.as_str())),
            DeValue::Datetime(_) => Raw::Other("a date or time".to_owned()),
            DeValue::Table(table) => Raw::Table(self.entries(table)),
        }
    }

    fn entries(&self, table: &DeTable<'_>) -> Vec<(Located<String>, Located<Raw>)> {
        let entry = |(name, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            let name = Located::new(name.get_ref().clone().into_owned(), self.place(&name.span()));
            (name, Located::new(self.raw(value), self.place(&value.span())))
        };
        table.iter().map(entry).collect()
    }

    fn elements(&self, elements: &DeArray<'_>) -> Vec<Located<Raw>> {
        elements.iter().map(|element| Located::new(self.raw(element), self.place(&element.span()))).collect()
    }

    /// The span to report for a value: the header of a table that has one, the key of anything else.
    fn beginning(&self, key: &Range<usize>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        let has_header = self.text.get(value.span()).is_some_and(|text| text.starts_with('['));
        if is_table && has_header { value.span() } else { key.clone() }
    }

    fn unknown(&mut self, table: &str, name: &str, span: &Range<usize>, value: &Spanned<DeValue<'_>>) {
        let what = if matches!(value.get_ref(), DeValue::Table(_)) { "table" } else { "key" };
        let place = if table.is_empty() { String::new() } else { format!(" in {}", keys::header(table)) };
        let message = format!("unknown {what} '{}'{place}", name.escape_debug());
        self.problem(&self.beginning(span, value), message, hint_for(table, name));
    }
}

/// The hint for an unknown key: a similar key of the same table, a similar key of another table, or all known keys.
fn hint_for(table: &str, name: &str) -> String {
    let mut siblings: Vec<&str> = KEYS
        .iter()
        .filter_map(|key| {
            let below =
                if table.is_empty() { key.path() } else { key.path().strip_prefix(table)?.strip_prefix('.')? };
            below.split('.').next()
        })
        .collect();
    siblings.dedup();
    if let Some(near) = suggest::nearest(name, siblings.iter().copied()) {
        return format!("did you mean '{near}'?");
    }
    match KEYS.iter().find(|key| suggest::nearest(name, [key.name()]).is_some() && key.table() != table) {
        Some(key) if key.table().is_empty() => {
            format!("'{}' belongs at the top of the file, before the first [table]", key.name())
        }
        Some(key) => format!("did you mean '{}' in {}?", key.name(), keys::header(key.table())),
        None => format!("known here: {}", siblings.join(", ")),
    }
}
