//! Parses a YAML document as Go's `gopkg.in/yaml.v2` does, into a tree in which every value has its line.
//!
//! Both programs read their files with that library, and its rules decide who may do what: which words are booleans,
//! that a quoted `"true"` is not one, that the last of two equal keys counts, and that `<<` replaces earlier keys.
//!
//! Invariant: the tree is bounded, with aliases counted as often as they are used; ambiguous documents are refused;
//! and the tree has no `Debug`, because it holds hashes and secrets.

mod scalar;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::talk::{Broken, Migration};

/// The maximum depth of nested lists and maps.
const DEEPEST: usize = 64;
/// The maximum number of values of a document.
const MOST: usize = 100_000;

const HINT: &str = "is this the right file? `portcullis migrate --help` says what can be read";
const TYPE_HINT: &str = "the program that this file is for does not start from it either; correct the line";
/// A document, with warnings about parts that its author may expect to be read otherwise.
pub(super) struct Document {
    root: Node,
    /// The warnings, with their lines.
    surprises: Vec<(usize, String)>,
}

/// A value in the document, and its line; for a value in a map, the line of its key.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) line: usize,
    node: &'a Node,
}

/// A value with its line.
struct Node {
    line: usize,
    value: Value,
    /// The number of values in it, itself included.
    weight: usize,
}

enum Value {
    Null,
    /// A scalar as it is written, and whether it is neither quoted nor tagged.
    Text(String, Plain),
    List(Vec<Rc<Node>>),
    Map(Entries),
}

/// The keys of a map, with their lines and values.
type Entries = Vec<(String, usize, Rc<Node>)>;

/// Whether a scalar is plain, and may be a boolean, number or date and not a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plain {
    Yes,
    No,
}

impl Document {
    /// The root value.
    pub(super) fn root(&self) -> At<'_> {
        self.root.at()
    }

    /// Adds the document's warnings to the migration.
    pub(super) fn warn(&self, migration: &mut Migration) {
        for (line, surprise) in &self.surprises {
            migration.warn(*line, surprise);
        }
    }
}

impl Node {
    fn at(&self) -> At<'_> {
        At { line: self.line, node: self }
    }
}

impl<'a> At<'a> {
    /// The value below these keys, with dots between them.
    pub(super) fn at(self, path: &str) -> Option<At<'a>> {
        path.split('.').try_fold(self, |at, key| at.entries().find(|(name, _)| *name == key).map(|(_, below)| below))
    }

    /// The keys and values of a map; none for other values.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'a str, At<'a>)> {
        let entries = if let Value::Map(entries) = &self.node.value { entries.as_slice() } else { &[] };
        entries.iter().map(|(key, line, node)| (key.as_str(), At { line: *line, node }))
    }

    /// The keys and values of a map; `null` counts as an empty map. Refuses other values; `path` is the key for the
    /// error.
    pub(super) fn map(self, path: &str) -> Result<Vec<(&'a str, At<'a>)>, Broken> {
        match &self.node.value {
            Value::Null | Value::Map(_) => Ok(self.entries().collect()),
            Value::Text(..) | Value::List(_) => Err(self.wrong(path, "a map of keys and values")),
        }
    }

    /// The elements of a list; `null` counts as an empty list. Refuses other values; `path` is the key for the error.
    pub(super) fn list(self, path: &str) -> Result<Vec<At<'a>>, Broken> {
        match &self.node.value {
            Value::List(nodes) => Ok(nodes.iter().map(|node| node.at()).collect()),
            Value::Null => Ok(Vec::new()),
            Value::Text(..) | Value::Map(_) => Err(self.wrong(path, "a list, as in [a, b]")),
        }
    }

    /// The text of a scalar; `null` counts as the empty text. Refuses lists and maps; `path` is the key for the error.
    pub(super) fn scalar(self, path: &str) -> Result<&'a str, Broken> {
        self.text().ok_or_else(|| self.wrong(path, "a text"))
    }

    /// The boolean; `null` counts as false. Refuses other values; `path` is the key for the error.
    pub(super) fn boolean(self, path: &str) -> Result<bool, Broken> {
        if self.is_null() {
            return Ok(false);
        }
        self.as_boolean().ok_or_else(|| self.wrong(path, "true or false, without quotes"))
    }

    fn wrong(self, path: &str, expected: &str) -> Broken {
        Broken::at(self.line, format!("{path}: {expected} is needed here"), TYPE_HINT)
    }

    /// The elements of a list; none for other values.
    pub(super) fn elements(self) -> Vec<At<'a>> {
        if let Value::List(nodes) = &self.node.value {
            nodes.iter().map(|node| node.at()).collect()
        } else {
            Vec::new()
        }
    }

    /// The text of a scalar, `null` as the empty text; `None` for lists and maps.
    pub(super) fn text(self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text, _) => Some(text),
            Value::Null => Some(""),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    fn as_boolean(self) -> Option<bool> {
        if let Value::Text(text, Plain::Yes) = &self.node.value { scalar::boolean(text) } else { None }
    }

    /// Whether the value is a true boolean of YAML 1.1.
    pub(super) fn is_true(self) -> bool {
        self.as_boolean() == Some(true)
    }

    /// Whether the value is a text where types matter: not a number, boolean, date or `null`.
    pub(super) fn is_string(self) -> bool {
        let Value::Text(text, plain) = &self.node.value else { return false };
        *plain == Plain::No || !(text.is_empty() || self.as_boolean().is_some() || scalar::is_number_or_date(text))
    }

    pub(super) fn is_map(self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    pub(super) fn is_null(self) -> bool {
        matches!(self.node.value, Value::Null)
    }
}

