//! Gives access to the tree of a document: maps, lists and scalars, by the rules of the programs that read them.
//!
//! Invariant: the tree has no `Debug`, because it holds hashes and secrets.

use std::rc::Rc;

use super::{
    super::report::{Migration, ParseError},
    scalar,
};

const TYPE_HINT: &str = "the program that this file is for does not start from it either; correct the line";

/// A document, with warnings about parts that its author may expect to be read otherwise.
pub(in super::super) struct YamlDocument {
    pub(super) root: YamlNode,
    /// The warnings, with their lines.
    pub(super) warnings: Vec<(usize, String)>,
}

/// A value in the document, and its line; for a value in a map, the line of its key.
#[derive(Clone, Copy)]
pub(in super::super) struct NodeRef<'a> {
    pub(in super::super) line: usize,
    node: &'a YamlNode,
}

/// A value with its line.
pub(super) struct YamlNode {
    pub(super) line: usize,
    pub(super) value: NodeValue,
    /// The number of values in it, itself included.
    pub(super) value_count: usize,
}

pub(super) enum NodeValue {
    Null,
    /// A scalar as it is written, and whether it is neither quoted nor tagged.
    Text(String, PlainScalar),
    List(Vec<Rc<YamlNode>>),
    Map(MapEntries),
}

/// The keys of a map, with their lines and values.
pub(super) type MapEntries = Vec<(String, usize, Rc<YamlNode>)>;

/// Whether a scalar is plain, and may be a boolean, number or date and not a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PlainScalar {
    Yes,
    No,
}

impl YamlDocument {
    /// The root value.
    pub(in super::super) fn root(&self) -> NodeRef<'_> {
        self.root.at()
    }

    /// Adds the document's warnings to the migration.
    pub(in super::super) fn warn(&self, migration: &mut Migration) {
        for (line, surprise) in &self.warnings {
            migration.warn(*line, surprise);
        }
    }
}

impl YamlNode {
    pub(super) fn at(&self) -> NodeRef<'_> {
        NodeRef { line: self.line, node: self }
    }
}

impl<'a> NodeRef<'a> {
    /// The value below these keys, with dots between them.
    pub(in super::super) fn get(self, path: &str) -> Option<NodeRef<'a>> {
        path.split('.').try_fold(self, |at, key| at.entries().find(|(name, _)| *name == key).map(|(_, below)| below))
    }

    /// The keys and values of a map; none for other values.
    pub(in super::super) fn entries(self) -> impl Iterator<Item = (&'a str, NodeRef<'a>)> {
        let entries = if let NodeValue::Map(entries) = &self.node.value { entries.as_slice() } else { &[] };
        entries.iter().map(|(key, line, node)| (key.as_str(), NodeRef { line: *line, node }))
    }

    /// The keys and values of a map; `null` counts as an empty map. Refuses other values; `path` is the key for the
    /// error.
    pub(in super::super) fn map(self, path: &str) -> Result<Vec<(&'a str, NodeRef<'a>)>, ParseError> {
        match &self.node.value {
            NodeValue::Null | NodeValue::Map(_) => Ok(self.entries().collect()),
            NodeValue::Text(..) | NodeValue::List(_) => Err(self.type_error(path, "a map of keys and values")),
        }
    }

    /// The elements of a list; `null` counts as an empty list. Refuses other values; `path` is the key for the error.
    pub(in super::super) fn list(self, path: &str) -> Result<Vec<NodeRef<'a>>, ParseError> {
        match &self.node.value {
            NodeValue::List(nodes) => Ok(nodes.iter().map(|node| node.at()).collect()),
            NodeValue::Null => Ok(Vec::new()),
            NodeValue::Text(..) | NodeValue::Map(_) => Err(self.type_error(path, "a list, as in [a, b]")),
        }
    }

    /// The text of a scalar; `null` counts as the empty text. Refuses lists and maps; `path` is the key for the error.
    pub(in super::super) fn scalar(self, path: &str) -> Result<&'a str, ParseError> {
        self.text().ok_or_else(|| self.type_error(path, "a text"))
    }

    /// The boolean; `null` counts as false. Refuses other values; `path` is the key for the error.
    pub(in super::super) fn boolean(self, path: &str) -> Result<bool, ParseError> {
        if self.is_null() {
            return Ok(false);
        }
        self.as_boolean().ok_or_else(|| self.type_error(path, "true or false, without quotes"))
    }

    fn type_error(self, path: &str, expected: &str) -> ParseError {
        ParseError::at(self.line, format!("{path}: {expected} is needed here"), TYPE_HINT)
    }

    /// The elements of a list; none for other values.
    pub(in super::super) fn elements(self) -> Vec<NodeRef<'a>> {
        if let NodeValue::List(nodes) = &self.node.value {
            nodes.iter().map(|node| node.at()).collect()
        } else {
            Vec::new()
        }
    }

    /// The text of a scalar, `null` as the empty text; `None` for lists and maps.
    pub(in super::super) fn text(self) -> Option<&'a str> {
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
    pub(in super::super) fn is_true(self) -> bool {
        self.as_boolean() == Some(true)
    }

    /// Whether the value is a text where types matter: not a number, boolean, date or `null`.
    pub(in super::super) fn is_string(self) -> bool {
        let NodeValue::Text(text, plain) = &self.node.value else { return false };
        *plain == PlainScalar::No
            || !(text.is_empty() || self.as_boolean().is_some() || scalar::is_number_or_date(text))
    }

    pub(in super::super) fn is_map(self) -> bool {
        matches!(self.node.value, NodeValue::Map(_))
    }

    pub(in super::super) fn is_null(self) -> bool {
        matches!(self.node.value, NodeValue::Null)
    }
}
