//! Settings by where they came from: flags over variables over the file over defaults.
//!
//! Invariant: a value is checked in every layer that sets it, so a mistake in the file is told even while a flag hides it.

use std::collections::BTreeMap;

use super::{
    keys::{Fallback, Key},
    kind::Kind,
    problem::{Place, Problem},
    raw::{Located, Raw},
};

/// What one source says.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// By the path of their key.
    pub(super) values: BTreeMap<&'static str, Located<Raw>>,
    /// Tables by their path, even empty ones: `[tls.self_signed]` alone is a choice.
    pub(super) tables: BTreeMap<String, Place>,
}

impl Layer {
    pub(super) fn set(&mut self, path: &'static str, value: Raw, place: Place) {
        self.values.insert(path, Located::new(value, place));
    }

    /// Where `table` or something in it is mentioned first.
    pub(super) fn mention(&self, table: &str) -> Option<&Place> {
        let inside = |path: &str| path.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
        let values = self.values.iter().filter(|(path, _)| inside(path)).map(|(_, located)| &located.place);
        self.tables.get(table).into_iter().chain(values).min()
    }
}

/// One `[[access]]`, `[[auth.workload]]` or `[[tls.files.more]]` table, as it was written.
#[derive(Debug)]
pub(super) struct RawRule {
    pub(super) place: Place,
    pub(super) values: BTreeMap<&'static str, Located<Raw>>,
}

/// Everything that was said.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) flags: Layer,
    pub(super) environment: Layer,
    pub(super) file: Layer,
    pub(super) rules: Vec<RawRule>,
    pub(super) workloads: Vec<RawRule>,
    /// Certificates beside the first one.
    pub(super) certificates: Vec<RawRule>,
    /// Names and members.
    pub(super) groups: Vec<(Located<String>, Located<Raw>)>,
}

impl Layers {
    fn strongest_first(&self) -> [&Layer; 3] {
        [&self.flags, &self.environment, &self.file]
    }

    /// The strongest value of a key, or its default. `None` if it has none, or only bad ones, which are then among the
    /// problems.
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

    /// The places of a key's values, strongest first.
    pub(super) fn place(&self, path: &str) -> Option<&Place> {
        self.strongest_first().into_iter().find_map(|layer| layer.values.get(path)).map(|raw| &raw.place)
    }

    /// Which of these tables the strongest source that mentions any of them does mention, and where.
    pub(super) fn choice<const N: usize>(&self, tables: [&'static str; N]) -> Option<(&'static str, &Place)> {
        let first = |layer: &Layer| tables.iter().position(|table| layer.mention(table).is_some());
        let (layer, index) = self.strongest_first().into_iter().find_map(|layer| Some((layer, first(layer)?)))?;
        Some((tables[index], layer.mention(tables[index])?))
    }

    /// Tables of which only one can hold must not be written beside each other in one file, nor in the environment.
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

/// The value of a key, with what is wrong added to the problems.
pub(super) fn read<K: Kind>(key: &Key<K>, raw: &Located<Raw>, problems: &mut Vec<Problem>) -> Option<K::Value> {
    match key.kind.read(raw) {
        Ok(value) => Some(value),
        Err(found) => {
            problems.extend(found.into_iter().map(|problem| problem.about(key.path)));
            None
        }
    }
}
