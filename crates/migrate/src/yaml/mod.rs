//! Parses a YAML document as Go's `gopkg.in/yaml.v2` does, into a tree in which every value has its line.
//!
//! Both programs read their files with that library, and its rules decide who may do what: which words are booleans,
//! that a quoted `"true"` is not one, that the last of two equal keys counts, and that `<<` replaces earlier keys.
//!
//! `saphyr-parser` gives the events, and the tree is built here. `saphyr`'s marked nodes have lines too, but its loader
//! keeps one of two equal keys without saying so, drops the tags of lists and maps, takes an unknown alias for a bad
//! value, and copies what an anchor names for each alias before anything could count it: a small document with nested
//! aliases would fill the memory. It resolves no `<<`, and its nodes have a `Debug` that prints their texts.
//!
//! Invariant: the tree is bounded, with aliases counted as often as they are used; ambiguous documents are refused;
//! and the tree has no `Debug`, because it holds hashes and secrets.

mod scalar;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::report::{Migration, ParseError};

/// The maximum depth of nested lists and maps.
const MAX_DEPTH: usize = 64;
/// The maximum number of values of a document.
const MAX_VALUES: usize = 100_000;

const HINT: &str = "is this the right file? `portcullis migrate --help` says what can be read";
const TYPE_HINT: &str = "the program that this file is for does not start from it either; correct the line";

/// A document, with warnings about parts that its author may expect to be read otherwise.
pub(super) struct YamlDocument {
    root: YamlNode,
    /// The warnings, with their lines.
    warnings: Vec<(usize, String)>,
}

/// A value in the document, and its line; for a value in a map, the line of its key.
#[derive(Clone, Copy)]
pub(super) struct NodeRef<'a> {
    pub(super) line: usize,
    node: &'a YamlNode,
}

/// A value with its line.
struct YamlNode {
    line: usize,
    value: NodeValue,
    /// The number of values in it, itself included.
    value_count: usize,
}

enum NodeValue {
    Null,
    /// A scalar as it is written, and whether it is neither quoted nor tagged.
    Text(String, PlainScalar),
    List(Vec<Rc<YamlNode>>),
    Map(MapEntries),
}

/// The keys of a map, with their lines and values.
type MapEntries = Vec<(String, usize, Rc<YamlNode>)>;

/// Whether a scalar is plain, and may be a boolean, number or date and not a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PlainScalar {
    Yes,
    No,
}

impl YamlDocument {
    /// The root value.
    pub(super) fn root(&self) -> NodeRef<'_> {
        self.root.at()
    }

    /// Adds the document's warnings to the migration.
    pub(super) fn warn(&self, migration: &mut Migration) {
        for (line, surprise) in &self.warnings {
            migration.warn(*line, surprise);
        }
    }
}

impl YamlNode {
    fn at(&self) -> NodeRef<'_> {
        NodeRef { line: self.line, node: self }
    }
}

