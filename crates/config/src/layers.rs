//! Settings by source, with their precedence: flags over variables over the file over defaults.
//!
//! Invariant: a value is checked in every layer that sets it, so that a mistake in the file is reported even while a
//! flag overrides it.

use std::collections::BTreeMap;

use super::{
    keys::{Fallback, Key},
    kind::Kind,
    problem::{Place, Problem},
    raw::{Located, Raw},
};

/// The settings of one source.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// The values by the path of their key.
    pub(super) values: BTreeMap<&'static str, Located<Raw>>,
    /// The tables by path, even empty ones: `[tls.self_signed]` alone is a choice.
    pub(super) tables: BTreeMap<String, Place>,
}

impl Layer {
    pub(super) fn set(&mut self, path: &'static str, value: Raw, place: Place) {
        self.values.insert(path, Located::new(value, place));
    }

    /// The first place of `table` or of a value in it.
    pub(super) fn mention(&self, table: &str) -> Option<&Place> {
        let inside = |path: &str| path.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
        let values = self.values.iter().filter(|(path, _)| inside(path)).map(|(_, located)| &located.place);
        self.tables.get(table).into_iter().chain(values).min()
    }
}

/// One table of `[[access]]`, `[[auth.workload]]` or `[[tls.files.more]]`, with unchecked values.
#[derive(Debug)]
pub(super) struct RawRule {
    pub(super) place: Place,
    pub(super) values: BTreeMap<&'static str, Located<Raw>>,
}

/// The settings of all sources.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) flags: Layer,
    pub(super) environment: Layer,
    pub(super) file: Layer,
    pub(super) rules: Vec<RawRule>,
    pub(super) workloads: Vec<RawRule>,
    /// The tables `[[tls.files.more]]`.
    pub(super) certificates: Vec<RawRule>,
    /// The groups: name and members of each.
    pub(super) groups: Vec<(Located<String>, Located<Raw>)>,
}

impl Layers {
    fn strongest_first(&self) -> [&Layer; 3] {
        [&self.flags, &self.environment, &self.file]
    }

    /// The value of a key with the highest precedence, or its default. `None` if there is none, or if every value is
    /// invalid; invalid values are added to the problems.
    pub(super) fn value<K: Kind>(&self, key: &Key<K>, problems: &mut Vec<Problem>) -> Option<K::Value> {
        let mut strongest = None;
        for raw in self.strongest_first().into_iter().filter_map(|layer| layer.values.get(key.path)) {
            let value = read(key, raw, problems);
            strongest = strongest.or(value);
        }
        strongest.or_else(|| {
            let Fallback::Value(text) = key.fallback else { return None };
            let raw = Raw::from_bare(key.kind.shape(), text, &Place::Default);
            read(key, &Located::new(raw, Place::Default), problems)
        })
    }

    /// The place of the key's value with the highest precedence.
    pub(super) fn place(&self, path: &str) -> Option<&Place> {
        self.strongest_first().into_iter().find_map(|layer| layer.values.get(path)).map(|raw| &raw.place)
    }

    /// The first of these tables that is present in the source with the highest precedence that has any of them, and
    /// its place.
    pub(super) fn choice<const N: usize>(&self, tables: [&'static str; N]) -> Option<(&'static str, &Place)> {
        let first = |layer: &Layer| tables.iter().position(|table| layer.mention(table).is_some());
        let (layer, index) = self.strongest_first().into_iter().find_map(|layer| Some((layer, first(layer)?)))?;
        Some((tables[index], layer.mention(tables[index])?))
    }

    /// Reports a problem if several of these tables, of which only one can apply, are in the file or in the
    /// environment.
    pub(super) fn refuse_several<const N: usize>(&self, tables: [&str; N], problems: &mut Vec<Problem>) {
        for layer in [&self.environment, &self.file] {
            let mut mentioned: Vec<_> =
                tables.iter().filter_map(|table| layer.mention(table).map(|place| (place, table))).collect();
            mentioned.sort();
            let Some(((place, table), others)) = mentioned.split_first() else { continue };
            for (other_place, other) in others {
                let message = format!("[{other}] contradicts [{table}] at {place}");
                problems.push(Problem::new((*other_place).clone(), message).hint("keep one of the two"));
            }
        }
    }
}

/// Parses the value of a key; its problems are added to `problems`.
pub(super) fn read<K: Kind>(key: &Key<K>, raw: &Located<Raw>, problems: &mut Vec<Problem>) -> Option<K::Value> {
    match key.kind.read(raw) {
        Ok(value) => Some(value),
        Err(found) => {
            problems.extend(found.into_iter().map(|problem| problem.about(key.path)));
            None
        }
    }
}
