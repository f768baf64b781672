//! Migrates `config.yml` of CNCF Distribution (registry:2 and 3), with its own TLS and authentication.
//!
//! Invariant: no rule allows what the registry's configuration refused (deleting, pushing while read-only).

mod access;
mod http_settings;
mod startup_checks;
#[cfg(test)]
mod tests;
mod unsupported;

use std::time::Duration;

use portcullis_text::format_duration;

use super::{
    duration,
    report::{Migration, ParseError},
    toml_writer::TomlValue,
    unsupported_keys,
    yaml::{NodeRef, YamlDocument},
};
#[cfg(test)]
pub(super) use unsupported::KEYS;

/// Reads the configuration into `migration`. Refuses a file that registry:2 refuses.
pub(super) fn read(document: &YamlDocument, migration: &mut Migration) -> Result<(), ParseError> {
    let root = document.root();
    document.warn(migration);
    startup_checks::check(root, migration)?;
    unsupported_keys::report(root, "", &unsupported::KEYS, migration);
    http_settings::read(root, migration);
    access::read(root, migration);
    storage(root, migration);
    validation(root, migration);
    log(root, migration);
    migration.warn(
        None,
        "variables REGISTRY_… override this file and are not read; if one of them takes rights away (deleting, pushing, \
         users), take them out of the rules as well",
    );
    Ok(())
}

/// The value of a key that holds a path, with its line; `None` if it is missing, empty or not a path.
fn path_value(root: NodeRef<'_>, key: &str) -> Option<(TomlValue, usize)> {
    let at = root.get(key)?;
    let text = at.text().filter(|text| !text.is_empty() && !text.contains('\0'))?;
    Some((TomlValue::text(text), at.line))
}

/// Writes the directory of images; registry:2's default if the driver `filesystem` is given without one, as a word or a
/// map.
fn storage(root: NodeRef<'_>, migration: &mut Migration) {
    let key = "storage.filesystem.rootdirectory";
    match (startup_checks::driver(root), root.get(key)) {
        (Some(("filesystem", _)), None) => {
            let value = TomlValue::text("/var/lib/registry");
            migration.set_default("storage.filesystem", "root", value, "the registry's own default");
        }
        (Some(("filesystem", _)), Some(at)) => match path_value(root, key) {
            Some((value, line)) => migration.set("storage.filesystem", "root", value, line, key),
            None => migration
                .warn(at.line, &format!("{key}: not a folder; set storage.filesystem.root to the folder of images")),
        },
        (Some(_) | None, _) => {}
    }
    upload_expiry(root, migration);
}

fn upload_expiry(root: NodeRef<'_>, migration: &mut Migration) {
    let purging = root.get("storage.maintenance.uploadpurging");
    let Some(purging) = purging else { return };
    if purging.get("enabled").is_some_and(|at| !at.is_null() && at.boolean("").is_ok_and(|is_on| !is_on)) {
        migration.warn(
            purging.line,
            "storage.maintenance.uploadpurging: abandoned uploads always expire; the longest time was taken",
        );
        let value = TomlValue::text("365d");
        return migration.set(
            "registry",
            "upload_expiry",
            value,
            purging.line,
            "storage.maintenance.uploadpurging.enabled",
        );
    }
    let Some(age) = purging.get("age") else { return };
    let from = "storage.maintenance.uploadpurging.age";
    if let Some(value) = bounded_duration(age, from, 60, 365 * 86_400, migration) {
        migration.set("registry", "upload_expiry", value, age.line, from);
    }
}

/// Carries over whether an index may name images that are missing (Distribution 3).
fn validation(root: NodeRef<'_>, migration: &mut Migration) {
    let key = "validation.manifests.indexes.platforms";
    let Some(at) = root.get(key) else { return };
    let is_sparse = at.text().is_some_and(|platforms| ["none", "list"].contains(&platforms));
    migration.set("registry", "sparse_manifests", TomlValue::Boolean(is_sparse), at.line, key);
}

/// The duration in a key, moved to `least` or `most` (in seconds) with a warning; `None` if it is not a duration.
fn bounded_duration(at: NodeRef<'_>, key: &str, least: u64, most: u64, migration: &mut Migration) -> Option<TomlValue> {
    let Some(seconds) = at.text().and_then(duration::parse_seconds) else {
        migration.warn(at.line, &format!("{key}: not a duration; the default is used"));
        return None;
    };
    let bounded = seconds.clamp(least, most);
    if bounded != seconds {
        let [least, most] = [least, most].map(|seconds| format_duration(Duration::from_secs(seconds)));
        migration.warn(at.line, &format!("{key}: the bounds are {least} and {most}; the nearest value was taken"));
    }
    Some(TomlValue::text(format_duration(Duration::from_secs(bounded))))
}

fn log(root: NodeRef<'_>, migration: &mut Migration) {
    if let Some((key, at)) =
        ["log.level", "loglevel"].into_iter().find_map(|key| Some((key, startup_checks::non_empty_text(root, key)?.1)))
    {
        let level = at.text().unwrap_or_default().to_lowercase();
        migration.set("log", "level", TomlValue::text(level), at.line, key);
    }
    let Some(formatter) = root.get("log.formatter") else { return };
    match formatter.text() {
        Some(format @ ("text" | "json")) => {
            migration.set("log", "format", TomlValue::text(format), formatter.line, "log.formatter");
        }
        Some("logstash") => {
            migration.set("log", "format", TomlValue::text("json"), formatter.line, "log.formatter");
            migration.warn(
                formatter.line,
                "log.formatter: the format logstash is not supported; JSON was taken, with other field names",
            );
        }
        Some(_) | None => {}
    }
}