impl<'a> NodeRef<'a> {
    /// The value below these keys, with dots between them.
    pub(super) fn get(self, path: &str) -> Option<NodeRef<'a>> {
        path.split('.').try_fold(self, |at, key| at.entries().find(|(name, _)| *name == key).map(|(_, below)| below))
    }

    /// The keys and values of a map; none for other values.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'a str, NodeRef<'a>)> {
        let entries = if let NodeValue::Map(entries) = &self.node.value { entries.as_slice() } else { &[] };
        entries.iter().map(|(key, line, node)| (key.as_str(), NodeRef { line: *line, node }))
    }

    /// The keys and values of a map; `null` counts as an empty map. Refuses other values; `path` is the key for the
    /// error.
    pub(super) fn map(self, path: &str) -> Result<Vec<(&'a str, NodeRef<'a>)>, ParseError> {
        match &self.node.value {
            NodeValue::Null | NodeValue::Map(_) => Ok(self.entries().collect()),
            NodeValue::Text(..) | NodeValue::List(_) => Err(self.type_error(path, "a map of keys and values")),
        }
    }

    /// The elements of a list; `null` counts as an empty list. Refuses other values; `path` is the key for the error.
    pub(super) fn list(self, path: &str) -> Result<Vec<NodeRef<'a>>, ParseError> {
        match &self.node.value {
            NodeValue::List(nodes) => Ok(nodes.iter().map(|node| node.at()).collect()),
            NodeValue::Null => Ok(Vec::new()),
            NodeValue::Text(..) | NodeValue::Map(_) => Err(self.type_error(path, "a list, as in [a, b]")),
        }
    }

    /// The text of a scalar; `null` counts as the empty text. Refuses lists and maps; `path` is the key for the error.
    pub(super) fn scalar(self, path: &str) -> Result<&'a str, ParseError> {
        self.text().ok_or_else(|| self.type_error(path, "a text"))
    }

    /// The boolean; `null` counts as false. Refuses other values; `path` is the key for the error.
    pub(super) fn boolean(self, path: &str) -> Result<bool, ParseError> {
        if self.is_null() {
            return Ok(false);
        }
        self.as_boolean().ok_or_else(|| self.type_error(path, "true or false, without quotes"))
    }

    fn type_error(self, path: &str, expected: &str) -> ParseError {
        ParseError::at(self.line, format!("{path}: {expected} is needed here"), TYPE_HINT)
    }

    /// The elements of a list; none for other values.
    pub(super) fn elements(self) -> Vec<NodeRef<'a>> {
        if let NodeValue::List(nodes) = &self.node.value {
            nodes.iter().map(|node| node.at()).collect()
        } else {
            Vec::new()
        }
    }

    /// The text of a scalar, `null` as the empty text; `None` for lists and maps.
    pub(super) fn text(self) -> Option<&'a str> {
        match &self.node.value {
            NodeValue::Text(text, _) => Some(text),
            NodeValue::Null => Some(""),
            NodeValue::List(_) | NodeValue::Map(_) => None,
        }
    }

    fn as_boolean(self) -> Option<bool> {
        if let NodeValue::Text(text, PlainScalar::Yes) = &self.node.value { scalar::boolean(text) } else { None }
    }

    /// Whether the value is a true boolean of YAML 1.1.
    pub(super) fn is_true(self) -> bool {
        self.as_boolean() == Some(true)
    }

    /// Whether the value is a text where types matter: not a number, boolean, date or `null`.
    pub(super) fn is_string(self) -> bool {
        let NodeValue::Text(text, plain) = &self.node.value else { return false };
        *plain == PlainScalar::No
            || !(text.is_empty() || self.as_boolean().is_some() || scalar::is_number_or_date(text))
    }

    pub(super) fn is_map(self) -> bool {
        matches!(self.node.value, NodeValue::Map(_))
    }

    pub(super) fn is_null(self) -> bool {
        matches!(self.node.value, NodeValue::Null)
    }
}

/// Parses the first document of a text; the programs read no others.
pub(super) fn parse(text: &str) -> Result<YamlDocument, ParseError> {
    let parser = Parser::new_from_str(text);
    let mut reader = YamlParser { parser, anchors: HashMap::new(), line: 1, value_count: 0, warnings: Vec::new() };
    let first = loop {
        match reader.next()? {
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::StreamEnd => return Err(not_a_map(1)),
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
            reader.add_warning("a second document begins here, and only the first one is read");
            break;
        }
    }
    if !root.at().is_map() {
        return Err(not_a_map(root.line));
    }
    Ok(YamlDocument { root, warnings: reader.warnings })
}

fn not_a_map(line: usize) -> ParseError {
    ParseError::at(line, "this is no map of keys and values", HINT)
}

struct YamlParser<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Rc<YamlNode>>,
    line: usize,
    value_count: usize,
    warnings: Vec<(usize, String)>,
}

