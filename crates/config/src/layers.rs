//! Settings by source, with their precedence: flags over variables over the file over defaults.
//!
//! Invariant: a value is checked in every layer that sets it, so that a mistake in the file is reported even while a
//! flag overrides it.

use std::collections::BTreeMap;

use super::{
    keys::{Fallback, Key},
    problem::{ConfigProblem, SettingPlace},
    value::{Located, RawValue},
    value_type::ValueType,
};

/// The settings of one source.
#[derive(Debug, Default)]
pub(super) struct Layer {
    /// The values by the path of their key.
    pub(super) values: BTreeMap<&'static str, Located<RawValue>>,
    /// The tables by path, even empty ones: `[tls.self_signed]` alone is a choice.
    pub(super) tables: BTreeMap<String, SettingPlace>,
}

impl Layer {
    pub(super) fn set(&mut self, path: &'static str, value: RawValue, place: SettingPlace) {
        self.values.insert(path, Located::new(value, place));
    }

    /// The first place of `table` or of a value in it.
    pub(super) fn first_place_of(&self, table: &str) -> Option<&SettingPlace> {
        let inside = |path: &str| path.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
        let values = self.values.iter().filter(|(path, _)| inside(path)).map(|(_, located)| &located.place);
        self.tables.get(table).into_iter().chain(values).min()
    }
}

/// One table of `[[access]]`, `[[auth.workload]]` or `[[tls.files.more]]`, with unchecked values.
#[derive(Debug)]
pub(super) struct RawTable {
    pub(super) place: SettingPlace,
    pub(super) values: BTreeMap<&'static str, Located<RawValue>>,
}

/// The settings of all sources.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) flags: Layer,
    pub(super) environment: Layer,
    pub(super) file: Layer,
    pub(super) rules: Vec<RawTable>,
    pub(super) workloads: Vec<RawTable>,
    /// The tables `[[tls.files.more]]`.
    pub(super) certificates: Vec<RawTable>,
    /// The groups: name and members of each.
    pub(super) groups: Vec<(Located<String>, Located<RawValue>)>,
}

impl Layers {
    fn by_precedence(&self) -> [&Layer; 3] {
        [&self.flags, &self.environment, &self.file]
    }

    /// The value of a key with the highest precedence, or its default. `None` if there is none, or if every value is
    /// invalid; invalid values are added to the problems.
    pub(super) fn value<K: ValueType>(&self, key: &Key<K>, problems: &mut Vec<ConfigProblem>) -> Option<K::Value> {
        let mut strongest = None;
        for raw in self.by_precedence().into_iter().filter_map(|layer| layer.values.get(key.path)) {
            let value = read_value(key, raw, problems);
            strongest = strongest.or(value);
        }
        strongest.or_else(|| {
            let Fallback::Value(text) = key.fallback else { return None };
            let raw = RawValue::from_text(key.kind.shape(), text, &SettingPlace::Default);
            read_value(key, &Located::new(raw, SettingPlace::Default), problems)
        })
    }

    /// The place of the key's value with the highest precedence.
    pub(super) fn place(&self, path: &str) -> Option<&SettingPlace> {
        self.by_precedence().into_iter().find_map(|layer| layer.values.get(path)).map(|raw| &raw.place)
    }

    /// The first of these tables that is present in the source with the highest precedence that has any of them, and
    /// its place.
    pub(super) fn chosen_table<const N: usize>(
        &self,
        tables: [&'static str; N],
    ) -> Option<(&'static str, &SettingPlace)> {
        let first = |layer: &Layer| tables.iter().position(|table| layer.first_place_of(table).is_some());
        let (layer, index) = self.by_precedence().into_iter().find_map(|layer| Some((layer, first(layer)?)))?;
        Some((tables[index], layer.first_place_of(tables[index])?))
    }

    /// Reports a problem if several of these tables, of which only one can apply, are in the file or in the
    /// environment.
    pub(super) fn refuse_multiple_tables<const N: usize>(&self, tables: [&str; N], problems: &mut Vec<ConfigProblem>) {
        for layer in [&self.environment, &self.file] {
            let mut mentioned: Vec<_> =
                tables.iter().filter_map(|table| layer.first_place_of(table).map(|place| (place, table))).collect();
            mentioned.sort();
            let Some(((place, table), others)) = mentioned.split_first() else { continue };
            for (other_place, other) in others {
                let message = format!("[{other}] contradicts [{table}] at {place}");
                problems.push(ConfigProblem::new((*other_place).clone(), message).hint("keep one of the two"));
            }
        }
    }
}

/// Parses the value of a key; its problems are added to `problems`.
pub(super) fn read_value<K: ValueType>(
    key: &Key<K>,
    raw: &Located<RawValue>,
    problems: &mut Vec<ConfigProblem>,
) -> Option<K::Value> {
    match key.kind.read(raw) {
        Ok(value) => Some(value),
        Err(found) => {
            problems.extend(found.into_iter().map(|problem| problem.about(key.path)));
            None
        }
    }
}
