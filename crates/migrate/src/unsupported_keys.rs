//! Reports every key of a YAML configuration that is not carried over, from a table of keys for each program.
//!
//! A row for a missing setting names that setting as it would be called. A test compares these names with the
//! settings that exist, so that no row reports an existing setting as missing.
//!
//! Invariant: every key is carried over, reported with its reason, or reported as unknown.

use super::{report::Migration, yaml::NodeRef};

/// Why a key is not carried over.
#[derive(Clone, Copy, Debug)]
pub(super) enum UnsupportedReason {
    /// It needs no replacement.
    NotNeeded,
    /// Portcullis behaves differently, whatever its value.
    Differs,
    /// One of these settings, or a table of this name, would carry it over if it existed.
    NoSetting(&'static [&'static str]),
}

/// A key that is not carried over.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnsupportedKey {
    /// The key, with dots between levels. Keys below it are not reported again.
    pub(super) key: &'static str,
    pub(super) reason: UnsupportedReason,
    /// What the user can do, or why there is nothing to do.
    pub(super) advice: &'static str,
}

/// A key that needs no replacement.
pub(super) const fn not_needed(key: &'static str, advice: &'static str) -> UnsupportedKey {
    UnsupportedKey { key, reason: UnsupportedReason::NotNeeded, advice }
}

/// A key of something that Portcullis does differently.
pub(super) const fn differs(key: &'static str, advice: &'static str) -> UnsupportedKey {
    UnsupportedKey { key, reason: UnsupportedReason::Differs, advice }
}

/// A key that one of these settings would carry over.
pub(super) const fn missing_setting(
    key: &'static str,
    settings: &'static [&'static str],
    advice: &'static str,
) -> UnsupportedKey {
    UnsupportedKey { key, reason: UnsupportedReason::NoSetting(settings), advice }
}

/// The keys of a program.
pub(super) struct KeyTable {
    /// Keys that are carried over, or reported where they are read.
    pub(super) carried: &'static [&'static str],
    pub(super) unsupported: &'static [UnsupportedKey],
}

/// Reports the keys below `at`, the value of the key `path`, that are not carried over.
pub(super) fn report(at: NodeRef<'_>, path: &str, known: &KeyTable, migration: &mut Migration) {
    for (key, below) in at.entries() {
        let full = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let inside = |known: &str| known.strip_prefix(&full).is_some_and(|rest| rest.starts_with('.'));
        if known.carried.contains(&full.as_str()) {
            continue;
        }
        let is_table =
            known.carried.iter().any(|key| inside(key)) || known.unsupported.iter().any(|row| inside(row.key));
        if is_table && below.is_map() {
            report(below, &full, known, migration);
        } else if let Some(row) = known.unsupported.iter().find(|row| row.key == full) {
            let text = format!("{full}: {}", row.advice);
            match row.reason {
                UnsupportedReason::NotNeeded => migration.note(below.line, &text),
                UnsupportedReason::Differs => migration.warn(below.line, &text),
                UnsupportedReason::NoSetting(settings) => {
                    let setting = settings.first().copied().unwrap_or_default();
                    migration.warn(below.line, &format!("{text} (there is no setting {setting})"));
                }
            }
        } else if !below.is_null() && !is_table {
            migration.warn(below.line, &format!("{full}: not known here, and not carried over"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{docker_auth, registry};
    use portcullis_config as config;

    fn tables() -> impl Iterator<Item = &'static UnsupportedKey> {
        [&registry::KEYS, &docker_auth::KEYS].into_iter().flat_map(|known| known.unsupported)
    }

    #[test]
    fn no_key_is_called_unsupported_for_lack_of_a_setting_that_exists() {
        let exists = |setting: &str| {
            config::setting_paths()
                .iter()
                .any(|path| path.strip_prefix(setting).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
        };
        assert!(exists("tls.acme") && exists("listen") && !exists("tls.ac"));
        for row in tables() {
            if let UnsupportedReason::NoSetting(settings) = row.reason {
                let found: Vec<_> = settings.iter().filter(|setting| exists(setting)).collect();
                assert!(found.is_empty(), "{}: carry it over with {found:?}", row.key);
                assert!(!settings.is_empty(), "{}: name the setting that would carry it over", row.key);
            }
        }
    }

    #[test]
    fn a_key_is_in_one_row_and_not_carried_over_as_well() {
        for known in [&registry::KEYS, &docker_auth::KEYS] {
            for (index, row) in known.unsupported.iter().enumerate() {
                let others = &known.unsupported[index + 1..];
                assert!(others.iter().all(|other| other.key != row.key), "{}", row.key);
                assert!(!known.carried.contains(&row.key), "{}", row.key);
            }
        }
    }

    /// The tables of settings when the rows were last compared with them. A new one may carry over what a row calls
    /// unsupported under another name: read the rows of all programs, and then add it here.
    #[test]
    fn every_table_of_settings_was_compared_with_what_is_called_unsupported() {
        let table = |path: &'static str| path.rsplit_once('.').map_or("", |(table, _)| table);
        let mut tables: Vec<&str> = config::setting_paths().into_iter().map(table).collect();
        tables.dedup();
        let compared = [
            "",
            "limits",
            "tls",
            "tls.self_signed",
            "tls.files",
            "tls.files.more",
            "tls.acme",
            "tls.acme.eab",
            "tls.client",
            "auth",
            "auth.lockout",
            "auth.token",
            "auth.workload",
            "access",
            "groups",
            "registry",
            "registry.gc",
            "storage.filesystem",
            "log",
        ];
        assert_eq!(tables, compared);
        let mut conditions: Vec<&str> =
            config::setting_paths().into_iter().filter_map(|path| path.strip_prefix("access.")).collect();
        conditions.sort_unstable();
        assert_eq!(conditions, ["actions", "repositories", "users"], "is an address a condition of rules now?");
    }
}