impl<'a> YamlParser<'a> {
    fn next(&mut self) -> Result<Event<'a>, ParseError> {
        match self.parser.next_event() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => {
                Err(ParseError::at(error.marker().line(), error.info(), "this is not YAML; correct the line"))
            }
        }
    }

    fn add_warning(&mut self, text: impl Into<String>) {
        self.warnings.push((self.line, text.into()));
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<YamlNode, ParseError> {
        let line = self.line;
        if depth > MAX_DEPTH {
            return Err(ParseError::at(line, format!("more than {MAX_DEPTH} levels of nesting"), HINT));
        }
        let value = match event {
            Event::Scalar(text, style, _, tag) => parse_scalar(&text, style, tag.as_deref(), line)?,
            Event::SequenceStart(_, tag) => {
                check_tag(tag.as_deref(), "seq", line)?;
                NodeValue::List(self.list(depth)?)
            }
            Event::MappingStart(_, tag) => {
                check_tag(tag.as_deref(), "map", line)?;
                NodeValue::Map(self.map(depth)?)
            }
            Event::Alias(_)
            | Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                return Err(ParseError::at(line, "a value is missing", "this is not YAML; correct the line"));
            }
        };
        let below: usize = match &value {
            NodeValue::Null | NodeValue::Text(..) => 0,
            NodeValue::List(nodes) => nodes.iter().map(|node| node.value_count).sum(),
            NodeValue::Map(entries) => entries.iter().map(|(.., node)| node.value_count).sum(),
        };
        self.count_values(1)?;
        Ok(YamlNode { line, value, value_count: below + 1 })
    }

    fn count_values(&mut self, weight: usize) -> Result<(), ParseError> {
        self.value_count = self.value_count.saturating_add(weight);
        if self.value_count <= MAX_VALUES {
            return Ok(());
        }
        Err(ParseError::at(
            self.line,
            format!("more than {MAX_VALUES} values, with aliases counted as often as used"),
            HINT,
        ))
    }

    fn node_or_alias(&mut self, event: Event<'a>, depth: usize) -> Result<Rc<YamlNode>, ParseError> {
        let anchor = match &event {
            Event::Alias(anchor) => {
                let node = self.anchors.get(anchor).cloned();
                let unknown = || ParseError::at(self.line, "an alias of something that is not there yet", HINT);
                let node = node.ok_or_else(unknown)?;
                self.count_values(node.value_count)?;
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

    fn list(&mut self, depth: usize) -> Result<Vec<Rc<YamlNode>>, ParseError> {
        let mut nodes = Vec::new();
        loop {
            let event = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(nodes);
            }
            nodes.push(self.node_or_alias(event, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<MapEntries, ParseError> {
        let mut entries = MapEntries::new();
        // The keys of this map itself, without those of merged maps.
        let mut own: Vec<String> = Vec::new();
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let line = self.line;
            let key = self.node_or_alias(event, depth + 1)?;
            let next = self.next()?;
            let value = self.node_or_alias(next, depth + 1)?;
            match &key.value {
                NodeValue::Text(text, PlainScalar::Yes) if text == "<<" => {
                    self.merge(&mut entries, &own, &value, line)?;
                }
                NodeValue::Text(..) | NodeValue::Null => {
                    let key = key.at().text().unwrap_or_default().to_owned();
                    if own.contains(&key) {
                        self.add_warning(format!("the key {key:?} is there twice, and the last one counts"));
                    }
                    insert(&mut entries, (key.clone(), line, value))?;
                    own.push(key);
                }
                NodeValue::List(_) | NodeValue::Map(_) => {
                    return Err(ParseError::at(line, "a key that is no text", HINT));
                }
            }
        }
    }

    /// Merges `<<: *defaults`, or a list of such, of which the first counts. It replaces earlier keys of the map.
    fn merge(
        &mut self,
        entries: &mut MapEntries,
        own: &[String],
        from: &YamlNode,
        line: usize,
    ) -> Result<(), ParseError> {
        match &from.value {
            NodeValue::Map(defaults) => {
                for (key, line, node) in defaults {
                    self.count_values(node.value_count)?;
                    if own.contains(key) {
                        self.add_warning(format!("<< replaces the key {key:?}, which comes before it"));
                    }
                    insert(entries, (key.clone(), *line, node.clone()))?;
                }
                Ok(())
            }
            NodeValue::List(nodes) => nodes.iter().rev().try_for_each(|node| match &node.value {
                NodeValue::Map(_) => self.merge(entries, own, node, line),
                NodeValue::Null | NodeValue::Text(..) | NodeValue::List(_) => Err(not_mergeable(line)),
            }),
            NodeValue::Null | NodeValue::Text(..) => Err(not_mergeable(line)),
        }
    }
}

fn not_mergeable(line: usize) -> ParseError {
    ParseError::at(line, "a merge of something that is no map", HINT)
}

/// Adds an entry; the last value of a key counts. Refuses a second map for a key: Go keeps the last map or joins both,
/// depending on the type that it reads them into.
fn insert(entries: &mut MapEntries, entry: (String, usize, Rc<YamlNode>)) -> Result<(), ParseError> {
    let Some(known) = entries.iter_mut().find(|(key, ..)| *key == entry.0) else {
        entries.push(entry);
        return Ok(());
    };
    if known.2.at().is_map() && entry.2.at().is_map() {
        let reason = format!("the key {:?} is there twice, with a map each time", entry.0);
        return Err(ParseError::at(entry.1, reason, "write it once, with what is to hold"));
    }
    *known = entry;
    Ok(())
}

/// Refuses tags other than the standard one of this type (`known`).
fn check_tag(tag: Option<&Tag>, known: &str, line: usize) -> Result<(), ParseError> {
    match tag {
        None => Ok(()),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == known => Ok(()),
        Some(tag) => {
            Err(ParseError::at(line, format!("a tag that is not read here: {tag}"), "write the value without it"))
        }
    }
}

/// A scalar as Go's library reads it into a text: `Null` and `NULL` are then empty texts, and null where types matter.
fn parse_scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<NodeValue, ParseError> {
    check_tag(tag, "str", line)?;
    let is_plain = style == ScalarStyle::Plain && tag.is_none();
    Ok(match text {
        "" | "~" | "null" if is_plain => NodeValue::Null,
        "Null" | "NULL" if is_plain => NodeValue::Text(String::new(), PlainScalar::Yes),
        _ => NodeValue::Text(text.to_owned(), if is_plain { PlainScalar::Yes } else { PlainScalar::No }),
    })
}
