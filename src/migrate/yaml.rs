//! A YAML document as a tree in which everything knows its line.
//!
//! Invariant: the tree is bounded, aliases counted as often as they are used; and it has no `Debug`, for it holds hashes and
//! secrets.

use std::{collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::talk::Broken;

/// How many lists and maps may lie in each other.
const DEEPEST: usize = 64;
/// How many values a document may have.
const MOST: usize = 100_000;

const HINT: &str = "is this the right file? `portcullis migrate --help` says what can be read";

/// Something in the document, and its line.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) line: usize,
    node: &'a Node,
}

/// A value.
pub(super) struct Node {
    line: usize,
    value: Value,
    /// How many values there are in it, and itself.
    weight: usize,
}

enum Value {
    Null,
    Text(String),
    List(Vec<Rc<Node>>),
    /// Keys with the lines in which they stand.
    Map(Vec<(String, usize, Rc<Node>)>),
}

impl Node {
    /// The whole.
    pub(super) fn root(&self) -> At<'_> {
        At { line: self.line, node: self }
    }
}

impl<'a> At<'a> {
    /// What stands below these keys, with dots between them.
    pub(super) fn at(self, path: &str) -> Option<At<'a>> {
        path.split('.').try_fold(self, |at, key| at.entries().find(|(name, _)| *name == key).map(|(_, below)| below))
    }

    /// The keys of a map; nothing else has any.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'a str, At<'a>)> {
        let entries = if let Value::Map(entries) = &self.node.value { entries.as_slice() } else { &[] };
        entries.iter().map(|(key, line, node)| (key.as_str(), At { line: *line, node }))
    }

    /// The elements of a list; text alone is a list of itself, as Go's YAML has it.
    pub(super) fn elements(self) -> Vec<At<'a>> {
        match &self.node.value {
            Value::List(nodes) => nodes.iter().map(|node| node.root()).collect(),
            Value::Text(_) => vec![self],
            Value::Null | Value::Map(_) => Vec::new(),
        }
    }

    /// The text of a scalar; nothing is the empty text.
    pub(super) fn text(self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Null => Some(""),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether it is what YAML 1.1 takes for true.
    pub(super) fn is_true(self) -> bool {
        self.text().is_some_and(|text| ["true", "yes", "on", "y"].contains(&text.to_ascii_lowercase().as_str()))
    }

    pub(super) fn is_map(self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    pub(super) fn is_null(self) -> bool {
        matches!(self.node.value, Value::Null)
    }
}

/// Reads the one document of a text.
pub(super) fn parse(text: &str) -> Result<Node, Broken> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), line: 1, spent: 0 };
    let mut document = None;
    loop {
        match reader.next()? {
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            first if document.is_none() => document = Some(reader.node(first, 0)?),
            Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd => {
                return Err(Broken::at(reader.line, "a second document", "keep one document in the file"));
            }
        }
    }
    let document = document.filter(|document| matches!(document.value, Value::Map(_)));
    document.ok_or_else(|| Broken::at(1, "this is no map of keys and values", HINT))
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Rc<Node>>,
    line: usize,
    spent: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, Broken> {
        match self.parser.next_event() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => Err(Broken::at(error.marker().line(), error.info(), "this is not YAML; mend the line")),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, Broken> {
        let line = self.line;
        if depth > DEEPEST {
            return Err(Broken::at(line, format!("more than {DEEPEST} levels of nesting"), HINT));
        }
        let value = match event {
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceStart(..) => Value::List(self.list(depth)?),
            Event::MappingStart(..) => Value::Map(self.map(depth)?),
            Event::Alias(_)
            | Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                return Err(Broken::at(line, "a value is missing", "this is not YAML; mend the line"));
            }
        };
        let below: usize = match &value {
            Value::Null | Value::Text(_) => 0,
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

    fn map(&mut self, depth: usize) -> Result<Vec<(String, usize, Rc<Node>)>, Broken> {
        let mut entries: Vec<(String, usize, Rc<Node>)> = Vec::new();
        let mut merged: Vec<Rc<Node>> = Vec::new();
        loop {
            let event = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let line = self.line;
            let key = self.shared(event, depth + 1)?;
            let Some(key) = key.root().text() else {
                return Err(Broken::at(line, "a key that is no text", HINT));
            };
            let next = self.next()?;
            let value = self.shared(next, depth + 1)?;
            if key == "<<" {
                merged.push(value);
            } else if entries.iter().any(|(known, ..)| known == key) {
                return Err(Broken::at(line, format!("the key {key:?} is there twice"), "remove one of the two"));
            } else {
                entries.push((key.to_owned(), line, value));
            }
        }
        for node in merged {
            self.merge(&mut entries, &node)?;
        }
        Ok(entries)
    }

    /// `<<: *defaults`: what is not said is as it is there.
    fn merge(&mut self, entries: &mut Vec<(String, usize, Rc<Node>)>, from: &Node) -> Result<(), Broken> {
        match &from.value {
            Value::Map(defaults) => {
                for (key, line, node) in defaults {
                    if !entries.iter().any(|(known, ..)| known == key) {
                        self.spend(node.weight)?;
                        entries.push((key.clone(), *line, node.clone()));
                    }
                }
                Ok(())
            }
            Value::List(nodes) => nodes.iter().try_for_each(|node| self.merge(entries, node)),
            Value::Null | Value::Text(_) => Err(Broken::at(from.line, "a merge of something that is no map", HINT)),
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let is_null = style == ScalarStyle::Plain && ["", "~", "null", "Null", "NULL"].contains(&text);
    if is_null { Value::Null } else { Value::Text(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> String {
        parse(text).err().unwrap_or_else(|| panic!("{text:?} should be refused")).to_string()
    }

    #[test]
    fn everything_knows_its_line() {
        let node = parse("http:\n  addr: :5000\n  tls:\n    key: k\nempty:\nlist: [a, b]\n").unwrap();
        let root = node.root();
        let line = |path| root.at(path).map(|at| at.line);
        assert_eq!(
            (line("http"), line("http.addr"), line("http.tls.key"), line("empty")),
            (Some(1), Some(2), Some(4), Some(5))
        );
        assert_eq!(root.at("http.addr").unwrap().text(), Some(":5000"));
        assert!(root.at("empty").unwrap().is_null() && root.at("http.none").is_none());
        assert_eq!(root.at("list").unwrap().elements().len(), 2);
    }

    #[test]
    fn anchors_and_merges_are_followed() {
        let node = parse("a: &x {one: 1, two: 2}\nb:\n  <<: *x\n  two: 3\nc: *x\n").unwrap();
        let text = |path| node.root().at(path).and_then(At::text);
        assert_eq!((text("b.one"), text("b.two"), text("c.two")), (Some("1"), Some("3"), Some("2")));
    }

    #[test]
    fn what_is_no_document_is_refused_with_its_line() {
        assert!(broken("a: b\nc: [d\n").starts_with("3: ") || broken("a: b\nc: [d\n").starts_with("2: "));
        assert_eq!(broken("a: 1\na: 2\n"), "2: the key \"a\" is there twice");
        assert_eq!(broken("just text"), "1: this is no map of keys and values");
        assert_eq!(broken("a: 1\n---\nb: 2\n"), "3: a second document");
    }

    #[test]
    fn nesting_and_aliases_without_end_are_refused() {
        assert!(broken(&format!("a: {}{}", "[".repeat(70), "]".repeat(70))).contains("64 levels"));
        assert!(parse(&format!("a: {}", "[".repeat(200_000))).is_err());
        let mut laughs = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            laughs = format!("{laughs}b{level}: &a{level} [{before}]\n");
        }
        assert!(broken(&laughs).contains("more than 100000 values"));
    }
}
