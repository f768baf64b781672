//! Builds the tree of a document from the events of `saphyr-parser`: anchors, merges, equal keys and limits.
//!
//! `saphyr`'s marked nodes have lines too, but its loader keeps one of two equal keys without saying so, resolves no
//! `<<`, and copies what an anchor names for each alias before anything could count it: a small document with nested
//! aliases would fill the memory. Its nodes also have a `Debug` that prints their texts.
//!
//! Invariant: the tree is bounded, with aliases counted as often as they are used; ambiguous documents are refused.

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::{
    super::report::ParseError,
    node::{MapEntries, NodeValue, PlainScalar, YamlDocument, YamlNode},
};

/// The maximum depth of nested lists and maps.
const MAX_DEPTH: usize = 64;
/// The maximum number of values of a document.
const MAX_VALUES: usize = 100_000;

const HINT: &str = "is this the right file? `portcullis migrate --help` says what can be read";

/// Parses the first document of a text; the programs read no others.
pub(in super::super) fn parse(text: &str) -> Result<YamlDocument, ParseError> {
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
