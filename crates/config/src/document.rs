//! Parses the TOML configuration file into settings, each with its line and column.
//!
//! Invariant: every key of the document becomes a setting or a problem; none is ignored silently.

use std::{borrow::Cow, ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    did_you_mean,
    keys::{self, KEYS},
    layers::{Layers, RawTable},
    problem::{ConfigProblem, SettingPlace},
    value::{Located, RawValue},
};

/// Reads the document into the file's layer. Returns `false` if the text is not TOML: then no key of it can be trusted.
pub(super) fn parse(name: &Arc<str>, text: &str, layers: &mut Layers, problems: &mut Vec<ConfigProblem>) -> bool {
    let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
    let mut reader = DocumentReader { name, text, line_starts, layers, problems };
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        reader.report_syntax_errors(&errors);
        return false;
    }
    reader.table("", document.get_ref());
    true
}

struct DocumentReader<'a> {
    name: &'a Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
    layers: &'a mut Layers,
    problems: &'a mut Vec<ConfigProblem>,
}

impl DocumentReader<'_> {
    fn place(&self, span: &Range<usize>) -> SettingPlace {
        let line = self.line_starts.partition_point(|start| *start <= span.start);
        let before = self.text.get(self.line_starts[line - 1]..span.start).unwrap_or_default();
        let column = before.chars().count() + 1;
        SettingPlace::File { name: self.name.clone(), line, column }
    }

    fn problem(&mut self, span: &Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        let problem = ConfigProblem::new(self.place(span), message).hint(hint);
        self.problems.push(problem);
    }

    /// Reports the first syntax error of each line: one mistake can cause several errors in its line.
    fn report_syntax_errors(&mut self, errors: &[toml::de::Error]) {
        let mut lines = Vec::new();
        for error in errors {
            let place = self.place(&error.span().unwrap_or(self.text.len()..self.text.len()));
            let SettingPlace::File { line, .. } = place else { continue };
            if !lines.contains(&line) {
                lines.push(line);
                let hint = if error.message() == "duplicate key" {
                    "a key or a table may be defined only once; remove one of the two"
                } else {
                    "write text in quotes and lists in brackets: listen = [\"0.0.0.0:443\"]"
                };
                self.problems.push(ConfigProblem::new(place, error.message()).hint(hint));
            }
        }
    }

    fn table(&mut self, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            if name.contains('.') {
                self.report_unknown_key(path, name, &key.span(), value);
            } else if full == "access" {
                let rules =
                    self.array_of_tables("access", "rule", "[[access]], with users, repositories and actions", value);
                self.layers.rules.extend(rules);
            } else if full == "auth.workload" {
                let what = "[[auth.workload]], with issuer, audience, claims and user";
                let rules = self.array_of_tables("auth.workload", "rule", what, value);
                self.layers.workloads.extend(rules);
            } else if full == keys::MORE_CERTIFICATES_TABLE {
                let what = "[[tls.files.more]], with certificate and key";
                let pairs = self.array_of_tables(keys::MORE_CERTIFICATES_TABLE, "certificate", what, value);
                self.layers.certificates.extend(pairs);
            } else if full == "groups" {
                self.groups(value);
            } else if let Some(known) = keys::find(&full) {
                let (raw, place) = (self.raw(value), self.place(&value.span()));
                self.layers.file.set(known.path(), raw, place);
            } else if keys::is_table(&full) {
                self.subtable(&full, &key.span(), value);
            } else {
                self.report_unknown_key(path, name, &key.span(), value);
            }
        }
    }

    fn subtable(&mut self, path: &str, key: &Range<usize>, value: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = value.get_ref() else {
            let message = format!("{path}: expected a table, found {}", self.raw(value).description());
            return self.problem(&value.span(), message, format!("write [{path}] and its keys below"));
        };
        let place = self.place(&self.report_span(key, value));
        self.layers.file.tables.insert(path.to_owned(), place);
        self.table(path, table);
    }

    /// Reads the array of tables at `path`. `noun` and `what` name one of them in messages.
    fn array_of_tables(&mut self, path: &str, noun: &str, what: &str, value: &Spanned<DeValue<'_>>) -> Vec<RawTable> {
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
                DeValue::Table(table) => read.push(self.table_of_array(path, &rule.span(), table)),
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

    fn table_of_array(&mut self, path: &str, span: &Range<usize>, table: &DeTable<'_>) -> RawTable {
        let mut rule = RawTable { place: self.place(span), values: [].into() };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match keys::find(&format!("{path}.{name}")) {
                Some(known) => {
                    let located = Located::new(self.raw(value), self.place(&value.span()));
                    rule.values.insert(known.path(), located);
                }
                None => self.report_unknown_key(path, name, &key.span(), value),
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

    fn raw(&self, value: &Spanned<DeValue<'_>>) -> RawValue {
        match value.get_ref() {
            DeValue::String(text) => RawValue::Text(text.clone().into_owned()),
            DeValue::Integer(number) => {
                RawValue::Integer(i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX))
            }
            DeValue::Boolean(value) => RawValue::Boolean(*value),
            DeValue::Array(elements) => RawValue::List(self.elements(elements)),
            DeValue::Float(number) => RawValue::Other(format!("the number {}", number.as_str())),
            DeValue::Datetime(_) => RawValue::Other("a date or time".to_owned()),
            DeValue::Table(table) => RawValue::Table(self.entries(table)),
        }
    }

    fn entries(&self, table: &DeTable<'_>) -> Vec<(Located<String>, Located<RawValue>)> {
        let entry = |(name, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            let name = Located::new(name.get_ref().clone().into_owned(), self.place(&name.span()));
            (name, Located::new(self.raw(value), self.place(&value.span())))
        };
        table.iter().map(entry).collect()
    }

    fn elements(&self, elements: &DeArray<'_>) -> Vec<Located<RawValue>> {
        elements.iter().map(|element| Located::new(self.raw(element), self.place(&element.span()))).collect()
    }

    /// The span to report for a value: the header of a table that has one, the key of anything else.
    fn report_span(&self, key: &Range<usize>, value: &Spanned<DeValue<'_>>) -> Range<usize> {
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        let has_header = self.text.get(value.span()).is_some_and(|text| text.starts_with('['));
        if is_table && has_header { value.span() } else { key.clone() }
    }

    fn report_unknown_key(&mut self, table: &str, name: &str, span: &Range<usize>, value: &Spanned<DeValue<'_>>) {
        let what = if matches!(value.get_ref(), DeValue::Table(_)) { "table" } else { "key" };
        let place = if table.is_empty() { String::new() } else { format!(" in {}", keys::header(table)) };
        let message = format!("unknown {what} '{}'{place}", name.escape_debug());
        self.problem(&self.report_span(span, value), message, unknown_key_hint(table, name));
    }
}

/// The hint for an unknown key: a similar key of the same table, a similar key of another table, or all known keys.
fn unknown_key_hint(table: &str, name: &str) -> String {
    let mut siblings: Vec<&str> = KEYS
        .iter()
        .filter_map(|key| {
            let below =
                if table.is_empty() { key.path() } else { key.path().strip_prefix(table)?.strip_prefix('.')? };
            below.split('.').next()
        })
        .collect();
    siblings.dedup();
    if let Some(near) = did_you_mean::nearest(name, siblings.iter().copied()) {
        return format!("did you mean '{near}'?");
    }
    match KEYS.iter().find(|key| did_you_mean::nearest(name, [key.name()]).is_some() && key.table() != table) {
        Some(key) if key.table().is_empty() => {
            format!("'{}' belongs at the top of the file, before the first [table]", key.name())
        }
        Some(key) => format!("did you mean '{}' in {}?", key.name(), keys::header(key.table())),
        None => format!("known here: {}", siblings.join(", ")),
    }
}