/// Parses the first document of a text; the programs read no others.
pub(super) fn parse(text: &str) -> Result<Document, Broken> {
    let parser = Parser::new_from_str(text);
    let mut reader = Reader { parser, anchors: HashMap::new(), line: 1, spent: 0, surprises: Vec::new() };
    let first = loop {
        match reader.next()? {
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::StreamEnd => return Err(no_map(1)),
            first @ (Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd) => break first,
        }
    };
    let root = reader.node(first, 0)?;
    while let event @ (Event::Nothing | Event::DocumentEnd | Event::DocumentStart(_)) = reader.next()? {
        if let Event::DocumentStart(_) = event {
            reader.surprise("a second document begins here, and only the first one is read");
            break;
        }
    }
    if !root.at().is_map() {
        return Err(no_map(root.line));
    }
    Ok(Document { root, surprises: reader.surprises })
}

fn no_map(line: usize) -> Broken {
    Broken::at(line, "this is no map of keys and values", HINT)
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Rc<Node>>,
    line: usize,
    spent: usize,
    surprises: Vec<(usize, String)>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, Broken> {
        match self.parser.next_event() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => {
                Err(Broken::at(error.marker().line(), error.info(), "this is not YAML; correct the line"))
            }
        }
    }

    fn surprise(&mut self, text: impl Into<String>) {
        self.surprises.push((self.line, text.into()));
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, Broken> {
        let line = self.line;
        if depth > DEEPEST {
            return Err(Broken::at(line, format!("more than {DEEPEST} levels of nesting"), HINT));
        }
        let value = match event {
            Event::Scalar(text, style, _, tag) => read_scalar(&text, style, tag.as_deref(), line)?,
            Event::SequenceStart(_, tag) => {
                only(tag.as_deref(), "seq", line)?;
                Value::List(self.list(depth)?)
            }
            Event::MappingStart(_, tag) => {
                only(tag.as_deref(), "map", line)?;
                Value::Map(self.map(depth)?)
            }
            Event::Alias(_)
            | Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                return Err(Broken::at(line, "a value is missing", "this is not YAML; correct the line"));
            }
        };
        let below: usize = match &value {
            Value::Null | Value::Text(..) => 0,
            Value::List(nodes) => nodes.iter().map(|node| node.weight).sum(),
            Value::Map(entries) => entries.iter().map(|(.., node)| node.weight).sum(),
        };
        self.spend(1)?;
        Ok(Node { line, value, weight: below + 1 })
    }

    fn spend(&mut self, weight: usize) -> Result<(), Broken> {
        self.spent = self.spent.saturating_add(weight);
        if self.spent <= MOST {
            return Ok(());
        }
        Err(Broken::at(self.line, format!("more than {MOST} values, with aliases counted as often as used"), HINT))
    }

    fn shared(&mut self, event: Event<'a>, depth: usize) -> Result<Rc<Node>, Broken> {
        let anchor = match &event {
            Event::Alias(anchor) => {
                let node = self.anchors.get(anchor).cloned();
                let unknown = || Broken::at(self.line, "an alias of something that is not there yet", HINT);
                let node = node.ok_or_else(unknown)?;
                self.spend(node.weight)?;
                return Ok(node);
            }
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                *anchor
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => 0,
        };
        let node = Rc::new(self.node(event, depth)?);
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Rc<Node>>, Broken> {
        let mut nodes = Vec::new();
        loop {
            let event = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(nodes);
            }
            nodes.push(self.shared(event, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Entries, Broken> {
        let mut entries = Entries::new();
        // The keys of this map itself, without those of merged maps.
        let mut own: Vec<String> = Vec::new();
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let line = self.line;
            let key = self.shared(event, depth + 1)?;
            let next = self.next()?;
            let value = self.shared(next, depth + 1)?;
            match &key.value {
                Value::Text(text, Plain::Yes) if text == "<<" => self.merge(&mut entries, &own, &value, line)?,
                Value::Text(..) | Value::Null => {
                    let key = key.at().text().unwrap_or_default().to_owned();
                    if own.contains(&key) {
                        self.surprise(format!("the key {key:?} is there twice, and the last one counts"));
                    }
                    put(&mut entries, (key.clone(), line, value))?;
                    own.push(key);
                }
                Value::List(_) | Value::Map(_) => return Err(Broken::at(line, "a key that is no text", HINT)),
            }
        }
    }

    /// Merges `<<: *defaults`, or a list of such, of which the first counts. It replaces earlier keys of the map.
    fn merge(&mut self, entries: &mut Entries, own: &[String], from: &Node, line: usize) -> Result<(), Broken> {
        match &from.value {
            Value::Map(defaults) => {
                for (key, line, node) in defaults {
                    self.spend(node.weight)?;
                    if own.contains(key) {
                        self.surprise(format!("<< replaces the key {key:?}, which comes before it"));
                    }
                    put(entries, (key.clone(), *line, node.clone()))?;
                }
                Ok(())
            }
            Value::List(nodes) => nodes.iter().rev().try_for_each(|node| match &node.value {
                Value::Map(_) => self.merge(entries, own, node, line),
                Value::Null | Value::Text(..) | Value::List(_) => Err(no_merge(line)),
            }),
            Value::Null | Value::Text(..) => Err(no_merge(line)),
        }
    }
}

fn no_merge(line: usize) -> Broken {
    Broken::at(line, "a merge of something that is no map", HINT)
}

/// Adds an entry; the last value of a key counts. Refuses a second map for a key: Go keeps the last map or joins both,
/// depending on the type that it reads them into.
fn put(entries: &mut Entries, entry: (String, usize, Rc<Node>)) -> Result<(), Broken> {
    let Some(known) = entries.iter_mut().find(|(key, ..)| *key == entry.0) else {
        entries.push(entry);
        return Ok(());
    };
    if known.2.at().is_map() && entry.2.at().is_map() {
        let reason = format!("the key {:?} is there twice, with a map each time", entry.0);
        return Err(Broken::at(entry.1, reason, "write it once, with what is to hold"));
    }
    *known = entry;
    Ok(())
}

/// Refuses tags other than the standard one of this type (`known`).
fn only(tag: Option<&Tag>, known: &str, line: usize) -> Result<(), Broken> {
    match tag {
        None => Ok(()),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == known => Ok(()),
        Some(tag) => Err(Broken::at(line, format!("a tag that is not read here: {tag}"), "write the value without it")),
    }
}

/// A scalar as Go's library reads it into a text: `Null` and `NULL` are then empty texts, and null where types matter.
fn read_scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Value, Broken> {
    only(tag, "str", line)?;
    let is_plain = style == ScalarStyle::Plain && tag.is_none();
    Ok(match text {
        "" | "~" | "null" if is_plain => Value::Null,
        "Null" | "NULL" if is_plain => Value::Text(String::new(), Plain::Yes),
        _ => Value::Text(text.to_owned(), if is_plain { Plain::Yes } else { Plain::No }),
    })
}
